//! The numbers of a demo, as its JSON file has them.
//!
//! What always holds: lost and duplicated are counted by the clients from their own logs of acknowledgements.

use crate::Outcome;
use serde::Serialize;
use std::time::Duration;

/// All of them.
#[derive(Debug, Default, Serialize)]
pub struct Numbers {
    /// Records that clients were told are durable.
    pub writes_acked: u64,
    /// Of these: not there at the end.
    pub writes_lost: u64,
    /// Of these: there more than once.
    pub writes_duplicated: u64,
    /// Planned changes of a master.
    pub masters_handed_over: u64,
    /// How long a client waited for an acknowledgement around the planned change of its store's master: the longest time
    /// between two of them, less its own pause.
    pub handover_gap_ms: Gaps,
    /// From the yes to SAFE TO SWITCH OFF, for the host with the most masters.
    pub drain_s: f64,
    /// From the death of the leading coordinator until another one could prove that it leads.
    pub leader_gap_ms: u64,
    /// The host that died.
    pub unplanned: Unplanned,
    /// From the yes until a host held no copy any more, each built elsewhere first.
    pub drain_empty_s: f64,
    /// The same death as `unplanned`, as one sheet.
    pub failover_host: Together,
    /// Every machine without power at once.
    pub power_cut: Together,
    /// From the first word about a bare host, its invitation, until every copy it had is whole again.
    pub rejoin_s: f64,
    /// All acts together.
    pub seconds: f64,
}

/// Many stores at once.
#[derive(Debug, Default, Serialize)]
pub struct Together {
    /// Stores that had no master.
    pub stores: u64,
    /// People who said yes.
    pub approvals: u64,
    /// Until every client of these stores was served again.
    pub s: f64,
}

/// The host that died.
#[derive(Debug, Default, Serialize)]
pub struct Unplanned {
    /// Masters it had.
    pub stores: u64,
    /// People who said yes.
    pub approvals: u64,
    /// Records that the loss cases list.
    pub loss_listed: u64,
    /// Records that clients were told are durable and that the new masters did not have.
    pub loss_actual: u64,
    /// Of these: put into the new masters.
    pub reinjected: u64,
    /// From the second yes until every client of the dead host's stores was served again.
    pub failover_s: f64,
}

/// A distribution of gaps, in milliseconds.
#[derive(Debug, Default, Serialize)]
pub struct Gaps {
    /// Half of them are at most this.
    pub p50: u64,
    /// All but one in a hundred are at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

impl Gaps {
    /// Of these durations.
    pub fn of(gaps: &[Duration]) -> Self {
        let mut sorted: Vec<u64> = gaps.iter().map(|gap| u64::try_from(gap.as_millis()).unwrap_or(u64::MAX)).collect();
        sorted.sort_unstable();
        // The smallest value that so many of a hundred do not exceed.
        let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Self { p50: at(50).unwrap_or(0), p99: at(99).unwrap_or(0), max: at(100).unwrap_or(0) }
    }
}

impl Numbers {
    /// For a reader.
    pub(super) fn lines(&self) -> Vec<String> {
        let (gaps, unplanned) = (&self.handover_gap_ms, &self.unplanned);
        vec![
            format!("{:>8}  writes acknowledged to clients", self.writes_acked),
            format!("{:>8}  of them lost", self.writes_lost),
            format!("{:>8}  of them there twice", self.writes_duplicated),
            format!("{:>8}  masters handed over as planned", self.masters_handed_over),
            format!(
                "{:>8}  ms a client waited at such a hand-over (p50; p99 {}, max {})",
                gaps.p50, gaps.p99, gaps.max
            ),
            format!("{:>8.1}  s to drain a host until it was safe to switch off", self.drain_s),
            format!("{:>8}  ms without a leading coordinator after it was killed", self.leader_gap_ms),
            format!("{:>8}  masters died with their host; {} people approved", unplanned.stores, unplanned.approvals),
            format!(
                "{:>8}  records listed as stranded there, {} missed by clients",
                unplanned.loss_listed, unplanned.loss_actual
            ),
            format!("{:>8}  of them put back", unplanned.reinjected),
            format!("{:>8.1}  s to empty a host, every copy built elsewhere first", self.drain_empty_s),
            format!(
                "{:>8.1}  s from power for all machines until all {} stores were served, {} approvals",
                self.power_cut.s, self.power_cut.stores, self.power_cut.approvals
            ),
            format!("{:>8.1}  s from a bare host's invitation until its copies were whole", self.rejoin_s),
            format!("{:>8.1}  s in all", self.seconds),
        ]
    }

    /// Fails when anything was lost or duplicated.
    pub(super) fn verdict(&self) -> Outcome<()> {
        let Self { writes_lost, writes_duplicated, unplanned, .. } = self;
        if *writes_lost > 0 || *writes_duplicated > 0 {
            return Err(format!("{writes_lost} writes were lost and {writes_duplicated} are there twice").into());
        }
        if unplanned.loss_listed != unplanned.loss_actual {
            let (listed, actual) = (unplanned.loss_listed, unplanned.loss_actual);
            return Err(format!("the loss cases listed {listed} records, clients missed {actual}").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let gaps: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let of = Gaps::of(&gaps);
        assert_eq!((of.p50, of.p99, of.max), (100, 198, 200));
        let one = Gaps::of(&[Duration::from_millis(7)]);
        assert_eq!((one.p50, one.p99, one.max), (7, 7, 7));
        assert_eq!(Gaps::of(&[]).max, 0);
    }
}
