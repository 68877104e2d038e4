//! Looking around without I/O: what an agent tries for a leader that asks, for how long, and what came of it.
//!
//! What always holds: what is looked at is the leader's choice; a probe is a connection, then a proof, and each of the two ends
//! at its time; `answered` is said of who has proven to be that host, and of nobody else (R8); a device is asked for its status
//! and for nothing else; at most [`UNDER_WAY_MAX`] looks are under way at one agent, whoever asks. A call that would go beyond is
//! refused whole: what was not tried is no "no answer".

use core::net::SocketAddr;
use slot_planted::planted;
use slot_types::engine::EngineCall;
use slot_types::fence::{FenceSaid, FenceSpec};
use slot_types::ids::*;
use slot_types::probe::{LOOKS_MAX, LookAt, Looks, PROBE_MS, Probed, Saw, Sights};
use std::collections::BTreeMap;

/// Looks under way at one agent: those of a leader, and of the one before it that does not know yet.
pub const UNDER_WAY_MAX: usize = 2 * LOOKS_MAX;
/// The longest that a device is waited for here; a fence gives it its own time.
const DEVICE_MAX_MS: u64 = 20_000;
/// What has a deadline of its own is waited for so much longer.
const BEYOND_MS: u64 = 500;

/// Which look of which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The call.
    pub call: u64,
    /// The look's place in it.
    pub number: usize,
}

/// What is to be tried.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make a connection; answer with [`Event::Connected`].
    Connect {
        /// Which look.
        at: At,
        /// Where.
        address: SocketAddr,
    },
    /// See whether who is there proves to be this host; answer with [`Event::Proved`].
    Prove {
        /// Which look.
        at: At,
        /// Who it is to be.
        host: HostName,
        /// Where.
        address: SocketAddr,
    },
    /// Ask a device for its status; answer with [`Event::Told`].
    AskDevice {
        /// Which look.
        at: At,
        /// Whose power.
        host: HostName,
        /// The device.
        device: Box<FenceSpec>,
        /// How long it may take.
        budget_ms: u64,
    },
    /// Ask an engine of this host; answer with [`Event::Began`].
    AskEngine {
        /// Which look.
        at: At,
        /// Which copy, and where.
        copy: Box<OwnCopy>,
        /// What.
        engine_call: EngineCall,
        /// How long it may take.
        budget_ms: u64,
    },
    /// The call is over.
    Answer {
        /// Which.
        call: u64,
        /// What was seen, in the order of what was asked.
        sights: Sights,
    },
}

/// A copy of this host that is to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCopy {
    /// The slot's number.
    pub slot: u16,
    /// Where its engine listens.
    pub address: SocketAddr,
    /// The store.
    pub store: StoreName,
    /// The copy generation (R11).
    pub generation: CopyGeneration,
}

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// It was made.
    Made,
    /// It was refused: no process listens.
    Refused,
    /// There is no way.
    Failed,
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Of [`Effect::Connect`].
    Connected(At, Connected),
    /// Of [`Effect::Prove`]: whether it is that host.
    Proved(At, bool),
    /// Of [`Effect::AskDevice`].
    Told(At, Result<FenceSaid, String>),
    /// Of [`Effect::AskEngine`]: whether it has begun.
    Began(At, Result<(), String>),
    /// Time has passed.
    Tick(u64),
}

enum Stage {
    Connecting,
    Proving,
    Waiting,
    Over(Saw),
}

struct Look {
    at: LookAt,
    stage: Stage,
    until: u64,
}

/// See the module's documentation.
pub struct LookCore {
    cluster: ClusterId,
    calls: BTreeMap<u64, Vec<Look>>,
    last: u64,
}

impl LookCore {
    /// Nobody asks yet.
    pub fn new(cluster: ClusterId) -> Self {
        Self { cluster, calls: BTreeMap::new(), last: 0 }
    }

