//! Records that only a dead master has: making some, and comparing what the loss cases list with what clients miss.
//!
//! What always holds: what clients miss is read from the masters by the clients; what is listed is read with `slotctl`.

use crate::cluster::Cluster;
use crate::engines::{self, EngineProcess};
use crate::shape::host;
use crate::verify::verify;
use crate::writer::Writers;
use crate::{AT_LAST, Outcome, wait_for, wait_until};
use rustix::process::Signal;
use slot_types::ids::{RecordId, StoreName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// For how long replicas are made to lag before their master's host dies.
pub const LAG: Duration = Duration::from_millis(400);

/// Record ids by store; a store without any is not in it.
pub type Records = BTreeMap<StoreName, BTreeSet<RecordId>>;

/// What the loss cases of a host say.
#[derive(Debug, Default)]
pub struct Listed {
    /// The records they list.
    pub records: Records,
    /// The cases that wait for a person, with their stores.
    pub open: Vec<(String, StoreName)>,
}

/// Kills host `n` after its masters' replicas were made to lag; answers how many engines died.
pub fn kill_with_lag(cluster: &mut Cluster, n: u8) -> Outcome<usize> {
    let masters = cluster.masters_on(n)?;
    let followers = followers(cluster, n, &masters)?;
    for follower in &followers {
        engines::signal(&follower.identity, Signal::STOP)?;
    }
    std::thread::sleep(LAG);
    let killed = cluster.kill_host(n);
    for follower in &followers {
        engines::signal(&follower.identity, Signal::CONT)?;
    }
    killed
}

/// The engines that follow these stores' masters on host `n`.
fn followers(cluster: &Cluster, n: u8, masters: &[StoreName]) -> Outcome<Vec<EngineProcess>> {
    let on_host = format!("{}/", host(n));
    let mut found = Vec::new();
    for store in masters {
        for slot in cluster.copies_of(store.as_str())?.iter().filter(|slot| !slot.starts_with(&on_host)) {
            found.push(cluster.engine_on(slot)?);
        }
    }
    Ok(found)
}

/// Waits until a host counts as silent.
pub fn wait_silent(cluster: &Cluster, n: u8) -> Outcome<()> {
    let name = host(n);
    wait_until(&format!("{name} counts as silent"), AT_LAST, || {
        cluster.look(&["show", "host", &name]).is_ok_and(|view| view["silent"] == true)
    })
}

/// Acknowledged records that no master has now.
pub fn missing(writers: &Writers) -> Outcome<Records> {
    let verdicts = verify(writers)?;
    let lost = verdicts.0.into_iter().map(|(store, verdict)| (store, BTreeSet::from_iter(verdict.lost)));
    Ok(lost.filter(|(_, lost)| !lost.is_empty()).collect())
}

/// The loss cases on a host that wait for a person now.
pub fn waiting(cluster: &Cluster, n: u8) -> Outcome<Vec<String>> {
    let on_host = format!("{}/", host(n));
    let view = cluster.look(&["loss", "list"])?;
    let all = view["loss_cases"].as_array().into_iter().flatten();
    let waits = all.filter(|case| {
        case["state"] == "Listed" && case["slot"].as_str().is_some_and(|slot| slot.starts_with(&on_host))
    });
    Ok(waits.filter_map(|case| case["loss_case"].as_str().map(str::to_owned)).collect())
}

/// Waits until so many loss cases on a host are listed or settled; answers what they list.
pub fn listed(cluster: &Cluster, n: u8, cases: usize) -> Outcome<Listed> {
    let on_host = format!("{}/", host(n));
    wait_for(&format!("{cases} loss cases on {on_host} are listed"), AT_LAST, || {
        let view = cluster.look(&["loss", "list"]).ok()?;
        let all = view["loss_cases"].as_array()?;
        let of_host = all.iter().filter(|case| case["slot"].as_str().is_some_and(|slot| slot.starts_with(&on_host)));
        let of_host: Vec<_> = of_host.collect();
        if of_host.len() < cases || of_host.iter().any(|case| case["state"] == "AwaitingReturn") {
            return None;
        }
        let mut listed = Listed::default();
        for case in of_host {
            let store: StoreName = case["store"].as_str()?.parse().ok()?;
            let ids: BTreeSet<RecordId> =
                case["stranded"].as_array()?.iter().filter_map(|id| record(id.as_str()?)).collect();
            if !ids.is_empty() {
                listed.records.entry(store.clone()).or_default().extend(ids);
            }
            if case["state"] == "Listed" {
                listed.open.push((case["loss_case"].as_str()?.to_owned(), store));
            }
        }
        Some(listed)
    })
}

/// A record id as `slotctl` prints it, `w1:17`.
fn record(text: &str) -> Option<RecordId> {
    let (client, sequence) = text.rsplit_once(':')?;
    Some(RecordId { client: client.parse().ok()?, sequence: sequence.parse().ok()? })
}
