//! The tables of `stores` and `slots`, and what they may be narrowed to.
//!
//! What always holds: a filter leaves lines out and changes none; the answer says how many there are without it.

use super::{Compared, SlotLine};
use crate::evidence::Seen;
use crate::hold::{Held, HoldOn};
use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest pattern.
const PATTERN_LENGTH_MAX: usize = NAME_LENGTH_MAX;

/// A pattern of names, in which `*` stands for any characters: `store1*`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, Serialize)]
#[serde(transparent)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether a name fits.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let middle: Vec<&str> = parts.collect();
        let Some((last, middle)) = middle.split_last() else { return rest.is_empty() };
        let mut rest = rest;
        for part in middle {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}
impl FromStr for NamePattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'*';
        if text.is_empty() || text.len() > PATTERN_LENGTH_MAX || !text.bytes().all(fits) {
            return Err(format!("{text:?} is no pattern of names: write it as in store1*, with a-z, 0-9, - and *"));
        }
        Ok(Self(text.to_string()))
    }
}
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl BorshDeserialize for NamePattern {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let text = String::deserialize_reader(reader)?;
        text.parse().map_err(|e: String| borsh::io::Error::new(borsh::io::ErrorKind::InvalidData, e))
    }
}
impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        <String as Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which stores are wanted; every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoreFilter {
    /// With a copy on this host.
    pub host: Option<HostName>,
    /// Not served now.
    pub not_served: bool,
    /// With a name like this.
    pub name: Option<NamePattern>,
}

/// Which slots are wanted; every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotFilter {
    /// Of this host.
    pub host: Option<HostName>,
    /// With no copy on it, and reserved by no plan.
    pub free: bool,
}

/// A store in the table of `stores`.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoreLine {
    /// Which.
    pub store: StoreName,
    /// The committed epoch.
    pub epoch: Epoch,
    /// The slot of its master.
    pub master: Option<SlotId>,
    /// The slot the epoch was allocated to that is not master yet (S3).
    pub pending: Option<SlotId>,
    /// Whether its master was seen running as master lately; unknown when the answering node hears no agents.
    pub served: Seen<bool>,
    /// Copies lately seen running as what they should be; unknown as above.
    pub live: Seen<u32>,
    /// Copies the cluster file asks for.
    pub copies: u8,
    /// What its master weighs beside others, by the cluster file.
    pub load: u16,
    /// The slots of its other copies.
    pub others: Vec<SlotId>,
    /// Of its replicas: the furthest behind, in records.
    pub worst_lag_records: Seen<u64>,
    /// Of its replicas: the longest since one's chain of digests agreed with its master's, in milliseconds.
    pub oldest_stamp_ms: Seen<u64>,
    /// Of its replicas: the worst of when each was last compared record by record; `None` when it has none.
    pub compared: Option<Compared>,
    /// The running plan that holds it.
    pub claimed_by: Option<PlanId>,
    /// Its open loss cases.
    pub open_loss_cases: Vec<LossCaseId>,
    /// What persons hold that covers it, its copies' hosts included.
    pub held: Vec<HoldOn>,
}

/// Stores, by name.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct StoresView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// All stores of the cluster.
    pub all: u64,
    /// Those that were asked for.
    pub stores: Vec<StoreLine>,
    /// Every hold that covers one of them.
    pub holds: Vec<Held>,
}

/// Slots, by host and number.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SlotsView {
    /// The revision the answer is of.
    pub revision: Revision,
    /// All slots of the cluster.
    pub all: u64,
    /// Those that were asked for.
    pub slots: Vec<SlotLine>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        let fits = |pattern: &str, name: &str| pattern.parse::<NamePattern>().unwrap().fits(name);
        for (pattern, name) in [
            ("store1", "store1"),
            ("*", "store1"),
            ("store1*", "store1"),
            ("store1*", "store12"),
            ("*2", "store12"),
            ("s*1*2", "store12"),
            ("s**2", "store12"),
            ("a*a", "aa"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("store1", "store12"), ("*1", "store12"), ("tore*", "store1"), ("a*a", "a")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_is_checked_when_it_is_read() {
        for text in ["", "Store", "a/b", "a b", &"a".repeat(64)] {
            assert!(text.parse::<NamePattern>().is_err(), "{text}");
            let bytes = borsh::to_vec(&text.to_string()).unwrap();
            assert!(NamePattern::try_from_slice(&bytes).is_err(), "{text}");
        }
    }
}
