//! Names and numbers, each a type of its own, so that none can stand where another belongs.
//!
//! What always holds: a name is `[a-z0-9][a-z0-9-]{0,62}`, checked when it is made, parsed and decoded, so no name that
//! reaches a path, an argument or a certificate can carry anything else.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most characters a name may have.
pub const NAME_LENGTH_MAX: usize = 63;

/// Why a text is not a name, a slot or a number of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `[a-z0-9][a-z0-9-]{0,62}`.
    #[error("{0:?} is not a name: use 1 to 63 of a-z, 0-9 and -, beginning with a letter or digit")]
    Name(String),
    /// Not `host/number`.
    #[error("{0:?} is not a slot: write host/number, as in imap3/07")]
    Slot(String),
    /// Not a number of the kind asked for.
    #[error("{text:?} is not {kind}: write it as in {example}")]
    Number {
        /// What was given.
        text: String,
        /// What was wanted, with its article.
        kind: &'static str,
        /// A right one.
        example: &'static str,
    },
}

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= NAME_LENGTH_MAX
        && bytes[0] != b'-'
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Checks a text and makes it a name.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(IdError::Name(text)) }
            }
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
        impl BorshDeserialize for $type {
            fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
                let text = String::deserialize_reader(reader)?;
                Self::new(text).map_err(|e| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, e.to_string()))
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(<String as Deserialize>::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A cluster, `fm1`.
    ClusterName
);
name!(
    /// A storage machine, `imap3`.
    HostName
);
name!(
    /// A logical server, `store23`.
    StoreName
);
name!(
    /// A coordinator node, `c1`.
    CoordinatorName
);
name!(
    /// A person, or a script acting for one, as its certificate names it.
    OperatorName
);
name!(
    /// A client of stores, as its certificate names it.
    ClientName
);
name!(
    /// A machine with a rendered map and a reload, but no slots, `fe1`.
    FrontEndName
);
name!(
    /// A map that front ends render, `postfix-transport`.
    MapName
);

macro_rules! counter {
    ($(#[$doc:meta])* $type:ident, $inner:ty, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub $inner);

        impl $type {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

counter!(
    /// A plan, `p17`.
    PlanId, u64, "p"
);
counter!(
    /// A loss case, `L12`.
    LossCaseId, u64, "L"
);
counter!(
    /// Of the whole cluster state: grows with every applied command.
    Revision, u64, ""
);
counter!(
    /// An index of the Raft log; an order carries that of its StartStep entry (R4).
    LogIndex, u64, ""
);
counter!(
    /// A Raft term.
    Term, u64, ""
);
counter!(
    /// Per slot and store, grows by one with every provision (R11).
    CopyGeneration, u32, "g"
);
counter!(
    /// Log time in milliseconds: advances only by leaders' monotonic elapsed time (R17).
    LogTime, u64, ""
);
counter!(
    /// Wall time in milliseconds since 1970-01-01 UTC; for display only, never for a decision (R17).
    WallTime, u64, ""
);

/// Where a generation begins: a log restored with generation `g` goes on at `g << GENERATION_SHIFT`, so that every index and
/// term of it is above whatever was given before, in logs nobody has any more too (R10).
pub const GENERATION_SHIFT: u32 = 40;
/// The highest generation there can be.
pub const GENERATION_MAX: u32 = (1 << 23) - 1;

impl LogIndex {
    /// The generation of the log that it is of.
    pub fn generation(self) -> u32 {
        u32::try_from(self.0 >> GENERATION_SHIFT).unwrap_or(u32::MAX)
    }
    /// The first index of a generation.
    pub fn first_of(generation: u32) -> Self {
        Self(u64::from(generation) << GENERATION_SHIFT)
    }
}

impl LogTime {
    /// Milliseconds from `earlier` to this; 0 when it is not later.
    pub fn since(self, earlier: LogTime) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

macro_rules! prefixed_from_str {
    ($type:ident, $prefix:literal, $kind:literal, $example:literal) => {
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix($prefix).and_then(|n| n.parse().ok()).map(Self).ok_or_else(|| IdError::Number {
                    text: text.to_string(),
                    kind: $kind,
                    example: $example,
                })
            }
        }
    };
}
prefixed_from_str!(PlanId, "p", "a plan", "p17");
prefixed_from_str!(LossCaseId, "L", "a loss case", "L12");

macro_rules! token {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
        pub struct $type(pub [u8; 16]);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let refused = || IdError::Number { text: text.to_string(), kind: "a 128-bit token", example: "32 hex digits" };
                let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-' && !b.is_ascii_whitespace()).collect();
                if digits.len() != 32 {
                    return Err(refused());
                }
                let mut bytes = [0u8; 16];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
                    let pair = std::str::from_utf8(pair).map_err(|_| refused())?;
                    *byte = u8::from_str_radix(pair, 16).map_err(|_| refused())?;
                }
                Ok(Self(bytes))
            }
        }
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <String as Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

token!(
    /// A cluster's identity, drawn at `slotctl init`; every order carries it.
    ClusterId
);
token!(
    /// Of an agent's or coordinator's disk: a wiped or restored disk gets a new one.
    Incarnation
);
token!(
    /// Of one boot of a host: role orders carry it, and a boot that has ended counts as "never will" (R27).
    BootId
);

/// A place on a host, `imap3/07`: own capacity, own engine instance, own address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct SlotId {
    /// The host it is on.
    pub host: HostName,
    /// Its number on that host, from 1.
    pub number: u16,
}

