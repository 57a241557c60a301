//! What others do to our table. Must not judge, as [`Events`](super::super::Events) does not: it is a hint to look.

use std::sync::Arc;

use netlink_sys::Socket;
use nix::libc;

use super::super::Kernel;
use super::super::error::KernelError;
use super::super::events::{LONGEST, hear, listening};
use super::super::socket::NETLINK_NETFILTER;
use super::super::wire::messages;
use super::message::{is_of, kind, read_author};
use crate::model::egress::NatTable;

/// Something happened to our table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatEvent {
    /// Somebody else made, changed or deleted it.
    Changed {
        /// Who, as far as it can be told: `pid 4711 (nft)`.
        by: Option<Arc<str>>,
    },
    /// There was more than could be heard: anything may have happened.
    Overflow,
}

/// The news of our table, of the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct NatEvents {
    socket: Socket,
    buffer: Vec<u8>,
    table: NatTable,
    /// Whether our table is part of the change that is being told.
    touched: bool,
}

impl NatEvents {
    /// Listens to changes of this table by anybody but `kernel`. Those of other tables are passed over.
    ///
    /// # Errors
    /// If there is no such socket. It needs the capability CAP_NET_ADMIN.
    pub fn open(kernel: &mut Kernel, table: &NatTable) -> Result<Self, KernelError> {
        let own_port = kernel.netfilter()?.port()?;
        let socket = listening(NETLINK_NETFILTER, own_port).map_err(KernelError::Open)?;
        let group = libc::NFNLGRP_NFTABLES as u32;
        socket.add_membership(group).map_err(KernelError::Open)?;
        Ok(Self {
            socket,
            buffer: vec![0; LONGEST],
            table: table.clone(),
            touched: false,
        })
    }

    /// Waits until something happens to any table, and returns what happened to ours: often nothing. After an overflow the
    /// queue is emptied first, as that of [`Events::wait`](super::super::Events::wait).
    ///
    /// # Errors
    /// If the socket fails, which it does not by itself.
    pub fn wait(&mut self) -> Result<Vec<NatEvent>, KernelError> {
        let mut events = Vec::new();
        let (table, touched) = (&self.table, &mut self.touched);
        let overflow = hear(&self.socket, &mut self.buffer, |datagram| {
            events.extend(read(datagram, table, touched));
            // Whoever changes tables without end does not keep us from telling.
            events.is_empty()
        })?;
        if overflow {
            events.push(NatEvent::Overflow);
        }
        Ok(events)
    }
}

/// What a datagram tells. The kernel tells all parts of a change first, and then that it was one, and whose
/// (`nf_tables_commit`, net/netfilter/nf_tables_api.c).
fn read(datagram: &[u8], table: &NatTable, touched: &mut bool) -> Option<NatEvent> {
    let mut event = None;
    for message in messages(datagram) {
        let Ok((header, payload)) = message else {
            return Some(NatEvent::Overflow);
        };
        if header.kind != kind(libc::NFT_MSG_NEWGEN) {
            *touched |= is_of(payload, table).unwrap_or(true);
        } else if std::mem::take(touched) {
            let by = read_author(payload).map(Arc::from);
            event = Some(NatEvent::Changed { by });
        }
    }
    event
}
