//! A moment, as it is shown: UTC, to the millisecond. A length of time, as people write it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment so many milliseconds after 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The moment so much later.
    pub fn after(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// How long ago `earlier` was at this moment; zero if it was not.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339: `2026-11-21T04:00:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The last millisecond of the year 9999 is the largest that can be written.
        let shown = Duration::from_millis(self.0.min(253_402_300_799_999));
        humantime::format_rfc3339_millis(UNIX_EPOCH + shown).fmt(f)
    }
}

/// A text that is no moment in RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a moment such as 2026-11-21T18:00:00Z or 2026-11-21T19:00:00+01:00")]
pub struct NoTimestamp;

impl FromStr for Timestamp {
    type Err = NoTimestamp;

    /// RFC 3339, in any time zone, from 1970 on.
    fn from_str(text: &str) -> Result<Self, NoTimestamp> {
        let (local, east) = zone(text).ok_or(NoTimestamp)?;
        let local = humantime::parse_rfc3339(&local).map_err(|_| NoTimestamp)?;
        let local = local.duration_since(UNIX_EPOCH).map_err(|_| NoTimestamp)?;
        let local = i64::try_from(local.as_millis()).map_err(|_| NoTimestamp)?;
        let utc = local.checked_sub(east).ok_or(NoTimestamp)?;
        u64::try_from(utc).map(Self).map_err(|_| NoTimestamp)
    }
}

/// The time of day as if it were UTC, and how many milliseconds its zone is ahead of that.
fn zone(text: &str) -> Option<(String, i64)> {
    let text = text.to_ascii_uppercase();
    if text.ends_with('Z') {
        return Some((text, 0));
    }
    let (local, zone) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, zone) = zone.split_at_checked(1)?;
    let sign = match sign {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.split_once(':')?;
    let two_digits = |text: &str, limit: i64| {
        let digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        let number: i64 = text.parse().ok()?;
        (digits && number < limit).then_some(number)
    };
    let ahead = two_digits(hours, 24)? * 60 + two_digits(minutes, 60)?;
    Some((format!("{local}Z"), sign * ahead * 60_000))
}

/// What [`lasting`] reads, in words.
pub const A_DURATION: &str =
    "a whole number with the unit `ms`, `s`, `m` or `h`, more than 0 and at most `24h`";

/// A length of time as every setting takes it: a whole number with the unit `ms`, `s`, `m` or `h`,
/// at most a day.
pub fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    // A day is far beyond any use, and far below what arithmetic on times could not stand.
    let total = number.checked_mul(milliseconds)?;
    (total <= 86_400_000).then(|| Duration::from_millis(total))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The same of something that lasts at all.
pub fn lasting(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| !duration.is_zero())
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339() {
        assert_eq!(
            Timestamp::from_millis(0).to_string(),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            Timestamp::from_millis(1_795_233_600_123).to_string(),
            "2026-11-21T04:00:00.123Z"
        );
        assert!(
            Timestamp::from_millis(u64::MAX)
                .to_string()
                .starts_with("9999-12-31")
        );
    }

    #[test]
    fn a_moment_is_read_in_any_time_zone() {
        let read = |text: &str| text.parse().ok().map(Timestamp::millis);
        let expected = Some(1_795_233_600_000);
        for same in [
            "2026-11-21T04:00:00Z",
            "2026-11-21t04:00:00.000z",
            "2026-11-21T05:30:00+01:30",
            "2026-11-20T20:00:00-08:00",
        ] {
            assert_eq!(read(same), expected, "{same}");
        }
        let shown = Timestamp::from_millis(1_795_233_600_123).to_string();
        assert_eq!(read(&shown), Some(1_795_233_600_123));
        for bad in [
            "",
            "Z",
            "tomorrow",
            "2026-11-21",
            "2026-11-21T04:00:00",
            "2026-11-21T04:00:00+1:00",
            "2026-11-21T04:00:00+24:00",
            "2026-13-21T04:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-11-21T04:00:0é+01:00",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        for bad in [
            "",
            "s",
            "10",
            "1 s",
            "1.5s",
            "-1s",
            "1d",
            "1s ",
            "25h",
            "99999999999999999999h",
        ] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
