//! `fence` of a kind or host, and `[fence_options.NAME]`.
//!
//! What always holds: what a device is handed is complete here, with `{n}` filled in; a fence's own `ip` and `plug` go before
//! what its options say; no password is read, only where it is.

use super::{Fault, FileProblem, expand, raw};
use crate::fence::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// `[fence_options]`: tables of scalars by name.
pub(crate) type RawFenceOptions = BTreeMap<Spanned<String>, BTreeMap<Spanned<String>, Spanned<toml::Value>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawFence {
    agent: Spanned<String>,
    options: Option<Spanned<String>>,
    ip: Option<Spanned<String>>,
    plug: Option<Spanned<String>>,
    from: Option<Spanned<String>>,
}

/// The device of the host with this number in its name.
pub(crate) fn read(written: &RawFence, tables: &RawFenceOptions, number: Option<u64>) -> Result<FenceSpec, Fault> {
    let agent = &written.agent;
    let mut spec = FenceSpec {
        agent: FenceAgent::new(agent.get_ref().as_str()).map_err(|e| (agent.span(), e.into()))?,
        options: BTreeMap::new(),
        password_file: None,
        timeout_ms: TIMEOUT_MS,
        from: from(written.from.as_ref())?,
    };
    if let Some(name) = &written.options {
        let table = tables.iter().find(|(key, _)| key.get_ref() == name.get_ref()).map(|(_, table)| table);
        let unknown = || (name.span(), FileProblem::UnknownFenceOptions(name.get_ref().clone()));
        for (key, value) in table.ok_or_else(unknown)? {
            option(&mut spec, key, value, number)?;
        }
    }
    for (key, template) in [("ip", &written.ip), ("plug", &written.plug)] {
        let Some(template) = template else { continue };
        let filled = expand::text(template.get_ref(), number)
            .map_err(|detail| (template.span(), FileProblem::Value { what: key, detail }))?;
        insert(&mut spec, key, filled).map_err(|e| (template.span(), e.into()))?;
    }
    Ok(spec)
}

fn insert(spec: &mut FenceSpec, key: &str, value: String) -> Result<(), FenceError> {
    let value = FenceValue::new(value).map_err(|_| FenceError::Value(key.into()))?;
    spec.options.insert(FenceKey::new(key)?, value);
    Ok(())
}

fn option(
    spec: &mut FenceSpec,
    key: &Spanned<String>,
    value: &Spanned<toml::Value>,
    number: Option<u64>,
) -> Result<(), Fault> {
    let wrong = |detail: &str| {
        let detail = format!("{} {detail}", key.get_ref());
        (value.span(), FileProblem::Value { what: "fence option", detail })
    };
    let text = match value.get_ref() {
        toml::Value::String(text) => expand::text(text, number).map_err(|detail| wrong(&detail))?,
        toml::Value::Integer(number) => number.to_string(),
        // ClusterLabs' agents take an option without a value for a flag, and a number as one that is set or not.
        toml::Value::Boolean(set) => u8::from(*set).to_string(),
        _ => return Err(wrong("is not a text, a whole number, true or false")),
    };
    match key.get_ref().as_str() {
        "password_file" => {
            spec.password_file = Some(FencePath::new(text).map_err(|e| (value.span(), e.into()))?);
        }
        "timeout" => {
            let spanned = Spanned::new(value.span(), text);
            spec.timeout_ms = raw::duration(&spanned, "timeout", 1_000..=300_000)?;
        }
        name => {
            if spec.options.len() >= OPTIONS_MAX {
                return Err((key.span(), FileProblem::TooMany { what: "fence options", max: OPTIONS_MAX }));
            }
            insert(spec, name, text).map_err(|e| (key.span(), e.into()))?;
        }
    }
    Ok(())
}

/// R26: another failure domain unless the file says otherwise.
fn from(word: Option<&Spanned<String>>) -> Result<FenceFrom, Fault> {
    match word.map(|word| (word, word.get_ref().as_str())) {
        None | Some((_, "another rack")) => Ok(FenceFrom::AnotherRack),
        Some((_, "another host")) => Ok(FenceFrom::AnotherHost),
        Some((word, found)) => {
            let detail = format!("{found:?} is not where a host can be switched off from: write \"another rack\"");
            Err((word.span(), FileProblem::Value { what: "from", detail }))
        }
    }
}
