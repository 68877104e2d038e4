//! Clients in front of a toy engine.
//!
//! What always holds: every finding is shown to fire on a bad history and to stay silent on a good one.

use super::*;
use slot_engine::journal::core::{Body, Record, Refused, Reply};
use slot_types::cluster::*;
use std::net::{Ipv4Addr, SocketAddr};

fn name(n: u8) -> StoreName {
    StoreName::new(format!("store{n}")).unwrap()
}
fn slot(n: u16) -> SlotId {
    SlotId::new(HostName::new("h1").unwrap(), n)
}
fn epoch(n: u64) -> Epoch {
    Epoch { generation: 0, n }
}

/// Two stores, and the engines that hold them.
struct Toy {
    state: State,
    logs: BTreeMap<StoreName, Vec<RecordId>>,
    dice: Stream,
}

impl Toy {
    fn new(seed: u64) -> Self {
        let cluster = Cluster::new(ClusterId([1; 16]), ClusterName::new("toy").unwrap());
        let mut toy = Self {
            state: State { cluster: Some(cluster), ..State::default() },
            logs: BTreeMap::new(),
            dice: Stream::new(seed, 2),
        };
        toy.route(1, 1, 1);
        toy.route(2, 2, 1);
        toy
    }
    fn route(&mut self, store: u8, at: u16, n: u64) {
        let address: SocketAddr = (Ipv4Addr::LOCALHOST, at).into();
        let spec = StoreSpec {
            engine: EngineKind::Journal,
            copies: 1,
            size_bytes: 1,
            spread: Spread::Host,
            sync_copies: 0,
            never: std::collections::BTreeSet::new(),
            load: 1,
        };
        let store_state = Store {
            spec,
            epoch: epoch(n),
            master: Some(slot(at)),
            pending: None,
            promote_started: true,
            copies: BTreeMap::new(),
            possible_masters: BTreeMap::new(),
            route: Some(Route { slot: slot(at), address, epoch: epoch(n), revision: Revision(0) }),
            last_promoted: epoch(n),
            past: BTreeMap::new(),
            unheard: std::collections::BTreeSet::new(),
            retired: false,
            version: 1,
        };
        self.state.cluster.as_mut().unwrap().stores.insert(name(store), store_state);
    }
    fn answer(&mut self, ask: &ClientAsk) -> Reply {
        match &ask.what {
            ClientRequest::Append(append) => Reply::Append(self.append(&ask.slot, append)),
            ClientRequest::Read(read) => {
                let log = self.logs.get(&read.store).cloned().unwrap_or_default();
                let data =
                    |id: &RecordId| Record { epoch: epoch(1), body: Body::Data { id: id.clone(), payload: vec![] } };
                let records = log.iter().skip(read.from as usize).take(2).map(data).collect();
                Reply::Read(ReadOutcome::Records { from: read.from, records, head: log.len() as u64 })
            }
        }
    }
    fn append(&mut self, at: &SlotId, append: &journal::Append) -> AppendOutcome {
        let refused = |reason| AppendOutcome::Refused(Refused { reason, held: Epoch::ZERO });
        let Some((master, now)) = Routes(Some(&self.state)).of(&append.store) else {
            return refused(RefusedReason::Invalid);
        };
        if master != *at {
            return refused(RefusedReason::OtherStore);
        }
        if append.epoch < now {
            return refused(RefusedReason::OlderEpoch);
        }
        let log = self.logs.entry(append.store.clone()).or_default();
        if let Some(index) = log.iter().position(|id| *id == append.id) {
            return AppendOutcome::Done { index: index as u64, existed: true };
        }
        log.push(append.id.clone());
        AppendOutcome::Done { index: log.len() as u64 - 1, existed: false }
    }
    /// Runs until so many steps are over; some answers are lost, some requests too.
    fn run(&mut self, writers: &mut Writers, steps: usize, lossy: bool) -> u64 {
        let mut now = 0;
        for number in 0..steps {
            if writers.wake_at() == u64::MAX {
                break;
            }
            now = writers.wake_at().max(now);
            if lossy && number == steps / 2 {
                self.route(1, 3, 2);
            }
            for ask in writers.step(now, &Routes(Some(&self.state))) {
                if lossy && self.dice.one_in(9) {
                    writers.answered(now, ask.token, None);
                    continue;
                }
                let answer = self.answer(&ask);
                let lost = lossy && self.dice.one_in(9);
                writers.answered(now + 2, ask.token, (!lost).then_some(answer));
            }
        }
        now
    }
    fn compare(&self, writers: &Writers, aside: &Aside) -> Vec<Finding> {
        let both = [name(1), name(2)];
        both.iter().flat_map(|s| writers.compare(s, self.logs[s].iter(), aside, false)).collect()
    }
}

fn writers(seed: u64) -> Writers {
    let config = Config { read_one_in: 5, astray_one_in: 10, ..Config::new(vec![name(1), name(2)]) };
    Writers::new(Stream::new(seed, 7), config)
}

fn settle(toy: &mut Toy, writers: &mut Writers) {
    writers.stop();
    toy.run(writers, 10_000, false);
    assert!(writers.is_settled());
}

