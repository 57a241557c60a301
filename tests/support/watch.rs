//! Doing something at a chosen moment of a run: after so many changes of routes.

use std::process::Child;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::libc;

/// `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE` (rtnetlink(7)).
const ROUTE_GROUPS: u32 = 0x40 | 0x400;

/// `RTNLGRP_NEXTHOP` (linux/rtnetlink.h), as a mask of groups.
const NEXTHOP_GROUP: u32 = 1 << 31;

/// Hears of every change of a route or nexthop object in the namespace of the thread that made it.
pub struct Changes(Socket);

impl Changes {
    pub fn watch() -> Self {
        Self::of(ROUTE_GROUPS)
    }

    /// Of nexthop objects in place of routes.
    pub fn of_nexthops() -> Self {
        Self::of(NEXTHOP_GROUP)
    }

    fn of(groups: u32) -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        // As much as is allowed. What is missed is only counted later.
        let _ = socket.set_rx_buf_sz(4 << 20);
        socket.bind(&SocketAddr::new(0, groups)).unwrap();
        socket.set_non_blocking(true).unwrap();
        Self(socket)
    }

    /// How many came, changed or went since it was made, or since it was asked last.
    pub fn count(&self) -> usize {
        self.kinds().len()
    }

    /// How many routes went.
    pub fn removals(&self) -> usize {
        let kinds = self.kinds().into_iter();
        kinds.filter(|kind| *kind == libc::RTM_DELROUTE).count()
    }

    /// The types of all messages that wait.
    fn kinds(&self) -> Vec<u16> {
        let mut buffer = [0; 4096];
        let mut kinds = Vec::new();
        loop {
            match self.0.recv(&mut &mut buffer[..], 0) {
                // `nlmsg_type` is at offset 4 of `struct nlmsghdr`; one message a datagram.
                Ok(_) => kinds.push(u16::from_ne_bytes([buffer[4], buffer[5]])),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return kinds,
                Err(error) => panic!("changes were missed: {error}"),
            }
        }
    }

    /// Waits until `count` routes were changed; says whether the process was still running then.
    pub fn wait_for(&self, count: usize, by: &mut Child) -> bool {
        let mut buffer = [0; 4096];
        let mut seen = 0;
        loop {
            match self.0.recv(&mut &mut buffer[..], 0) {
                Ok(_) => seen += 1,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if by.try_wait().unwrap().is_some() {
                        return false;
                    }
                    std::thread::sleep(Duration::from_micros(100));
                }
                // ENOBUFS: more changes than it could hold.
                Err(_) => {}
            }
            if seen >= count {
                return by.try_wait().unwrap().is_none();
            }
        }
    }
}
