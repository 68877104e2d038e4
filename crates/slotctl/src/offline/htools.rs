//! Ganeti's htools text format, version 3.0: instances are stores of two copies, or of one, and nodes are hosts. A copy whose node is
//! empty, or `-`, is nowhere: that of a new store, or one that was lost.
//!
//! What always holds: a line is understood or refused with its number; what is written back differs from what was read in
//! primaries, secondaries, and the free memory and disk of nodes alone. Memory is not a rule here: only disk is.

use super::Loaded;
use memchr::{memchr, memchr_iter, memmem};
use slot_planner::layout::*;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

const MIB: u64 = 1 << 20;
/// Copies on one node are bounded by disk alone.
const SLOTS: u32 = u32::MAX;

/// A line of the text: from, to, and the length of the name that it begins with.
type Line = (u32, u32, u16);

/// The text of a file, and where its stores' lines are.
#[derive(Debug)]
pub struct Source {
    text: String,
    /// Each store's line, in the order of names.
    stores: Vec<Line>,
    /// Where groups, nodes, instances and cluster tags begin, and where the tags end.
    sections: [usize; 5],
}

impl Source {
    /// A store's name.
    pub fn store(&self, number: u32) -> &str {
        let (from, _, length) = self.stores[number as usize];
        &self.text[from as usize..from as usize + usize::from(length)]
    }
}

