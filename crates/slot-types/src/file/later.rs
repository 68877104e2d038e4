//! What the file may say and this build does not carry out.
//!
//! What always holds: it is read, checked and bounded like everything else, and nothing of it is passed over in silence: each
//! part has a line of its own, which every diff and every "nothing to do" repeats until a build carries it out.

use super::{Fault, FileProblem, expand, raw};
use crate::cluster::{EngineKind, Policy};
use crate::fence::FencePath;
use crate::ids::ClientName;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

const SECOND: u64 = 1_000;
const DAY: u64 = 24 * 3_600 * SECOND;

/// `[engine.NAME]`, by name.
pub(crate) type RawEngines = BTreeMap<Spanned<String>, RawEngine>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEngine {
    user: Option<Spanned<String>>,
    templates: Option<Spanned<String>>,
    replication: Option<RawReplication>,
    verify: Option<RawVerify>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReplication {
    user: Spanned<String>,
    password_file: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVerify {
    level: Option<Spanned<i64>>,
    every: Option<Spanned<String>>,
    rate: Option<Spanned<String>>,
    at_once: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawAlarm {
    silent: Option<Spanned<String>>,
    lag: Option<Spanned<String>>,
    lag_for: Option<Spanned<String>>,
    certificate: Option<Spanned<String>>,
}

/// What of the file is not in force, a line for each.
#[derive(Default)]
pub(crate) struct Unused(BTreeSet<String>);

impl Unused {
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.0.insert(line.into());
    }
    pub(crate) fn lines(self) -> BTreeSet<String> {
        self.0
    }
}

pub(crate) fn value<T>(
    written: &Spanned<String>,
    what: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Fault> {
    read(written.get_ref()).map_err(|detail| (written.span(), FileProblem::Value { what, detail }))
}

/// Every engine's table; what the journal's says of verification is in force.
pub(crate) fn engines(tables: &RawEngines, policy: &mut Policy, unused: &mut Unused) -> Result<(), Fault> {
    for (name, table) in tables {
        let engine = raw::engine(name)?;
        let mut asked = policy.clone();
        table.check(&mut asked)?;
        match engine {
            EngineKind::Journal => {
                *policy = asked;
                if table.user.is_some() || table.templates.is_some() || table.replication.is_some() {
                    unused.say("[engine.journal]: the journal is set up by its own program; only verify is in force");
                }
            }
            EngineKind::Cyrus => unused.say("[engine.cyrus]: no agent has this engine yet"),
        }
    }
    Ok(())
}

impl RawEngine {
    /// Reads it whole; what it says of verification goes into the policy.
    fn check(&self, policy: &mut Policy) -> Result<(), Fault> {
        if let Some(user) = &self.user {
            value(user, "user", account)?;
        }
        if let Some(templates) = &self.templates {
            value(templates, "templates", |text| match text.is_empty() || text.split('/').any(|part| part == "..") {
                true => Err(format!("{text:?} is not a folder: write it as in \"templates/cyrus\"")),
                false => Ok(()),
            })?;
        }
        if let Some(replication) = &self.replication {
            value(&replication.user, "user", account)?;
            let file = &replication.password_file;
            FencePath::new(file.get_ref().as_str()).map_err(|e| (file.span(), e.into()))?;
        }
        let Some(verify) = &self.verify else { return Ok(()) };
        if let Some(level) = &verify.level {
            raw::bounded(level, "level", 1u8, 3)?;
        }
        match &verify.every {
            Some(every) if every.get_ref() == "never" => policy.verify_every_ms = 0,
            Some(every) => policy.verify_every_ms = raw::duration(every, "every", 60 * SECOND..=365 * DAY)?,
            None => {}
        }
        if let Some(rate) = &verify.rate {
            policy.verify_rate = value(rate, "rate", expand::rate)?;
        }
        if let Some(at_once) = &verify.at_once {
            policy.verify_at_once = raw::bounded(at_once, "at_once", 1u16, 1_000)?;
        }
        Ok(())
    }
}

/// An account's name: what it may hold is what names hold everywhere here.
fn account(text: &str) -> Result<(), String> {
    ClientName::new(text).map(drop).map_err(|e| e.to_string())
}

/// `policy.alarm`.
pub(crate) fn alarm(alarm: &RawAlarm, unused: &mut Unused) -> Result<(), Fault> {
    if let Some(silent) = &alarm.silent {
        raw::duration(silent, "silent", SECOND..=DAY)?;
    }
    if let Some(lag) = &alarm.lag {
        value(lag, "lag", expand::lag)?;
    }
    if let Some(lag_for) = &alarm.lag_for {
        raw::duration(lag_for, "lag_for", SECOND..=DAY)?;
    }
    if let Some(certificate) = &alarm.certificate {
        raw::duration(certificate, "certificate", DAY..=365 * DAY)?;
    }
    unused.say("policy alarm: nobody is called by this build; slotctl status --check is there to be watched");
    Ok(())
}

/// `rate` of `policy.copy`.
pub(crate) fn copy(rate: Option<&Spanned<String>>, unused: &mut Unused) -> Result<(), Fault> {
    if let Some(rate) = rate {
        value(rate, "rate", expand::rate)?;
        unused.say("policy copy rate: builds are bounded in number (at_once, per_host), not in bytes a second");
    }
    Ok(())
}

/// `dir` of a slot.
pub(crate) fn dir(
    template: &Spanned<String>,
    number: Option<u64>,
    slot: u16,
    unused: &mut Unused,
) -> Result<(), Fault> {
    let path = value(template, "dir", |text| expand::filled(text, number, Some(slot)))?;
    FencePath::new(path.as_str()).map_err(|e| (template.span(), e.into()))?;
    unused.say("dir of slots: an agent keeps its copies below its own data folder, as its agent.toml says");
    Ok(())
}
