//! A real HAProxy and a real Postfix, served by a front end's agent with the shipped templates.
//!
//! What always holds: when a hand-over is done, new connections and new mail reach the new master, by the proxies' own
//! configuration; while a store is moving both hold what comes, and that ends with the freeze though nobody is left to say so
//! (R12); what was acknowledged through the proxy is there.

use rustix::process::Signal;
use slot_engine::journal::client::JournalClient;
use slot_tests::cluster::Cluster;
use slot_tests::ctl::DONE;
use slot_tests::front_ends::FrontEnd;
use slot_tests::programs::Programs;
use slot_tests::proxies::{self, Haproxy, Postfix, Sinks, send};
use slot_tests::shape::{Shape, host, host_number};
use slot_tests::wire::{Caller, runtime};
use slot_tests::{AT_LAST, Outcome, engines, wait_until};
use slot_types::engine::Source;
use slot_types::ids::{ClientName, Epoch, RecordId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const STORE: &str = "store1";
/// What the shipped template has HAProxy hold new connections for while a store is moving.
const HELD: Duration = Duration::from_secs(1);
const BUDGET: Duration = Duration::from_secs(60);

/// A cluster, one front end with both proxies, and a client that makes a new connection for everything it does.
struct Site {
    _agent: FrontEnd,
    haproxy: Haproxy,
    postfix: Postfix,
    sinks: Sinks,
    caller: Caller,
    runtime: Runtime,
    acknowledged: u64,
    // Last: everything above listens on its addresses.
    cluster: Cluster,
}

fn shape(policy: &str) -> Shape {
    let maps = vec!["haproxy", "postfix-transport", "delivery"];
    Shape { front_ends: 1, maps, policy: policy.into(), ..Shape::small() }
}

impl Site {
    fn on(cluster: Cluster) -> Outcome<Self> {
        let (haproxy, postfix) = (Haproxy::new(&cluster, 1)?, Postfix::start(&cluster, 1)?);
        let sinks = Sinks::start(&cluster)?;
        let agent = cluster.start_front_end(1, &format!("{}\n{}", haproxy.map(), postfix.maps()))?;
        cluster.wait_front_end(1)?;
        let (caller, runtime) = (cluster.caller("client-w1")?, runtime()?);
        Ok(Self { haproxy, postfix, sinks, _agent: agent, caller, runtime, acknowledged: 0, cluster })
    }

    /// A connection through HAProxy that takes nobody but the engine on this slot for the master.
    fn through(&self, slot: &str) -> Outcome<JournalClient> {
        let to = Source { slot: slot.parse()?, address: self.haproxy.address(1) };
        let _inside = self.runtime.enter();
        self.caller.journal(&STORE.parse()?, &to)
    }

    /// Writes a record over a new connection through HAProxy.
    fn write(&mut self, slot: &str, n: u64) -> Outcome<()> {
        let (client, epoch) = (self.through(slot)?, Epoch { generation: 0, n });
        let id = RecordId { client: ClientName::new("w1")?, sequence: self.acknowledged + 1 };
        self.runtime.block_on(client.append(epoch, id, b"through the proxy".to_vec(), BUDGET))?;
        self.acknowledged += 1;
        Ok(())
    }

    /// How long the first answer over a new connection through HAProxy takes.
    fn answers_after(&self, slot: &str) -> Outcome<Duration> {
        let (client, began) = (self.through(slot)?, Instant::now());
        self.runtime.block_on(client.read(None, 0, 1, Duration::ZERO))?;
        Ok(began.elapsed())
    }

    /// The records of the client that the master on this slot holds, read through HAProxy.
    fn held(&self, slot: &str, n: u64) -> Outcome<Vec<u64>> {
        let client = self.through(slot)?;
        let read = client.read(Some(Epoch { generation: 0, n }), 0, 1_000, Duration::ZERO);
        let (records, _) = self.runtime.block_on(read)?;
        let ids = records.iter().filter_map(|(_, record)| record.id());
        Ok(ids.filter(|id| id.client.as_str() == "w1").map(|id| id.sequence).collect())
    }

    fn transport_to(&self, slot: &str) -> Outcome<String> {
        let number = slot.split('/').nth(1).and_then(|text| text.parse().ok()).ok_or("no number")?;
        let at = self.cluster.block().slot(host_number(slot).ok_or("no host")?, number);
        Ok(format!("lmtp:inet:[{}]:{}", at.ip(), at.port()))
    }

    fn delivered(&self, subject: &str, slot: &str) -> Outcome<()> {
        wait_until(&format!("{subject} is delivered"), AT_LAST, || !self.sinks.took(subject).is_empty())
            .map_err(|error| format!("{error}; Postfix said: {}", self.postfix.log()))?;
        assert_eq!(self.sinks.took(subject), [slot], "{subject}");
        Ok(())
    }
}

#[test]
fn a_handed_over_store_is_reached_through_haproxy_and_postfix() -> Outcome<()> {
    if !proxies::are_there()? {
        return Ok(());
    }
    let mut site = Site::on(Cluster::for_test(shape(""))?)?;
    let mut last = site.cluster.master_of(STORE)?;
    for turn in 1..=3 {
        let (master, epoch) = (site.cluster.master_of(STORE)?, site.cluster.epoch_of(STORE)?);
        site.write(&master, epoch)?;
        assert_eq!(site.postfix.transport(STORE)?, site.transport_to(&master)?);
        let subject = format!("mail {turn}");
        send(site.postfix.address(), STORE, &subject)?;
        site.delivered(&subject, &master)?;
        if turn > 1 {
            assert_ne!(last, master);
            assert!(site.answers_after(&last).is_err(), "{last} answers through HAProxy after its store moved away");
        }
        site.cluster.ctl.change("alice", &["failover", "slot", &master, "-m", "test"])?.expect(DONE)?;
        last = master;
    }
    let (master, epoch) = (site.cluster.master_of(STORE)?, site.cluster.epoch_of(STORE)?);
    assert_eq!(site.held(&master, epoch)?, [1, 2, 3]);
    // The other stores' clients were never sent elsewhere.
    for store in ["store2", "store3"] {
        let slot = site.cluster.master_of(store)?;
        assert_eq!(site.postfix.transport(store)?, site.transport_to(&slot)?);
    }
    Ok(())
}

#[test]
fn r12_moving_holds_connections_and_mail_and_ends_with_the_freeze_though_every_coordinator_is_dead() -> Outcome<()> {
    let Some(programs) = Programs::with_failpoints()? else { return Ok(()) };
    if !proxies::are_there()? {
        return Ok(());
    }
    // Whoever is to catch up stops there, so that the store stays frozen.
    let stops = |n| (host(n), "agent-catch-up-received=stop".to_owned());
    let failpoints = BTreeMap::from([stops(1), stops(2), stops(3)]);
    let policy = "handover = { freeze = \"15s\" }\n";
    let mut site = Site::on(Cluster::for_test_with(shape(policy), programs, failpoints)?)?;
    let (master, epoch) = (site.cluster.master_of(STORE)?, site.cluster.epoch_of(STORE)?);
    site.write(&master, epoch)?;
    let proposal = site.cluster.ctl.propose("alice", &["failover", "slot", &master, "-m", "test"])?;
    site.cluster.ctl.approve_and_go("alice", &proposal)?.expect(DONE)?;
    wait_until("HAProxy's map holds new connections", AT_LAST, || site.haproxy.text().contains("inspect-delay"))?;
    wait_until("Postfix's map holds mail", AT_LAST, || {
        site.postfix.transport(STORE).is_ok_and(|said| said == format!("retry:4.3.2 {STORE} is being moved"))
    })?;
    for n in 1..=3 {
        site.cluster.kill_coordinator(n)?;
    }
    let refused = send(site.postfix.address(), STORE, "come again").map_err(|error| error.to_string());
    assert!(refused.is_err_and(|why| why.contains(": 450 4.3.2")), "whoever brings mail is told to come again");
    send(site.postfix.queueing(), STORE, "while it moves")?;
    let held = site.answers_after(&master)?;
    assert!(held >= HELD, "a new connection was let through after {held:?}");
    assert!(site.sinks.took("while it moves").is_empty(), "it is to wait in the queue");
    assert!(site.haproxy.text().contains("inspect-delay"), "all of that was within the freeze");
    // Offered from within the freeze on: the engine refuses it for now, and takes it once it has thawed by itself.
    wait_until("the master takes writes again", AT_LAST, || site.write(&master, epoch).is_ok())?;
    let ended = || !site.haproxy.text().contains("inspect-delay");
    wait_until("moving ends with the freeze, by the front end's own clock", AT_LAST, ended)?;
    // Each proxy's map is a file of its own, written and reloaded after the other's.
    let here = site.transport_to(&master)?;
    let moved_back = || site.postfix.transport(STORE).is_ok_and(|said| said == here);
    wait_until("Postfix's map ends with the freeze as well", AT_LAST, moved_back)?;
    site.delivered("while it moves", &master)?;
    wait_until("new connections are let through at once", AT_LAST, || {
        site.answers_after(&master).is_ok_and(|took| took < HELD)
    })?;
    site.write(&master, epoch)?;
    assert_eq!(site.held(&master, epoch)?, [1, 2, 3]);
    // Everybody comes back, and the plan ends without having moved it.
    for n in 1..=3 {
        engines::signal(&site.cluster.agent_process(n)?, Signal::CONT)?;
        site.cluster.start_coordinator(n)?;
    }
    site.cluster.ctl.run("alice", &["plan", "watch", &proposal.plan])?;
    assert_eq!(site.cluster.master_of(STORE)?, master);
    Ok(())
}
