//! The worst loss of any two hosts at once.
//!
//! What always holds: whatever is left out, the pair that stops the most stores is looked at, since what a pair stops is counted
//! store by store and not pair by pair; the pair that is found is then told in full, as any other loss.

use super::WhatIf;
use crate::leads::Leads;
use slot_types::cluster::Led;
use slot_types::ids::HostName;
use slot_types::view::{Lost, PairLoss};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// So many pairs are looked at, which takes some ten milliseconds; a status is asked for often.
const PAIRS_MAX: usize = 10_000;
/// Of more hosts than make so many pairs, pairs of the worst hosts, and pairs that share the most stores.
const WORST_HOSTS: usize = 100;

/// What two hosts' loss does: stores that stop, what the fullest host then bears for its weight, masters that go.
type Damage = (u32, u64, u32);

impl WhatIf<'_> {
    /// The worst pair: stops the most stores, then fills a host the most, then sends the most masters away; of equals the first.
    pub fn worst_pair(&self) -> PairLoss {
        let leads = self.leads.get_or_init(|| Leads::of(&self.view));
        let mut pairs = Pairs::of(leads, |host| self.led.get(host).copied().unwrap_or_default());
        let count = pairs.hosts.len() as u64;
        let of = count * count.saturating_sub(1) / 2;
        let candidates = pairs.candidates(of);
        let looked_at = candidates.len() as u64;
        let mut worst: Option<(Damage, (u32, u32))> = None;
        for pair in candidates {
            let damage = pairs.damage(pair);
            if worst.is_none_or(|(known, _)| damage > known) {
                worst = Some((damage, pair));
            }
        }
        let lost = worst.map(|(_, (a, b))| {
            let hosts = [a, b].into_iter().map(|host| leads.hosts[host as usize].clone());
            Lost::Hosts(hosts.collect::<BTreeSet<HostName>>())
        });
        let worst = lost.and_then(|lost| self.of(&lost)).map(|loss| loss.line(Vec::new()));
        PairLoss { worst, looked_at, of }
    }
}

/// The fleet, for looking at one pair after another.
struct Pairs<'l, 'a> {
    leads: &'l Leads<'a>,
    /// Hosts that lead, or hold a live copy.
    hosts: Vec<u32>,
    /// Stores by the host of their master.
    led: Vec<Vec<u32>>,
    led_by: Vec<Led>,
    /// Hosts, the fullest first.
    order: Vec<u32>,
    /// Hosts that take a store over, and what it weighs.
    changed: Vec<(u32, u16)>,
}

impl<'l, 'a> Pairs<'l, 'a> {
    fn of(leads: &'l Leads<'a>, of: impl Fn(&HostName) -> Led) -> Self {
        let mut led = vec![Vec::new(); leads.hosts.len()];
        for (store, lead) in (0u32..).zip(&leads.lead) {
            if let Some(led) = led.get_mut(*lead as usize) {
                led.push(store);
            }
        }
        let led_by: Vec<Led> = leads.hosts.iter().map(|host| of(host)).collect();
        let all = 0..u32::try_from(leads.hosts.len()).unwrap_or(u32::MAX);
        let counts = |host: &u32| !led[*host as usize].is_empty() || !leads.on[*host as usize].is_empty();
        let hosts: Vec<u32> = all.clone().filter(counts).collect();
        let mut order: Vec<u32> = all.collect();
        let level = |host: u32| led_by[host as usize].level(leads.host_weight[host as usize]);
        order.sort_by_key(|host| (Reverse(level(*host)), *host));
        Pairs { leads, hosts, led, led_by, order, changed: Vec::new() }
    }

    /// Where a store's master could be, the host where it is first.
    fn homes(&self, store: u32) -> impl Iterator<Item = u32> + '_ {
        let lead = self.leads.lead[store as usize];
        std::iter::once(lead).chain(self.leads.heirs[store as usize].iter().copied().filter(move |heir| *heir != lead))
    }

    /// The pairs to look at; all if there are few.
    fn candidates(&self, of: u64) -> Vec<(u32, u32)> {
        let every = |hosts: &[u32]| -> Vec<(u32, u32)> {
            let pairs =
                hosts.iter().enumerate().flat_map(|(n, a)| hosts[n + 1..].iter().map(move |b| (*a.min(b), *a.max(b))));
            pairs.collect()
        };
        if of <= PAIRS_MAX as u64 {
            return every(&self.hosts);
        }
        let (mut alone, mut both) = (vec![0u32; self.led_by.len()], BTreeMap::<(u32, u32), u32>::new());
        for store in self.led.iter().flatten() {
            let mut homes = self.homes(*store);
            match (homes.next(), homes.next(), homes.next()) {
                (Some(only), None, _) => alone[only as usize] += 1,
                (Some(a), Some(b), None) => *both.entry((a.min(b), a.max(b))).or_default() += 1,
                _ => {}
            }
        }
        let stops = |(a, b): (u32, u32), both: u32| alone[a as usize] + alone[b as usize] + both;
        let mut sharing: Vec<(Reverse<u32>, (u32, u32))> =
            both.into_iter().map(|(pair, both)| (Reverse(stops(pair, both)), pair)).collect();
        sharing.sort_unstable();
        let mut worst = self.hosts.clone();
        worst.sort_by_key(|host| (Reverse(alone[*host as usize]), Reverse(self.level(*host, 0)), *host));
        worst.truncate(WORST_HOSTS);
        let mut found = every(&worst);
        found.extend(sharing.into_iter().map(|(_, pair)| pair).take(PAIRS_MAX.saturating_sub(found.len())));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a host bears for its weight, with so much more.
    fn level(&self, host: u32, more: u16) -> u64 {
        level(self.leads, &self.led_by, host, more)
    }

    /// Each master goes to the one of its heirs that then bears least.
    fn damage(&mut self, (a, b): (u32, u32)) -> Damage {
        let Pairs { leads, led, led_by, changed, order, .. } = self;
        let (mut stops, mut moves) = (0, 0);
        for store in led[a as usize].iter().chain(&led[b as usize]) {
            let load = leads.store_load[*store as usize];
            let heirs = leads.heirs[*store as usize].iter().copied().filter(|heir| *heir != a && *heir != b);
            match heirs.min_by_key(|heir| (level(leads, led_by, *heir, load), *heir)) {
                None => stops += 1,
                Some(heir) => {
                    led_by[heir as usize].load += u64::from(load);
                    changed.push((heir, load));
                    moves += 1;
                }
            }
        }
        let untouched = order.iter().copied().find(|host| *host != a && *host != b);
        let hosts = changed.iter().map(|(host, _)| *host).chain(untouched);
        let fullest = hosts.map(|host| level(leads, led_by, host, 0)).max().unwrap_or(0);
        for (host, load) in changed.drain(..) {
            led_by[host as usize].load -= u64::from(load);
        }
        (stops, fullest, moves)
    }
}

fn level(leads: &Leads<'_>, led_by: &[Led], host: u32, more: u16) -> u64 {
    let led = led_by[host as usize];
    Led { load: led.load + u64::from(more), ..led }.level(leads.host_weight[host as usize])
}
