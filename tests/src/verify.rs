//! What the masters hold, against what the clients were told.
//!
//! What always holds: the whole master is read; a record counts as lost only when its acknowledgement was read before the
//! reading began; nothing here asks a coordinator or an agent what it thinks.

use crate::writer::{Route, Writers};
use crate::{AT_LAST, Outcome};
use slot_engine::journal::core::CANARY_CLIENT;
use slot_types::ids::{RecordId, StoreName};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How many records are read at once.
const RECORDS_AT_ONCE: u32 = 2000;

/// One store's master against its writer's log.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Acknowledged to the writer.
    pub acknowledged: u64,
    /// Acknowledged and not there.
    pub lost: Vec<RecordId>,
    /// There more than once.
    pub duplicated: Vec<RecordId>,
    /// There after one that was written later.
    pub disordered: Vec<RecordId>,
    /// There, and never sent by anybody.
    pub foreign: Vec<RecordId>,
}

/// Every store's verdict.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(pub BTreeMap<StoreName, Verdict>);

impl Verdicts {
    /// Acknowledged records of all stores.
    pub fn acknowledged(&self) -> u64 {
        self.0.values().map(|verdict| verdict.acknowledged).sum()
    }
    /// Lost records of all stores.
    pub fn lost(&self) -> u64 {
        self.0.values().map(|verdict| verdict.lost.len() as u64).sum()
    }
    /// Records of all stores that are there more than once.
    pub fn duplicated(&self) -> u64 {
        self.0.values().map(|verdict| verdict.duplicated.len() as u64).sum()
    }

    /// Fails unless every store holds what was acknowledged, once each, and nothing that nobody wrote.
    pub fn must_be_whole(&self) -> Outcome<()> {
        for (store, verdict) in &self.0 {
            for (what, records) in
                [("lost", &verdict.lost), ("duplicated", &verdict.duplicated), ("foreign", &verdict.foreign)]
            {
                if !records.is_empty() {
                    return Err(format!("{store}: {} {what}: {records:?}", records.len()).into());
                }
            }
        }
        Ok(())
    }

    /// Fails unless every store holds its records in the order in which they were written, too.
    pub fn must_be_in_order(&self) -> Outcome<()> {
        self.must_be_whole()?;
        match self.0.iter().find(|(_, verdict)| !verdict.disordered.is_empty()) {
            Some((store, verdict)) => Err(format!("{store}: out of order: {:?}", verdict.disordered).into()),
            None => Ok(()),
        }
    }
}

/// Reads every store's master; the writers may go on meanwhile.
pub fn verify(writers: &Writers) -> Outcome<Verdicts> {
    let mut verdicts = Verdicts::default();
    for (store, (client, log)) in writers.logs() {
        let acknowledged: BTreeSet<u64> = log.acknowledged().into_iter().collect();
        let records = read_all(writers, store)?;
        let begun = log.begun();
        let mut seen = BTreeSet::new();
        let mut verdict = Verdict { acknowledged: acknowledged.len() as u64, ..Verdict::default() };
        let mut highest = 0;
        for id in records {
            if id.client != *client || id.sequence > begun || id.sequence == 0 {
                verdict.foreign.push(id);
                continue;
            }
            if id.sequence < highest {
                verdict.disordered.push(id.clone());
            }
            highest = highest.max(id.sequence);
            if !seen.insert(id.sequence) {
                verdict.duplicated.push(id);
            }
        }
        let lost = acknowledged.difference(&seen);
        verdict.lost = lost.map(|sequence| RecordId { client: client.clone(), sequence: *sequence }).collect();
        verdicts.0.insert(store.clone(), verdict);
    }
    Ok(verdicts)
}

/// The ids of all client records that a store's master holds, in its order; canaries left out.
pub fn read_all(writers: &Writers, store: &StoreName) -> Outcome<Vec<RecordId>> {
    let started = Instant::now();
    loop {
        let route = writers.routes().get(store).cloned();
        let error = match &route {
            None => "it has no route".to_owned(),
            Some(route) => match read_master(writers, store, route) {
                Ok(records) => return Ok(records),
                Err(error) => error.to_string(),
            },
        };
        if started.elapsed() > AT_LAST {
            return Err(format!("could not read {store} through its route {route:?}: {error}").into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn read_master(writers: &Writers, store: &StoreName, route: &Route) -> Outcome<Vec<RecordId>> {
    writers.runtime().block_on(async {
        let client = writers.reader().journal(store, &route.to)?;
        let (mut found, mut from, mut until) = (Vec::new(), 0, None);
        loop {
            let (records, head) = client.read(Some(route.epoch), from, RECORDS_AT_ONCE, Duration::ZERO).await?;
            // Up to where it ended when the reading began: it grows all the time.
            let end = *until.get_or_insert(head);
            for (index, record) in records {
                from = index + 1;
                found.extend(record.id().filter(|id| id.client.as_str() != CANARY_CLIENT).cloned());
            }
            if from >= end {
                return Ok(found);
            }
        }
    })
}
