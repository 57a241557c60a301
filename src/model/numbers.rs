//! The numbers of routing, each as a type of its own, so that a table is never taken for a metric.

use std::fmt;

/// Declares a transparent number with `get`, `Display` and a `From` into its bare integer.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// Wraps a number that is known to be meant as this.
            pub const fn new(number: $int) -> Self {
                Self(number)
            }

            /// The bare number, for the wire or for arithmetic.
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A routing table (`RTA_TABLE`, rtnetlink(7)): 1 to 2^32-1, 0 is "unspecified".
    TableId(u32)
}

impl TableId {
    /// `RT_TABLE_MAIN`: where routes go unless told otherwise.
    pub const MAIN: Self = Self(254);
    /// `RT_TABLE_LOCAL`: kept by the kernel for its own addresses.
    pub const LOCAL: Self = Self(255);
}

number! {
    /// A route's metric (`RTA_PRIORITY`): the lower wins among routes of one prefix.
    Metric(u32)
}

impl Metric {
    /// What IPv4 has when none is given.
    pub const ZERO: Self = Self(0);
    /// What the kernel stores for an IPv6 route whose metric is 0 or absent
    /// (`IP6_RT_PRIO_USER`, include/net/ip6_fib.h).
    pub const IPV6_DEFAULT: Self = Self(1024);
}

number! {
    /// A route's origin (`rtm_protocol`, rtnetlink(7)); srsync owns what carries its number.
    Protocol(u8)
}

impl Protocol {
    /// `RTPROT_KERNEL`: routes the kernel made by itself, such as those of connected subnets.
    pub const KERNEL: Self = Self(2);
    /// srsync's own number unless `--protocol` says otherwise.
    pub const SRSYNC: Self = Self(83);
}

number! {
    /// The kernel's index of a network interface (`ifi_index`, netdevice(7)); never 0 for a real one.
    IfIndex(u32)
}

number! {
    /// The number of a nexthop object (`NHA_ID`, linux/nexthop.h), one for all owners together;
    /// never 0 for a real one.
    NextHopId(u32)
}

number! {
    /// Hundredths of a second, the unit of time that the kernel shows (`USER_HZ`, times(2)).
    Centiseconds(u32)
}

number! {
    /// Type of service / DSCP of an IPv4 route (`rtm_tos`), part of its slot; srsync installs only 0.
    Tos(u8)
}

number! {
    /// How far a destination is (`rtm_scope`, rtnetlink(7)).
    Scope(u8)
}

impl Scope {
    /// `RT_SCOPE_UNIVERSE`: reached through a gateway; every IPv6 route has it.
    pub const UNIVERSE: Self = Self(0);
    /// `RT_SCOPE_LINK`: directly on a link (IPv4).
    pub const LINK: Self = Self(253);
    /// `RT_SCOPE_HOST`: on this host.
    pub const HOST: Self = Self(254);
}

number! {
    /// Path MTU in bytes that a route imposes (`RTAX_MTU`).
    Mtu(u32)
}

number! {
    /// Maximum segment size in bytes that TCP advertises over a route (`RTAX_ADVMSS`).
    AdvMss(u32)
}

/// The share of a next hop among several, 1 to 256 (the kernel keeps `weight - 1` in the eight
/// bits of `rtnh_hops`, rtnetlink(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// An equal share, the default.
    pub const ONE: Self = Self(1);

    /// A weight, if `weight` is 1 to 256.
    pub const fn new(weight: u16) -> Option<Self> {
        match weight {
            1..=256 => Some(Self(weight)),
            _ => None,
        }
    }

    /// From the kernel's `rtnh_hops`.
    pub const fn from_hops(hops: u8) -> Self {
        Self(hops as u16 + 1)
    }

    /// As the kernel's `rtnh_hops`.
    pub const fn to_hops(self) -> u8 {
        (self.0 - 1) as u8
    }

    /// 1 to 256.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A network interface's name: 1 to 15 bytes, no `/`, no white space, not `.` or `..`
/// (the kernel's `dev_valid_name`, net/core/dev.c).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The name, if the kernel would take it.
    pub fn new(name: &str) -> Option<Self> {
        let valid = (1..=15).contains(&name.len())
            && name != "."
            && name != ".."
            && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0');
        valid.then(|| Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_survives_the_kernels_eight_bits_at_both_ends() {
        for weight in [1, 2, 255, 256] {
            let weight = Weight::new(weight).unwrap();
            assert_eq!(Weight::from_hops(weight.to_hops()), weight);
        }
        assert_eq!(Weight::new(0), None);
        assert_eq!(Weight::new(257), None);
    }

    #[test]
    fn interface_names_are_what_the_kernel_takes() {
        assert!(InterfaceName::new("eth0.100").is_some());
        for bad in ["", ".", "..", "a/b", "eth 0", "sixteen-bytes-xx", "eth0:1"] {
            assert_eq!(InterfaceName::new(bad), None, "{bad:?}");
        }
    }
}
