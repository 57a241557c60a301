//! IP prefixes: an address and a length, with no bits set behind the length.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 (`AF_INET`).
    V4,
    /// IPv6 (`AF_INET6`).
    V6,
}

impl Family {
    /// Both, in the order in which everything is shown.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Address length in bits: 32 or 128.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A destination: an address and a prefix length, all host bits zero (RFC 4632, RFC 4291).
///
/// Ordered by family, then address, then length, so that a covering prefix comes right before
/// what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(IpNet);

/// Why a text is not a [`Prefix`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// Neither an address nor `address/length`.
    #[error("`{0}` is not an IP address or CIDR prefix")]
    Syntax(String),
    /// A length longer than the address.
    #[error("`/{length}` is too long for {family}: at most /{}", family.bits())]
    Length {
        /// The length as written.
        length: String,
        /// The family of the address before it.
        family: Family,
    },
    /// Bits are set behind the prefix length.
    #[error("`{text}` has host bits set; did you mean `{suggestion}`?")]
    HostBits {
        /// As written.
        text: String,
        /// The same with host bits cleared.
        suggestion: Prefix,
    },
}

impl Prefix {
    /// The prefix of `length` bits that contains `address` (host bits are cleared), or `None` if
    /// `length` is longer than the address.
    pub fn containing(address: IpAddr, length: u8) -> Option<Self> {
        IpNet::new(address, length)
            .ok()
            .map(|net| Self(net.trunc()))
    }

    /// The prefix that is just this address: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(address))
    }

    /// The whole space of a family: `0.0.0.0/0` or `::/0`.
    pub fn everything(family: Family) -> Self {
        Self(match family {
            Family::V4 => IpNet::V4(Ipv4Net::default()),
            Family::V6 => IpNet::V6(Ipv6Net::default()),
        })
    }

    /// IPv4 or IPv6.
    pub const fn family(&self) -> Family {
        match self.0 {
            IpNet::V4(_) => Family::V4,
            IpNet::V6(_) => Family::V6,
        }
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.0.network()
    }

    /// The length in bits, 0 to 32 or 128.
    pub fn length(&self) -> u8 {
        self.0.prefix_len()
    }

    /// Whether the address lies inside.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }

    /// Whether every address of `other` lies inside (a prefix covers itself).
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// First and last address as integers (IPv4 in the low 32 bits).
    pub(crate) fn bounds(&self) -> (u128, u128) {
        match self.0 {
            IpNet::V4(net) => (
                u32::from(net.network()).into(),
                u32::from(net.broadcast()).into(),
            ),
            IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
        }
    }

    /// The prefix of `length` bits that starts at an integer address of `family`.
    pub(crate) fn at(family: Family, first: u128, length: u8) -> Option<Self> {
        let address = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(first).ok()?)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(first)),
        };
        Self::containing(address, length)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `address/length`, or a bare address for a host route.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let syntax = || PrefixError::Syntax(text.to_owned());
        let Some((address, length)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| syntax());
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(syntax());
        }
        let too_long = || PrefixError::Length {
            length: length.to_owned(),
            family: Family::of(&address),
        };
        let bits: u8 = length.parse().map_err(|_| too_long())?;
        let prefix = Self::containing(address, bits).ok_or_else(too_long)?;
        if prefix.address() != address {
            return Err(PrefixError::HostBits {
                text: text.to_owned(),
                suggestion: prefix,
            });
        }
        Ok(prefix)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl serde::Serialize for Prefix {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_come_back_with_the_prefix_that_was_meant() {
        let error = "10.1.2.3/16".parse::<Prefix>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`10.1.2.3/16` has host bits set; did you mean `10.1.0.0/16`?"
        );
    }

    #[test]
    fn a_bare_address_is_a_host_route() {
        assert_eq!("192.0.2.1".parse::<Prefix>().unwrap().length(), 32);
        assert_eq!("2001:db8::1".parse::<Prefix>().unwrap().length(), 128);
    }

    #[test]
    fn what_is_not_a_prefix_says_so() {
        for bad in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0/8",
            "a/8",
            "10.0.0.0/8 ",
        ] {
            assert!(
                matches!(bad.parse::<Prefix>(), Err(PrefixError::Syntax(_))),
                "{bad:?}"
            );
        }
        for long in ["10.0.0.0/33", "10.0.0.0/999", "::/129"] {
            assert!(
                matches!(long.parse::<Prefix>(), Err(PrefixError::Length { .. })),
                "{long:?}"
            );
        }
    }
}
