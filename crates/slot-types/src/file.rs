//! The cluster file: text in, [`FleetSpec`] out.
//!
//! What always holds: nothing in the file is ignored. A field that is not known is refused at its line and column; what is
//! known and not carried out yet comes out as a line that every diff repeats; a spec that comes out has every range
//! expanded, every name checked, every bound kept and no address twice. The file says what there is, never who is master.

mod error;
mod expand;
mod fence;
mod frontends;
mod later;
mod raw;

pub use error::{FileError, FileProblem};
pub use expand::size;
pub use frontends::FRONT_ENDS_MAX;

use crate::cluster::{FleetSpec, HostSpec, Policy, SlotSpec, StoreSpec};
use crate::ids::{ClusterName, CoordinatorName, HostName, StoreName};
use error::Text;
use expand::Entry;
use later::Unused;
use raw::{RawFile, RawHost, RawKind, RawStore};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;

/// The only file version this build reads.
pub const FILE_VERSION: i64 = 1;
/// The most hosts in one cluster.
pub const HOSTS_MAX: usize = 1_000;
/// The most slots on one host.
pub const SLOTS_MAX: u16 = 200;
/// The most stores in one cluster.
pub const STORES_MAX: usize = 20_000;
/// The most copies of one store: more than there are sensible domains, small enough for every message.
pub const COPIES_MAX: u8 = 16;
/// The highest load of a store and weight of a host.
pub const SHARE_MAX: u16 = 1_000;
/// The longest cluster file, in bytes: the largest fleet written without ranges stays below it.
pub const FILE_BYTES_MAX: usize = 8 << 20;
/// Where a coordinator listens when the file names no port.
pub const COORDINATOR_PORT: u16 = 7400;
/// Where an agent listens when the file names no port.
pub const AGENT_PORT: u16 = 7420;
/// Where a slot's engine listens when the file names no port.
pub const SLOT_PORT: u16 = 7430;

/// Reads a cluster file. `file_name` is only for the error message.
pub fn parse(text: &str, file_name: &str) -> Result<FleetSpec, FileError> {
    let source = Text { text, file: file_name };
    if text.len() > FILE_BYTES_MAX {
        return Err(source.fault(0..0, FileProblem::TooLong { bytes: text.len(), max: FILE_BYTES_MAX }));
    }
    check_version(&source)?;
    let raw: RawFile = toml::from_str(text).map_err(|e| source.syntax(&e))?;
    read(&raw).map_err(|(span, problem)| source.fault(span, problem))
}

/// What is wrong, and where in the text.
pub(crate) type Fault = (Range<usize>, FileProblem);

/// The version is read before anything else, so that a newer file is called newer and not misspelt.
fn check_version(source: &Text<'_>) -> Result<(), FileError> {
    #[derive(serde::Deserialize)]
    struct OnlyVersion {
        version: Option<toml::Spanned<toml::Value>>,
    }
    let found: OnlyVersion = toml::from_str(source.text).map_err(|e| source.syntax(&e))?;
    match found.version {
        None => Err(source.fault(0..0, FileProblem::NoVersion { supported: FILE_VERSION })),
        Some(version) if version.get_ref().as_integer() == Some(FILE_VERSION) => Ok(()),
        Some(version) => {
            let problem = FileProblem::OtherVersion { found: version.get_ref().to_string(), supported: FILE_VERSION };
            Err(source.fault(version.span(), problem))
        }
    }
}

fn read(raw: &RawFile) -> Result<FleetSpec, Fault> {
    let cluster = ClusterName::new(raw.cluster.get_ref().as_str())
        .map_err(|e| (raw.cluster.span(), FileProblem::Name { what: "cluster", detail: e.to_string() }))?;
    let mut taken = Addresses::default();
    let coordinators = read_coordinators(raw, &mut taken)?;
    let mut unused = Unused::default();
    let hosts = read_hosts(raw, &mut taken, &mut unused)?;
    let front_ends = frontends::read(&raw.frontends, |host| hosts.contains_key(host), &mut taken)?;
    let stores = read_stores(raw, &hosts)?;
    let mut policy = match &raw.policy {
        Some(policy) => policy.read(&mut unused)?,
        None => Policy::default(),
    };
    later::engines(&raw.engine, &mut policy, &mut unused)?;
    Ok(FleetSpec { cluster, coordinators, hosts, stores, front_ends, policy, unused: unused.lines() })
}

