//! A settled value for people and programs: what it is, and who said it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cli::By;
use crate::model::{
    Dialect, ForeignRoutes, KubeSource, Labels, LogFormat, LogLevel, MaxRemovals, Names, Prefix,
    Protocol, TableId,
};

/// One key of the config file with the value in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The key, such as `node.name`.
    pub key: &'static str,
    /// The value as the config file would have it; null where there is none.
    pub value: Value,
    /// Who said it.
    #[serde(flatten)]
    pub origin: Origin,
    /// The label that was added to those that somebody gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub implied: Option<&'static str>,
}

/// Who said a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "origin", rename_all = "lowercase")]
pub enum Origin {
    /// Nobody.
    Default,
    /// A flag, with its dashes.
    Flag {
        /// Which.
        flag: &'static str,
    },
    /// An environment variable.
    Environment {
        /// Which.
        variable: &'static str,
    },
    /// The config file.
    File {
        /// Its path.
        file: String,
        /// The line of the value.
        line: u32,
    },
}

impl From<By> for Origin {
    fn from(by: By) -> Self {
        match by {
            By::Flag(flag) => Self::Flag { flag },
            By::Variable(variable) => Self::Environment { variable },
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Flag { flag: name } | Self::Environment { variable: name } => f.write_str(name),
            Self::File { file, line } => write!(f, "{file}:{line}"),
        }
    }
}

impl Entry {
    /// The value on one line.
    pub fn value_text(&self) -> String {
        let pieces: Vec<String> = match &self.value {
            Value::Array(items) => items.iter().map(bare).collect(),
            Value::Object(labels) => labels
                .iter()
                .map(|(key, value)| format!("{key}={}", bare(value)))
                .collect(),
            Value::Null => Vec::new(),
            value => return bare(value),
        };
        match pieces.is_empty() {
            true => "none".to_owned(),
            false => pieces.join(", "),
        }
    }

    /// The origin, and what of the value it did not say.
    pub fn origin_text(&self) -> String {
        match self.implied {
            Some(label) => format!("{}; {label} is implied", self.origin),
            None => self.origin.to_string(),
        }
    }
}

/// Text without quotes, and without what would move the cursor.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.replace(char::is_control, "\u{fffd}"),
        value => value.to_string(),
    }
}

/// A value as the config file would have it.
pub(super) trait Shown {
    fn shown(&self, names: &Names) -> Value;
}

impl Shown for bool {
    fn shown(&self, _: &Names) -> Value {
        Value::from(*self)
    }
}

impl Shown for Protocol {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.get())
    }
}

impl Shown for TableId {
    fn shown(&self, names: &Names) -> Value {
        let name = names.table(*self);
        match names.table_named(&name) {
            Some(_) => Value::from(name),
            None => Value::from(self.get()),
        }
    }
}

impl Shown for MaxRemovals {
    fn shown(&self, _: &Names) -> Value {
        match self {
            Self::Count(count) => Value::from(*count),
            Self::Percent(_) => Value::from(self.to_string()),
        }
    }
}

impl Shown for ForeignRoutes {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.name())
    }
}

impl Shown for Dialect {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.group())
    }
}

impl Shown for KubeSource {
    fn shown(&self, names: &Names) -> Value {
        match self {
            Self::Off => Value::from(false),
            Self::Present => Value::from(true),
            Self::Groups(groups) => groups.iter().map(|group| group.shown(names)).collect(),
        }
    }
}

impl Shown for Duration {
    /// In the largest unit that leaves a whole number.
    fn shown(&self, _: &Names) -> Value {
        let milliseconds = self.as_millis();
        let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
        let whole =
            |(_, length): &(&str, u128)| milliseconds > 0 && milliseconds.is_multiple_of(*length);
        let (unit, length) = units.into_iter().find(whole).unwrap_or(("ms", 1));
        Value::from(format!("{}{unit}", milliseconds / length))
    }
}

impl Shown for LogLevel {
    fn shown(&self, _: &Names) -> Value {
        name_among(&Self::NAMES, self)
    }
}

impl Shown for LogFormat {
    fn shown(&self, _: &Names) -> Value {
        name_among(&Self::NAMES, self)
    }
}

fn name_among<T: PartialEq>(names: &[(&str, T)], value: &T) -> Value {
    let named = names.iter().find(|(_, named)| named == value);
    Value::from(named.map(|(name, _)| *name))
}

impl Shown for IpAddr {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.to_string())
    }
}

impl Shown for SocketAddr {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.to_string())
    }
}

impl Shown for Prefix {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.to_string())
    }
}

impl Shown for PathBuf {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.to_string_lossy())
    }
}

impl Shown for String {
    fn shown(&self, _: &Names) -> Value {
        Value::from(self.as_str())
    }
}

impl Shown for Labels {
    fn shown(&self, _: &Names) -> Value {
        let labels = self.iter();
        labels
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect()
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self, names: &Names) -> Value {
        self.iter().map(|item| item.shown(names)).collect()
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self, names: &Names) -> Value {
        self.as_ref()
            .map_or(Value::Null, |value| value.shown(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_largest_whole_unit() {
        let written = |ms| Duration::from_millis(ms).shown(&Names::default());
        for (milliseconds, text) in [
            (0, "0ms"),
            (100, "100ms"),
            (1_500, "1500ms"),
            (30_000, "30s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (7_200_000, "2h"),
        ] {
            assert_eq!(written(milliseconds), text);
        }
    }
}
