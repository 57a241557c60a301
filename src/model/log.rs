//! How much is logged, and in which form.

/// From how bad an event is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what went wrong.
    Error,
    /// And what may go wrong.
    Warn,
    /// And what was done.
    Info,
    /// And how.
    Debug,
}

impl LogLevel {
    /// As written in settings.
    pub const NAMES: [(&str, Self); 4] = [
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
    ];
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
    /// To the systemd journal, with fields.
    Journald,
}

impl LogFormat {
    /// As written in settings.
    pub const NAMES: [(&str, Self); 3] = [
        ("text", Self::Text),
        ("json", Self::Json),
        ("journald", Self::Journald),
    ];
}
