//! Fence devices: what switches a host off from outside, and what is known of its power (R26).
//!
//! What always holds: a program is a plain name of ClusterLabs' kind or an absolute path, and options are lines that can hold
//! no second line, both checked when they are made, parsed and decoded; no password is ever in here, only the path of the
//! file that holds it on the host which runs the program.

use crate::ids::*;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The longest program, option or path, in bytes.
pub const TEXT_MAX: usize = 256;
/// The most options one device may have.
pub const OPTIONS_MAX: usize = 64;
/// What a device is given when the file says nothing, in milliseconds.
pub const TIMEOUT_MS: u64 = 20_000;
/// Words that this program writes itself, or that would put a secret into replicated state.
const RESERVED: [&str; 9] =
    ["action", "option", "agent", "nodename", "password", "passwd", "passphrase", "password_script", "passwd_script"];

/// Why a text is not part of a fence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FenceError {
    /// Neither `fence_…` nor an absolute path.
    #[error("{0:?} is not a fence agent: write its name, as in \"fence_ipmilan\", or an absolute path")]
    Program(String),
    /// Not an option's name.
    #[error("{0:?} is not an option: use a-z, 0-9, _ and -, beginning with a letter")]
    Option(String),
    /// An option that would be a secret, or that slotd says itself.
    #[error("{0:?} can't be an option: passwords go into password_file, and the action is slotd's to say")]
    Reserved(String),
    /// A value that is no line.
    #[error("the value of {0} is no line of at most 256 bytes")]
    Value(String),
    /// Not an absolute path.
    #[error("{0:?} is not an absolute path without ..")]
    Path(String),
}

fn is_line(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

fn is_path(text: &str) -> bool {
    let plain = |part: &str| part != ".." && part != ".";
    text.starts_with('/') && text.len() > 1 && is_line(text) && text.split('/').all(plain)
}

macro_rules! checked {
    ($(#[$doc:meta])* $type:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, Serialize)]
        #[serde(transparent)]
        pub struct $type(String);

        impl $type {
            /// Checks a text and makes it one.
            pub fn new(text: impl Into<String>) -> Result<Self, FenceError> {
                let text = text.into();
                let check: fn(&str) -> Result<(), FenceError> = $check;
                check(&text)?;
                Ok(Self(text))
            }
            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
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

checked!(
    /// A fence agent: `fence_ipmilan`, looked up in a fixed list of folders, or an absolute path.
    FenceAgent,
    |text| {
        let named = text.strip_prefix("fence_").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        if (named && text.len() <= 64) || is_path(text) { Ok(()) } else { Err(FenceError::Program(text.into())) }
    }
);
checked!(
    /// The name of an option, as the agent's metadata lists it.
    FenceKey,
    |text| {
        let bytes = text.as_bytes();
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_' || *b == b'-';
        if bytes.is_empty() || bytes.len() > 64 || !bytes[0].is_ascii_lowercase() || !bytes.iter().all(plain) {
            return Err(FenceError::Option(text.into()));
        }
        if RESERVED.contains(&text) { Err(FenceError::Reserved(text.into())) } else { Ok(()) }
    }
);
checked!(
    /// The value of an option: one line.
    FenceValue,
    |text| if is_line(text) { Ok(()) } else { Err(FenceError::Value("an option".into())) }
);
checked!(
    /// An absolute path on the host that runs the agent.
    FencePath,
    |text| if is_path(text) { Ok(()) } else { Err(FenceError::Path(text.into())) }
);

/// From where a device may be used (R26): a rack that lost its power can't switch off a host of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum FenceFrom {
    /// Another failure domain.
    AnotherRack,
    /// Another host, of the same failure domain perhaps.
    AnotherHost,
}

/// How a host is switched off from outside.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct FenceSpec {
    /// The program.
    pub agent: FenceAgent,
    /// What it is handed on stdin, besides the action and the password.
    pub options: BTreeMap<FenceKey, FenceValue>,
    /// Where the password is, on the host that runs the program.
    pub password_file: Option<FencePath>,
    /// How long off, and status until it says off, may take together, in milliseconds.
    pub timeout_ms: u64,
    /// Who may use it.
    pub from: FenceFrom,
}

impl fmt::Display for FenceSpec {
    /// `fence_ipmilan 10.9.0.3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.agent)?;
        for key in ["ip", "plug"] {
            let value = self.options.iter().find(|(name, _)| name.as_str() == key).map(|(_, value)| value);
            if let Some(value) = value.filter(|value| !value.as_str().is_empty()) {
                write!(f, " {value}")?;
            }
        }
        Ok(())
    }
}

/// What a device said of a host's power.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
pub enum Power {
    /// `status` says on.
    On,
    /// `status` says off.
    Off,
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Power::On => "ON",
            Power::Off => "OFF",
        })
    }
}

