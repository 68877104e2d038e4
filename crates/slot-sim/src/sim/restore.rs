//! Backups, the loss of the coordinators' disks, and what people do then (R10, docs/coordinators-gone.md).
//!
//! What always holds: a backup is read from a leader over the network, as `slotctl backup` reads it; a disk is written from it
//! by the function that `slotd restore` calls; a restored coordinator has a disk of its own and knows nobody's.

use super::*;
use crate::check::Seen;
use slot_coordinator::core::restore::{First, first};
use slot_coordinator::core::{ControlRequest, Failure, Reply};
use slot_machine::state::State;
use slot_types::backup::Backup;
use slot_types::codec;
use slot_types::view::{AUDIT_LINES_MAX, Query, View};

impl Sim {
    fn view(&mut self, query: Query) -> Option<View> {
        let Ok(Reply::View { bytes, .. }) = self.ask_and_wait("alice", ControlRequest::View { query, stale_ok: false })
        else {
            return None;
        };
        codec::decode(&bytes).ok()
    }

    /// What `slotctl backup` writes.
    pub fn take_backup(&mut self) -> Option<Vec<u8>> {
        let View::Backup(view) = self.view(Query::Backup)? else { return None };
        let (mut audit, mut after) = (Vec::new(), view.audit_trimmed);
        while after < view.head.audit_last {
            let View::Audit(page) = self.view(Query::Audit { after, limit: AUDIT_LINES_MAX })? else { return None };
            audit.extend(page.entries.into_iter().filter(|line| line.number <= view.head.audit_last));
            let last = audit.last().map_or(after, |line: &slot_types::view::AuditLine| line.number);
            if last == after {
                return None;
            }
            after = last;
        }
        self.note(|| "a backup is taken".into());
        Some(Backup { view: *view, audit }.to_file())
    }

    /// These coordinators are gone, with their disks. Front ends keep the map that they have.
    pub fn lose_coordinators(&mut self, ids: &[u64]) {
        if let Some(map) = self.state().filter(|state| state.restoring.is_none()).cloned() {
            self.map_kept = Some(Box::new(map));
        }
        for id in ids {
            self.kill_coordinator(*id);
            if let Some(node) = self.coordinators.get_mut(id) {
                node.loses_its_disk();
            }
            self.without_disk.insert(*id);
            self.note(|| format!("c{id} has lost its disk"));
        }
    }

    /// `slotd restore` on each of these, with the same file and generation, and what it says when it refuses.
    pub fn restore_coordinators(&mut self, ids: &[u64], file: &[u8], generation: Option<u32>) -> Result<u32, String> {
        let voters: Vec<u64> = self.coordinators.keys().copied().collect();
        let name = crate::setup::cluster_name();
        let mut begun = None;
        for id in ids {
            let incarnation = self.tokens.token();
            let First { disk, generation, .. } = first(file, (self.cluster, &name), &voters, generation)?;
            let node = self.coordinators.get_mut(id).ok_or("no such coordinator")?;
            node.is_written(&disk, incarnation).map_err(|e| e.to_string())?;
            self.without_disk.remove(id);
            begun = Some((generation, disk));
        }
        let (generation, disk) = begun.ok_or("nobody is restored")?;
        let bytes = disk.snapshot.map(|snapshot| snapshot.data).unwrap_or_default();
        let state = State::restore(&bytes).map_err(|e| e.to_string())?;
        let now = self.now();
        self.witness.saw(now, Seen::Restored { nodes: ids, state: &state });
        self.crowd.coordinators_restored();
        self.reach("R10: the coordinators were restored from a backup");
        self.note(|| format!("{ids:?} are restored, generation {generation}"));
        for id in ids {
            self.start_coordinator(*id);
        }
        Ok(generation)
    }

    /// A person's word that a host belongs to the restored cluster.
    pub fn readopt(&mut self, host: &HostName) -> Result<Reply, Failure> {
        let incarnation = self.truth().disks.get(host).copied().unwrap_or(Incarnation([0; 16]));
        let (host, reason) = (host.clone(), "restored after the fire".to_string());
        self.ask_and_wait("alice", ControlRequest::AdmitHost { request: None, host, incarnation, reason })
    }

    /// Whether hosts are to be re-adopted, as the newest state says.
    pub fn is_restoring(&self) -> bool {
        self.state().is_none_or(|state| state.restoring.is_some())
    }
}
