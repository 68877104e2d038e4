//! A block of loopback addresses for one cluster, and leave to run one.
//!
//! What always holds: two clusters on one machine never share an address, since the block's last address is bound as
//! long as the cluster lives; at most [`CLUSTERS_AT_ONCE`] clusters of tests run at the same time.

use crate::Outcome;
use rand::RngExt;
use std::fs::{File, OpenOptions, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// So many clusters of tests run at once: the machine may have two cores only.
pub const CLUSTERS_AT_ONCE: u8 = 2;
/// Where coordinators listen.
pub const COORDINATOR_PORT: u16 = 7400;
/// Where agents listen.
pub const AGENT_PORT: u16 = 7420;
/// Where engines listen.
pub const SLOT_PORT: u16 = 7430;
/// How many blocks are tried before giving up.
const TRIES: u32 = 200;

/// The addresses `127.X.0.0/16` for one X.
#[derive(Debug)]
pub struct Block {
    x: u8,
    /// Bound for as long as the block is ours.
    _held: TcpListener,
}

impl Block {
    /// Takes a block that nobody uses.
    pub fn take() -> Outcome<Self> {
        for _ in 0..TRIES {
            let x: u8 = rand::rng().random_range(1..250);
            let Ok(held) = TcpListener::bind((Ipv4Addr::new(127, x, 255, 1), COORDINATOR_PORT)) else { continue };
            // A cluster that was left running (`up`) has given the lock up and still has its coordinators.
            if TcpListener::bind((Ipv4Addr::new(127, x, 0, 1), COORDINATOR_PORT)).is_ok() {
                return Ok(Self { x, _held: held });
            }
        }
        Err("no free block of loopback addresses: are many clusters running? End them with `cargo xtask down`".into())
    }

    /// The second number of its addresses.
    pub fn x(&self) -> u8 {
        self.x
    }

    /// Where coordinator `n` listens.
    pub fn coordinator(&self, n: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, 0, n), COORDINATOR_PORT).into()
    }

    /// Where the agent of host `n` listens.
    pub fn agent(&self, n: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, n, 250), AGENT_PORT).into()
    }

    /// Where front end `n` listens.
    pub fn front_end(&self, n: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, 200, n), AGENT_PORT).into()
    }

    /// Where the engine on slot `slot` of host `n` listens.
    pub fn slot(&self, n: u8, slot: u8) -> SocketAddr {
        (Ipv4Addr::new(127, self.x, n, slot), SLOT_PORT).into()
    }
}

/// Leave to run one cluster; held as long as the cluster runs.
#[derive(Debug)]
pub struct Leave {
    _locked: File,
}

impl Leave {
    /// Waits until fewer than [`CLUSTERS_AT_ONCE`] clusters of tests run.
    pub fn wait() -> Outcome<Self> {
        loop {
            for n in 0..CLUSTERS_AT_ONCE {
                let path =
                    std::env::temp_dir().join(format!("slot-tests-{}-{n}.lock", rustix::process::getuid().as_raw()));
                let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
                match file.try_lock() {
                    Ok(()) => return Ok(Self { _locked: file }),
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => return Err(error.into()),
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
