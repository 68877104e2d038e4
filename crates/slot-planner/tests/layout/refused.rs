//! The hard rules, one by one: an outcome that breaks one is refused by the replay with that rule named.

use slot_planner::layout::*;

/// Five hosts in racks of their own, but for the last, which is in the first one's; two copies of each of two stores.
fn small() -> (Fleet, Layout) {
    let mut fleet = Fleet::default();
    fleet.hosts.extend([0, 1, 2, 3, 0].map(|rack| Host::new(100, 4).within(&[rack])));
    let store = Store { size: 10, load: 1, copies: 2, level: RACK };
    let layout = Layout::of(&mut fleet, [(store, [0, 1].as_slice()), (store, &[1, 0])]);
    (fleet, layout)
}

/// A copy of the first store from host 1 to another.
fn moved(to: u32) -> Move {
    Move { store: 0, from: 1, to, master: NOWHERE }
}

/// What the replay says of one move, whose end is what was promised.
fn wrong(fleet: &Fleet, before: &Layout, one: Move) -> Option<Wrong> {
    let (well, same) = small();
    let mut outcome = solve(&well, &same, &Goal::Place, &Wish::default()).expect("nothing has to be placed");
    assert_eq!(outcome.moves, [], "nothing has to be placed");
    let copies = &mut outcome.layout.at[fleet.range(one.store)];
    copies.iter_mut().filter(|host| **host == one.from).for_each(|host| *host = one.to);
    if let Some(nth) = copies.iter().position(|host| *host == one.master && one.master != NOWHERE) {
        copies.swap(0, nth);
    }
    (outcome.moves, outcome.waves) = (vec![one], vec![0]);
    check(fleet, before, &Goal::Place, outcome).err().map(|fault| fault.what)
}

fn rule(fleet: &Fleet, before: &Layout, one: Move) -> Option<Rule> {
    wrong(fleet, before, one).and_then(Wrong::rule)
}

#[test]
fn each_rule_is_named_where_it_is_broken_and_only_there() {
    let (fleet, before) = small();
    assert_eq!(wrong(&fleet, &before, moved(2)), None);
    assert_eq!(rule(&fleet, &before, moved(4)), Some(Rule::Apart));
    assert_eq!(rule(&fleet, &before, moved(0)), Some(Rule::Apart));
    let with = |change: &dyn Fn(&mut Fleet), one| {
        let mut fleet = fleet.clone();
        change(&mut fleet);
        rule(&fleet, &before, one)
    };
    assert_eq!(with(&|f| f.hosts[2].bytes = 9, moved(2)), Some(Rule::Bytes));
    assert_eq!(with(&|f| f.hosts[2].largest = 9, moved(2)), Some(Rule::Bytes));
    assert_eq!(with(&|f| f.hosts[2].slots = 0, moved(2)), Some(Rule::Slots));
    assert_eq!(with(&|f| f.pins.push((0, 1)), moved(2)), Some(Rule::Pinned));
    assert_eq!(with(&|f| f.exclusions.push((0, 2)), moved(2)), Some(Rule::Excluded));
    for state in [State::Draining, State::Stopped, State::Leaving, State::Down, State::Retired] {
        assert_eq!(with(&|f| f.hosts[2].state = state, moved(2)), Some(Rule::Hosts), "{state:?}");
        let lead = Move { store: 0, from: NOWHERE, to: NOWHERE, master: 1 };
        assert_eq!(with(&|f| f.hosts[1].state = state, lead), Some(Rule::Masters), "{state:?}");
    }
    let dropped = Move { store: 0, from: 1, to: NOWHERE, master: NOWHERE };
    assert_eq!(rule(&fleet, &before, dropped), Some(Rule::Copies));
    let headless = Move { store: 0, from: 0, to: 2, master: NOWHERE };
    assert_eq!(rule(&fleet, &before, headless), Some(Rule::Masters));
    assert_eq!(rule(&fleet, &before, Move { master: 1, ..headless }), None);
    let stranger = Move { store: 0, from: NOWHERE, to: NOWHERE, master: 3 };
    assert_eq!(rule(&fleet, &before, stranger), Some(Rule::Masters));
    let nothing_runs = |f: &mut Fleet| f.hosts[..2].iter_mut().for_each(|host| host.state = State::Stopped);
    assert_eq!(with(&nothing_runs, moved(2)), Some(Rule::Copies));
}
