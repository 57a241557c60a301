//! The way of a probe: to which address, by which link, from which source.
//!
//! Owns what binds a socket to it. The link is looked for anew by each probe: one of this name may
//! come, go, or be another one than before.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use nix::errno::Errno;
use nix::net::if_::{if_indextoname, if_nametoindex};
use socket2::{Domain, SockRef, Socket, Type};

use super::Loss;
use crate::model::{IfIndex, InterfaceName};

/// A way to an address.
pub(super) struct Way {
    to: IpAddr,
    interface: Option<InterfaceName>,
    source: Option<IpAddr>,
    /// Where the interface was when it was looked for last.
    link: Option<IfIndex>,
}

impl Way {
    /// A source of the other family is meant for other packets.
    pub(super) fn new(
        to: IpAddr,
        interface: Option<InterfaceName>,
        source: Option<IpAddr>,
    ) -> Self {
        Self {
            to,
            interface,
            source: source.filter(|source| source.is_ipv4() == to.is_ipv4()),
            link: None,
        }
    }

    /// Where it leads.
    pub(super) fn to(&self) -> IpAddr {
        self.to
    }

    /// The link it has to lead by; `None` leaves that to the kernel's routes.
    pub(super) fn link(&self) -> Option<IfIndex> {
        self.link
    }

    /// Looks where the interface is now.
    pub(super) fn find_link(&mut self) -> Result<(), Loss> {
        match (&self.interface, self.to) {
            (Some(name), _) => {
                let link = self.link.filter(|link| is_called(*link, name));
                self.link = Some(link.map_or_else(|| find(name), Ok)?);
                Ok(())
            }
            (None, IpAddr::V6(to)) if to.is_unicast_link_local() => Err(Loss::Local(
                format!("{to} may be on any link: it needs an `interface`").into(),
            )),
            (None, _) => Ok(()),
        }
    }

    /// A port at the other end.
    pub(super) fn port(&self, port: u16) -> SocketAddr {
        self.on_link(self.to, port)
    }

    /// Binds a socket to this way.
    pub(super) fn bind(&self, socket: SockRef<'_>) -> Result<(), Loss> {
        if let Some(name) = &self.interface {
            bind_device(&socket, name)?;
        }
        let Some(source) = self.source else {
            return Ok(());
        };
        let bound = socket.bind(&self.on_link(source, 0).into());
        bound.map_err(|error| match error.raw_os_error() {
            Some(errno) if errno == Errno::EADDRNOTAVAIL as i32 => {
                Loss::Local(format!("this node does not have the address {source}").into())
            }
            _ => Loss::from(error),
        })
    }

    /// A link-local address means something only together with its link.
    fn on_link(&self, address: IpAddr, port: u16) -> SocketAddr {
        match (address, self.link) {
            (IpAddr::V6(v6), Some(link)) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(v6, port, 0, link.get()).into()
            }
            _ => SocketAddr::new(address, port),
        }
    }
}

fn is_called(link: IfIndex, name: &InterfaceName) -> bool {
    if_indextoname(link.get()).is_ok_and(|found| found.as_bytes() == name.as_str().as_bytes())
}

/// The link of this name. The kernel is asked for its index only once it is sure to exist: of a name
/// that it does not know it would try to load a module, and wait for that (`dev_load`,
/// net/core/dev_ioctl.c).
fn find(name: &InterfaceName) -> Result<IfIndex, Loss> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    bind_device(&SockRef::from(&socket), name)?;
    if_nametoindex(name.as_str())
        .map(IfIndex::new)
        .map_err(|_| no_interface(name))
}

fn bind_device(socket: &SockRef<'_>, name: &InterfaceName) -> Result<(), Loss> {
    let bound = socket.bind_device(Some(name.as_str().as_bytes()));
    bound.map_err(|error| match error.raw_os_error() {
        Some(errno) if errno == Errno::ENODEV as i32 => no_interface(name),
        _ => Loss::from(error),
    })
}

fn no_interface(name: &InterfaceName) -> Loss {
    Loss::Local(format!("there is no interface {name}").into())
}
