//! Everything seen of one host, as it is said.

use super::fixtures::*;
use slot_types::cluster::{Attestation, HostState, Reboot, Silence};
use slot_types::disk::Disk;
use slot_types::engine::EngineRole;
use slot_types::evidence::{AgentSeen, CopyEvidence};
use slot_types::fence::{DeviceFailed, DeviceOff, Power};
use slot_types::ids::*;
use slot_types::probe::{Probe, Probed, Reach};
use slot_types::view::*;
use slotctl::text;

fn seen(h: u16, age_ms: u64) -> slot_types::evidence::Seen<AgentSeen> {
    let by = u8::try_from(h).unwrap();
    known(AgentSeen { incarnation: Incarnation([by; 16]), boot: BootId([by; 16]) }, age_ms)
}

fn other(h: u16, age_ms: u64) -> OtherSeen {
    OtherSeen { host: host(h), same_domain: rack(h) == rack(3), agent: seen(h, age_ms), silent: age_ms > 3_000 }
}

/// One host hears nothing of it, another is taken in, and one engine answers a third.
fn reach() -> Reach {
    let probe = |by: u16, number: Option<u16>, probed, age_ms| {
        let slot = number.map(|n| slot(3, n));
        Probe { by: host(by), slot, probed, age_ms, same_ms: age_ms + 240_000 }
    };
    Reach {
        probes: vec![
            probe(5, None, Probed::NoAnswer, 900),
            probe(5, Some(7), Probed::Answered, 900),
            probe(7, None, Probed::Unproven, 1_700),
            probe(9, None, Probed::Refused, 400_000),
        ],
        elsewhere: 110,
        elsewhere_answered: 110,
        near: vec![(host(1), true), (host(2), false)],
    }
}

fn reboot(ms: u64, whole: bool, kept_off: bool) -> Reboot {
    Reboot { boot: BootId([2; 16]), silence: Silence { ms, whole }, kept_off, wall: WallTime(1_730_800_000_000) }
}

/// A host whose agent is silent while a replica still hears one of its engines.
pub fn evidence_view() -> EvidenceView {
    let link = |n: u16, heard_ms| LinkSeen { store: store(n), from: slot(7, n), to: slot(3, n), heard_ms };
    EvidenceView {
        host: host(3),
        at: rack(3),
        declared: HostState::Active,
        revision: Revision(48_211),
        boot: Some(BootId([3; 16])),
        reboots: vec![reboot(370_000, true, false), reboot(348_000, false, false), reboot(391_000, true, true)],
        agent: seen(3, 241_000),
        disk: known(Disk { free_bytes: 1_200_000_000_000, total_bytes: 20_000_000_000_000 }, 241_000),
        load: known(load_of(16, 571_000, Some(402_000), &[(7, 24_000), (8, 31_000)]), 241_000),
        engines: vec![
            EngineSeen { slot: slot(3, 7), store: store(23), engine: running(3, 7, 23, EngineRole::Master, 241_000) },
            EngineSeen { slot: slot(3, 8), store: store(24), engine: known(CopyEvidence::NotRunning, 241_000) },
        ],
        links: vec![link(23, known(120, 900)), link(24, unknown("it has not heard its master since it started"))],
        others: vec![other(1, 400), other(2, 90_000), other(4, 500), other(5, 700), other(7, 900)],
        reach: Some(reach()),
        device: Some(DeviceSeen {
            fence_agent: "fence_ipmilan".into(),
            power: known(Power::On, 4_000),
            off: None,
            failed: Some(DeviceFailed { boot: BootId([3; 16]), at: LogTime(7), why: "status still says on".into() }),
        }),
        word: None,
        word_holds: false,
    }
}

/// The same host, switched off, and somebody's word on top of it; this coordinator hears no agents.
pub fn off_view() -> EvidenceView {
    let of_a_follower = || "only the leader hears agents";
    let (boot, by) = (BootId([3; 16]), OperatorName::new("bob").unwrap());
    EvidenceView {
        agent: unknown(of_a_follower()),
        disk: unknown(of_a_follower()),
        load: unknown(of_a_follower()),
        engines: vec![EngineSeen { slot: slot(3, 7), store: store(23), engine: unknown(of_a_follower()) }],
        links: Vec::new(),
        reach: None,
        others: vec![OtherSeen { agent: unknown(of_a_follower()), ..other(9, 1) }],
        device: Some(DeviceSeen {
            fence_agent: "fence_ipmilan".into(),
            power: unknown("its device was not asked"),
            off: Some(DeviceOff { boot, by: host(9), plan: PlanId(18), at: LogTime(9), was: HostState::Active }),
            failed: None,
        }),
        word: Some(Attestation { boot, by, how: "unplugged".into(), at: LogTime(5), expires: LogTime(99) }),
        word_holds: true,
        ..evidence_view()
    }
}

#[test]
fn a_silent_host_that_a_replica_still_hears() {
    golden!(text::evidence::evidence(&evidence_view()));
}

#[test]
fn a_host_that_was_switched_off() {
    golden!(text::evidence::evidence(&off_view()));
    let lone = EvidenceView { others: Vec::new(), device: None, word_holds: false, ..off_view() };
    let text = text::evidence::evidence(&lone);
    assert!(text.contains("there is no other") && text.contains("names none"), "{text}");
    assert!(text.contains("bob's word that it is off holds no longer"), "{text}");
}
