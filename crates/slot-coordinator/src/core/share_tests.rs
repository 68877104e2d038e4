//! Shares of fleets, as a whole.

use super::*;

fn name(n: usize) -> HostName {
    HostName::new(format!("h{n:03}")).unwrap()
}

fn fleet(hosts: usize, racks: usize) -> Vec<(HostName, Domain)> {
    (0..hosts).map(|n| (name(n), Domain(vec!["dc".into(), format!("r{}", n % racks)]))).collect()
}

/// So many masters on each host, which has `slots` slots.
fn masters(hosts: usize, each: impl Fn(usize) -> u16) -> Masters {
    (0..hosts).map(|n| (name(n), (1..=each(n)).collect())).collect()
}

fn shares(hosts: &[(HostName, Domain)], silent: &[usize], masters: Masters) -> Shares {
    let mut shares = Shares::default();
    let silent: BTreeSet<HostName> = silent.iter().map(|n| name(*n)).collect();
    let heard = hosts.iter().map(|(name, _)| name).filter(|name| !silent.contains(*name)).cloned().collect();
    shares.know(hosts.to_vec(), heard, masters);
    shares
}

/// By whom each thing is looked at in a round, and the largest and the smallest share.
fn round(shares: &Shares, at: u64) -> (BTreeMap<Target, BTreeSet<HostName>>, usize, usize) {
    let (mut by_target, mut sizes) = (BTreeMap::<Target, BTreeSet<HostName>>::new(), Vec::new());
    for by in &shares.of.0 {
        let targets = shares.round(by, at);
        assert!(targets.iter().all(|(of, _)| of != by), "{by} looks at itself");
        sizes.push(targets.len());
        for target in targets {
            assert!(by_target.entry(target).or_default().insert(by.clone()), "{by} looks twice at one thing");
        }
    }
    (by_target, sizes.iter().copied().max().unwrap_or(0), sizes.iter().copied().min().unwrap_or(0))
}

/// Every address of a master is looked at in this round by two agents of other failure domains, and every agent too.
fn covered(hosts: &[(HostName, Domain)], shares: &Shares, at: u64) -> (usize, usize) {
    let (by_target, most, least) = round(shares, at);
    let domain: BTreeMap<&HostName, &Domain> = hosts.iter().map(|(name, at)| (name, at)).collect();
    let apart = |of: &HostName, by: &BTreeSet<HostName>| by.iter().filter(|by| domain[*by] != domain[of]).count();
    for (of, _) in hosts {
        let by = by_target.get(&(of.clone(), None)).unwrap_or_else(|| panic!("nobody looks at {of}"));
        assert!(apart(of, by) >= WATCHERS, "the agent of {of} is looked at by {by:?}");
        for slot in shares.of.1.get(of).into_iter().flatten() {
            let by = &by_target[&(of.clone(), Some(*slot))];
            assert_eq!((by.len(), apart(of, by)), (WATCHERS, WATCHERS), "{of}/{slot} is looked at by {by:?}");
        }
    }
    assert!(most <= LOOKS_MAX, "{most} looks in one call");
    (most, least)
}

/// 12 hosts of 40 slots in three racks, 240 stores: 11 agents and 40 masters each.
#[test]
fn adr39_every_master_is_looked_at_from_two_other_racks_and_nobody_does_more_than_others() {
    let hosts = fleet(12, 3);
    assert_eq!(covered(&hosts, &shares(&hosts, &[], masters(12, |_| 20)), 1), (51, 51));
    let (most, least) = covered(&hosts, &shares(&hosts, &[], masters(12, |n| n as u16 * 40 / 13)), 1);
    assert!(most - least <= 16, "{least} to {most}");
    let (most, least) = covered(&hosts, &shares(&hosts, &[], masters(12, |_| 1)), 1);
    assert!((12..=15).contains(&least) && most <= 15, "{least} to {most}");
}

/// What a silent agent had goes to others in the same round, and back.
#[test]
fn adr39_the_share_of_the_silent_is_dealt_to_others() {
    let hosts = fleet(12, 3);
    for silent in [&[0][..], &[0, 1], &[0, 3, 6, 9], &[4, 5, 6]] {
        let shares = shares(&hosts, silent, masters(12, |_| 20));
        let (most, least) = covered(&hosts, &shares, 1);
        assert!(most <= 80 && least >= 30, "{silent:?} silent: {least} to {most}");
    }
    let (many, first) = (shares(&hosts, &[], masters(12, |_| 20)), shares(&hosts, &[], masters(12, |_| 20)));
    assert_eq!(round(&many, 1), round(&first, 2), "as long as nothing changes everybody looks at the same again");
}

/// A few hundred hosts, every one full of masters: 8 agents and 80 masters each on average.
#[test]
fn adr39_shares_do_not_grow_with_the_fleet() {
    for (count, racks) in [(100, 4), (300, 10), (300, 2), (320, 320), (17, 3)] {
        let hosts = fleet(count, racks);
        let (most, least) = covered(&hosts, &shares(&hosts, &[], masters(count, |_| 40)), 1);
        assert!(least >= 66 && most <= 112, "{count} hosts in {racks} racks: {least} to {most}");
        let (most, least) = covered(&hosts, &shares(&hosts, &[], masters(count, |_| 20)), 1);
        assert!(least >= 36 && most <= 60, "{count} hosts in {racks} racks: {least} to {most}");
    }
    let hosts = fleet(300, 10);
    let silent: Vec<usize> = (0..300).filter(|n| n % 10 == 3).collect();
    covered(&hosts, &shares(&hosts, &silent, masters(300, |_| 20)), 1);
}

/// What does not fit into one call is looked at in the rounds after it.
#[test]
fn adr39_what_is_beyond_one_call_takes_turns() {
    let hosts = fleet(6, 2);
    let shares = shares(&hosts, &[1, 3, 5, 4, 2], masters(6, |_| 40));
    let mut seen = BTreeSet::new();
    for at in 1..=2 {
        let (by_target, most, _) = round(&shares, at);
        assert_eq!(most, LOOKS_MAX);
        seen.extend(by_target.into_keys());
    }
    assert_eq!(seen.len(), 5 + 5 * 40, "one agent is left, and sees everything in two rounds");
}

/// Where there is one other domain with one host, or none, others of the same domain look too; alone, nobody does.
#[test]
fn adr39_near_hosts_look_where_there_are_no_others() {
    let mut hosts = fleet(3, 1);
    let (by_target, ..) = round(&shares(&hosts, &[], masters(3, |_| 2)), 1);
    assert!(by_target.values().all(|by| by.len() == 2), "{by_target:?}");
    hosts[2].1 = Domain(vec!["dc".into(), "r9".into()]);
    let (by_target, ..) = round(&shares(&hosts, &[], masters(3, |_| 2)), 1);
    assert!(by_target.values().all(|by| by.len() == 2), "{by_target:?}");
    assert!(round(&shares(&hosts[..1], &[], masters(1, |_| 2)), 1).0.is_empty());
}
