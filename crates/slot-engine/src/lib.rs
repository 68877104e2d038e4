//! The Engine trait and the engines; today the journal.
//!
//! What always holds: every call is idempotent and has a budget; an answer is either the engine's own durable word or an
//! error that proves nothing; no engine is ever started through a shell.

pub mod journal;

use slot_net::process::ProcessIdentity;
use slot_types::engine::{EngineCall, EngineDone, EngineError};
use slot_types::ids::{CopyGeneration, SlotId, StoreName};
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// A future that can be kept in a box, so that [`Engine`] is object safe.
pub type EngineFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// The copy a call is meant for; the engine refuses it when it holds another (R11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineTarget {
    /// The slot; its host is the name the engine's certificate must carry.
    pub slot: SlotId,
    /// The slot's address.
    pub address: SocketAddr,
    /// The store.
    pub store: StoreName,
    /// The copy generation.
    pub generation: CopyGeneration,
}

/// What it takes to make or start a copy's engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineSpec {
    /// The copy.
    pub target: EngineTarget,
    /// Its data folder, one per copy generation.
    pub dir: PathBuf,
}

/// What an agent needs of an engine.
pub trait Engine: Send + Sync {
    /// One call, answered within the budget; past it [`EngineError::TimedOut`], which proves nothing.
    fn call<'a>(&'a self, target: &'a EngineTarget, call: EngineCall, budget: Duration)
    -> EngineFuture<'a, EngineDone>;

    /// Makes an empty copy in `spec.dir`; done already when the folder holds that very copy, refused when another.
    fn provision<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()>;

    /// Deletes the copy in `spec.dir` for good; done already when there is no such folder, refused when it holds another copy
    /// or a process serves it.
    fn destroy<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ()>;

    /// Starts the process, in a process group of its own, so that it outlives the agent. It starts Idle. Two processes
    /// never serve one folder: the second ends at the folder's lock (P5).
    fn launch<'a>(&'a self, spec: &'a EngineSpec) -> EngineFuture<'a, ProcessIdentity>;
}
