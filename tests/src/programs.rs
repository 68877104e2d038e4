//! Where the programs of a cluster are.
//!
//! What always holds: a program with failpoints is taken only from the folder that `SLOT_FAILPOINT_BIN_DIR` names; a
//! missing program is named together with the command that builds it.

use crate::Outcome;
use std::env;
use std::path::{Path, PathBuf};

/// Names the folder of the programs as they are shipped.
pub const BIN_DIR: &str = "SLOT_BIN_DIR";
/// Names the folder of the programs with failpoints.
pub const FAILPOINT_BIN_DIR: &str = "SLOT_FAILPOINT_BIN_DIR";

/// The four programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The coordinator.
    pub slotd: PathBuf,
    /// The agent.
    pub agent: PathBuf,
    /// The journal engine.
    pub journal: PathBuf,
    /// The operator's hand.
    pub slotctl: PathBuf,
}

impl Programs {
    /// The programs as they are shipped.
    pub fn find() -> Outcome<Self> {
        let folder = shipped_folder()?;
        Self::take(&folder, &folder)
    }

    /// The programs with failpoints in slotd, slot-agent and slot-journal; `None` when there are none, after saying so.
    /// In CI (`CI` is set) their lack is a failure.
    pub fn with_failpoints() -> Outcome<Option<Self>> {
        let Some(folder) = env::var_os(FAILPOINT_BIN_DIR) else {
            let text = format!("{FAILPOINT_BIN_DIR} is not set: `cargo xtask test` builds the programs and sets it");
            if env::var_os("CI").is_some() {
                return Err(text.into());
            }
            eprintln!("SKIPPED: {text}");
            return Ok(None);
        };
        Self::take(Path::new(&folder), &shipped_folder()?).map(Some)
    }

    fn take(folder: &Path, ctl: &Path) -> Outcome<Self> {
        Ok(Self {
            slotd: program(folder, "slotd")?,
            agent: program(folder, "slot-agent")?,
            journal: program(folder, "slot-journal")?,
            slotctl: program(ctl, "slotctl")?,
        })
    }
}

/// The folder named by the environment, else the one that this executable was built into.
fn shipped_folder() -> Outcome<PathBuf> {
    if let Some(folder) = env::var_os(BIN_DIR) {
        return Ok(PathBuf::from(folder));
    }
    let own = env::current_exe()?;
    let folder = own.parent().ok_or("this executable lies in no folder")?;
    Ok(if folder.ends_with("deps") { folder.parent().unwrap_or(folder).to_path_buf() } else { folder.to_path_buf() })
}

fn program(folder: &Path, name: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    if path.is_file() {
        // A program is started from other working folders too.
        return Ok(path.canonicalize()?);
    }
    Err(format!("{} is not there: `cargo xtask test` and `cargo xtask demo` build it first", path.display()).into())
}