/// Why a file can't be read as htools text.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It can't be read at all.
    #[error("{0}")]
    File(#[from] io::Error),
    /// Of another system.
    #[error("its lines end in CR LF; without the CR it is read: tr -d '\\r' < FILE")]
    LineEnds,
    /// A section is missing.
    #[error("it has {0} sections of the 3 that are needed, parted by empty lines: groups, nodes, instances")]
    Sections(usize),
    /// More than is planned for.
    #[error("all {0} together are more than 1048576 TiB")]
    TooLarge(&'static str),
    /// A line is not understood.
    #[error("in the section of {section}, line {line}: {what}")]
    Line {
        /// Nodes or instances.
        section: &'static str,
        /// Within the section.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Reads a file.
pub fn read(path: &Path) -> Result<Loaded, Unreadable> {
    parse(std::fs::read_to_string(path)?)
}

/// Reads a text.
pub fn parse(text: String) -> Result<Loaded, Unreadable> {
    if text.lines().next().is_some_and(|line| text[line.len()..].starts_with('\r')) {
        return Err(Unreadable::LineEnds);
    }
    let sections = sections(&text)?;
    let [_, nodes, instances, tags, end] = sections;
    let prefixes: Vec<&str> = text[tags..end].lines().filter_map(|tag| tag.strip_prefix("htools:nlocation:")).collect();
    let mut rows: Vec<Node<'_>> = Vec::new();
    for (line, row) in text[nodes..instances].lines().enumerate().filter(|(_, row)| !row.is_empty()) {
        rows.push(Node::of(row, &prefixes).map_err(|what| Unreadable::Line {
            section: "nodes",
            line: line + 1,
            what,
        })?);
    }
    // MiB, so that no sum of bytes has no number.
    if rows.iter().fold(0u64, |all, row| all.saturating_add(row.disk)) > BYTES_MAX / MIB {
        return Err(Unreadable::TooLarge("disks"));
    }
    rows.sort_by_key(|row| row.name);
    if let Some(line) = rows.windows(2).position(|two| two[0].name == two[1].name) {
        return Err(Unreadable::Line {
            section: "nodes",
            line: line + 2,
            what: "a node of this name is there already",
        });
    }
    let mut places: Vec<&str> = rows.iter().filter_map(|row| row.place).collect();
    places.sort_unstable();
    places.dedup();
    let mut fleet = Fleet::default();
    for row in &rows {
        let place = row.place.and_then(|place| places.binary_search(&place).ok());
        let domains = place.map(|place| place as u32);
        let mut host = Host::new(row.disk * MIB, SLOTS).within(domains.as_slice());
        if row.offline {
            host.state = State::Down;
        }
        fleet.hosts.push(host);
    }
    let names = Names::of(&rows);
    // Two copies in one rack are what the tag of the file forbids.
    let level = if places.is_empty() { HOST } else { RACK };
    let (layout, stores) = read_instances(&text, (instances, tags), &names, level, &mut fleet)?;
    let hosts = rows.iter().map(|row| row.name.to_owned()).collect();
    let racks = places.iter().map(|place| (*place).to_owned()).collect();
    Ok(Loaded { fleet, layout, hosts, racks, source: super::Source::Htools(Source { stores, sections, text }) })
}

/// Reads the lines of instances into a fleet, in the order of their names; answers where the copies are, and each store's line.
fn read_instances(
    text: &str,
    (begin, end): (usize, usize),
    names: &Names,
    level: u8,
    fleet: &mut Fleet,
) -> Result<(Layout, Vec<Line>), Unreadable> {
    let bytes = text.as_bytes();
    let most = memchr_iter(b'\n', &bytes[begin..end]).count() + 1;
    let mut lines: Vec<Line> = Vec::with_capacity(most);
    let name = |line: &Line| &bytes[line.0 as usize..line.0 as usize + usize::from(line.2)];
    let (mut from, mut in_order, mut refused, mut mib) = (begin, true, None, 0u64);
    let row = |nth: usize| {
        let to = memchr(b'\n', bytes.get(from..end)?).map_or(end, |length| from + length);
        let row = std::mem::replace(&mut from, to + 1)..to;
        if row.is_empty() {
            return Some(None);
        }
        match Instance::of(&text[row.clone()], row.start, names) {
            Ok(one) => {
                in_order = in_order && lines.last().is_none_or(|last| name(last) < name(&one.line));
                lines.push(one.line);
                mib = mib.saturating_add(one.disk.saturating_mul(2));
                Some(Some((Store { size: one.disk.saturating_mul(MIB), load: 1, copies: one.copies, level }, one)))
            }
            Err(what) => {
                refused = Some(Unreadable::Line { section: "instances", line: nth + 1, what });
                None
            }
        }
    };
    let layout = Layout::of(fleet, (0..most).map_while(row).flatten());
    if let Some(refused) = refused {
        return Err(refused);
    }
    if mib > BYTES_MAX / MIB {
        return Err(Unreadable::TooLarge("instances' disks, twice each,"));
    }
    if in_order {
        return Ok((layout, lines));
    }
    let mut order: Vec<u32> = (0..lines.len() as u32).collect();
    order.sort_by_key(|nth| name(&lines[*nth as usize]));
    let names = |two: &[u32]| [name(&lines[two[0] as usize]), name(&lines[two[1] as usize])];
    if let Some(two) = order.windows(2).find(|two| names(two)[0] == names(two)[1]) {
        let line = memchr_iter(b'\n', &bytes[begin..lines[two[1] as usize].0 as usize]).count() + 1;
        return Err(Unreadable::Line { section: "instances", line, what: "an instance of this name is there already" });
    }
    let mut sorted = Fleet { hosts: std::mem::take(&mut fleet.hosts), ..Fleet::default() };
    let row = |nth: &u32| (fleet.stores[*nth as usize], layout.copies(fleet, *nth));
    let layout = Layout::of(&mut sorted, order.iter().map(row));
    *fleet = sorted;
    Ok((layout, order.iter().map(|nth| lines[*nth as usize]).collect()))
}

/// Where groups, nodes, instances and cluster tags begin, and where the tags end.
fn sections(text: &str) -> Result<[usize; 5], Unreadable> {
    let mut starts = [0; 5];
    let mut at = 0;
    for (nth, start) in starts.iter_mut().enumerate().skip(1) {
        match memmem::find(&text.as_bytes()[at..], b"\n\n") {
            Some(empty) => at += empty + 2,
            None if nth < 3 => return Err(Unreadable::Sections(nth)),
            None => at = text.len(),
        }
        *start = at;
    }
    Ok(starts)
}

struct Node<'a> {
    name: &'a str,
    disk: u64,
    offline: bool,
    place: Option<&'a str>,
}

impl<'a> Node<'a> {
    fn of(row: &'a str, prefixes: &[&str]) -> Result<Self, &'static str> {
        let fields: Vec<&str> = row.split('|').collect();
        if fields.len() < 11 {
            return Err("a node has at least 11 fields");
        }
        let disk = fields[4].parse().map_err(|_| "the fifth field, total disk, is no whole number of MiB")?;
        let of_prefix = |tag: &&str| prefixes.iter().any(|p| tag.strip_prefix(p).is_some_and(|t| t.starts_with(':')));
        let place = fields[10].split(',').find(of_prefix);
        Ok(Node { name: fields[0], disk, offline: fields[7] == "Y", place })
    }
}

struct Instance {
    line: Line,
    copies: u8,
    disk: u64,
    at: [u32; 2],
}

impl AsRef<[u32]> for Instance {
    fn as_ref(&self) -> &[u32] {
        &self.at[..usize::from(self.copies)]
    }
}

impl Instance {
    fn of(row: &str, from: usize, names: &Names) -> Result<Self, &'static str> {
        let [name, _, disk, _, _, _, primary, secondary] =
            first_fields(row).ok_or("an instance has at least 8 fields")?;
        let disk = disk.parse().map_err(|_| "the third field, disk, is no whole number of MiB")?;
        let node = |name: &str| if matches!(name, "" | "-") { Some(NOWHERE) } else { names.get(name) };
        let primary = node(primary).ok_or("its primary is no node of this file")?;
        let secondary = node(secondary).ok_or("its secondary is no node of this file")?;
        // A copy that is nowhere counts where the disks are of a kind that has two.
        let mirrored = || matches!(row.split('|').nth(8), Some("drbd" | "drbd8"));
        let copies = if secondary != NOWHERE || mirrored() { 2 } else { 1 };
        if primary == secondary && primary != NOWHERE {
            return Err("its primary and its secondary are one node");
        }
        let place = |at: usize| u32::try_from(at).map_err(|_| "the file is larger than 4 GiB");
        let length = u16::try_from(name.len()).map_err(|_| "its name is too long")?;
        Ok(Instance { line: (place(from)?, place(from + row.len())?, length), copies, disk, at: [primary, secondary] })
    }
}

/// The first fields of a row, if it has so many. They are short, so bars are looked for in eight bytes at once.
fn first_fields<const N: usize>(row: &str) -> Option<[&str; N]> {
    let (mut fields, mut nth, mut from) = ([""; N], 0, 0);
    let (words, rest) = row.as_bytes().as_chunks::<8>();
    let bars = words.iter().map(|word| bars(u64::from_le_bytes(*word))).chain(rest.chunks(8).map(|rest| {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        bars(u64::from_le_bytes(word))
    }));
    for (word, mut bars) in bars.enumerate() {
        while bars != 0 {
            let to = 8 * word + bars.trailing_zeros() as usize / 8;
            fields[nth] = &row[from..to];
            (nth, from) = (nth + 1, to + 1);
            if nth == N {
                return Some(fields);
            }
            bars &= bars - 1;
        }
    }
    fields[nth] = &row[from..];
    (nth + 1 == N).then_some(fields)
}

/// The highest bit of each byte that is a bar.
#[inline]
fn bars(word: u64) -> u64 {
    const LOW: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let other = word ^ u64::from_le_bytes([b'|'; 8]);
    !(((other & LOW) + LOW) | other | LOW)
}

/// Numbers of hosts by name: hashed, since a large file names hosts half a million times.
struct Names {
    /// What of each name's hash does not say its cell, and the host's number.
    cells: Vec<(u32, u32)>,
    /// All names side by side, and where each ends: in the text they are far apart.
    names: String,
    ends: Vec<usize>,
}

impl Names {
    fn of(rows: &[Node<'_>]) -> Names {
        let cells = vec![(0, NOWHERE); (rows.len() * 4).next_power_of_two().max(8)];
        let mut names = Names { cells, names: String::new(), ends: vec![0] };
        for (number, row) in (0..).zip(rows) {
            names.names.push_str(row.name);
            names.ends.push(names.names.len());
            let (mut at, rest) = names.start(row.name);
            while names.cells[at].1 != NOWHERE {
                at = (at + 1) & (names.cells.len() - 1);
            }
            names.cells[at] = (rest, number);
        }
        names
    }
    fn name(&self, number: u32) -> &str {
        &self.names[self.ends[number as usize]..self.ends[number as usize + 1]]
    }
    /// The cell where a name's search begins, and what else its hash says. Eight bytes at a time: the last eight may be some of
    /// those before once more.
    #[inline]
    fn start(&self, name: &str) -> (usize, u32) {
        // Both halves of a product by the golden ratio: names differ in their last bytes, and the low half alone mixes upwards.
        let mixed = |hash: u64, word: u64| {
            let product = u128::from(hash ^ word) * 0x9E37_79B9_7F4A_7C15;
            product as u64 ^ (product >> 64) as u64
        };
        let bytes = name.as_bytes();
        let hash = match bytes.last_chunk::<8>() {
            Some(last) => {
                let words = bytes.as_chunks::<8>().0.iter().chain([last]);
                words.fold(bytes.len() as u64, |hash, word| mixed(hash, u64::from_le_bytes(*word)))
            }
            None => mixed(bytes.len() as u64, bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))),
        };
        ((hash ^ (hash >> 32)) as usize & (self.cells.len() - 1), (hash >> 32) as u32)
    }
    fn get(&self, name: &str) -> Option<u32> {
        let (mut at, rest) = self.start(name);
        while self.cells[at].1 != NOWHERE {
            let (of, number) = self.cells[at];
            if of == rest && self.name(number) == name {
                return Some(number);
            }
            at = (at + 1) & (self.cells.len() - 1);
        }
        None
    }
}

/// Writes where the copies are as `store,primary,secondary`, with as many secondaries as there are.
pub fn write_csv(loaded: &Loaded, fleet: &Fleet, layout: &Layout, out: &mut impl Write) -> io::Result<()> {
    let mut line: Vec<u8> = Vec::new();
    for store in 0..fleet.stores.len() as u32 {
        let copies = layout.copies(fleet, store);
        line.clear();
        line.extend_from_slice(loaded.store(store).as_bytes());
        for nth in 0..copies.len().max(2) {
            let name = copies.get(nth).filter(|h| **h != NOWHERE).map_or("", |h| &loaded.hosts[*h as usize]);
            line.push(b',');
            line.extend_from_slice(name.as_bytes());
        }
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}

/// Writes the file again, with the copies where they are now.
pub fn write_data(loaded: &Loaded, layout: &Layout, out: &mut impl Write) -> io::Result<()> {
    let super::Source::Htools(source) = &loaded.source else {
        return Err(io::Error::other("only what was read as htools text is written as htools text"));
    };
    let fleet = &loaded.fleet;
    let [_, nodes, instances, tags, _] = source.sections;
    let hosts = fleet.hosts.len();
    let (mut disk, mut memory) = (vec![0i64; hosts], vec![0i64; hosts]);
    let mut rows = String::with_capacity(tags - instances);
    for store in 0..fleet.stores.len() as u32 {
        let (from, to, _) = source.stores[store as usize];
        let fields: Vec<&str> = source.text[from as usize..to as usize].split('|').collect();
        let mebibytes = |field: usize| fields[field].parse::<i64>().unwrap_or(0);
        for (layout, sign) in [(&loaded.layout, -1), (layout, 1)] {
            let copies = layout.copies(fleet, store).iter().filter(|host| **host != NOWHERE);
            copies.for_each(|host| disk[*host as usize] += sign * mebibytes(2));
            let master = layout.master(fleet, store);
            if master != NOWHERE {
                memory[master as usize] += sign * mebibytes(1);
            }
        }
        for (field, text) in fields.iter().enumerate() {
            let copy = field.checked_sub(6).and_then(|nth| layout.copies(fleet, store).get(nth));
            let text = copy.filter(|host| **host != NOWHERE).map_or(*text, |host| &loaded.hosts[*host as usize]);
            let _ = write!(rows, "{}{text}", if field == 0 { "" } else { "|" });
        }
        rows.push('\n');
    }
    out.write_all(&source.text.as_bytes()[..nodes])?;
    for row in source.text[nodes..instances].lines() {
        let mut fields: Vec<String> = row.split('|').map(str::to_owned).collect();
        if let Ok(host) = loaded.hosts.binary_search_by(|name| name.as_str().cmp(&fields[0])) {
            for (field, more) in [(3, memory[host]), (5, disk[host])] {
                fields[field] = (fields[field].parse::<i64>().unwrap_or(0) - more).to_string();
            }
        }
        writeln!(out, "{}", fields.join("|"))?;
    }
    out.write_all(rows.as_bytes())?;
    out.write_all(b"\n")?;
    out.write_all(&source.text.as_bytes()[tags..])
}
