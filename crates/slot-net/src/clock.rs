//! The machine's boot-time clock and the id of its boot.
//!
//! What always holds: the boot-time clock never goes backwards, goes on while the machine sleeps, and means nothing
//! after the boot that [`boot_id`] names (R12, R27).

use rustix::time::{ClockId, clock_gettime};
use slot_types::ids::BootId;

/// Where Linux tells the id of the running boot.
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// Why the running boot could not be named.
#[derive(Debug, thiserror::Error)]
pub enum BootIdError {
    /// The kernel's file could not be read.
    #[error("cannot read the boot id from {BOOT_ID_PATH}: {0}; is /proc mounted?")]
    Read(#[from] std::io::Error),
    /// The kernel's file holds something else.
    #[error("cannot read the boot id from {BOOT_ID_PATH}: {0}")]
    Parse(#[from] slot_types::ids::IdError),
}

/// Milliseconds since this boot, counting time asleep.
pub fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let milliseconds = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(milliseconds)
}

/// The id of the running boot.
pub fn boot_id() -> Result<BootId, BootIdError> {
    Ok(std::fs::read_to_string(BOOT_ID_PATH)?.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_does_not_go_back_and_the_boot_keeps_its_id() {
        let before = boottime_ms();
        assert!(before > 0);
        assert!(before <= boottime_ms());
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
    }
}
