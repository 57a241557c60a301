//! Our table of nftables: reads it ([`Kernel::nat`]) and makes it anew ([`Kernel::set_nat`]), over a socket to nfnetlink.
//!
//! Owns the conversation. The table is made in one batch, which the kernel takes whole or not at all, and no message ever
//! names another table. Must not decide whether a rule is wanted.
//!
//! - `message`: batches, and what the kernel lists.
//! - `rule`, `expr`, `set`: rules of the model, the steps they are made of, and the sets in those.
//! - [`NatEvents`]: what others do to our table, on a socket of its own.

mod events;
mod expr;
mod fields;
mod message;
mod rule;
mod set;

use std::collections::BTreeMap;
use std::io;

use nix::errno::Errno;
use nix::libc;

use super::Kernel;
use super::error::{KernelError, Refusal};
use super::socket::{NETLINK_NETFILTER, Netlink, Outcome};
use super::wire::{Malformed, Writer};
use crate::model::egress::{Counters, NatObserved, NatRule, NatTable};
use message::{Batch, Generation, Part};
use set::{Set, SetKind};

pub use events::{NatEvent, NatEvents};

/// How often a table that changes meanwhile is read again. kube-proxy and CNIs change theirs some times a second at worst.
const ATTEMPTS: u32 = 16;

/// linux/netfilter/nf_tables.h: enum nf_tables_msg_types.
const NFT_MSG_GETFLOWTABLE: libc::c_int = 23;

/// What is read, in errors.
const TABLE: &str = "nftables table";

const NO_PRIVILEGE: &str = "nftables needs the capability CAP_NET_ADMIN, even for reading: run srsync as root, or give it \
     this capability";

const NO_NFTABLES: &str = "this kernel has no nftables: load its module (`modprobe nf_tables`), or take a kernel with \
     CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET";

impl Kernel {
    /// Reads our table. Complete and of one moment, or an error; where there can be no table,
    /// [`NatObserved::Unavailable`] says why.
    ///
    /// # Errors
    /// If the kernel's answer cannot be read, or the tables change all the time.
    pub fn nat(&mut self, table: &NatTable) -> Result<NatObserved, KernelError> {
        let netlink = match self.netfilter() {
            Ok(netlink) => netlink,
            Err(KernelError::Open(error)) if forbidden(&error) => {
                let why = format!("{NO_NFTABLES} (no socket to nfnetlink: {error})");
                return Ok(NatObserved::Unavailable(why));
            }
            Err(error) => return Err(error),
        };
        let mut before = match generation(netlink)? {
            Ok(generation) => generation,
            Err(refusal) => return unavailable(refusal),
        };
        for _ in 0..ATTEMPTS {
            let read = read(netlink, table);
            let after = generation(netlink)?.map_err(of("generation of nftables"))?;
            if before == after {
                return read;
            }
            before = after;
        }
        Err(KernelError::Interrupted {
            what: TABLE,
            attempts: ATTEMPTS,
        })
    }

    /// Puts a table with these rules, in this order, into the place of whatever has its name; without rules there is none
    /// afterwards. All of it is done, or nothing.
    ///
    /// Counting goes on from the given counters. What a rule counts between reading and replacing is lost.
    ///
    /// # Errors
    /// If the kernel cannot be spoken with. What it refuses is a [`Refusal`].
    pub fn set_nat(
        &mut self,
        table: &NatTable,
        rules: &[(NatRule, Counters)],
    ) -> Result<Result<(), Refusal>, KernelError> {
        let netlink = match self.netfilter() {
            Err(KernelError::Open(error)) if forbidden(&error) => {
                return Ok(Err(Refusal::Kernel {
                    errno: error.raw_os_error().unwrap_or_default(),
                    text: Some(NO_NFTABLES.into()),
                }));
            }
            netlink => netlink?,
        };
        let first = netlink.next_sequence();
        let batch = match rules {
            [] => Batch::delete(table, first),
            _ => Batch::replace(table, rules, first),
        };
        netlink.skip_sequences(batch.count());
        if !netlink.make_room(batch.bytes().len())? {
            return Ok(Err(too_large(batch.bytes().len())));
        }
        let mut refused = None;
        let outcome =
            netlink.exchange_until(batch.bytes(), &batch.ends(), |sequence, refusal| {
                // What follows the first one is refused for its sake.
                if let Some(part) = batch.part(sequence) {
                    refused.get_or_insert((part, refusal));
                }
            })?;
        Ok(match (refused, outcome) {
            (Some((_, refusal)), _) if rules.is_empty() && refusal.is(Errno::ENOENT) => Ok(()),
            (Some((part, refusal)), _) => Err(explained(part, refusal, rules)),
            (None, Outcome::RepliesLost) => Err(Refusal::Lost),
            (None, Outcome::AllAnswered) => Ok(()),
        })
    }

    /// The socket to nfnetlink, opened when it is first wanted: most nodes have routes alone.
    fn netfilter(&mut self) -> Result<&mut Netlink, KernelError> {
        match &mut self.netfilter {
            Some(netlink) => Ok(netlink),
            none => Ok(none.insert(Netlink::open(NETLINK_NETFILTER)?)),
        }
    }
}

