//! Kernel settings below `/proc/sys/net`, and what they were before us.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::numbers::InterfaceName;
use crate::model::prefix::Family;

/// A setting that srsync may change (`Documentation/networking/ip-sysctl.rst` of the kernel). In the order in which
/// they have to be written: what is written to all interfaces overwrites what each one had.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SysctlKey {
    /// `net.<family>.conf.all.forwarding`; for IPv4 that is `net.ipv4.ip_forward`. Writing another value also writes
    /// it to `default` and to every interface, and in IPv4 turns `conf.all.accept_redirects` to its opposite
    /// (`inet_forward_change`, net/ipv4/devinet.c; `addrconf_fixup_forwarding`, net/ipv6/addrconf.c).
    ForwardAll(Family),
    /// `net.ipv4.conf.all.accept_redirects`: never asked for; remembered because of the above.
    AcceptRedirectsAll,
    /// `net.<family>.conf.default.forwarding`: never asked for; remembered because of the above.
    ForwardDefault(Family),
    /// `net.<family>.conf.<interface>.forwarding`.
    Forward(Family, InterfaceName),
    /// `net.ipv4.conf.all.rp_filter`: never asked for; the kernel takes the larger of this and the interface's own.
    RpFilterAll,
    /// `net.ipv4.conf.<interface>.rp_filter`.
    RpFilter(InterfaceName),
}

impl SysctlKey {
    /// The path below `/proc/sys`; an interface may have dots in its name, but no slash.
    pub fn path(&self) -> String {
        let family = |family: &Family| match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        match self {
            Self::ForwardAll(of) => format!("net/{}/conf/all/forwarding", family(of)),
            Self::AcceptRedirectsAll => "net/ipv4/conf/all/accept_redirects".to_owned(),
            Self::ForwardDefault(of) => format!("net/{}/conf/default/forwarding", family(of)),
            Self::Forward(of, name) => format!("net/{}/conf/{name}/forwarding", family(of)),
            Self::RpFilterAll => "net/ipv4/conf/all/rp_filter".to_owned(),
            Self::RpFilter(name) => format!("net/ipv4/conf/{name}/rp_filter"),
        }
    }

    /// The interface that it is about, if it is about one.
    pub fn interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Forward(_, name) | Self::RpFilter(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for SysctlKey {
    /// As sysctl(8) writes it: `net.ipv4.ip_forward`; a dot in the name of an interface becomes a slash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ForwardAll(Family::V4) {
            return f.write_str("net.ipv4.ip_forward");
        }
        let path = self.path();
        let swapped = path.chars().map(|c| match c {
            '/' => '.',
            '.' => '/',
            other => other,
        });
        f.write_str(&swapped.collect::<String>())
    }
}

/// What such a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysctlValue(i32);

impl SysctlValue {
    /// A value, as the kernel shows it.
    pub const fn new(value: i32) -> Self {
        Self(value)
    }

    /// 0 or 1.
    pub const fn switch(on: bool) -> Self {
        Self(on as i32)
    }

    /// The number.
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl fmt::Display for SysctlValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How an interface checks the source address of a packet by the way back (RFC 3704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RpFilter {
    /// Not at all.
    Off,
    /// The way back has to be by the same interface.
    Strict,
    /// There has to be any way back.
    Loose,
}

impl RpFilter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Strict, Self::Loose];

    /// As documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Strict => "strict",
            Self::Loose => "loose",
        }
    }

    /// As the kernel writes it.
    pub fn value(self) -> SysctlValue {
        SysctlValue(match self {
            Self::Off => 0,
            Self::Strict => 1,
            Self::Loose => 2,
        })
    }
}

/// Settings as they are on a node. Of an interface that is not there nothing is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// Each that was read.
    pub values: BTreeMap<SysctlKey, SysctlValue>,
    /// What was remembered of those that srsync has changed.
    pub remembered: BTreeMap<SysctlKey, Remembered>,
    /// Why they cannot be changed, if that is known: `/proc/sys` is read-only.
    pub read_only: Option<String>,
}

/// A setting that srsync holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// What it was before us.
    pub before: SysctlValue,
    /// What we made it; another value now is somebody else's.
    pub set: SysctlValue,
}
