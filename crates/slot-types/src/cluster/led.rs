//! What a host leads: masters by number, and their declared load.
//!
//! What always holds: loads and weights are what the cluster file says, never what is measured; where it says none, a level is the
//! number of masters in thousandths, so that whoever compares levels compares numbers.

use super::Cluster;
use crate::ids::HostName;
use std::collections::BTreeMap;

/// A master of load 1 on a host of weight 1, as levels count it.
pub const ONE_STORE: u64 = 1_000;

/// Masters of one host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Led {
    /// How many.
    pub masters: u32,
    /// What they weigh together.
    pub load: u64,
}

impl Led {
    /// One more, of this load.
    pub fn add(&mut self, load: u16) {
        self.masters += 1;
        self.load += u64::from(load);
    }
    /// One fewer.
    pub fn take(&mut self, load: u16) {
        self.masters = self.masters.saturating_sub(1);
        self.load = self.load.saturating_sub(u64::from(load));
    }
    /// Load over a host's weight, in thousandths and rounded up.
    pub fn level(self, weight: u16) -> u64 {
        (self.load * ONE_STORE).div_ceil(u64::from(weight.max(1)))
    }
}

impl Cluster {
    /// Whether a store or a host is said to be other than ordinary, so that numbers of masters do not say all.
    pub fn has_loads(&self) -> bool {
        let loads = self.stores.values().filter(|store| !store.retired).map(|store| store.spec.load);
        loads.chain(self.hosts.values().map(|host| host.weight)).any(|declared| declared != 1)
    }
    /// What each host leads, masters that are promised included.
    pub fn led(&self) -> BTreeMap<HostName, Led> {
        let mut led: BTreeMap<HostName, Led> = self.hosts.keys().map(|host| (host.clone(), Led::default())).collect();
        for store in self.stores.values() {
            if let Some(slot) = store.pending.as_ref().or(store.master.as_ref()) {
                led.entry(slot.host.clone()).or_default().add(store.spec.load);
            }
        }
        led
    }
    /// What a host bears of what it leads, as [`Led::level`] counts it; one that is not known is ordinary.
    pub fn level(&self, host: &HostName, led: Led) -> u64 {
        led.level(self.hosts.get(host).map_or(1, |host| host.weight))
    }
}

/// A level as a person reads it: `31.5` is as much as 31 and a half ordinary masters on an ordinary host.
pub fn level_text(level: u64) -> String {
    let (whole, part) = (level / ONE_STORE, level % ONE_STORE);
    match part {
        0 => whole.to_string(),
        part => format!("{whole}.{part:03}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_load_over_weight_and_without_either_the_number() {
        let mut led = Led::default();
        led.add(1);
        led.add(1);
        assert_eq!((led.level(1), led.level(3)), (2_000, 667));
        led.add(5);
        assert_eq!((led, led.level(2)), (Led { masters: 3, load: 7 }, 3_500));
        led.take(5);
        assert_eq!(led, Led { masters: 2, load: 2 });
    }

    #[test]
    fn a_level_is_written_with_no_more_digits_than_it_has() {
        let texts = [0, 1, 667, 1_000, 31_500, 40_050].map(level_text);
        assert_eq!(texts, ["0", "0.001", "0.667", "1", "31.5", "40.05"]);
    }
}
