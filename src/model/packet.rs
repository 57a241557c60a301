//! A packet whose way is asked for.

use std::fmt;
use std::net::IpAddr;

use super::numbers::InterfaceName;

/// As much of a packet as decides about its way. Ports, protocol and who sends it are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where it goes.
    pub to: IpAddr,
    /// Where it comes from; `None` while this node has not chosen a source yet. Of the family of `to`.
    pub from: Option<IpAddr>,
    /// Its mark.
    pub mark: u32,
    /// By which interface it comes in; `None` is a packet of this node itself.
    pub iif: Option<InterfaceName>,
}

impl fmt::Display for Packet {
    /// `192.0.2.7 from 10.42.0.5 mark 0x7 iif cni0`, as `ip route get` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to.fmt(f)?;
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        if self.mark != 0 {
            write!(f, " mark {:#x}", self.mark)?;
        }
        match &self.iif {
            Some(iif) => write!(f, " iif {iif}"),
            None => Ok(()),
        }
    }
}
