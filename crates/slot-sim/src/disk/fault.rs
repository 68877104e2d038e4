//! What goes wrong with a disk, and when.
//!
//! What always holds: a fault that is armed happens at the operation with its number, counted from 0 at arming over writes,
//! changes of length, syncs, renames and removals, also those of a later life; once a process is dead, nothing it does
//! happens.

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The process dies in this operation.
    Crash,
    /// This operation fails with EIO; a sync that fails leaves its writes clean and lost (P11).
    Eio,
    /// From this operation on, until disarmed, whatever takes room fails with ENOSPC.
    NoSpace,
    /// This sync, or the next one, says it is done and does nothing, and the power fails at that moment.
    LostSync,
}

/// How much of the operation happens although it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lands {
    /// Nothing.
    Nothing,
    /// The first so many bytes of a write; of a sync that fails with EIO, the writes whose bits are set.
    Part(u64),
    /// All of it.
    Whole,
}

impl Lands {
    /// How many of so many bytes land.
    pub(super) fn of(self, bytes: usize) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Part(most) => usize::try_from(most).map_or(bytes, |most| most.min(bytes)),
            Self::Whole => bytes,
        }
    }

    /// Whether the write of this number lands in a sync that fails.
    pub(super) fn takes(self, number: usize) -> bool {
        match self {
            Self::Nothing => false,
            Self::Part(bits) => bits >> (number % 64) & 1 == 1,
            Self::Whole => true,
        }
    }
}

/// One fault to arm a disk with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskFault {
    /// At which operation from now; 0 is the next.
    pub at_op: u64,
    /// What.
    pub kind: FaultKind,
    /// How much of the operation happens nevertheless.
    pub lands: Lands,
    /// Of a crash: whether it is the power that fails.
    pub power: bool,
    /// Of EIO: whether every later operation fails too, until disarmed.
    pub stays: bool,
}

impl DiskFault {
    /// A fault of which nothing lands, that leaves the power on and happens once.
    pub fn new(at_op: u64, kind: FaultKind) -> Self {
        Self { at_op, kind, lands: Lands::Nothing, power: false, stays: false }
    }
    /// The same with so much of the operation done.
    pub fn landing(self, lands: Lands) -> Self {
        Self { lands, ..self }
    }
    /// The same with the power failing at that moment.
    pub fn with_power(self) -> Self {
        Self { power: true, ..self }
    }
    /// The same, staying.
    pub fn staying(self) -> Self {
        Self { stays: true, ..self }
    }
}

/// Why an operation on a simulated disk failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFailed {
    /// The process is dead: the world ends it now.
    Crashed,
    /// EIO.
    Io,
    /// ENOSPC.
    NoSpace,
    /// ENOENT.
    Missing,
}

impl std::fmt::Display for DiskFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Crashed => "the process died in a disk operation; nothing it does happens any more",
            Self::Io => "input/output error (simulated); end the process",
            Self::NoSpace => "no space left on the disk (simulated); end the process",
            Self::Missing => "no such file; end the process",
        })
    }
}

impl std::error::Error for DiskFailed {}

impl From<DiskFailed> for std::io::Error {
    fn from(failed: DiskFailed) -> Self {
        match failed {
            DiskFailed::Crashed => Self::other(failed),
            DiskFailed::Io => Self::from_raw_os_error(5),
            DiskFailed::NoSpace => Self::from_raw_os_error(28),
            DiskFailed::Missing => Self::from_raw_os_error(2),
        }
    }
}

/// What kind of operation it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OpKind {
    /// May take room.
    Grows,
    /// A sync of a file or folder.
    Syncs,
    /// Neither.
    Other,
}

/// How one operation goes.
#[derive(Clone, Copy)]
pub(super) struct Verdict {
    pub lands: Lands,
    pub fails: Option<DiskFailed>,
}

impl Verdict {
    const GO: Self = Self { lands: Lands::Whole, fails: None };

    pub fn result(self) -> Result<(), DiskFailed> {
        self.fails.map_or(Ok(()), Err)
    }
}

/// The armed fault of a disk, and whether its process is dead of it.
#[derive(Clone, Copy, Default)]
pub(super) struct Faults {
    ops: u64,
    armed: Option<DiskFault>,
    fired: u64,
    crashed: bool,
    power: bool,
}

impl Faults {
    pub fn ops(&self) -> u64 {
        self.ops
    }
    pub fn arm(&mut self, fault: DiskFault) {
        self.armed = Some(fault);
    }
    pub fn disarm(&mut self) {
        self.armed = None;
    }
    pub fn fired(&self) -> u64 {
        self.fired
    }
    pub fn crashed(&self) -> bool {
        self.crashed
    }
    pub fn power_lost(&self) -> bool {
        self.crashed && self.power
    }
    /// The dead process is gone; the next one may begin.
    pub fn buried(&mut self) {
        (self.crashed, self.power) = (false, false);
    }

    /// How the next operation goes.
    pub fn next(&mut self, op: OpKind) -> Verdict {
        if self.crashed {
            return Verdict { lands: Lands::Nothing, fails: Some(DiskFailed::Crashed) };
        }
        self.ops += 1;
        let Some(fault) = &mut self.armed else { return Verdict::GO };
        if fault.at_op > 0 {
            fault.at_op -= 1;
            return Verdict::GO;
        }
        let fault = *fault;
        let happens = match fault.kind {
            FaultKind::Crash | FaultKind::Eio => true,
            FaultKind::NoSpace => op == OpKind::Grows,
            FaultKind::LostSync => op == OpKind::Syncs,
        };
        if !happens {
            return Verdict::GO;
        }
        self.fired += 1;
        let stays = fault.kind == FaultKind::NoSpace || (fault.kind == FaultKind::Eio && fault.stays);
        if !stays {
            self.armed = None;
        }
        match fault.kind {
            FaultKind::Crash => {
                (self.crashed, self.power) = (true, fault.power);
                Verdict { lands: fault.lands, fails: Some(DiskFailed::Crashed) }
            }
            FaultKind::Eio => Verdict { lands: fault.lands, fails: Some(DiskFailed::Io) },
            FaultKind::NoSpace => Verdict { lands: fault.lands, fails: Some(DiskFailed::NoSpace) },
            FaultKind::LostSync => {
                (self.crashed, self.power) = (true, true);
                Verdict { lands: Lands::Nothing, fails: None }
            }
        }
    }
}
