//! Wrapping, tables, times and numbers.
//!
//! What always holds: a line has at most [`COLUMNS`] columns unless one single word is longer; no line ends in a blank.

use slot_types::evidence::Seen;
use slot_types::ids::WallTime;

/// The widest line.
pub const COLUMNS: usize = 100;
/// The deepest indentation of a wrapped line: some words must fit behind it.
const INDENT_MAX: usize = 72;

fn width(text: &str) -> usize {
    text.chars().count()
}

/// A text after a prefix; further lines are indented by the prefix's width. Ends in a newline.
pub fn wrap(prefix: &str, text: &str) -> String {
    let indent = " ".repeat(width(prefix).min(INDENT_MAX));
    let mut out = String::new();
    let mut line = prefix.to_string();
    let mut empty = true;
    for word in text.split_ascii_whitespace() {
        let room = COLUMNS.saturating_sub(width(&line) + usize::from(!empty));
        if !empty && width(word) > room {
            out += line.trim_end();
            out.push('\n');
            line = indent.clone();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    out += line.trim_end();
    out.push('\n');
    out
}

/// Like [`wrap`], but breaks only where parts meet; they are joined by ` · `.
pub fn join(prefix: &str, parts: &[String]) -> String {
    // A no-break space keeps the words of a part together until the lines are made.
    let glued: Vec<String> = parts.iter().map(|part| part.replace(' ', "\u{a0}")).collect();
    wrap(prefix, &glued.join("\u{a0}· ")).replace('\u{a0}', " ")
}

/// A time span, as short as it can be said.
pub fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, ms % 1000 / 100),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}.{} d", seconds / 86_400, seconds % 86_400 / 8_640),
    }
}

/// How long ago something was seen, in whole seconds below two minutes; `?` when that is not known.
pub fn age<T>(seen: &Seen<T>) -> String {
    match seen.age_ms() {
        Some(ms) if ms < 120_000 => format!("{} s", ms / 1000),
        Some(ms) => span(ms),
        None => "?".into(),
    }
}

/// What is seen, said by `say`, or `unknown` with its reason.
pub fn known<T>(seen: &Seen<T>, say: impl Fn(&T) -> String) -> String {
    match seen {
        Seen::Known { value, .. } => say(value),
        Seen::Unknown { reason } => format!("unknown ({reason})"),
    }
}

/// `1 master`, `3 masters`, `2 copies`.
pub fn count(n: u64, what: &str) -> String {
    match (n, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{n} {stem}ies"),
        _ => format!("{n} {what}s"),
    }
}

/// Bytes as a person says them.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let mut scale = 1;
    while unit + 1 < UNITS.len() && n / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    let tenths = n % scale * 10 / scale;
    if tenths == 0 {
        format!("{} {}", n / scale, UNITS[unit])
    } else {
        format!("{}.{tenths} {}", n / scale, UNITS[unit])
    }
}

fn stamp(wall: WallTime, format: &str) -> String {
    let ms = i64::try_from(wall.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => time.strftime(format).to_string(),
        Err(_) => "(no such time)".into(),
    }
}

/// `Tue 10:02:14 UTC`.
pub fn day_and_time(wall: WallTime) -> String {
    stamp(wall, "%a %H:%M:%S UTC")
}

/// `2026-11-24 10:02:14`, in UTC.
pub fn date_and_time(wall: WallTime) -> String {
    stamp(wall, "%Y-%m-%d %H:%M:%S")
}

/// `Tue 2026-11-24`, in UTC.
pub fn day(wall: WallTime) -> String {
    stamp(wall, "%a %Y-%m-%d")
}

/// `10:02:14`, in UTC.
pub fn time(wall: WallTime) -> String {
    stamp(wall, "%H:%M:%S")
}

/// A table: columns two blanks apart, as wide as they must be; the last one wraps.
#[derive(Debug)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these headings; one that begins with `>` is of a column of numbers, set to the right.
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The whole table, each line behind `indent` blanks.
    pub fn text(&self, indent: usize) -> String {
        let title = |i: usize| self.header[i].trim_start_matches('>');
        let widths: Vec<usize> = (0..self.header.len())
            .map(|i| {
                let cells = self.rows.iter().filter_map(|row| row.get(i)).map(|cell| width(cell));
                cells.chain([width(title(i))]).max().unwrap_or(0)
            })
            .collect();
        let header: Vec<String> = (0..self.header.len()).map(|i| title(i).to_string()).collect();
        let mut out = self.line(&header, &widths, indent);
        for row in &self.rows {
            out += &self.line(row, &widths, indent);
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize], indent: usize) -> String {
        let mut prefix = " ".repeat(indent);
        let last = cells.len().saturating_sub(1);
        for (i, cell) in cells.iter().enumerate().take(last) {
            let blanks = " ".repeat(widths[i].saturating_sub(width(cell)));
            prefix +=
                &if self.header[i].starts_with('>') { format!("{blanks}{cell}") } else { format!("{cell}{blanks}") };
            prefix += "  ";
        }
        let cell = cells.get(last).map_or("", String::as_str);
        if self.header[last].starts_with('>') {
            prefix += &" ".repeat(widths[last].saturating_sub(width(cell)));
        }
        if width(&prefix) + width(cell) <= COLUMNS {
            format!("{}\n", format!("{prefix}{cell}").trim_end())
        } else {
            wrap(&prefix, cell)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_counts_and_bytes_read_well() {
        assert_eq!(
            [0, 830, 9_999, 10_000, 119_999, 171_000, 7_200_000, 449_280_000].map(span),
            ["0.0 s", "0.8 s", "9.9 s", "10 s", "119 s", "2 min 51 s", "2 h 00 min", "5.2 d"]
        );
        assert_eq!([count(1, "copy"), count(2, "copy"), count(0, "master")], ["1 copy", "2 copies", "0 masters"]);
        assert_eq!(
            [0, 999, 1_000, 1_500_000, 500_000_000_000].map(bytes),
            ["0 B", "999 B", "1 kB", "1.5 MB", "500 GB"]
        );
    }

    #[test]
    fn times_are_utc_and_never_panic() {
        assert_eq!(day_and_time(WallTime(1_730_800_934_000)), "Tue 10:02:14 UTC");
        assert_eq!(date_and_time(WallTime(u64::MAX)), "(no such time)");
    }

    #[test]
    fn lines_break_at_words_and_parts() {
        let text = wrap("   hurts  ", &"store17 ".repeat(30));
        assert!(text.lines().all(|line| width(line) <= COLUMNS && line == line.trim_end()));
        assert!(text.lines().skip(1).all(|line| line.starts_with("          store17")));
        let parts: Vec<String> = (0..20).map(|i| format!("part number {i}")).collect();
        let text = join("stores  ", &parts);
        assert!(text.lines().all(|line| width(line) <= COLUMNS), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("        part")), "{text}");
    }
}
