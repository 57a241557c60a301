//! Messages of nfnetlink about our table: the batch that makes it, and what the kernel lists of it. No I/O.

use std::collections::BTreeMap;

use nix::libc;

use super::super::wire::{Malformed, Writer, text as text_of};
use super::expr::{self, ANONYMOUS, Expr};
use super::fields::{Fields, number, text};
use super::rule::{expressions, recognise};
use super::set::{Set, SetKind};
use crate::model::egress::{Counters, NatRule, NatTable};

/// Bytes of `struct nfgenmsg` (linux/netfilter/nfnetlink.h).
const NFGENMSG: usize = 4;

/// Our chain. No other one is made.
const CHAIN: &str = "postrouting";

/// The attribute that every message of nf_tables about a table, or something in one, has its name in.
const NFTA_TABLE_NAME: u16 = 1;

// linux/netfilter/nf_tables.h: enum nft_table_attributes.
const NFTA_TABLE_FLAGS: u16 = 2;
// enum nft_chain_attributes, nft_hook_attributes.
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
// enum nft_rule_attributes.
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
// enum nft_set_attributes, nft_set_elem_list_attributes.
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_SET_ID: u16 = 4;
// enum nft_gen_attributes.
const NFTA_GEN_ID: u16 = 1;
const NFTA_GEN_PROC_PID: u16 = 2;
const NFTA_GEN_PROC_NAME: u16 = 3;

/// The comment in a rule's user data (enum nftnl_udata_rule_types, libnftnl/udata.h).
const NFTNL_UDATA_RULE_COMMENT: u8 = 0;

/// Where our chain is among those of others: `srcnat`, as iptables and kube-proxy have theirs.
///
/// The kernel asks the nat chains of one priority the newest first, until one of them has translated the connection; one
/// that merely accepts leaves it to the next (`nf_nat_inet_fn`, net/netfilter/nf_nat_core.c; `nf_hook_entries_grow`,
/// net/netfilter/core.c). So ours has its effect on either side of the others, whatever they return or accept. Who would
/// translate a connection, too, and is asked before us (a CNI's `MASQUERADE`) decides alone: it leaves with an address of
/// this node all the same.
const PRIORITY: u32 = libc::NF_IP_PRI_NAT_SRC as u32;

/// The number of a message of nf_tables.
pub(super) const fn kind(message: libc::c_int) -> u16 {
    (libc::NFNL_SUBSYS_NFTABLES << 8 | message) as u16
}

/// What of a batch was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Batch,
    /// The table, or its chain.
    Table,
    /// The rule at this place, or its sets.
    Rule(usize),
}

/// Messages that are done together or not at all. Their numbers follow each other.
pub(super) struct Batch<'a> {
    table: &'a NatTable,
    writer: Writer,
    first: u32,
    /// What each message is about.
    parts: Vec<Part>,
    sets: u32,
}

impl<'a> Batch<'a> {
    /// Makes the table anew, with these rules in this order.
    pub(super) fn replace(
        table: &'a NatTable,
        rules: &[(NatRule, Counters)],
        first_sequence: u32,
    ) -> Self {
        let mut batch = Self::begin(table, first_sequence);
        // What is there may be anybody's and anything. One that does not exist cannot be deleted.
        batch.table(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE);
        batch.table(libc::NFT_MSG_DELTABLE, 0);
        batch.table(libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE);
        batch.chain();
        for (place, (rule, counters)) in rules.iter().enumerate() {
            batch.rule(place, rule, *counters);
        }
        batch.end()
    }

    /// Deletes the table, which has to be there.
    pub(super) fn delete(table: &'a NatTable, first_sequence: u32) -> Self {
        let mut batch = Self::begin(table, first_sequence);
        batch.table(libc::NFT_MSG_DELTABLE, 0);
        batch.end()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.writer.bytes()
    }

    /// How many messages it has.
    pub(super) fn count(&self) -> u32 {
        self.parts.len() as u32
    }

    /// What an answer with this number is about.
    pub(super) fn part(&self, sequence: u32) -> Option<Part> {
        let place = sequence.wrapping_sub(self.first) as usize;
        self.parts.get(place).copied()
    }

    /// The numbers of the first message, by which all of it is refused, and of the last one before the end, which is
    /// acknowledged.
    pub(super) fn ends(&self) -> [u32; 2] {
        [self.first, self.first.wrapping_add(self.count() - 2)]
    }