    /// A leader asks: the call's number and what to try, or why nothing is.
    pub fn ask(&mut self, now: u64, looks: Looks) -> Result<(u64, Vec<Effect>), String> {
        if looks.cluster != self.cluster {
            return Err(format!("looks for cluster {} asked of cluster {}", looks.cluster, self.cluster));
        }
        let (wanted, busy) = (looks.at.len(), self.under_way());
        if wanted > LOOKS_MAX {
            return Err(format!("{wanted} looks asked in one call; at most {LOOKS_MAX} are taken"));
        }
        if busy + wanted > UNDER_WAY_MAX {
            return Err(format!(
                "{busy} looks are under way, {wanted} more are asked; at most {UNDER_WAY_MAX} are tried"
            ));
        }
        self.last += 1;
        let mut effects = Vec::new();
        let begin = |(number, at): (usize, LookAt)| {
            let (stage, lasts, effect) = begin(At { call: self.last, number }, &at);
            effects.push(effect);
            Look { at, stage, until: now + lasts }
        };
        let call = looks.at.into_iter().enumerate().map(begin).collect();
        self.calls.insert(self.last, call);
        effects.extend(self.answer(self.last));
        Ok((self.last, effects))
    }

    /// Something came of an effect, or time has passed.
    pub fn step(&mut self, now: u64, event: Event) -> Vec<Effect> {
        let (at, saw) = match event {
            Event::Tick(call) => {
                self.expire(now, call);
                return self.answer(call).into_iter().collect();
            }
            Event::Connected(at, Connected::Made) => match self.connected(now, at) {
                Some(effect) => return vec![effect],
                None => (at, Saw::Probe(Probed::Answered)),
            },
            Event::Connected(at, Connected::Refused) => (at, Saw::Probe(Probed::Refused)),
            Event::Connected(at, Connected::Failed) => (at, Saw::Probe(Probed::NoAnswer)),
            Event::Proved(at, true) => (at, Saw::Probe(Probed::Answered)),
            Event::Proved(at, false) => (at, Saw::Probe(Probed::Unproven)),
            Event::Told(at, said) => (at, Saw::Power(power(said))),
            Event::Began(at, began) => (at, Saw::Verify(began)),
        };
        let look = self.calls.get_mut(&at.call).and_then(|call| call.get_mut(at.number));
        if let Some(look) = look.filter(|look| !matches!(look.stage, Stage::Over(_))) {
            look.stage = Stage::Over(saw);
        }
        self.answer(at.call).into_iter().collect()
    }

    /// When a call's next look ends by itself.
    pub fn wake_at(&self, call: u64) -> Option<u64> {
        let open = self.calls.get(&call)?.iter().filter(|look| !matches!(look.stage, Stage::Over(_)));
        open.map(|look| look.until).min()
    }

    /// Who asked is gone, or everything of the call has ended: what it tried is under way no more.
    pub fn gone(&mut self, call: u64) {
        self.calls.remove(&call);
    }

    /// How many looks are under way.
    pub fn under_way(&self) -> usize {
        self.calls.values().map(Vec::len).sum()
    }

    /// Somebody takes the connection: now it is to be seen who it is.
    fn connected(&mut self, now: u64, at: At) -> Option<Effect> {
        if planted("r8-connection-taken-for-an-answer") {
            return None;
        }
        let look = self.calls.get_mut(&at.call)?.get_mut(at.number)?;
        let (LookAt::Address { host, address, .. }, Stage::Connecting) = (&look.at, &look.stage) else { return None };
        (look.stage, look.until) = (Stage::Proving, now + PROBE_MS);
        Some(Effect::Prove { at, host: host.clone(), address: *address })
    }

    fn expire(&mut self, now: u64, call: u64) {
        for look in self.calls.get_mut(&call).into_iter().flatten().filter(|look| look.until <= now) {
            let saw = match (&look.stage, &look.at) {
                (Stage::Over(_), _) => continue,
                (Stage::Connecting, _) => Saw::Probe(Probed::NoAnswer),
                (Stage::Proving, _) => Saw::Probe(Probed::Unproven),
                (Stage::Waiting, LookAt::Verify { .. }) => Saw::Verify(Err("its engine did not answer in time".into())),
                (Stage::Waiting, _) => Saw::Power(Err("it did not answer in time".into())),
            };
            look.stage = Stage::Over(saw);
        }
    }

    /// The answer, once everything is over.
    fn answer(&self, call: u64) -> Option<Effect> {
        let saw = self.calls.get(&call)?.iter().map(|look| match &look.stage {
            Stage::Over(saw) => Some(saw.clone()),
            _ => None,
        });
        Some(Effect::Answer { call, sights: Sights { saw: saw.collect::<Option<_>>()? } })
    }
}