impl SlotId {
    /// Names a slot.
    pub fn new(host: HostName, number: u16) -> Self {
        Self { host, number }
    }
}
impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{:02}", self.host, self.number))
    }
}
impl fmt::Debug for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
impl FromStr for SlotId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Slot(text.to_string());
        let (host, number) = text.split_once('/').ok_or_else(refused)?;
        if number.is_empty() || number.len() > 5 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let number: u16 = number.parse().map_err(|_| refused())?;
        if number == 0 {
            return Err(refused());
        }
        Ok(Self { host: HostName::new(host).map_err(|_| refused())?, number })
    }
}
impl Serialize for SlotId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for SlotId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Per store: the fencing token, compared generation first. `n` grows by one with every change of master.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct Epoch {
    /// The cluster's: grows only when a coordinator is restored from a backup or a minority (R10).
    pub generation: u32,
    /// Grows by one with every change of master.
    pub n: u64,
}

impl Epoch {
    /// Before the first master: no copy may serve at it.
    pub const ZERO: Epoch = Epoch { generation: 0, n: 0 };

    /// The epoch of the next change of master.
    #[must_use]
    pub fn next(self) -> Self {
        Self { generation: self.generation, n: self.n.saturating_add(1) }
    }

    /// Stands for one that may have been given before this generation began, and that nobody who spoke since knows (R10): above
    /// all of before, below all that this generation gives.
    pub fn unheard_of(generation: u32) -> Self {
        Self { generation, n: 0 }
    }

    /// Whether it is such a one.
    pub fn is_unheard_of(self) -> bool {
        self.generation > 0 && self.n == 0
    }
}
impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.generation == 0 { write!(f, "{}", self.n) } else { write!(f, "{}.{}", self.generation, self.n) }
    }
}
impl FromStr for Epoch {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refused = || IdError::Number { text: text.to_string(), kind: "an epoch", example: "7, or 1.7" };
        let (generation, n) = text.split_once('.').unwrap_or(("0", text));
        match (generation.parse(), n.parse()) {
            (Ok(generation), Ok(n)) => Ok(Self { generation, n }),
            _ => Err(refused()),
        }
    }
}
impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{self}")
    }
}

/// Names one attempt at one step of one plan; with the StartStep index it is an order's identity (R4).
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub struct OrderId {
    /// The plan.
    pub plan: PlanId,
    /// The task within the plan.
    pub task: u16,
    /// The step within the task.
    pub step: u16,
    /// From 1; attempt n+1 starts after attempt n is over (R21).
    pub attempt: u32,
}
impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}#{}", self.plan, self.task, self.step, self.attempt)
    }
}
impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one freeze: a thaw ends that id for good (R1). It is the order that froze.
pub type FreezeId = OrderId;

/// A client's own name for a record; a retry with the same id never duplicates (R21).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct RecordId {
    /// Who wrote it.
    pub client: ClientName,
    /// Its number with that client.
    pub sequence: u64,
}
impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.client, self.sequence)
    }
}
impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
