//! How many small stores fit: within bounded work, close to the most, and which copies a loss takes for the last time.

use slot_planner::layout::capacity::{capacity, last_copies};
use slot_planner::layout::room::{Ask, room};
use slot_planner::layout::*;

/// Six hosts in three racks with room for so many bytes each, and two stores on each of them.
fn fleet(bytes: u64, slots: u32) -> (Fleet, Layout) {
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..6).map(|host| Host::new(bytes, slots).within(&[host % 3])));
    let store = Store { size: bytes / 10, load: 1, copies: 2, level: RACK };
    let at: Vec<[u32; 2]> = (0..6).map(|host| [host, (host + 1) % 6]).collect();
    let layout = Layout::of(&mut fleet, at.iter().map(|at| (store, at.as_slice())));
    (fleet, layout)
}

#[test]
fn small_stores_by_the_million_are_counted_in_bounded_work_and_near_the_most() {
    let (fleet, layout) = fleet(10_000_000_000, u32::MAX);
    for size in [0, 1, 7, 1_000, 123_457] {
        for survive in [None, Some(HOST), Some(RACK)] {
            let ask = Ask { size, copies: 2, level: RACK, survive };
            let (found, together) = capacity(&fleet, &layout, &ask);
            assert!(found.safe && together > 1, "{size}: {found:?}");
            assert!(
                found.fits <= found.at_most && (found.fits % together == 0 || found.fits == found.at_most),
                "{size}: {found:?}"
            );
            let part = f64::from(found.fits) / f64::from(found.at_most);
            assert!(part > 0.97, "{size} bytes, {survive:?}: {part} of the most were found");
        }
    }
}

#[test]
fn where_few_fit_each_is_placed_by_itself_and_nothing_is_different() {
    let (fleet, layout) = fleet(10_000, 40);
    for size in [100, 900, 3_000, 20_000] {
        let ask = Ask { size, copies: 2, level: RACK, survive: Some(HOST) };
        assert_eq!(capacity(&fleet, &layout, &ask), (room(&fleet, &layout, &ask), 1));
    }
}

/// Slots are counted as the stores that they hold, however many are taken together.
#[test]
fn slots_bound_small_stores_too() {
    let (fleet, layout) = fleet(10_000_000_000, 4_002);
    let ask = Ask { size: 1, copies: 2, level: RACK, survive: None };
    let (found, together) = capacity(&fleet, &layout, &ask);
    assert_eq!(found.at_most, 4_000 * 6 / 2);
    assert!(together > 1 && found.fits <= found.at_most && found.fits > 11_000, "{found:?} by {together}");
}

#[test]
fn the_copies_that_a_loss_takes_for_the_last_time_are_named() {
    let (mut fleet, mut layout) = fleet(10_000, 40);
    assert!((0..3).all(|rack| last_copies(&fleet, &layout, RACK, rack).is_empty()));
    // Hosts 0 and 3 are in one rack.
    let range = fleet.range(4);
    layout.at[range].copy_from_slice(&[3, 0]);
    assert_eq!(last_copies(&fleet, &layout, RACK, 0), [4]);
    assert_eq!(last_copies(&fleet, &layout, HOST, 0), [], "its other copy is on another host");
    // What cannot be read is no copy that is left.
    fleet.hosts[1].state = State::Down;
    assert_eq!(last_copies(&fleet, &layout, HOST, 0), [0]);
}

/// Many hosts and stores of one byte: no more are placed for that, and what is not counted is not said to be the most.
#[test]
fn the_number_of_hosts_does_not_undo_the_bound() {
    let mut fleet = Fleet::default();
    fleet.hosts.extend((0..300).map(|host| Host::new(1 << 40, u32::MAX).within(&[host % 20])));
    let layout = Layout::of(&mut fleet, std::iter::empty::<(Store, [u32; 0])>());
    let ask = Ask { size: 1, copies: 2, level: RACK, survive: None };
    let (found, together) = capacity(&fleet, &layout, &ask);
    assert_eq!((found.fits, found.at_most), (room::COUNTED_MAX, room::COUNTED_MAX));
    assert!(together > 100_000_000, "{together} at a time");
}
