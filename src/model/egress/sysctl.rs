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
    /// `net.ipv6.conf.<interface>.accept_ra`: never asked for; 1 means "only while it does not forward".
    AcceptRa(InterfaceName),
}

impl SysctlKey {
    /// The setting at this path, if it is one of these.
    pub fn at(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix("net/")?.splitn(2, "/conf/");
        let family = match parts.next()? {
            "ipv4" => Family::V4,
            "ipv6" => Family::V6,
            _ => return None,
        };
        let (of, what) = parts.next()?.rsplit_once('/')?;
        let name = || InterfaceName::new(of);
        let key = match (family, of, what) {
            (_, "all", "forwarding") => Self::ForwardAll(family),
            (_, "default", "forwarding") => Self::ForwardDefault(family),
            (_, _, "forwarding") => Self::Forward(family, name()?),
            (Family::V4, "all", "accept_redirects") => Self::AcceptRedirectsAll,
            (Family::V4, "all", "rp_filter") => Self::RpFilterAll,
            (Family::V4, _, "rp_filter") => Self::RpFilter(name()?),
            (Family::V6, _, "accept_ra") => Self::AcceptRa(name()?),
            _ => return None,
        };
        (key.path() == path).then_some(key)
    }

    /// The setting that sysctl(8) calls so, if it is one of these; see its text form.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "net.ipv4.ip_forward" => Some(Self::ForwardAll(Family::V4)),
            _ => Self::at(&swapped(name)),
        }
    }

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
            Self::AcceptRa(name) => format!("net/ipv6/conf/{name}/accept_ra"),
        }
    }

    /// Whether it is about IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.path().starts_with("net/ipv6/")
    }

    /// The interface that it is about, if it is about one.
    pub fn interface(&self) -> Option<&InterfaceName> {
        match self {
            Self::Forward(_, name) | Self::RpFilter(name) | Self::AcceptRa(name) => Some(name),
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
        f.write_str(&swapped(&self.path()))
    }
}

/// A path as sysctl(8) writes it, and back.
fn swapped(path: &str) -> String {
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    path.chars().map(swap).collect()
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

/// Settings as they are on a node. Of an interface that is not there nothing is known, nor of IPv6 where the kernel has
/// none.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_found_again_by_its_path_and_by_its_name() {
        let name = |name: &str| InterfaceName::new(name).unwrap();
        let mut keys = vec![
            SysctlKey::AcceptRedirectsAll,
            SysctlKey::RpFilterAll,
            SysctlKey::RpFilter(name("eth0.100")),
            SysctlKey::AcceptRa(name("conf")),
        ];
        for family in Family::BOTH {
            keys.push(SysctlKey::ForwardAll(family));
            keys.push(SysctlKey::ForwardDefault(family));
            keys.push(SysctlKey::Forward(family, name("br-lan.7")));
        }
        for key in keys {
            assert_eq!(SysctlKey::at(&key.path()).as_ref(), Some(&key));
            assert_eq!(SysctlKey::named(&key.to_string()), Some(key));
        }
        for other in [
            "net/ipv4/ip_forward",
            "net/ipv6/conf/a/b/forwarding",
            "kernel/x",
            "",
        ] {
            assert_eq!(SysctlKey::at(other), None, "{other}");
        }
    }

    #[test]
    fn a_setting_is_written_as_sysctl_writes_it() {
        let forward = |name| SysctlKey::Forward(Family::V6, InterfaceName::new(name).unwrap());
        assert_eq!(
            forward("eth0.100").to_string(),
            "net.ipv6.conf.eth0/100.forwarding"
        );
        assert_eq!(
            SysctlKey::ForwardAll(Family::V4).to_string(),
            "net.ipv4.ip_forward"
        );
    }
}
