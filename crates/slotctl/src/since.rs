//! Points of time and of the audit, as a person types them.
//!
//! What always holds: a time without a zone is UTC, as everything shown is; a time of day is the last one that was.

use slot_types::ids::WallTime;
use slot_types::position::ShortDigest;
use std::str::FromStr;
use std::time::Duration;

const DAY_MS: u64 = 86_400_000;

/// Since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// From this entry of the audit on.
    Number(u64),
    /// From this moment on.
    At(WallTime),
    /// From this time of the day on: milliseconds after midnight.
    TimeOfDay(u64),
    /// For so long.
    Ago(Duration),
}

impl Since {
    /// The moment it means; the beginning of time for a number.
    pub fn wall(&self, now: WallTime) -> WallTime {
        match self {
            Self::Number(_) => WallTime(0),
            Self::At(wall) => *wall,
            Self::Ago(ago) => WallTime(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))),
            Self::TimeOfDay(ms) => {
                let today = now.0 - now.0 % DAY_MS + ms;
                WallTime(if today > now.0 { today.saturating_sub(DAY_MS) } else { today })
            }
        }
    }
}

impl FromStr for Since {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|e| format!("{text:?} is no number of an entry: {e}"));
        }
        if let Ok(ago) = humantime::parse_duration(text) {
            return Ok(Self::Ago(ago));
        }
        let at = |time: jiff::Timestamp| u64::try_from(time.as_millisecond()).map(|ms| Self::At(WallTime(ms)));
        let utc = |time: jiff::civil::DateTime| jiff::tz::TimeZone::UTC.to_timestamp(time).ok();
        let time = text.parse::<jiff::Timestamp>().ok();
        let time = time.or_else(|| text.parse::<jiff::civil::DateTime>().ok().and_then(utc));
        if let Some(Ok(since)) = time.map(at) {
            return Ok(since);
        }
        if let Ok(time) = text.parse::<jiff::civil::Time>() {
            let seconds = u64::try_from(time.hour()).unwrap_or(0) * 3_600
                + u64::try_from(time.minute()).unwrap_or(0) * 60
                + u64::try_from(time.second()).unwrap_or(0);
            return Ok(Self::TimeOfDay(seconds * 1_000));
        }
        Err(format!(
            "{text:?} is no time and no number: write 10:02, 2026-11-24, \"2026-11-24 10:02\", 2h, or an entry's number"
        ))
    }
}

/// By when something is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackBy(Since);

impl BackBy {
    /// The moment it means: a time of day is the next one that comes. `None` when it has passed.
    pub fn wall(&self, now: WallTime) -> Option<WallTime> {
        let due = match &self.0 {
            Since::Number(_) => return None,
            Since::At(wall) => wall.0,
            Since::Ago(from_now) => now.0.saturating_add(u64::try_from(from_now.as_millis()).unwrap_or(u64::MAX)),
            Since::TimeOfDay(ms) => {
                let today = now.0 - now.0 % DAY_MS + ms;
                if today > now.0 { today } else { today.saturating_add(DAY_MS) }
            }
        };
        (due > now.0).then_some(WallTime(due))
    }
}

impl FromStr for BackBy {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Since::Number(_)) | Err(_) => {
                Err(format!("{text:?} is no time to be back by: write 12:00, \"2026-11-24 12:00\" or 2h"))
            }
            Ok(since) => Ok(Self(since)),
        }
    }
}

/// An entry whose hash was noted before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its number.
    pub number: u64,
    /// Its hash, as shown.
    pub hash: ShortDigest,
}

impl FromStr for Noted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(n, hash)| Some((n.parse().ok()?, hash.parse().ok()?)));
        let (number, hash) =
            parts.ok_or_else(|| format!("{text:?} is not NUMBER=HASH: write it as in 412=9f3c-41d0-77ab-e215"))?;
        Ok(Self { number, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tue 2024-11-05 10:02:14 UTC.
    const NOW: WallTime = WallTime(1_730_800_934_000);
    const MIDNIGHT: u64 = 1_730_764_800_000;

    #[test]
    fn times_and_numbers_are_read() {
        let wall = |text: &str| text.parse::<Since>().unwrap().wall(NOW).0;
        assert_eq!("412".parse::<Since>().unwrap(), Since::Number(412));
        assert_eq!(wall("2h"), NOW.0 - 7_200_000);
        assert_eq!(wall("30min"), NOW.0 - 1_800_000);
        assert_eq!(wall("10:02"), MIDNIGHT + 36_120_000);
        assert_eq!(wall("10:02:14"), NOW.0);
        assert_eq!(wall("10:02:15"), NOW.0 + 1_000 - DAY_MS, "that of today is still to come");
        assert_eq!(wall("2024-11-05"), MIDNIGHT);
        assert_eq!(wall("2024-11-05 10:02"), MIDNIGHT + 36_120_000);
        assert_eq!(wall("2024-11-05T10:02:14Z"), NOW.0);
        assert_eq!(wall("2024-11-05T11:02:14+01:00"), NOW.0);
    }

    #[test]
    fn back_by_is_always_to_come() {
        let due = |text: &str| text.parse::<BackBy>().unwrap().wall(NOW).map(|wall| wall.0);
        assert_eq!(due("2h"), Some(NOW.0 + 7_200_000));
        assert_eq!(due("12:00"), Some(MIDNIGHT + 43_200_000));
        assert_eq!(due("10:02"), Some(MIDNIGHT + 36_120_000 + DAY_MS), "today's has passed");
        assert_eq!(due("2024-11-05 10:03"), Some(MIDNIGHT + 36_180_000));
        assert_eq!(due("2024-11-05 10:02"), None);
        for text in ["", "412", "soon", "noon"] {
            assert!(text.parse::<BackBy>().unwrap_err().contains("to be back by"), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", "soon", "25:00", "-1", "2024-13-01", "99999999999999999999"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
        assert_eq!("412=9f3c-41d0-77ab-e215".parse::<Noted>().unwrap().number, 412);
        for text in ["", "412", "412=", "x=9f3c-41d0-77ab-e215", "412=9f3c"] {
            assert!(text.parse::<Noted>().is_err(), "{text}");
        }
    }
}
