//! The one state every route has, in the words used everywhere: status, JSON, metrics, logs, Events.

use std::fmt;

/// What became of a route that a document asks for. Always shown together with a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum State {
    /// In the kernel, exactly as wanted.
    Installed,
    /// Cannot be installed yet: link down, gateway not on a connected subnet.
    Pending,
    /// All gateways are down and the document says that the route goes then.
    Withdrawn,
    /// A guard said no.
    Refused,
    /// Another document holds the slot.
    Conflict,
    /// Another owner holds the slot.
    Foreign,
    /// The kernel said no.
    Failed,
    /// The document's node selector does not select this node.
    NotSelected,
}

impl State {
    /// All of them, in the order in which they are counted out.
    pub const ALL: [Self; 8] = [
        Self::Installed,
        Self::Pending,
        Self::Withdrawn,
        Self::Refused,
        Self::Conflict,
        Self::Foreign,
        Self::Failed,
        Self::NotSelected,
    ];

    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "Installed",
            Self::Pending => "Pending",
            Self::Withdrawn => "Withdrawn",
            Self::Refused => "Refused",
            Self::Conflict => "Conflict",
            Self::Foreign => "Foreign",
            Self::Failed => "Failed",
            Self::NotSelected => "NotSelected",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
