//! Ranges, templates and units.
//!
//! What always holds: a range is bounded before it is expanded; each name comes out once, from its exact entry first
//! and from the range it is in for what that entry leaves out.

use super::{Fault, FileProblem};
use crate::cluster::Domain;
use crate::disk::KeepFree;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use toml::Spanned;

/// The most levels of a failure domain path.
const DOMAIN_LEVELS_MAX: usize = 8;

/// One name with what the file says of it: its exact entry, and the range it is in.
pub(crate) struct Entry<'a, T> {
    /// The name.
    pub(crate) name: String,
    /// Where its own entry (or its range) is.
    pub(crate) span: Range<usize>,
    exact: Option<&'a T>,
    range: Option<&'a T>,
}

impl<'a, T> Entry<'a, T> {
    /// A field of the exact entry, else of the range.
    pub(crate) fn field<F>(&self, get: impl Fn(&'a T) -> Option<F>) -> Option<F> {
        self.exact.and_then(&get).or_else(|| self.range.and_then(&get))
    }
}

/// A table whose keys are names or ranges.
pub(crate) type Ranges<T> = BTreeMap<Spanned<String>, T>;

/// Expands a table of names and ranges.
pub(crate) fn entries<'a, T>(table: &'a Ranges<T>, what: &'static str, max: usize) -> Result<Vec<Entry<'a, T>>, Fault> {
    let mut names: BTreeMap<String, (Entry<'a, T>, &'a str)> = BTreeMap::new();
    let mut in_file_order: Vec<(&Spanned<String>, &T)> = table.iter().collect();
    in_file_order.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in &in_file_order {
        let Some(range) = range(key.get_ref()).map_err(|detail| bad_range(key, detail))? else { continue };
        if range.last - range.first >= max as u64 || names.len() + (range.last - range.first) as usize >= max {
            return Err((key.span(), FileProblem::TooMany { what, max }));
        }
        for number in range.first..=range.last {
            let name = format!("{}{number}{}", range.before, range.after);
            let entry = Entry { name: name.clone(), span: key.span(), exact: None, range: Some(*value) };
            if let Some((_, first)) = names.insert(name.clone(), (entry, key.get_ref())) {
                let (first, second) = (first.to_string(), key.get_ref().clone());
                return Err((key.span(), FileProblem::Overlap { first, second, name }));
            }
        }
    }
    for (key, value) in &in_file_order {
        if range(key.get_ref()).map_err(|detail| bad_range(key, detail))?.is_some() {
            continue;
        }
        let name = key.get_ref().clone();
        let fresh = Entry { name: name.clone(), span: key.span(), exact: None, range: None };
        let (entry, _) = names.entry(name).or_insert((fresh, key.get_ref()));
        entry.exact = Some(*value);
        entry.span = key.span();
        if names.len() > max {
            return Err((key.span(), FileProblem::TooMany { what, max }));
        }
    }
    Ok(names.into_values().map(|(entry, _)| entry).collect())
}

fn bad_range(key: &Spanned<String>, detail: &'static str) -> Fault {
    (key.span(), FileProblem::Range { key: key.get_ref().clone(), detail: detail.to_string() })
}

struct NameRange<'a> {
    before: &'a str,
    first: u64,
    last: u64,
    after: &'a str,
}

/// `imap[1-4]`; `None` for a plain name.
fn range(key: &str) -> Result<Option<NameRange<'_>>, &'static str> {
    let Some((before, rest)) = key.split_once('[') else {
        return if key.contains(']') { Err("a ] without a [") } else { Ok(None) };
    };
    let (inside, after) = rest.split_once(']').ok_or("a [ without a ]")?;
    if after.contains(['[', ']']) {
        return Err("one [first-last] at most");
    }
    let (first, last) = inside.split_once('-').ok_or("no - between first and last")?;
    let (first, last) = (bound(first)?, bound(last)?);
    if first > last {
        return Err("the first number is higher than the last");
    }
    Ok(Some(NameRange { before, first, last, after }))
}

fn bound(digits: &str) -> Result<u64, &'static str> {
    if digits.is_empty() || digits.len() > 9 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("first and last are numbers of at most 9 digits");
    }
    if digits.len() > 1 && digits.starts_with('0') {
        return Err("numbers are written without leading zeros");
    }
    digits.parse().map_err(|_| "first and last are numbers")
}

/// The last run of digits in a name: what `{n}` stands for.
pub(crate) fn number_in(name: &str) -> Option<u64> {
    let end = name.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    name[start..end].parse().ok()
}

