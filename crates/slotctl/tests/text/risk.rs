//! What a loss would do, as it is said.

use super::fixtures::*;
use slot_types::cluster::Domain;
use slot_types::evidence::Seen;
use slot_types::ids::*;
use slot_types::view::*;
use slotctl::asks::{Full, PairRow, Pairs};
use slotctl::text;
use std::collections::BTreeMap;

pub fn risks_view() -> RisksView {
    let stops = LossLine {
        stops: 5,
        moves: 15,
        short: 2,
        served: 235,
        coordinators: Vec::new(),
        ..loss_line(Lost::Host(host(3)), 20)
    };
    let empty = LossLine {
        masters: 0,
        moves: 0,
        to_hosts: 0,
        fullest: None,
        single: 0,
        coordinators: Vec::new(),
        ..loss_line(Lost::Host(host(4)), 0)
    };
    let racks = vec![loss_line(Lost::Domain(rack(1)), 80), loss_line(Lost::Domain(rack(5)), 80)];
    RisksView {
        revision: Revision(48_211),
        losses: known(Losses { hosts: vec![stops, empty, loss_line(Lost::Host(host(7)), 20)], racks }, 0),
    }
}

pub fn pairs() -> Pairs {
    let full = Full { host: "imap9".into(), load: 31, load_over_weight: 31.0 };
    let hosts = ["imap3".to_owned(), "imap7".to_owned()];
    Pairs {
        looked_at: 66,
        worst: Some(PairRow { hosts, stops: 2, single: 31, moves: 38, fullest: Some(full) }),
        not_looked: None,
    }
}

pub fn risk_view() -> RiskView {
    let moved = |n: u16, to: u16, behind| Move { store: store(n), from: slot(3, n), to: slot(to, 31), behind };
    RiskView {
        revision: Revision(48_211),
        loss: known(
            Loss {
                lost: Lost::Domain(rack(1)),
                hosts: (1..=4).map(host).collect(),
                masters: 5,
                replicas: 3,
                moves: vec![moved(4, 5, Some(0)), moved(17, 6, Some(12)), moved(23, 5, None)],
                stops: vec![
                    Stop {
                        store: store(58),
                        why: BTreeMap::from([(slot(7, 2), "its engine is not seen running".to_string())]),
                    },
                    Stop { store: store(71), why: BTreeMap::new() },
                ],
                single: vec![store(4), store(17), store(23)],
                short: vec![store(23)],
                down_already: vec![store(90)],
                fullest: Some(Fullest { host: host(5), before: 20, after: 22, load: None }),
                served: 237,
                stores: 240,
            },
            0,
        ),
        coordinators: vec![CoordinatorName::new("c1").unwrap()],
        voters: 3,
    }
}

/// As if the cluster file declared loads: the fullest host bears so many times its masters.
fn bears(fullest: &mut Option<Fullest>, times_tenths: u64) {
    if let Some(full) = fullest {
        let milli = |masters: u32| u64::from(masters) * 100 * times_tenths;
        full.load = Some(LoadThen { before_milli: milli(full.before), after_milli: milli(full.after) + 250 });
    }
}

pub fn risks_with_loads() -> RisksView {
    let mut view = risks_view();
    let Seen::Known { value: losses, .. } = &mut view.losses else { panic!("they are known") };
    (13..).zip(losses.hosts.iter_mut().chain(&mut losses.racks)).for_each(|(n, line)| bears(&mut line.fullest, n));
    view
}

pub fn risk_with_loads() -> RiskView {
    let mut view = risk_view();
    let Seen::Known { value: loss, .. } = &mut view.loss else { panic!("it is known") };
    bears(&mut loss.fullest, 15);
    view
}

pub fn status_with_loads() -> StatusView {
    let mut view = quiet();
    if let Seen::Known { value, .. } = &mut view.worst_losses {
        value.iter_mut().for_each(|line| bears(&mut line.fullest, 12));
    }
    if let Seen::Known { value: PairLoss { worst: Some(worst), .. }, .. } = &mut view.worst_pair {
        bears(&mut worst.fullest, 14);
    }
    view
}