    fn begin(table: &'a NatTable, first: u32) -> Self {
        let mut batch = Self {
            table,
            writer: Writer::default(),
            first,
            parts: Vec::new(),
            sets: 0,
        };
        batch.border(libc::NFNL_MSG_BATCH_BEGIN);
        batch
    }

    fn end(mut self) -> Self {
        self.writer.flag_last(libc::NLM_F_ACK);
        self.border(libc::NFNL_MSG_BATCH_END);
        self
    }

    /// The message at one end of the batch, which names the subsystem in network byte order.
    fn border(&mut self, kind: libc::c_int) {
        let sequence = self.number(Part::Batch);
        self.writer.begin(kind as u16, 0, sequence);
        self.writer.put(&[libc::AF_UNSPEC as u8, 0]);
        let subsystem = libc::NFNL_SUBSYS_NFTABLES as u16;
        self.writer.put(&subsystem.to_be_bytes());
        self.writer.end();
    }

    fn number(&mut self, part: Part) -> u32 {
        let sequence = self.first.wrapping_add(self.count());
        self.parts.push(part);
        sequence
    }

    fn open(&mut self, message: libc::c_int, flags: libc::c_int, part: Part) {
        let sequence = self.number(part);
        request(&mut self.writer, message, flags, sequence);
        text(&mut self.writer, NFTA_TABLE_NAME, self.table.as_str());
    }

    fn table(&mut self, message: libc::c_int, flags: libc::c_int) {
        self.open(message, flags, Part::Table);
        self.writer.end();
    }

    fn chain(&mut self) {
        self.open(libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, Part::Table);
        let writer = &mut self.writer;
        text(writer, NFTA_CHAIN_NAME, CHAIN);
        let hook = writer.nest(NFTA_CHAIN_HOOK);
        number(writer, NFTA_HOOK_HOOKNUM, libc::NF_INET_POST_ROUTING as u32);
        number(writer, NFTA_HOOK_PRIORITY, PRIORITY);
        writer.end_nest(hook);
        number(writer, NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32);
        text(writer, NFTA_CHAIN_TYPE, "nat");
        writer.end();
    }

    fn rule(&mut self, place: usize, rule: &NatRule, counters: Counters) {
        let part = Part::Rule(place);
        let expressions = expressions(rule, counters);
        let first_set = self.sets;
        for expression in &expressions {
            if let Expr::Lookup { set, .. } = expression {
                self.set(part, set);
            }
        }
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND;
        self.open(libc::NFT_MSG_NEWRULE, flags, part);
        let writer = &mut self.writer;
        text(writer, NFTA_RULE_CHAIN, CHAIN);
        let list = writer.nest(NFTA_RULE_EXPRESSIONS);
        expr::write(writer, &expressions, first_set);
        writer.end_nest(list);
        writer.attribute(NFTA_RULE_USERDATA, &comment(&rule.name));
        writer.end();
    }

    fn set(&mut self, part: Part, set: &Set) {
        let id = self.sets;
        self.sets += 1;
        self.open(libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, part);
        let writer = &mut self.writer;
        text(writer, NFTA_SET_NAME, ANONYMOUS);
        number(writer, NFTA_SET_FLAGS, set.kind.flags());
        number(writer, NFTA_SET_KEY_TYPE, set.kind.data_type());
        number(writer, NFTA_SET_KEY_LEN, set.kind.key_length());
        number(writer, NFTA_SET_ID, id);
        if let Some(userdata) = set.kind.userdata() {
            writer.attribute(NFTA_SET_USERDATA, &userdata);
        }
        writer.end();
        for elements in set.parts() {
            self.open(libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, part);
            let writer = &mut self.writer;
            text(writer, NFTA_SET_ELEM_LIST_SET, ANONYMOUS);
            number(writer, NFTA_SET_ELEM_LIST_SET_ID, id);
            set.write(writer, elements);
            writer.end();
        }
    }
}

/// A name as the comment of a rule: a type, a length, the text with its NUL.
fn comment(name: &str) -> Vec<u8> {
    let cut = name.floor_char_boundary(NatRule::LONGEST_NAME);
    let name = name.get(..cut).unwrap_or_default().as_bytes();
    let mut comment = vec![NFTNL_UDATA_RULE_COMMENT, name.len() as u8 + 1];
    comment.extend(name);
    comment.push(0);
    comment
}

