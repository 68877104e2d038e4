//! The rig: a real small cluster of real processes, clients that write all the time, and the demo told with both.
//!
//! What always holds: every process is known by its id and is ended by it, never by a name; a cluster has a block of
//! loopback addresses of its own, so clusters run side by side; nothing survives a [`cluster::Cluster`] that is dropped;
//! what was acknowledged is counted by the clients from their own logs and from nothing else.

pub mod armed;
pub mod block;
pub mod cluster;
pub mod ctl;
pub mod demo;
pub mod engines;
pub mod front_ends;
pub mod handover_bench;
pub mod handover_profile;
pub mod join;
pub mod left;
pub mod log;
pub mod loss;
pub mod programs;
pub mod proxies;
pub mod rot;
pub mod shape;
pub mod verify;
pub mod wire;
pub mod writer;

use std::time::{Duration, Instant};

/// A failure of the rig or of what it watches, as a sentence.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What the rig's functions answer.
pub type Outcome<T> = Result<T, Failure>;

/// How long a test waits for something that must come at last. It is never a statement about speed.
pub const AT_LAST: Duration = Duration::from_secs(120);

/// Asks again and again until the answer is there, or fails naming what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Outcome<T> {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if started.elapsed() > limit {
            return Err(format!("waited {} s in vain until {what}", limit.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Asks again and again until it is so, or fails naming what was waited for.
pub fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) -> Outcome<()> {
    wait_for(what, limit, || is_so().then_some(()))
}
