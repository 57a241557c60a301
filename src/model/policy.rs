//! What srsync may do on this node: the part of the settings that decisions depend on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use super::{Prefix, Protocol, TableId};

/// Ownership, defaults and guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The number by which our routes are known.
    pub protocol: Protocol,
    /// The table of documents that name none.
    pub table: TableId,
    /// No route may overlap any of these.
    pub protected_subnets: Vec<Prefix>,
    /// Whether documents may cover the whole address space in the main table.
    pub allow_default_route: bool,
    /// Whether a rule may send every packet to a table without routes, to one with a default route, or nowhere.
    pub allow_catch_all_rules: bool,
    /// Whether wanting nothing removes everything.
    pub allow_empty: bool,
    /// More removals than this at once are withheld, all of them.
    pub max_removals: Option<MaxRemovals>,
    /// What to do about a slot that somebody else holds.
    pub foreign_routes: ForeignRoutes,
    /// Where IBM's objects without a gateway look for one.
    pub gateway_lookup: IpAddr,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            protocol: Protocol::SRSYNC,
            table: TableId::MAIN,
            protected_subnets: Vec::new(),
            allow_default_route: false,
            allow_catch_all_rules: false,
            allow_empty: false,
            max_removals: None,
            foreign_routes: ForeignRoutes::Refuse,
            gateway_lookup: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        }
    }
}

/// What to do about a slot that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignRoutes {
    /// Leave it, and report the route as `Foreign`.
    Refuse,
    /// Take over a route that is identical but for its owner; leave any other.
    Adopt,
}

impl ForeignRoutes {
    /// As it is written in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Adopt => "adopt",
        }
    }
}

/// The most routes that may be removed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxRemovals {
    /// So many.
    Count(usize),
    /// So many of a hundred that srsync owns, rounded down.
    Percent(u8),
}

impl MaxRemovals {
    /// As a number of routes, of `owned`.
    pub fn of(self, owned: usize) -> usize {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => owned.saturating_mul(usize::from(percent)) / 100,
        }
    }
}

impl FromStr for MaxRemovals {
    type Err = String;

    /// `100` or `10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is neither a count (such as `100`) nor a percentage (such as `10%`)")
        };
        match text.strip_suffix('%') {
            None => text.parse().map(Self::Count).map_err(|_| wrong()),
            Some(percent) => match percent.parse() {
                Ok(percent @ 0..=100) => Ok(Self::Percent(percent)),
                _ => Err(wrong()),
            },
        }
    }
}

impl fmt::Display for MaxRemovals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_limited_by_count_or_percentage() {
        assert_eq!("100".parse(), Ok(MaxRemovals::Count(100)));
        assert_eq!("10%".parse(), Ok(MaxRemovals::Percent(10)));
        assert_eq!(MaxRemovals::Percent(10).of(95), 9);
        for bad in ["", "-1", "101%", "ten", "%"] {
            assert!(bad.parse::<MaxRemovals>().is_err(), "{bad:?}");
        }
    }
}