/// Opens a request of the family `inet`.
fn request(writer: &mut Writer, message: libc::c_int, flags: libc::c_int, sequence: u32) {
    writer.begin(kind(message), flags, sequence);
    writer.put(&[libc::NFPROTO_INET as u8, 0, 0, 0]);
}

/// Asks for something as a whole.
pub(super) fn get(writer: &mut Writer, message: libc::c_int, sequence: u32) {
    request(writer, message, 0, sequence);
    writer.end();
}

/// Asks for something of a table, or its list.
pub(super) fn get_of_table(
    writer: &mut Writer,
    (message, flags): (libc::c_int, libc::c_int),
    sequence: u32,
    table: &NatTable,
) {
    request(writer, message, flags, sequence);
    text(writer, NFTA_TABLE_NAME, table.as_str());
    writer.end();
}

/// Asks for the elements of a set.
pub(super) fn get_elements(writer: &mut Writer, sequence: u32, table: &NatTable, set: &str) {
    let elements = libc::NFT_MSG_GETSETELEM;
    request(writer, elements, libc::NLM_F_DUMP, sequence);
    text(writer, NFTA_TABLE_NAME, table.as_str());
    text(writer, NFTA_SET_ELEM_LIST_SET, set);
    writer.end();
}

/// The attributes of a message, behind its header.
pub(super) fn body(payload: &[u8]) -> Result<&[u8], Malformed> {
    let body = payload.get(NFGENMSG..);
    body.ok_or(Malformed("a message of nfnetlink has no header"))
}

/// Whether a message is about our table, or something in it.
pub(super) fn is_of(payload: &[u8], table: &NatTable) -> Result<bool, Malformed> {
    let inet = payload.first() == Some(&(libc::NFPROTO_INET as u8));
    Ok(inet && Fields::read(body(payload)?)?.is(NFTA_TABLE_NAME, table.as_str()))
}

/// A generation of all tables together: any change makes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Generation(u32);

pub(super) fn read_generation(payload: &[u8]) -> Result<Generation, Malformed> {
    Ok(Generation(
        Fields::read(body(payload)?)?.number(NFTA_GEN_ID)?,
    ))
}

/// Who made a generation: `pid 4711 (nft)`. Kernels before 4.15 do not say it.
pub(super) fn read_author(payload: &[u8]) -> Option<String> {
    let fields = Fields::read(body(payload).ok()?).ok()?;
    let pid = fields.number(NFTA_GEN_PROC_PID).ok()?;
    let name = text_of(fields.get(NFTA_GEN_PROC_NAME)?);
    Some(format!("pid {pid} ({name})"))
}

/// Whether a table has no flag, such as `dormant`.
pub(super) fn is_plain(payload: &[u8]) -> Result<bool, Malformed> {
    let fields = Fields::read(body(payload)?)?;
    Ok(fields.number_or_zero(NFTA_TABLE_FLAGS)? == 0)
}

/// Whether a chain is just as we make ours.
pub(super) fn is_our_chain(payload: &[u8]) -> Result<bool, Malformed> {
    let fields = Fields::read(body(payload)?)?;
    let named = fields.is(NFTA_CHAIN_NAME, CHAIN) && fields.is(NFTA_CHAIN_TYPE, "nat");
    if !named {
        return Ok(false);
    }
    let hook = fields.nest(NFTA_CHAIN_HOOK)?;
    Ok(
        hook.number(NFTA_HOOK_HOOKNUM)? == libc::NF_INET_POST_ROUTING as u32
            && hook.number(NFTA_HOOK_PRIORITY)? == PRIORITY
            && fields.number(NFTA_CHAIN_POLICY)? == libc::NF_ACCEPT as u32,
    )
}

/// The name of a set and its kind, if it is one that we make.
pub(super) fn read_set(payload: &[u8]) -> Result<Option<(String, SetKind)>, Malformed> {
    let fields = Fields::read(body(payload)?)?;
    let kind = SetKind::of(
        fields.number(NFTA_SET_KEY_TYPE)?,
        fields.number(NFTA_SET_KEY_LEN)?,
        fields.number_or_zero(NFTA_SET_FLAGS)?,
    );
    let name = text_of(fields.need(NFTA_SET_NAME)?);
    Ok(kind.map(|kind| (name, kind)))
}

