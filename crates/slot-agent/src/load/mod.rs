//! How busy this machine is, and what of that each engine takes, looked at again and again beside the agent's work.
//!
//! What always holds: nobody waits for a look; what is reported was measured over a whole window that ended lately, and until then
//! nothing is; no order depends on it. Only counters of the kernel are read ([`proc`]), what they come to is arithmetic ([`window`]).

mod proc;
mod window;

use crate::perform::Performer;
use slot_types::load::HostLoad;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use window::Window;

/// How often the counters are read.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The measures of one machine.
#[derive(Clone)]
pub(crate) struct Meter {
    window: Arc<Mutex<Window>>,
    disk: Option<proc::Device>,
}

impl Meter {
    /// For the machine that has this folder on one of its disks.
    pub(crate) fn new(data: &Path) -> Self {
        let disk = proc::Device::of(data);
        if disk.is_none() {
            tracing::info!(
                "{} is on no disk that the kernel counts for: load is that of the processors alone",
                data.display()
            );
        }
        Self { window: Arc::default(), disk }
    }

    /// How busy the machine was, if that was measured over a whole window that ended lately.
    pub(crate) fn now(&self) -> Option<HostLoad> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner).load(slot_net::boottime_ms())
    }

    /// Looks for ever, at the machine and at the engines that run then.
    pub(crate) async fn watch(self, performer: Performer) {
        let mut failed = false;
        loop {
            let (engines, disk) = (performer.processes(), self.disk.clone());
            let looked = tokio::task::spawn_blocking(move || proc::sample(&engines, disk.as_ref())).await;
            match looked {
                Ok(Ok(sample)) => {
                    self.window.lock().unwrap_or_else(PoisonError::into_inner).take(sample);
                    if std::mem::take(&mut failed) {
                        tracing::info!("measuring the load of this machine: it goes again");
                    }
                }
                Ok(Err(cause)) if !failed => {
                    failed = true;
                    tracing::warn!("measuring the load of this machine: {cause}; until it goes, no load is reported");
                }
                Ok(Err(_)) => {}
                // The runtime is ending.
                Err(_) => return,
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
