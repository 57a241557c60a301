//! Source address translation: what `kind: Masquerade` asks for, and rules of our nftables table.

use std::fmt;
use std::net::IpAddr;

use crate::model::document::DocumentId;
use crate::model::numbers::{InterfaceName, Protocol};
use crate::model::prefix::{Family, Prefix};

/// `kind: Masquerade`: packets from these sources leave with an address of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// Whose packets; never empty, sorted and disjoint.
    pub sources: Vec<Prefix>,
    /// Where to; empty means anywhere. Sorted and disjoint.
    pub destinations: Vec<Prefix>,
    /// But not to these. Sorted and disjoint.
    pub except: Vec<Prefix>,
    /// Out of which interfaces; empty means any. Sorted.
    pub out_interfaces: Vec<InterfaceName>,
    /// With which address; `None` takes that of the interface that the packet leaves by.
    pub snat_to: Option<IpAddr>,
}

/// What becomes of the source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Translation {
    /// The primary address of the interface that the packet leaves by.
    Masquerade,
    /// This address.
    To(IpAddr),
}

/// The nftables table of ours, of the family `inet`. The name says whose it is, as the protocol number does for routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatTable(String);

impl NatTable {
    /// That of an owner: `srsync`, or `srsync-84` of another than the usual number.
    pub fn of(owner: Protocol) -> Self {
        Self(match owner {
            Protocol::SRSYNC => "srsync".to_owned(),
            other => format!("srsync-{}", other.get()),
        })
    }

    /// Its name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NatTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One rule of our table: a document and a family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatRule {
    /// The document's name, which is the rule's comment. One that is longer than [`NatRule::LONGEST_NAME`] ends in a hash
    /// of all of it, so that it stays apart from others.
    pub name: String,
    /// Of which family; all prefixes and addresses are of it.
    pub family: Family,
    /// Whose packets; never empty, sorted and disjoint.
    pub sources: Vec<Prefix>,
    /// Where to; empty means anywhere, and everything is written as empty.
    pub destinations: Vec<Prefix>,
    /// But not to these.
    pub except: Vec<Prefix>,
    /// Out of which interfaces; empty means any.
    pub out_interfaces: Vec<InterfaceName>,
    /// What is done.
    pub translation: Translation,
}

impl NatRule {
    /// `nft` shows no comment that is longer, in bytes.
    pub const LONGEST_NAME: usize = 127;

    /// The rules of a document: one for each family in which it has sources and, where it names destinations,
    /// destinations.
    pub fn of<'a>(
        id: &'a DocumentId,
        masquerade: &'a Masquerade,
    ) -> impl Iterator<Item = Self> + 'a {
        Family::BOTH.into_iter().filter_map(move |family| {
            let of_family = |prefixes: &[Prefix]| -> Vec<Prefix> {
                let prefixes = prefixes.iter().filter(|p| p.family() == family);
                prefixes.copied().collect()
            };
            let mut rule = Self {
                name: comment(id.to_string()),
                family,
                sources: of_family(&masquerade.sources),
                destinations: of_family(&masquerade.destinations),
                except: of_family(&masquerade.except),
                out_interfaces: masquerade.out_interfaces.clone(),
                translation: masquerade
                    .snat_to
                    .map_or(Translation::Masquerade, Translation::To),
            };
            let elsewhere = rule.destinations.is_empty() && !masquerade.destinations.is_empty();
            if rule.destinations == [Prefix::everything(family)] {
                rule.destinations.clear();
            }
            (!rule.sources.is_empty() && !elsewhere).then_some(rule)
        })
    }
}

fn comment(mut name: String) -> String {
    const HASH: usize = "~01234567".len();
    if name.len() > NatRule::LONGEST_NAME {
        // FNV-1a: the same in every version of srsync.
        let mix = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = name.bytes().fold(0x811c_9dc5, mix);
        name.truncate(name.floor_char_boundary(NatRule::LONGEST_NAME - HASH));
        name.push_str(&format!("~{hash:08x}"));
    }
    name
}

impl fmt::Display for NatRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.translation {
            Translation::Masquerade => f.write_str("masquerade")?,
            Translation::To(address) => write!(f, "snat to {address}")?,
        }
        write!(f, " from {}", Listed(&self.sources))?;
        if !self.destinations.is_empty() {
            write!(f, " to {}", Listed(&self.destinations))?;
        }
        if !self.except.is_empty() {
            write!(f, " except {}", Listed(&self.except))?;
        }
        if !self.out_interfaces.is_empty() {
            write!(f, " out {}", Listed(&self.out_interfaces))?;
        }
        Ok(())
    }
}

/// The first few of a list, and how many more there are.
struct Listed<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (index, item) in self.0.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            item.fmt(f)?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, ",… ({more} more)"),
        }
    }
}

/// What a rule has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections, for only the first packet of each comes by the rule.
    pub packets: u64,
    /// The bytes of those packets.
    pub bytes: u64,
}

/// Our nftables table as it is in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatObserved {
    /// Nobody looked: no document asks for one, and none was ever made.
    Unknown,
    /// It cannot be read or made here, and this is why: no nftables in the kernel, or no privilege.
    Unavailable(String),
    /// There is none.
    Absent,
    /// It is there.
    Present {
        /// Those of its rules that can be read as ours, in order, with what they did.
        rules: Vec<(NatRule, Counters)>,
        /// Whether that is all there is in it, and just as we make it. If not, somebody changed it.
        intact: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::document::Dialect;

    fn rules(name: &str, sources: &[&str], destinations: &[&str]) -> Vec<NatRule> {
        let prefixes = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let id = DocumentId {
            name: name.to_owned(),
            namespace: None,
            dialect: Dialect::Native,
        };
        let masquerade = Masquerade {
            sources: prefixes(sources),
            destinations: prefixes(destinations),
            except: Vec::new(),
            out_interfaces: Vec::new(),
            snat_to: None,
        };
        NatRule::of(&id, &masquerade).collect()
    }

    #[test]
    fn a_rule_to_everywhere_names_no_destination_and_is_of_that_family_alone() {
        let [rule] = &rules("a", &["10.0.0.0/8", "fd00::/8"], &["0.0.0.0/0"])[..] else {
            panic!("one rule was expected");
        };
        assert_eq!((rule.family, &rule.destinations[..]), (Family::V4, &[][..]));
    }

    #[test]
    fn long_names_fit_into_a_comment_and_stay_apart() {
        let name = |name: &str| rules(name, &["10.0.0.0/8"], &[])[0].name.clone();
        let longest = "n".repeat(NatRule::LONGEST_NAME);
        assert_eq!(name(&longest), longest);
        // A character of two bytes lies across the place to cut at.
        let long = "ü".repeat(70);
        let (one, other) = (name(&format!("{long}a")), name(&format!("{long}b")));
        assert!(one != other && one.starts_with("üü"), "{one} {other}");
        assert!(one.len() <= NatRule::LONGEST_NAME && other.len() <= NatRule::LONGEST_NAME);
    }

    #[test]
    fn the_usual_owner_has_the_plain_name() {
        assert_eq!(NatTable::of(Protocol::SRSYNC).as_str(), "srsync");
        assert_eq!(NatTable::of(Protocol::new(84)).to_string(), "srsync-84");
    }
}