fn fill(template: &str, n: Option<u64>, slot: Option<u16>) -> Result<String, String> {
    let mut text = template.to_string();
    if text.contains("{n}") {
        let n = n.ok_or("{n} is used, but there is no number in the name")?;
        text = text.replace("{n}", &n.to_string());
    }
    if text.contains("{slot}") {
        let slot = slot.ok_or("{slot} has a meaning only in a slot's address or dir")?;
        text = text.replace("{slot}", &slot.to_string());
    }
    if text.contains(['{', '}']) {
        return Err(format!("{template:?} has something other than {{n}} and {{slot}} in braces"));
    }
    Ok(text)
}

/// An IP address with or without a port, `{n}` and `{slot}` filled in.
pub(crate) fn address(template: &str, port: u16, n: Option<u64>, slot: Option<u16>) -> Result<SocketAddr, String> {
    let text = fill(template, n, slot)?;
    let parsed = text
        .parse::<SocketAddr>()
        .or_else(|_| text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, port)))
        .map_err(|_| format!("{text:?} is not an IP address or IP address:port"))?;
    if parsed.port() == 0 || parsed.ip().is_unspecified() || parsed.ip().is_multicast() {
        return Err(format!("{text:?} is not an address others can reach"));
    }
    Ok(parsed)
}

/// A text with `{n}` and `{slot}` filled in.
pub(crate) fn filled(template: &str, n: Option<u64>, slot: Option<u16>) -> Result<String, String> {
    fill(template, n, slot)
}

/// A text with `{n}` filled in.
pub(crate) fn text(template: &str, n: Option<u64>) -> Result<String, String> {
    fill(template, n, None)
}

/// `ny/r1`, outermost first.
pub(crate) fn domain(template: &str, n: Option<u64>) -> Result<Domain, String> {
    let text = fill(template, n, None)?;
    let levels: Vec<String> = text.split('/').map(str::to_string).collect();
    if levels.len() > DOMAIN_LEVELS_MAX {
        return Err(format!("{text:?} has more than {DOMAIN_LEVELS_MAX} levels"));
    }
    for level in &levels {
        crate::ids::HostName::new(level.as_str()).map_err(|e| format!("in {text:?}, {e}"))?;
    }
    Ok(Domain(levels))
}

/// Reads a size as it is written in a cluster file, `500 GB`.
pub fn size(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        Ok(_) => Err(format!("{text:?} is no room at all")),
        Err(_) => Err(format!("{text:?} is not a size: write it as in \"500 GB\"")),
    }
}

/// `15s`, in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is not a duration: write it as in \"15s\" or \"8d\""))?;
    match u64::try_from(parsed.as_millis()) {
        Ok(ms) if ms > 0 => Ok(ms),
        _ => Err(format!("{text:?} is shorter than a millisecond or longer than time")),
    }
}

/// A lag, in the unit of whoever counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lag {
    /// As the journal engine counts.
    Records(u64),
    /// As engines of files count.
    Bytes(u64),
}

/// `1000 records` or `10 kB`.
pub(crate) fn lag(text: &str) -> Result<Lag, String> {
    let wrong = || format!("{text:?} is not a lag: write it as in \"1000 records\" or \"10 kB\"");
    match text.strip_suffix("records").or_else(|| text.strip_suffix("record")) {
        Some(number) => number.trim_end().parse().map(Lag::Records).map_err(|_| wrong()),
        // A bare number would be bytes to one reader and records to another.
        None if text.chars().all(|c| c.is_ascii_digit()) => Err(wrong()),
        None => text.parse::<bytesize::ByteSize>().map(|size| Lag::Bytes(size.as_u64())).map_err(|_| wrong()),
    }
}

/// `200 MB/s`, in bytes a second.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a rate: write it as in \"200 MB/s\"");
    size(text.strip_suffix("/s").ok_or_else(wrong)?.trim_end()).map_err(|_| wrong())
}

/// `10%`, or a size.
pub(crate) fn keep_free(text: &str) -> Result<KeepFree, String> {
    let wrong = || format!("{text:?} is neither a part nor a size: write it as in \"10%\" or \"50 GB\"");
    match text.strip_suffix('%') {
        Some(part) => {
            part.trim_end().parse::<u8>().ok().filter(|part| *part < 100).map(KeepFree::Percent).ok_or_else(wrong)
        }
        None => size(text).map(KeepFree::Bytes).map_err(|_| wrong()),
    }
}
