//! HAProxy: a base configuration of ours, the map of a front end's agent, and the hook that brings a new process up.
//!
//! What always holds: the hook ends well only when a process with the new map has bound its addresses and the old one was told to
//! stop; the map is the shipped template's; every process that names our configuration is ended in the end.

use crate::Outcome;
use crate::cluster::Cluster;
use slot_net::process::{ProcessIdentity, kill_and_wait};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where Debian puts it.
pub const PROGRAM: &str = "/usr/sbin/haproxy";
/// Where the port of store 1 would be, less one.
const PORT: u16 = 8000;
const END_LIMIT: Duration = Duration::from_secs(30);

/// One HAProxy; it is started by its first reload.
#[derive(Debug)]
pub struct Haproxy {
    folder: PathBuf,
    at: Ipv4Addr,
}

impl Haproxy {
    /// Writes its configuration and its hook for front end `n`: a listener for every store.
    pub fn new(cluster: &Cluster, n: u8) -> Outcome<Self> {
        let folder = cluster.front_end_folder(n).join("haproxy");
        fs::create_dir_all(&folder)?;
        let at = Ipv4Addr::new(127, cluster.block().x(), 200, n + 100);
        let socket = folder.join("stats.sock");
        let mut base = format!(
            "global\n    stats socket {} mode 600 level admin expose-fd listeners\n    hard-stop-after 20s\n\
             defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1m\n    timeout server 1m\n",
            socket.display()
        );
        for store in 1..=cluster.shape.stores {
            base +=
                &format!("frontend store{store}\n    bind {at}:{}\n    default_backend store{store}\n", PORT + store);
        }
        fs::write(folder.join("base.cfg"), base)?;
        fs::write(folder.join("reload"), HOOK)?;
        Ok(Self { folder, at })
    }

    /// Where clients of a store go.
    pub fn address(&self, store: u16) -> SocketAddr {
        (self.at, PORT + store).into()
    }

    /// Its map, as the front end's file describes it.
    pub fn map(&self) -> String {
        let folder = self.folder.display();
        format!(
            "[map.haproxy]\npath = \"{folder}/map.cfg\"\nreload = [\"/bin/sh\", \"{folder}/reload\", \"{folder}\"]\n"
        )
    }

    /// The map as it is on disk.
    pub fn text(&self) -> String {
        fs::read_to_string(self.folder.join("map.cfg")).unwrap_or_default()
    }
}

/// The hook that `docs/front-ends.md` recommends.
const HOOK: &str = include_str!("../../../docs/examples/haproxy-reload");

impl Drop for Haproxy {
    fn drop(&mut self) {
        // Older processes may still have connections: they are found by the configuration they were started with.
        for process in with_argument(&self.folder.join("base.cfg")) {
            if let Err(error) = kill_and_wait(&process, END_LIMIT) {
                eprintln!("a haproxy was not ended: {error}");
            }
        }
    }
}

/// The processes that have this path among their arguments.
fn with_argument(path: &Path) -> Vec<ProcessIdentity> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let one = |pid: u32| {
        let identity = ProcessIdentity::of(pid).ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let names = arguments.split(|byte| *byte == 0).any(|argument| argument == path.as_os_str().as_encoded_bytes());
        // The process whose arguments were read is the one that was identified before.
        (names && ProcessIdentity::of(pid).ok() == Some(identity)).then_some(identity)
    };
    pids.filter_map(one).collect()
}
