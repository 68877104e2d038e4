//! Questions about whole fleets, judged by counting and by trying everything.

mod capacity;
mod exact;
mod groups;
mod loss;
mod room;
mod whatif;

use slot_planner::layout::*;

/// Hosts in racks, each with so many slots and bytes, and stores of two copies or more.
pub fn fleet(hosts: &[(u32, u32, u64)], stores: &[(u64, u8, &[u32])]) -> (Fleet, Layout) {
    let hosts = hosts.iter().map(|(rack, slots, bytes)| Host::new(*bytes, *slots).within(&[*rack])).collect();
    let mut fleet = Fleet { hosts, ..Fleet::default() };
    let stores = stores.iter().map(|(size, level, at)| {
        let copies = u8::try_from(at.len()).expect("few copies");
        (Store { size: *size, load: 1, copies, level: *level }, *at)
    });
    let layout = Layout::of(&mut fleet, stores);
    (fleet, layout)
}