/// How a look begins, how long that may take, and what is to be tried.
fn begin(at: At, look: &LookAt) -> (Stage, u64, Effect) {
    match look {
        LookAt::Address { address, .. } => (Stage::Connecting, PROBE_MS, Effect::Connect { at, address: *address }),
        LookAt::Power { host, device } => {
            let budget_ms = device.timeout_ms.min(DEVICE_MAX_MS);
            let effect = Effect::AskDevice { at, host: host.clone(), device: device.clone(), budget_ms };
            (Stage::Waiting, budget_ms + BEYOND_MS, effect)
        }
        LookAt::Verify { slot, address, store, generation, epoch, against, asked, rate } => {
            let copy = OwnCopy { slot: *slot, address: *address, store: store.clone(), generation: *generation };
            let engine_call =
                EngineCall::Verify { epoch: *epoch, against: against.clone(), asked: *asked, rate: *rate };
            let effect = Effect::AskEngine { at, copy: Box::new(copy), engine_call, budget_ms: PROBE_MS };
            (Stage::Waiting, PROBE_MS + BEYOND_MS, effect)
        }
    }
}

fn power(said: Result<FenceSaid, String>) -> Result<slot_types::fence::Power, String> {
    match said? {
        FenceSaid::Power(power) => Ok(power),
        FenceSaid::Switched => Err("it answered another question".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    fn address(port: u16) -> LookAt {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        LookAt::Address { host: "imap3".parse().unwrap(), slot: None, address }
    }

    fn looks(count: u16) -> Looks {
        Looks { cluster: CLUSTER, at: (0..count).map(address).collect() }
    }

    fn saw(effects: &[Effect]) -> Option<Vec<Saw>> {
        effects.iter().find_map(|effect| match effect {
            Effect::Answer { sights, .. } => Some(sights.saw.clone()),
            _ => None,
        })
    }

    #[test]
    fn r8_answered_is_said_of_who_has_proven_it_and_each_step_ends_at_its_time() {
        let mut core = LookCore::new(CLUSTER);
        let (call, effects) = core.ask(1_000, looks(5)).unwrap();
        assert_eq!(effects.len(), 5);
        let at = |number| At { call, number };
        for number in [0, 1, 2] {
            let effects = core.step(1_500, Event::Connected(at(number), Connected::Made));
            assert!(matches!(effects[..], [Effect::Prove { .. }]), "{effects:?}");
        }
        assert_eq!(core.step(1_510, Event::Proved(at(0), true)), []);
        assert_eq!(core.step(1_510, Event::Proved(at(1), false)), []);
        assert_eq!(core.step(1_520, Event::Connected(at(3), Connected::Refused)), []);
        assert_eq!(core.wake_at(call), Some(2_000), "nobody took the last one's connection");
        assert_eq!(core.step(2_000, Event::Tick(call)), []);
        assert_eq!(core.wake_at(call), Some(2_500), "the third has proven nothing");
        let over = core.step(2_500, Event::Tick(call));
        let probed = [Probed::Answered, Probed::Unproven, Probed::Unproven, Probed::Refused, Probed::NoAnswer];
        assert_eq!(saw(&over).unwrap(), probed.map(Saw::Probe));
        assert_eq!(
            saw(&core.step(2_600, Event::Proved(at(2), true))).unwrap()[2],
            Saw::Probe(Probed::Unproven),
            "too late"
        );
    }

    #[test]
    fn adr39_a_call_beyond_what_may_be_under_way_is_refused_whole() {
        let mut core = LookCore::new(CLUSTER);
        let most = u16::try_from(LOOKS_MAX).unwrap();
        assert!(core.ask(0, looks(most + 1)).unwrap_err().contains("at most"));
        let (first, _) = core.ask(0, looks(most)).unwrap();
        core.ask(0, looks(most)).unwrap();
        assert_eq!(core.under_way(), UNDER_WAY_MAX);
        assert!(core.ask(0, looks(1)).unwrap_err().contains("under way"));
        core.gone(first);
        core.ask(0, looks(1)).unwrap();
    }

    #[test]
    fn s15_another_clusters_looks_are_refused_and_none_are_answered_at_once() {
        let mut core = LookCore::new(CLUSTER);
        assert!(core.ask(0, Looks { cluster: ClusterId([2; 16]), at: Vec::new() }).is_err());
        let (_, effects) = core.ask(0, looks(0)).unwrap();
        assert_eq!(saw(&effects), Some(Vec::new()));
    }
}