#[test]
fn what_is_acknowledged_is_there_once_whatever_gets_lost_on_the_way() {
    for seed in 0..20 {
        let (mut toy, mut clients) = (Toy::new(seed), writers(seed));
        toy.run(&mut clients, 2_000, true);
        settle(&mut toy, &mut clients);
        assert!(clients.written() > 500 && clients.written_to(&name(2)) > 100, "{:?}", clients.counts());
        assert_eq!(clients.findings(), &[]);
        assert_eq!(toy.compare(&clients, &Aside::default()), vec![]);
        for what in [
            "retried with the same id",
            "unknown append had been done",
            "unknown append had not been done",
            "append refused: older epoch",
            "append refused: other store",
            "sent by a former route",
            "sent with an older epoch",
            "sent to another store's slot",
            "read answered: own record",
        ] {
            assert!(clients.counts().contains_key(what), "never: {what}; {:?}", clients.counts());
        }
    }
}

#[test]
fn equal_seeds_write_equally() {
    let run = || {
        let (mut toy, mut clients) = (Toy::new(5), writers(5));
        toy.run(&mut clients, 500, true);
        (toy.logs.clone(), clients.counts().clone())
    };
    assert_eq!(run(), run());
}

#[test]
fn several_records_are_under_way_but_no_more_than_allowed() {
    let (toy, mut clients) = (Toy::new(1), writers(1));
    let mut sent = BTreeMap::<ClientName, BTreeSet<u64>>::new();
    for _ in 0..200 {
        let now = clients.wake_at();
        for ask in clients.step(now, &Routes(Some(&toy.state))) {
            if let ClientRequest::Append(append) = ask.what {
                sent.entry(append.id.client).or_default().insert(append.id.sequence);
            }
        }
    }
    assert_eq!(sent.len(), 4);
    assert!(sent.values().all(|s| *s == BTreeSet::from([1, 2, 3, 4])), "{sent:?}");
}

#[test]
fn a_lost_record_is_found_unless_a_person_gave_it_up() {
    let (mut toy, mut clients) = (Toy::new(3), writers(3));
    toy.run(&mut clients, 500, false);
    settle(&mut toy, &mut clients);
    let lost = toy.logs.get_mut(&name(1)).unwrap().remove(4);
    let found = toy.compare(&clients, &Aside::default());
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].invariant, "S4");
    let given_up = Aside { given_up: BTreeSet::from([lost.clone()]), ..Aside::default() };
    assert_eq!(toy.compare(&clients, &given_up), vec![]);
    // Put back at the end: only what was listed may move.
    toy.logs.get_mut(&name(1)).unwrap().push(lost.clone());
    assert_eq!(toy.compare(&clients, &Aside::default())[0].invariant, "S13");
    let moved = Aside { moved: BTreeSet::from([lost.clone()]), ..Aside::default() };
    assert_eq!(toy.compare(&clients, &moved), vec![]);
    let holder = clients.slot(0).unwrap().clone();
    for (epoch, fits) in [(epoch(2), true), (epoch(1), false)] {
        let past = Aside { failed_over: BTreeMap::from([(holder.clone(), epoch)]), ..Aside::default() };
        assert_eq!(toy.compare(&clients, &past).is_empty(), fits, "only what was acknowledged before the failover");
    }
    toy.logs.get_mut(&name(1)).unwrap().push(lost);
    assert_eq!(toy.compare(&clients, &moved)[0].invariant, "R21");
}

#[test]
fn loss_cases_say_what_was_given_up() {
    let mut toy = Toy::new(1);
    let id = |sequence| RecordId { client: ClientName::new("w1-store1").unwrap(), sequence };
    let stated = LossStatement {
        class: LossClass::Unknown,
        candidate: slot_types::position::Tip::default(),
        last_known: None,
        last_known_age_ms: None,
        known_lag: None,
    };
    let case = |state: LossState, sequence| LossCase {
        store: name(1),
        slot: slot(1),
        generation: CopyGeneration(1),
        plan: PlanId(1),
        epoch: epoch(2),
        stated: stated.clone(),
        state,
        final_tip: None,
        stranded: vec![id(sequence)],
        opened: LogTime(0),
    };
    let by = OperatorName::new("alice").unwrap();
    let cases = &mut toy.state.cluster.as_mut().unwrap().loss_cases;
    cases.insert(LossCaseId(1), case(LossState::Discarded { by: by.clone() }, 1));
    cases.insert(LossCaseId(2), case(LossState::Reinjected { by }, 2));
    cases.insert(LossCaseId(3), case(LossState::Listed, 3));
    let aside = Aside::of(&toy.state, &name(1));
    assert_eq!((aside.given_up, aside.listed), (BTreeSet::from([id(1)]), BTreeSet::from([id(3)])));
    assert_eq!(aside.moved, BTreeSet::from([id(1), id(2), id(3)]));
    assert_eq!(aside.failed_over, BTreeMap::from([(slot(1), epoch(2))]));
    assert!(!aside.unknown);
    assert_eq!(Aside::of(&toy.state, &name(2)), Aside::default());
}

#[test]
fn two_slots_that_acknowledge_at_one_epoch_are_found() {
    let (mut toy, mut clients) = (Toy::new(3), writers(3));
    toy.run(&mut clients, 100, false);
    assert_eq!(clients.findings(), &[]);
    toy.route(1, 4, 1);
    toy.run(&mut clients, 400, false);
    assert_eq!(clients.findings()[0].invariant, "S1");
}

#[test]
fn a_record_that_changed_its_place_is_found_by_a_read() {
    let (mut toy, mut clients) = (Toy::new(3), writers(3));
    toy.run(&mut clients, 200, false);
    toy.logs.get_mut(&name(1)).unwrap().reverse();
    toy.run(&mut clients, 400, false);
    assert!(clients.findings().iter().any(|f| f.invariant == "S13"), "{:?}", clients.counts());
}
