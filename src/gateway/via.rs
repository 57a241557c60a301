//! What a gateway is called, in a document as well as in the kernel.

use std::fmt;
use std::net::IpAddr;

use crate::model::{Gateway, InterfaceName};

/// A gateway by its address, and by its link where one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Its address.
    pub address: IpAddr,
    /// The link it is behind. A document need not say it, the kernel always does.
    pub interface: Option<InterfaceName>,
}

impl Via {
    /// Whether both mean the same gateway. Who does not name the link means it on any, so that
    /// what the kernel shows is found again in the document, and so that a document which starts to
    /// name the link does not move the traffic.
    pub fn is(&self, other: &Self) -> bool {
        let same_link = match (&self.interface, &other.interface) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        };
        self.address == other.address && same_link
    }
}

impl From<&Gateway> for Via {
    fn from(gateway: &Gateway) -> Self {
        Self {
            address: gateway.address,
            interface: gateway.interface.clone(),
        }
    }
}

impl fmt::Display for Via {
    /// In the words of `ip route`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.interface {
            Some(interface) => write!(f, "{} dev {interface}", self.address),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(address: &str, interface: Option<&str>) -> Via {
        Via {
            address: address.parse().unwrap(),
            interface: interface.map(|name| InterfaceName::new(name).unwrap()),
        }
    }

    #[test]
    fn a_link_tells_gateways_apart_only_where_both_name_one() {
        let one = via("fe80::1", Some("eth1"));
        assert!(one.is(&via("fe80::1", Some("eth1"))));
        assert!(one.is(&via("fe80::1", None)));
        assert!(!one.is(&via("fe80::1", Some("eth2"))));
        assert!(!one.is(&via("fe80::2", None)));
        assert_eq!(one.to_string(), "fe80::1 dev eth1");
    }
}
