//! How long a host's last reboots took, as leaders say.

use crate::world::*;
use slot_machine::command::Command;
use slot_types::cluster::{HostState, REBOOTS_KEPT, Reboot, Silence};
use slot_types::ids::*;

fn seen(world: &mut World, n: u8, ms: u64, whole: bool) {
    let high_water = LogIndex(9_999);
    let silence = Silence { ms, whole };
    world.ok(Command::HostSeen {
        host: host(1),
        incarnation: disk(1),
        boot: boot(1, n),
        high_water,
        silence,
        first: false,
    });
}

fn reboots(world: &World) -> Vec<Reboot> {
    world.cluster().hosts[&host(1)].reboots.clone()
}

#[test]
fn a_boot_that_begins_is_kept_with_the_silence_before_it_and_only_the_last_few() {
    let mut world = World::with_store();
    assert_eq!(reboots(&world), [], "the first boot that is seen of a host ended none");
    let version = world.cluster().hosts[&host(1)].version;
    seen(&mut world, 2, 130_000, true);
    seen(&mut world, 2, 999_000, true);
    let kept = reboots(&world);
    assert_eq!(kept.len(), 1, "a boot that is said twice began once: {kept:?}");
    assert_eq!((kept[0].boot, kept[0].silence), (boot(1, 2), Silence { ms: 130_000, whole: true }));
    assert_eq!(world.cluster().hosts[&host(1)].version, version + 1, "R14: a plan of before knows less");
    for n in 3..9 {
        seen(&mut world, n, u64::from(n) * 1_000, false);
    }
    let kept: Vec<u64> = reboots(&world).iter().map(|reboot| reboot.silence.ms).collect();
    assert_eq!((kept.len(), kept), (REBOOTS_KEPT, vec![6_000, 7_000, 8_000]));
}

#[test]
fn a_host_that_somebody_kept_off_is_told_apart() {
    let mut world = World::with_store();
    world.attest(1, "ann");
    seen(&mut world, 2, 3_600_000, true);
    seen(&mut world, 3, 60_000, true);
    world.state.cluster.as_mut().unwrap().hosts.get_mut(&host(1)).unwrap().declared = HostState::Off;
    seen(&mut world, 4, 7_200_000, true);
    let kept: Vec<bool> = reboots(&world).iter().map(|reboot| reboot.kept_off).collect();
    assert_eq!(kept, [true, false, true]);
}

#[test]
fn s2_another_disk_is_no_reboot_and_r27_neither_is_a_boot_that_has_ended() {
    let mut world = World::with_store();
    let (high_water, silence) = (LogIndex(0), SILENCE);
    world.ok(Command::HostSeen {
        host: host(1),
        incarnation: disk(77),
        boot: boot(1, 2),
        high_water,
        silence,
        first: false,
    });
    assert_eq!(reboots(&world), [], "what another disk says of its boot is not this host's");
    world.state.ended_boots.insert(host(1), boot(1, 3));
    seen(&mut world, 3, 1_000, true);
    assert_eq!(reboots(&world), []);
}
