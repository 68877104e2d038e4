//! `slotctl init`, and reading a cluster file.
//!
//! What always holds: nothing that exists is changed; the CA's key stays in the folder of whoever runs this.

use crate::args::{CoordinatorAt, Init};
use crate::console::Console;
use crate::failure::{Exit, Failure};
use crate::json;
use crate::text::layout::{Table, wrap};
use slot_net::{CaError, Initialized, Role, init_cluster};
use slot_types::cluster::FleetSpec;
use slot_types::ids::{ClusterName, CoordinatorName, FrontEndName, HostName};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// The largest cluster file, in bytes; a thousand hosts and ten thousand stores take far less.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Reads a cluster file.
pub fn read_file(path: &Path) -> Result<FleetSpec, Failure> {
    let name = path.display().to_string();
    let failure = |cause: String, next: &str| Failure::new("read cluster file", &name, cause, next);
    let size = std::fs::metadata(path).map_err(|e| failure(e.to_string(), "name a file that exists"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(failure(format!("it has {size} bytes, at most {FILE_BYTES_MAX} are read"), "use ranges"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| failure(e.to_string(), "name a UTF-8 file you may read"))?;
    slot_types::file::parse(&text, &name).map_err(|e| failure(e.to_string(), "correct the file; nothing was changed"))
}

/// Whom a new cluster is made for.
struct Members {
    cluster: ClusterName,
    coordinators: BTreeMap<CoordinatorName, SocketAddr>,
    agents: Vec<HostName>,
    front_ends: Vec<FrontEndName>,
}

fn members(args: &Init, coordinators: &[String]) -> Result<Members, Failure> {
    let usage = |cause: String, next: &str| Failure::new("init", args.dir.display().to_string(), cause, next).usage();
    if let Some(file) = &args.file {
        if !coordinators.is_empty() {
            return Err(usage("-f and --coordinator both name coordinators".into(), "leave one of them out"));
        }
        let spec = read_file(file)?;
        return Ok(Members {
            cluster: spec.cluster,
            coordinators: spec.coordinators,
            agents: spec.hosts.into_keys().collect(),
            front_ends: spec.front_ends.into_keys().collect(),
        });
    }
    let example = "name each with its address: --coordinator c1=10.1.1.3:7400";
    let Some(cluster) = args.cluster.clone() else {
        return Err(usage("the cluster has no name".into(), "--cluster NAME, or -f FILE"));
    };
    let mut named = BTreeMap::new();
    for text in coordinators {
        let at: CoordinatorAt = text.parse().map_err(|e| usage(e, example))?;
        if named.insert(at.name.clone(), at.address).is_some() {
            return Err(usage(format!("coordinator {} is named twice", at.name), example));
        }
    }
    if named.is_empty() {
        return Err(usage("no coordinator was named".into(), example));
    }
    Ok(Members { cluster, coordinators: named, agents: args.agent.clone(), front_ends: Vec::new() })
}

/// Makes a cluster's CA and identity folders.
pub fn init(args: &Init, coordinators: &[String], console: &mut Console) -> Result<Exit, Failure> {
    let of = members(args, coordinators)?;
    let made = init_cluster(
        &args.dir,
        &of.cluster,
        &of.coordinators,
        &of.agents,
        &of.front_ends,
        &args.operator,
        &args.client,
    )
    .map_err(|e| {
        let next = "nothing that existed was changed; correct this and run init again";
        let failure = Failure::new("init", args.dir.display().to_string(), e.to_string(), next);
        if matches!(e, CaError::Operators { .. }) { failure.usage() } else { failure }
    })?;
    if console.json {
        console.document(&json::initialized(&made));
    } else {
        console.text(&text(&made));
    }
    Ok(Exit::Done)
}

/// What was made, and what to do with it.
pub fn text(made: &Initialized) -> String {
    let cluster = &made.membership.cluster;
    let mut text = format!("{cluster}   cluster id {}\n\n", made.membership.cluster_id);
    let mut table = Table::new(&["FOLDER", "GOES TO"]);
    table.row(vec![made.ca.display().to_string(), "nobody: its key makes identities, keep it with you".into()]);
    for (path, who) in &made.folders {
        let goes = match who.role() {
            Role::Coordinator => "the machine of coordinator",
            Role::Agent => "host",
            Role::Operator => "operator",
            Role::Client => "client",
            Role::FrontEnd => "front end",
            Role::Joiner => "bare host",
        };
        table.row(vec![path.display().to_string(), format!("{goes} {}", who.name())]);
    }
    text += &table.text(0);
    text += "\nnext  start slotd with each coordinator's folder and slot-agent with each host's, then\n";
    if let Some((path, _)) = made.folders.iter().find(|(_, who)| who.role() == Role::Operator) {
        text += &wrap("      ", &format!("slotctl --folder {} status", path.display()));
    }
    text
}