/// Every address in the file with its owner: none may be there twice.
#[derive(Default)]
struct Addresses(BTreeMap<SocketAddr, String>);

impl Addresses {
    fn take(&mut self, address: SocketAddr, owner: String, span: Range<usize>) -> Result<SocketAddr, Fault> {
        match self.0.insert(address, owner.clone()) {
            None => Ok(address),
            Some(first) => Err((span, FileProblem::AddressTwice { address, first, second: owner })),
        }
    }
}

fn read_coordinators(raw: &RawFile, taken: &mut Addresses) -> Result<BTreeMap<CoordinatorName, SocketAddr>, Fault> {
    let mut coordinators = BTreeMap::new();
    for (key, address) in raw.coordinators.get_ref() {
        let name = CoordinatorName::new(key.get_ref().as_str())
            .map_err(|e| (key.span(), FileProblem::Name { what: "coordinator", detail: e.to_string() }))?;
        let parsed = expand::address(address.get_ref(), COORDINATOR_PORT, None, None)
            .map_err(|detail| (address.span(), FileProblem::Address { of: format!("coordinator {name}"), detail }))?;
        let parsed = taken.take(parsed, format!("coordinator {name}"), address.span())?;
        coordinators.insert(name, parsed);
    }
    // Two voters are never a resting state, and an even number survives no more than the odd one below it.
    if !matches!(coordinators.len(), 1 | 3 | 5) {
        return Err((raw.coordinators.span(), FileProblem::CoordinatorCount { count: coordinators.len() }));
    }
    Ok(coordinators)
}

fn read_hosts(
    raw: &RawFile,
    taken: &mut Addresses,
    unused: &mut Unused,
) -> Result<BTreeMap<HostName, HostSpec>, Fault> {
    let entries = expand::entries(&raw.hosts, "hosts", HOSTS_MAX)?;
    let mut hosts = BTreeMap::new();
    for entry in &entries {
        let name = HostName::new(entry.name.as_str())
            .map_err(|e| (entry.span.clone(), FileProblem::Name { what: "host", detail: e.to_string() }))?;
        hosts.insert(name.clone(), read_host(raw, entry, &name, taken, unused)?);
    }
    Ok(hosts)
}

fn read_host(
    raw: &RawFile,
    entry: &Entry<'_, RawHost>,
    name: &HostName,
    taken: &mut Addresses,
    unused: &mut Unused,
) -> Result<HostSpec, Fault> {
    let missing = |field| (entry.span.clone(), FileProblem::Missing { of: format!("host {name}"), field });
    let number = expand::number_in(name.as_str());
    let at = entry.field(|h| h.at.as_ref()).ok_or_else(|| missing("at"))?;
    let at = expand::domain(at.get_ref(), number)
        .map_err(|detail| (at.span(), FileProblem::Domain { of: name.to_string(), detail }))?;
    let address = entry.field(|h| h.address.as_ref()).ok_or_else(|| missing("address"))?;
    let parsed = expand::address(address.get_ref(), AGENT_PORT, number, None)
        .map_err(|detail| (address.span(), FileProblem::Address { of: format!("host {name}"), detail }))?;
    let parsed = taken.take(parsed, format!("host {name}"), address.span())?;
    let kind = entry.field(|h| h.kind.as_ref()).ok_or_else(|| missing("kind"))?;
    let described = raw.kind.get(kind.get_ref().as_str()).ok_or_else(|| {
        (kind.span(), FileProblem::UnknownKind { host: name.to_string(), kind: kind.get_ref().clone() })
    })?;
    let slots = read_slots(described, name, number, taken, unused)?;
    let weight = entry.field(|h| h.weight.as_ref()).or(described.weight.as_ref());
    let weight = weight.map_or(Ok(1), |weight| raw::bounded(weight, "weight", 1, SHARE_MAX))?;
    let written = entry.field(|h| h.fence.as_ref()).or(described.fence.as_ref());
    let fence = written.map(|written| fence::read(written, &raw.fence_options, number)).transpose()?;
    Ok(HostSpec { at, address: parsed, slots, weight, fence })
}