/// A rule with what it counted, if it is one that we make.
pub(super) fn read_rule(
    payload: &[u8],
    sets: &BTreeMap<String, Set>,
) -> Option<(NatRule, Counters)> {
    let fields = Fields::read(body(payload).ok()?).ok()?;
    let expressions = expr::read(fields.get(NFTA_RULE_EXPRESSIONS)?, sets).ok()?;
    let userdata = fields.get(NFTA_RULE_USERDATA)?;
    let name = text_of(userdata.get(2..)?);
    let ours = fields.is(NFTA_RULE_CHAIN, CHAIN) && userdata == comment(&name);
    let rule = recognise(name, &expressions)?;
    ours.then_some(rule)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::wire::messages;
    use super::super::set::read_elements;
    use super::*;
    use crate::model::egress::Translation;
    use crate::model::{Family, InterfaceName, Protocol};

    fn rules() -> Vec<(NatRule, Counters)> {
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let eth0 = InterfaceName::new("eth0").unwrap();
        let rule = NatRule {
            name: "rule".to_owned(),
            family: Family::V4,
            sources: prefixes(&["10.0.0.0/8", "192.0.2.1"]),
            destinations: prefixes(&["198.51.100.0/24"]),
            except: prefixes(&["198.51.100.7"]),
            out_interfaces: vec![eth0],
            translation: Translation::Masquerade,
        };
        let to = Translation::To([203, 0, 113, 1].into());
        let snat = NatRule {
            translation: to,
            ..rule.clone()
        };
        [rule, snat]
            .map(|rule| (rule, Counters::default()))
            .to_vec()
    }

    /// All that reads a message of the kernel.
    fn read_all(payload: &[u8]) {
        let set = Set::of_prefixes(Family::V4, &["10.0.0.0/8".parse().unwrap()]);
        let sets = BTreeMap::from([(ANONYMOUS.to_owned(), set)]);
        let _ = is_of(payload, &NatTable::of(Protocol::SRSYNC));
        let _ = read_generation(payload);
        let _ = read_author(payload);
        let _ = is_plain(payload);
        let _ = is_our_chain(payload);
        let _ = read_set(payload);
        let _ = read_rule(payload, &sets);
        let mut elements = Vec::new();
        if read_elements(body(payload).unwrap_or_default(), &mut elements).is_ok() {
            for kind in [SetKind::Prefixes(Family::V4), SetKind::Interfaces] {
                let set = Set::new(kind, elements.clone());
                let _ = (set.prefixes(), set.interfaces());
            }
        }
    }

    #[test]
    fn a_batch_is_bounded_and_answers_belong_to_its_parts() {
        let table = NatTable::of(Protocol::SRSYNC);
        let first = u32::MAX - 3;
        let batch = Batch::replace(&table, &rules(), first);
        let all: Vec<_> = messages(batch.bytes()).map(Result::unwrap).collect();
        assert_eq!(all.len(), batch.count() as usize);
        let [begin, .., last, end] = &all[..] else {
            panic!("{all:?}");
        };
        assert_eq!((begin.0.kind, end.0.kind), (16, 17));
        assert_eq!(batch.ends(), [begin.0.sequence, last.0.sequence]);
        assert!(last.0.has(libc::NLM_F_ACK));
        assert_eq!(batch.part(first), Some(Part::Batch));
        assert_eq!(batch.part(last.0.sequence), Some(Part::Rule(1)));
        assert_eq!(batch.part(first - 1), None);
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            read_all(&payload);
        }

        /// Messages that are nearly right: one byte is another, or the end is missing.
        #[test]
        fn damaged_messages_are_never_a_panic(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            end in any::<prop::sample::Index>(),
        ) {
            let table = NatTable::of(Protocol::SRSYNC);
            let rules = rules();
            let batch = Batch::replace(&table, &rules, 1);
            for message in messages(batch.bytes()) {
                let mut payload = message.unwrap().1.to_vec();
                read_all(&payload);
                let place = at.index(payload.len());
                payload[place] = byte;
                read_all(&payload);
                payload.truncate(end.index(payload.len()));
                read_all(&payload);
            }
        }
    }
}