/// Reads all of it once. Somebody may change it meanwhile.
fn read(netlink: &mut Netlink, table: &NatTable) -> Result<NatObserved, KernelError> {
    let get = (libc::NFT_MSG_GETTABLE, 0);
    let request =
        |writer: &mut Writer, sequence| message::get_of_table(writer, get, sequence, table);
    let plain = match netlink.ask(TABLE, request, message::is_plain)? {
        Ok(plain) => plain,
        Err(refusal) if refusal.is(Errno::ENOENT) => return Ok(NatObserved::Absent),
        Err(refusal) => return Err(of(TABLE)(refusal)),
    };
    let chains = list(
        netlink,
        table,
        libc::NFT_MSG_GETCHAIN,
        message::is_our_chain,
    )?;
    let kinds = list(netlink, table, libc::NFT_MSG_GETSET, message::read_set)?;
    let known = kinds.iter().all(Option::is_some);
    let sets = read_sets(netlink, table, kinds.into_iter().flatten())?;
    let rules = list(netlink, table, libc::NFT_MSG_GETRULE, |payload| {
        Ok(message::read_rule(payload, &sets))
    })?;
    let mut strange = list(netlink, table, libc::NFT_MSG_GETOBJ, |_| Ok(()))?;
    strange.extend(list(netlink, table, NFT_MSG_GETFLOWTABLE, |_| Ok(()))?);
    // The table has a count of what is in it (`NFTA_TABLE_USE`), too, but that changes outside of generations.
    let intact = plain
        && chains == [true]
        && known
        && rules.iter().all(Option::is_some)
        && strange.is_empty();
    Ok(NatObserved::Present {
        rules: rules.into_iter().flatten().collect(),
        intact,
    })
}

/// Sets of our table with what is in them, by name.
fn read_sets(
    netlink: &mut Netlink,
    table: &NatTable,
    kinds: impl Iterator<Item = (String, SetKind)>,
) -> Result<BTreeMap<String, Set>, KernelError> {
    let mut sets = BTreeMap::new();
    for (name, kind) in kinds {
        let elements = netlink.dump(
            TABLE,
            |writer, sequence| message::get_elements(writer, sequence, table, &name),
            |payload, elements| set::read_elements(message::body(payload)?, elements),
        )?;
        sets.insert(name, Set::new(kind, elements));
    }
    Ok(sets)
}

/// Lists what is in our table.
fn list<T>(
    netlink: &mut Netlink,
    table: &NatTable,
    message: libc::c_int,
    read: impl Fn(&[u8]) -> Result<T, Malformed>,
) -> Result<Vec<T>, KernelError> {
    let get = (message, libc::NLM_F_DUMP);
    netlink.dump(
        TABLE,
        |writer, sequence| message::get_of_table(writer, get, sequence, table),
        // The kernel lists chains of other tables, too, whatever is asked for.
        |payload, list| {
            if message::is_of(payload, table)? {
                list.push(read(payload)?);
            }
            Ok(())
        },
    )
}

fn generation(netlink: &mut Netlink) -> Result<Result<Generation, Refusal>, KernelError> {
    let get = libc::NFT_MSG_GETGEN;
    let request = |writer: &mut Writer, sequence| message::get(writer, get, sequence);
    netlink.ask("generation of nftables", request, message::read_generation)
}

/// Why the kernel does not even tell the generation of its tables.
fn unavailable(refusal: Refusal) -> Result<NatObserved, KernelError> {
    // A subsystem that is not there is an invalid kind of message (`nfnetlink_rcv_msg`, net/netfilter/nfnetlink.c).
    let why = match refusal.errno().map(Errno::from_raw) {
        Some(Errno::EPERM) => NO_PRIVILEGE,
        Some(Errno::EINVAL | Errno::EOPNOTSUPP) => NO_NFTABLES,
        _ => return Err(of(TABLE)(refusal)),
    };
    Ok(NatObserved::Unavailable(why.to_owned()))
}

/// Whether there is no such socket for us.
fn forbidden(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT | Errno::EPERM | Errno::EACCES)
    )
}

fn of(what: &'static str) -> impl Fn(Refusal) -> KernelError {
    move |source| KernelError::Dump { what, source }
}

/// A refusal with what it is about, and with a reason, for which nf_tables has only numbers.
fn explained(part: Part, refusal: Refusal, rules: &[(NatRule, Counters)]) -> Refusal {
    let Refusal::Kernel { errno, text } = refusal else {
        return refusal;
    };
    let about = match part {
        Part::Rule(place) => rules.get(place).map(|(rule, _)| &rule.name),
        Part::Batch | Part::Table => None,
    };
    let about = match about {
        Some(name) => format!("the rule of `{name}`"),
        None => "the table".to_owned(),
    };
    let why = match (Errno::from_raw(errno), part) {
        (Errno::EPERM, Part::Batch) => NO_PRIVILEGE,
        (Errno::EPERM, _) => "a program owns the table of this name: end it",
        (Errno::EOPNOTSUPP, Part::Batch) => NO_NFTABLES,
        (Errno::EOPNOTSUPP | Errno::ENOENT, _) => {
            "the kernel lacks a part of NAT for nftables: Linux 5.2 or newer, with the modules nft_chain_nat, nft_nat and \
             nft_masq"
        }
        _ => "the kernel does not take it",
    };
    let text = text.map_or_else(|| why.to_owned(), |said| format!("{why}: {said}"));
    Refusal::Kernel {
        errno,
        text: Some(format!("{about}: {text}").into()),
    }
}

fn too_large(length: usize) -> Refusal {
    let text = format!(
        "the table takes {length} bytes at once, more than net.core.wmem_max allows: raise it to that, or ask for fewer prefixes"
    );
    Refusal::Kernel {
        errno: Errno::EMSGSIZE as i32,
        text: Some(text.into()),
    }
}