fn read_slots(
    kind: &RawKind,
    host: &HostName,
    number: Option<u64>,
    taken: &mut Addresses,
    unused: &mut Unused,
) -> Result<BTreeMap<u16, SlotSpec>, Fault> {
    let count = u16::try_from(*kind.slots.get_ref()).ok().filter(|n| (1..=SLOTS_MAX).contains(n));
    let count = count.ok_or_else(|| {
        let problem = FileProblem::OutOfBounds {
            what: "slots",
            found: kind.slots.get_ref().to_string(),
            min: 1,
            max: u64::from(SLOTS_MAX),
        };
        (kind.slots.span(), problem)
    })?;
    let size = expand::size(kind.slot.size.get_ref())
        .map_err(|detail| (kind.slot.size.span(), FileProblem::Value { what: "size", detail }))?;
    let template = &kind.slot.address;
    let mut slots = BTreeMap::new();
    for slot in 1..=count {
        let of = || format!("slot {host}/{slot:02}");
        let address = expand::address(template.get_ref(), SLOT_PORT, number, Some(slot))
            .map_err(|detail| (template.span(), FileProblem::Address { of: of(), detail }))?;
        let address = taken.take(address, of(), template.span())?;
        if let Some(dir) = &kind.slot.dir {
            later::dir(dir, number, slot, unused)?;
        }
        slots.insert(slot, SlotSpec { size_bytes: size, address });
    }
    Ok(slots)
}

fn read_stores(raw: &RawFile, hosts: &BTreeMap<HostName, HostSpec>) -> Result<BTreeMap<StoreName, StoreSpec>, Fault> {
    let entries = expand::entries(&raw.stores, "stores", STORES_MAX)?;
    let mut stores = BTreeMap::new();
    for entry in &entries {
        let name = StoreName::new(entry.name.as_str())
            .map_err(|e| (entry.span.clone(), FileProblem::Name { what: "store", detail: e.to_string() }))?;
        let spec = read_store(entry, &name, hosts)?;
        stores.insert(name, spec);
    }
    Ok(stores)
}

fn read_store(
    entry: &Entry<'_, RawStore>,
    name: &StoreName,
    hosts: &BTreeMap<HostName, HostSpec>,
) -> Result<StoreSpec, Fault> {
    let missing = |field| (entry.span.clone(), FileProblem::Missing { of: format!("store {name}"), field });
    let engine = entry.field(|s| s.engine.as_ref()).ok_or_else(|| missing("engine"))?;
    let engine = raw::engine(engine)?;
    let copies = entry.field(|s| s.copies.as_ref()).ok_or_else(|| missing("copies"))?;
    let copies = raw::bounded(copies, "copies", 1, COPIES_MAX)?;
    let spread = entry.field(|s| s.spread.as_ref()).ok_or_else(|| missing("spread"))?;
    let spread = raw::spread(spread)?;
    let size_bytes = match entry.field(|s| s.size.as_ref()) {
        // Nothing reserved: a slot holds at most one copy anyway, so any slot will do.
        None => 0,
        Some(size) => {
            expand::size(size.get_ref()).map_err(|detail| (size.span(), FileProblem::Value { what: "size", detail }))?
        }
    };
    let sync_copies = match entry.field(|s| s.sync_copies.as_ref()) {
        None => 0,
        Some(sync) => raw::bounded(sync, "sync_copies", 0, copies - 1)?,
    };
    let load = entry.field(|s| s.load.as_ref()).map_or(Ok(1), |load| raw::bounded(load, "load", 1, SHARE_MAX))?;
    let never = match entry.field(|s| s.pin.as_ref()) {
        None => BTreeSet::new(),
        Some(pin) => raw::pin(pin, hosts)?,
    };
    Ok(StoreSpec { engine, copies, size_bytes, spread, sync_copies, never, load })
}