/// What a fence agent is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceAction {
    /// Cut the power.
    Off,
    /// Say whether it is on.
    Status,
}

impl FenceAction {
    /// As fence agents spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Status => "status",
        }
    }
}

/// What a fence agent answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceSaid {
    /// To off: done, by its own check.
    Switched,
    /// To status.
    Power(Power),
}

/// A host's device, and what the cluster holds of its word.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Device {
    /// As the cluster file says.
    pub spec: Option<FenceSpec>,
    /// It switched the host off and then said off; stands until the host shows any sign of life.
    pub off: Option<DeviceOff>,
    /// It did not confirm.
    pub failed: Option<DeviceFailed>,
}

/// A host that its device says is off (R26).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DeviceOff {
    /// The boot that it ended: a fence holds for one boot only (R6).
    pub boot: BootId,
    /// Whose agent ran the fence agent.
    pub by: HostName,
    /// For which plan.
    pub plan: PlanId,
    /// When, in log time.
    pub at: LogTime,
    /// What the host was declared before; it is so again once it comes back with another boot.
    pub was: crate::cluster::HostState,
}

/// A host whose device did not confirm that it is off.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DeviceFailed {
    /// The boot it was to end.
    pub boot: BootId,
    /// When, in log time.
    pub at: LogTime,
    /// What it said.
    pub why: String,
}

/// After a device did not confirm, sheets of that boot don't offer it for so long, so that a person can go on without it.
pub const FAILED_MS: u64 = 10 * 60_000;

impl Device {
    /// Whether its "off" stands for this boot.
    pub fn is_off(&self, boot: Option<BootId>) -> bool {
        self.off.as_ref().is_some_and(|off| Some(off.boot) == boot)
    }
    /// The spec, if it can be used on this boot: it did not fail to confirm a short while ago.
    pub fn usable(&self, boot: BootId, now: LogTime) -> Option<&FenceSpec> {
        let failed = self.failed.as_ref().is_some_and(|f| f.boot == boot && now.since(f.at) < FAILED_MS);
        self.spec.as_ref().filter(|_| !failed)
    }
}

/// A host that a plan counts as off by its device's word, with everything this means (R6, R26).
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SwitchOff {
    /// The boot that is ended: it fires on no other.
    pub boot: BootId,
    /// Whose agent does it; `None` where the device has said off before, and nothing is switched any more.
    pub by: Option<HostName>,
    /// The device, as shown and approved.
    pub spec: FenceSpec,
    /// Every copy on that host: all of them die.
    pub kills: BTreeSet<SlotId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_options_and_paths_are_checked() {
        for good in ["fence_ipmilan", "fence_apc_snmp", "/opt/fence/fence-mine"] {
            assert!(FenceAgent::new(good).is_ok(), "{good}");
        }
        for bad in ["", "ipmilan", "fence_", "fence_../sh", "fence_x y", "/../bin/sh", "/", "fence_X", "./fence_x"] {
            assert!(FenceAgent::new(bad).is_err(), "{bad}");
        }
        assert!(FenceKey::new("power_timeout").is_ok());
        for bad in ["password", "action", "Ip", "a b", "a=b", "a\nb", "", "9a"] {
            assert!(FenceKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(FenceValue::new("a\naction=on").is_err());
        assert!(FencePath::new("/etc/slotd/../shadow").is_err());
    }

    #[test]
    fn what_is_decoded_is_checked_too() {
        let bytes = borsh::to_vec(&"a\naction=on".to_string()).unwrap();
        assert!(borsh::from_slice::<FenceValue>(&bytes).is_err());
        assert!(borsh::from_slice::<FenceAgent>(&borsh::to_vec(&"sh".to_string()).unwrap()).is_err());
    }
}
