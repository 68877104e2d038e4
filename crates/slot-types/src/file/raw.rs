//! The cluster file as it is written, before names are expanded and values are read.
//!
//! What always holds: every field of the file's language is here; what no build carries out yet is read, checked, and said
//! with every diff ([`super::later`]), and values that would promise something else are refused by name.

use super::expand::{self, Lag, Ranges};
use super::fence::{RawFence, RawFenceOptions};
use super::frontends::RawFrontEnd;
use super::later::{self, RawAlarm, RawEngines, Unused};
use super::{Fault, FileProblem};
use crate::cluster::{EngineKind, HostSpec, Policy, Spread, Weights};
use crate::ids::HostName;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFile {
    #[serde(rename = "version")]
    _version: i64,
    pub(crate) cluster: Spanned<String>,
    pub(crate) coordinators: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    #[serde(default)]
    pub(crate) hosts: Ranges<RawHost>,
    #[serde(default)]
    pub(crate) kind: BTreeMap<String, RawKind>,
    #[serde(default)]
    pub(crate) stores: Ranges<RawStore>,
    pub(crate) policy: Option<RawPolicy>,
    #[serde(default)]
    pub(crate) fence_options: RawFenceOptions,
    #[serde(default)]
    pub(crate) engine: RawEngines,
    #[serde(default)]
    pub(crate) frontends: Ranges<RawFrontEnd>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawHost {
    pub(crate) at: Option<Spanned<String>>,
    pub(crate) address: Option<Spanned<String>>,
    pub(crate) kind: Option<Spanned<String>>,
    pub(crate) weight: Option<Spanned<i64>>,
    pub(crate) fence: Option<RawFence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawKind {
    pub(crate) slots: Spanned<i64>,
    pub(crate) slot: RawSlot,
    pub(crate) weight: Option<Spanned<i64>>,
    pub(crate) fence: Option<RawFence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawSlot {
    pub(crate) size: Spanned<String>,
    pub(crate) address: Spanned<String>,
    pub(crate) dir: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawStore {
    pub(crate) engine: Option<Spanned<String>>,
    pub(crate) copies: Option<Spanned<i64>>,
    pub(crate) spread: Option<Spanned<String>>,
    pub(crate) size: Option<Spanned<String>>,
    pub(crate) load: Option<Spanned<i64>>,
    pub(crate) sync_copies: Option<Spanned<i64>>,
    pub(crate) pin: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPolicy {
    handover: Option<RawHandover>,
    failover: Option<RawFailover>,
    brake: Option<RawBrake>,
    approval: Option<RawApproval>,
    everyday: Option<RawEveryday>,
    copy: Option<RawCopy>,
    placement: Option<RawPlacement>,
    alarm: Option<RawAlarm>,
}

/// Weights; what is left out weighs nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPlacement {
    domain: Option<Spanned<i64>>,
    survivor: Option<Spanned<i64>>,
    masters: Option<Spanned<i64>>,
    bytes: Option<Spanned<i64>>,
    moved: Option<Spanned<i64>>,
}

impl RawPlacement {
    fn read(&self) -> Result<Weights, Fault> {
        let weight = |value: &Option<Spanned<i64>>, what| {
            value.as_ref().map_or(Ok(0), |value| bounded(value, what, 0, WEIGHT_MAX))
        };
        Ok(Weights {
            domain: weight(&self.domain, "domain")?,
            survivor: weight(&self.survivor, "survivor")?,
            masters: weight(&self.masters, "masters")?,
            bytes: weight(&self.bytes, "bytes")?,
            moved: weight(&self.moved, "moved")?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHandover {
    at_once: Option<Spanned<i64>>,
    per_host: Option<Spanned<i64>>,
    per_domain: Option<Spanned<i64>>,
    max_lag: Option<Spanned<String>>,
    max_stamp_age: Option<Spanned<String>>,
    freeze: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFailover {
    people: Option<Spanned<i64>>,
    two_if: Option<Spanned<Vec<Spanned<String>>>>,
    caught_up: Option<Spanned<String>>,
    attestation: Option<Spanned<String>>,
    allow_unfenced: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBrake {
    silent_hosts: Option<Spanned<i64>>,
    silent: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApproval {
    valid: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCopy {
    at_once: Option<Spanned<i64>>,
    per_host: Option<Spanned<i64>>,
    per_domain: Option<Spanned<i64>>,
    rate: Option<Spanned<String>>,
    keep_free: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEveryday {
    per_minute: Option<Spanned<i64>>,
}

/// A whole number within bounds.
pub(crate) fn bounded<T: TryFrom<i64> + Copy + Into<u64>>(
    value: &Spanned<i64>,
    what: &'static str,
    min: T,
    max: T,
) -> Result<T, Fault> {
    let (low, high): (u64, u64) = (min.into(), max.into());
    let found = *value.get_ref();
    match T::try_from(found) {
        Ok(number) if (low..=high).contains(&number.into()) => Ok(number),
        _ => Err((value.span(), FileProblem::OutOfBounds { what, found: found.to_string(), min: low, max: high })),
    }
}

pub(crate) fn duration(value: &Spanned<String>, what: &'static str, bounds: RangeInclusive<u64>) -> Result<u64, Fault> {
    let ms =
        expand::duration_ms(value.get_ref()).map_err(|detail| (value.span(), FileProblem::Value { what, detail }))?;
    if bounds.contains(&ms) {
        return Ok(ms);
    }
    let detail = format!("{:?} is outside {} ms to {} ms", value.get_ref(), bounds.start(), bounds.end());
    Err((value.span(), FileProblem::Value { what, detail }))
}

/// The engine's word.
pub(crate) fn engine(value: &Spanned<String>) -> Result<EngineKind, Fault> {
    match value.get_ref().as_str() {
        "journal" => Ok(EngineKind::Journal),
        "cyrus" => Ok(EngineKind::Cyrus),
        word @ ("exec" | "postgres" | "redis") => {
            Err((value.span(), FileProblem::NotYet { field: format!("engine {word:?}") }))
        }
        word => {
            let detail = format!("{word:?} is not an engine: write \"journal\" or \"cyrus\"");
            Err((value.span(), FileProblem::Value { what: "engine", detail }))
        }
    }
}

/// `never imap11`, or several hosts with spaces between them.
pub(crate) fn pin(value: &Spanned<String>, hosts: &BTreeMap<HostName, HostSpec>) -> Result<BTreeSet<HostName>, Fault> {
    let wrong = |detail: String| (value.span(), FileProblem::Value { what: "pin", detail });
    let text = value.get_ref().as_str();
    let mut words = text.split_ascii_whitespace();
    let names: Vec<&str> = match words.next() {
        Some("never") => words.collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return Err(wrong(format!("{text:?} is not a pin: write \"never HOST\", as in \"never imap11\"")));
    }
    let name = |word: &str| {
        let name = HostName::new(word).map_err(|e| wrong(e.to_string()))?;
        let known = hosts.contains_key(&name);
        if known { Ok(name) } else { Err(wrong(format!("host {name} is not in this file: write one of its hosts"))) }
    };
    names.into_iter().map(name).collect()
}

/// What two copies may not share.
pub(crate) fn spread(value: &Spanned<String>) -> Result<Spread, Fault> {
    match value.get_ref().as_str() {
        "rack" => Ok(Spread::Rack),
        "host" => Ok(Spread::Host),
        word => {
            let detail = format!("{word:?} is not a spread: write \"rack\" or \"host\"");
            Err((value.span(), FileProblem::Value { what: "spread", detail }))
        }
    }
}

const WEIGHT_MAX: u16 = 1_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

impl RawPolicy {
    /// The policy, with the defaults for what the file leaves out.
    pub(crate) fn read(&self, unused: &mut Unused) -> Result<Policy, Fault> {
        let mut policy = Policy::default();
        if let Some(handover) = &self.handover {
            handover.read(&mut policy, unused)?;
        }
        if let Some(failover) = &self.failover {
            failover.read(&mut policy)?;
        }
        if let Some(brake) = &self.brake {
            if let Some(hosts) = &brake.silent_hosts {
                policy.brake_silent_hosts = bounded(hosts, "silent_hosts", 1, 1_000)?;
            }
            if let Some(silent) = &brake.silent {
                policy.silent_ms = duration(silent, "silent", SECOND..=10 * MINUTE)?;
            }
        }
        if let Some(valid) = self.approval.as_ref().and_then(|a| a.valid.as_ref()) {
            policy.plan_valid_ms = duration(valid, "valid", 10 * SECOND..=DAY)?;
        }
        if let Some(copy) = &self.copy {
            if let Some(count) = &copy.at_once {
                policy.copy_at_once = bounded(count, "at_once", 1, 1_000)?;
            }
            if let Some(count) = &copy.per_host {
                policy.copy_per_host = bounded(count, "per_host", 1, 1_000)?;
            }
            if let Some(count) = &copy.per_domain {
                policy.copy_per_domain = bounded(count, "per_domain", 1, 1_000)?;
            }
            if let Some(keep) = &copy.keep_free {
                policy.copy_keep_free = later::value(keep, "keep_free", expand::keep_free)?;
            }
            later::copy(copy.rate.as_ref(), unused)?;
        }
        if let Some(alarm) = &self.alarm {
            later::alarm(alarm, unused)?;
        }
        policy.weights = self.placement.as_ref().map(RawPlacement::read).transpose()?;
        if let Some(rate) = self.everyday.as_ref().and_then(|e| e.per_minute.as_ref()) {
            policy.everyday_per_minute = bounded(rate, "per_minute", 1, 60_000)?;
        }
        Ok(policy)
    }
}

impl RawHandover {
    fn read(&self, policy: &mut Policy, unused: &mut Unused) -> Result<(), Fault> {
        if let Some(count) = &self.at_once {
            policy.handover_at_once = bounded(count, "at_once", 1, 1_000)?;
        }
        if let Some(count) = &self.per_host {
            policy.handover_per_host = bounded(count, "per_host", 1, 1_000)?;
        }
        if let Some(count) = &self.per_domain {
            policy.handover_per_domain = bounded(count, "per_domain", 1, 1_000)?;
        }
        if let Some(lag) = &self.max_lag {
            let read = expand::lag(lag.get_ref())
                .map_err(|detail| (lag.span(), FileProblem::Value { what: "max_lag", detail }))?;
            match read {
                Lag::Records(records) => policy.max_lag_records = records,
                Lag::Bytes(_) => unused.say(format!(
                    "policy handover max_lag in bytes: the journal engine counts records, {} are allowed",
                    policy.max_lag_records
                )),
            }
        }
        if let Some(age) = &self.max_stamp_age {
            policy.max_stamp_age_ms = duration(age, "max_stamp_age", SECOND..=365 * DAY)?;
        }
        if let Some(limit) = &self.freeze {
            policy.freeze_limit_ms = duration(limit, "freeze", SECOND..=5 * MINUTE)?;
        }
        Ok(())
    }
}

impl RawFailover {
    fn read(&self, policy: &mut Policy) -> Result<(), Fault> {
        if let Some(people) = &self.people {
            if *people.get_ref() == 2 {
                return Err((people.span(), FileProblem::NotYet { field: "failover people = 2".into() }));
            }
            policy.failover_people = bounded(people, "people", 1, 1)?;
        }
        if let Some(words) = &self.two_if {
            (policy.two_if_loss, policy.two_if_unfenced) = two_if(words)?;
        }
        if let Some(caught_up) = &self.caught_up {
            policy.caught_up_ms = duration(caught_up, "caught_up", 1..=10 * MINUTE)?;
        }
        if let Some(attestation) = &self.attestation {
            policy.attestation_ms = duration(attestation, "attestation", MINUTE..=DAY)?;
        }
        policy.allow_unfenced = self.allow_unfenced.unwrap_or(policy.allow_unfenced);
        Ok(())
    }
}

/// (ask two if the loss is worse than caught up, ask two if not demoted). This version knows the worse losses only
/// together, so a list with some of them would promise what is not kept.
fn two_if(words: &Spanned<Vec<Spanned<String>>>) -> Result<(bool, bool), Fault> {
    let (mut lagging, mut unverified, mut unknown, mut unfenced) = (false, false, false, false);
    for word in words.get_ref() {
        match word.get_ref().as_str() {
            "lagging" => lagging = true,
            "unverified" => unverified = true,
            "unknown" => unknown = true,
            "unfenced" => unfenced = true,
            other => {
                let detail = format!("{other:?} is none of lagging, unverified, unknown, unfenced");
                return Err((word.span(), FileProblem::Value { what: "two_if", detail }));
            }
        }
    }
    // "unknown" may be left out: it is worse than both others and asks for two whenever they do.
    if (lagging || unverified || unknown) && !(lagging && unverified) {
        let field = "two_if with only some of lagging, unverified, unknown".to_string();
        return Err((words.span(), FileProblem::NotYet { field }));
    }
    Ok((lagging, unfenced))
}
