//! A fleet of one store on two hosts, three coordinators.
//!
//! What always holds: everything is drawn from the one seed.

use crate::nodes::{AgentNode, CoordinatorNode};
use crate::queue::{Queue, Stream};
use crate::world::{Faults, World};
use slot_agent::core::image::LedgerImage;
use slot_raft::store::MemStore;
use slot_raft::{NodeMarker, Restored};
use slot_types::cluster::*;
use slot_types::fence::{FenceAgent, FenceError, FenceFrom, FenceKey, FenceSpec, FenceValue};
use slot_types::front_end::FrontEndSpec;
use slot_types::ids::*;
use slot_types::position::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(crate) fn cluster_name() -> ClusterName {
    ClusterName::new("sim").expect("sim is a name")
}

fn address(host: u8, slot: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 1, host, slot)), port)
}

/// The name of a host, `h1`.
pub fn host(number: u8) -> HostName {
    HostName::new(format!("h{number}")).expect("h and a number is a name")
}

/// The cluster file of `hosts` hosts in racks of their own and `stores` stores of two copies.
pub fn fleet(hosts: u8, stores: u8) -> FleetSpec {
    let host_spec = |n: u8| {
        let slot = |s: u8| (u16::from(s), SlotSpec { size_bytes: 1 << 30, address: address(n, s, 7430) });
        let at = Domain(vec!["site".into(), format!("r{n}")]);
        HostSpec { at, address: address(n, 250, 7420), slots: (1..=4).map(slot).collect(), weight: 1, fence: None }
    };
    let store = StoreSpec {
        engine: EngineKind::Journal,
        copies: 2,
        size_bytes: 1 << 20,
        spread: Spread::Rack,
        sync_copies: 0,
        never: std::collections::BTreeSet::new(),
        load: 1,
    };
    FleetSpec {
        unused: std::collections::BTreeSet::new(),
        cluster: cluster_name(),
        coordinators: members().into_values().collect(),
        hosts: (1..=hosts).map(|n| (host(n), host_spec(n))).collect(),
        stores: (1..=stores)
            .map(|n| (StoreName::new(format!("store{n}")).expect("store and a number is a name"), store.clone()))
            .collect(),
        front_ends: BTreeMap::new(),
        policy: Policy { verify_every_ms: 0, ..Policy::default() },
    }
}

/// Every host gets a device. With a host to spare, the last is put beside the first, so that not everybody may use each
/// device (R26).
pub fn with_devices(fleet: &mut FleetSpec, shared_rack: bool) {
    let spec = |name: &HostName| {
        let checked = || {
            let options = [(FenceKey::new("plug")?, FenceValue::new(name.as_str())?)].into();
            let agent = FenceAgent::new("fence_sim")?;
            Ok::<_, FenceError>(FenceSpec {
                agent,
                options,
                password_file: None,
                timeout_ms: 8_000,
                from: FenceFrom::AnotherRack,
            })
        };
        checked().ok()
    };
    for (name, host) in &mut fleet.hosts {
        host.fence = spec(name);
    }
    let first = fleet.hosts.values().next().map(|host| host.at.clone());
    if let (Some(at), Some(mut last)) = (first.filter(|_| shared_rack), fleet.hosts.last_entry()) {
        last.get_mut().at = at;
    }
}

/// So many front ends, each with two maps: one that clients read, and one more that may fail alone.
pub fn with_front_ends(fleet: &mut FleetSpec, count: u8) {
    let map = |name: &str| MapName::new(name).expect("it is a name");
    for number in 1..=count {
        let name = FrontEndName::new(format!("fe{number}")).expect("fe and a number is a name");
        let render = BTreeSet::from([map("json"), map("postfix-transport")]);
        fleet.front_ends.insert(name, FrontEndSpec { address: address(250, number, 7420), render });
    }
}

fn members() -> BTreeMap<u64, (CoordinatorName, SocketAddr)> {
    let name = |n: u64| CoordinatorName::new(format!("c{n}")).expect("c and a number is a name");
    (1..=3).map(|n| (n, (name(n), address(0, n as u8, 7400)))).collect()
}

impl World {
    /// Three coordinators and the agents of so many hosts, all starting.
    pub fn new(seed: u64, hosts: u8, faults: Faults) -> Self {
        let mut tokens = Stream::new(seed, 2);
        let cluster = ClusterId(tokens.token());
        let mut world = World {
            queue: Queue::new(seed),
            net: Stream::new(seed, 3),
            disk: Stream::new(seed, 4),
            faults,
            fault_stream: Stream::new(seed, 5),
            cluster,
            coordinators: BTreeMap::new(),
            agents: BTreeMap::new(),
            journals: BTreeMap::new(),
            folders: BTreeMap::new(),
            asked: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            last_number: 0,
            replies: BTreeMap::new(),
            writer: None,
            digest: Digest::default(),
            trace: Vec::new(),
            passed: BTreeMap::new(),
            kill_leader_at: None,
            cut: BTreeSet::new(),
            silent: BTreeSet::new(),
            paused: BTreeMap::new(),
        };
        for id in 1..=3 {
            let marker = NodeMarker { cluster_id: cluster.0.to_vec(), node_id: id, incarnation: [id as u8; 16] };
            let store = MemStore::new(Restored::bootstrap(&[1, 2, 3], Vec::new()));
            world.coordinators.insert(id, CoordinatorNode::new(marker, store, members(), seed.wrapping_mul(31) + id));
        }
        for number in 1..=hosts {
            let ledger = LedgerImage::empty(cluster, host(number), Incarnation(tokens.token()));
            let node = AgentNode::new(ledger, BootId(tokens.token()), (1..=4).collect());
            world.agents.insert(host(number), node);
        }
        for id in 1..=3 {
            world.start_coordinator(id);
        }
        for number in 1..=hosts {
            world.start_agent(&host(number));
        }
        world
    }
}
