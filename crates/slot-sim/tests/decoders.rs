//! Payloads of a real world, damaged past their frames' checksums: every decoder refuses or answers, and none panics (S11).
//!
//! What always holds: the payloads are those that a simulated cluster sent; each kind of message is tried.

use slot_sim::faults::Swarm;
use slot_sim::sim::{Kind, Sim, decode};
use std::collections::BTreeMap;

/// Every kind that travels between machines, with up to so many payloads of each.
fn payloads(of_each: usize) -> BTreeMap<Kind, Vec<Vec<u8>>> {
    let mut sim = Sim::new(11, Swarm::calm(2, 1, 2, 0));
    sim.keep_payloads(of_each);
    sim.begin();
    assert!(sim.run_until(120_000, Sim::is_founded), "the store is made");
    sim.run_for(20_000);
    sim.payloads()
}

#[test]
fn s11_damaged_payloads_never_panic_a_decoder() {
    let kept = payloads(6);
    let kinds: Vec<Kind> = kept.keys().copied().collect();
    for kind in [
        Kind::Raft,
        Kind::Deliver,
        Kind::DeliverReply,
        Kind::Report,
        Kind::Control,
        Kind::ControlReply,
        Kind::Peer,
        Kind::PeerReply,
        Kind::Append,
        Kind::AppendReply,
    ] {
        assert!(kinds.contains(&kind), "no {kind:?} travelled");
    }
    let (mut refused, mut tried) = (0_u64, 0_u64);
    for (kind, payloads) in &kept {
        for payload in payloads {
            assert_eq!(decode(*kind, payload), Ok(()), "{kind:?} as it was sent");
            for bit in 0..payload.len().min(1_500) * 8 {
                let mut damaged = payload.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                tried += 1;
                refused += u64::from(decode(*kind, &damaged).is_err());
            }
            for length in 0..payload.len().min(1_500) {
                tried += 1;
                refused += u64::from(decode(*kind, &payload[..length]).is_err());
            }
        }
    }
    assert!(tried > 50_000, "{tried} damaged payloads are too few to mean something");
    assert!(refused * 10 > tried, "{refused} of {tried} were refused: the decoders hardly look");
}