#[test]
fn a_table_with_declared_loads() {
    golden!(text::risk::table(&risks_with_loads(), &pairs(), Some(true)));
}

#[test]
fn one_loss_with_declared_loads() {
    golden!(text::risk::one(&risk_with_loads(), &Lost::Domain(rack(1))));
    let text = text::status::status(&status_with_loads(), true);
    assert!(text.contains(", load "), "{text}");
}

#[test]
fn table() {
    golden!(text::risk::table(&risks_view(), &pairs(), Some(true)));
}

#[test]
fn one_loss() {
    golden!(text::risk::one(&risk_view(), &Lost::Domain(rack(1))));
}

#[test]
fn a_loss_that_hurts_nobody() {
    let mut view = risk_view();
    view.coordinators = Vec::new();
    let Seen::Known { value: loss, .. } = &mut view.loss else { panic!("it is known") };
    *loss = Loss {
        lost: Lost::Host(host(4)),
        hosts: vec![host(4)],
        masters: 0,
        replicas: 1,
        moves: Vec::new(),
        stops: Vec::new(),
        single: Vec::new(),
        short: Vec::new(),
        down_already: Vec::new(),
        fullest: None,
        served: 240,
        stores: 240,
    };
    golden!(text::risk::one(&view, &Lost::Host(host(4))));
}

#[test]
fn what_is_not_known_is_not_called_safe() {
    let view = RiskView { loss: unknown("only the leader hears agents"), ..risk_view() };
    let text = text::risk::one(&view, &Lost::Host(host(3)));
    assert_eq!(text, "if host imap3 is lost   NOT KNOWN: only the leader hears agents\n");
    let view = RisksView { losses: unknown("no agent was heard"), ..risks_view() };
    assert_eq!(text::risk::table(&view, &pairs(), Some(true)), "risk  NOT KNOWN: no agent was heard\n");
    let mut view = quiet();
    view.worst_losses = unknown("no agent was heard");
    view.worst_pair = unknown("no agent was heard");
    let text = text::status::status(&view, true);
    assert!(text.contains("one host dies  not known: no agent was heard") && !text.contains("two hosts die"));
}

#[test]
fn a_worst_pair_of_too_many_hosts_says_how_many_pairs_were_looked_at() {
    let all = text::risk::pair(&worst_pair());
    assert!(all.starts_with("two hosts die  worst imap5 imap7: 7 stores STOP") && !all.contains("looked at"), "{all}");
    let some = text::risk::pair(&PairLoss { looked_at: 10_000, of: 124_750, ..worst_pair() });
    assert!(
        some.contains("10000 of 124750 pairs were looked at, those that stop the most stores among them"),
        "{some}"
    );
    let none = PairLoss { worst: None, looked_at: 0, of: 0 };
    assert_eq!(text::risk::pair(&none), "");
}

#[test]
fn hosts_whose_loss_stops_stores_say_so_in_the_table() {
    let mut view = quiet();
    view.hosts[0].stop_if_dies = Some(5);
    let text = text::fleet::hosts(&view, true);
    let line = text.lines().find(|line| line.starts_with("imap1 ")).unwrap();
    assert!(line.ends_with("5 stores STOP"), "{line}");
}

#[test]
fn a_domain_is_a_path() {
    use clap::Parser;
    let cli = slotctl::args::Cli::try_parse_from(["slotctl", "risk", "domain", "ny/r1"]).unwrap();
    let slotctl::args::Command::Risk { of: Some(slotctl::args::Risk::Domain { domain }) } = cli.command else {
        panic!("a domain")
    };
    assert_eq!(domain, Domain(vec!["ny".into(), "r1".into()]));
    assert!(slotctl::args::Cli::try_parse_from(["slotctl", "risk", "domain", "ny//r1"]).is_err());
}
