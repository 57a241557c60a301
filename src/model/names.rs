//! Names of tables and protocols, as iproute2 keeps them in `rt_tables` and `rt_protos`.

use std::collections::BTreeMap;

use super::numbers::{Protocol, TableId};

/// Number ↔ name, for tables and protocols.
#[derive(Debug, Clone)]
pub struct Names {
    tables: BTreeMap<u32, String>,
    protocols: BTreeMap<u8, String>,
}

/// What the kernel's headers name (`enum rt_class_t`, linux/rtnetlink.h).
const TABLES: [(u32, &str); 3] = [(253, "default"), (254, "main"), (255, "local")];

/// What the kernel's headers name (`RTPROT_*`, linux/rtnetlink.h), as iproute2 spells it.
const PROTOCOLS: [(u8, &str); 23] = [
    (0, "unspec"),
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
    (17, "mrouted"),
    (18, "keepalived"),
    (42, "babel"),
    (99, "openr"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
];

impl Default for Names {
    fn default() -> Self {
        Self {
            tables: TABLES.map(|(id, name)| (id, name.to_owned())).into(),
            protocols: PROTOCOLS.map(|(id, name)| (id, name.to_owned())).into(),
        }
    }
}

impl Names {
    /// Adds the names of an `rt_tables` file: `number name` a line, `#` comments. Lines that are
    /// neither are passed over, as iproute2 does.
    pub fn add_tables(&mut self, text: &str) {
        self.tables.extend(entries(text).filter(|(id, _)| *id != 0));
    }

    /// Adds the names of an `rt_protos` file.
    pub fn add_protocols(&mut self, text: &str) {
        let small = entries(text).filter_map(|(id, name)| Some((u8::try_from(id).ok()?, name)));
        self.protocols.extend(small);
    }

    /// The table of this name.
    pub fn table_named(&self, name: &str) -> Option<TableId> {
        self.tables
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(id, _)| TableId::new(*id))
    }

    /// All table names, for suggestions.
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.values().map(String::as_str)
    }

    /// A table's name, or its number where it has none.
    pub fn table(&self, table: TableId) -> String {
        match self.tables.get(&table.get()) {
            Some(name) => name.clone(),
            None => table.to_string(),
        }
    }

    /// A protocol's name with its number, such as `bird (12)`; srsync's own number is named too
    /// unless a file names it.
    pub fn protocol(&self, protocol: Protocol) -> String {
        match self.protocols.get(&protocol.get()) {
            Some(name) => format!("{name} ({protocol})"),
            None if protocol == Protocol::SRSYNC => format!("srsync ({protocol})"),
            None => protocol.to_string(),
        }
    }

    /// The protocol of this name or number, as a snapshot or a test writes it.
    pub fn protocol_named(&self, name: &str) -> Option<Protocol> {
        let named = self.protocols.iter().find(|(_, known)| *known == name);
        match named {
            Some((id, _)) => Some(Protocol::new(*id)),
            None if name == "srsync" => Some(Protocol::SRSYNC),
            None => name.parse().ok().map(Protocol::new),
        }
    }
}

/// `number name` pairs of a file; numbers in decimal or `0x` hexadecimal.
fn entries(text: &str) -> impl Iterator<Item = (u32, String)> + '_ {
    text.lines().filter_map(|line| {
        let line = line.split('#').next()?;
        let mut words = line.split_whitespace();
        let number = words.next()?;
        let number = match number.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        Some((number, words.next()?.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_by_the_names_of_rt_tables() {
        let mut names = Names::default();
        names.add_tables("# comment\n100\tpartners # egress\n0x1f4 lab\nnonsense\n0 unspec\n");
        assert_eq!(names.table_named("partners"), Some(TableId::new(100)));
        assert_eq!(names.table_named("lab"), Some(TableId::new(500)));
        assert_eq!(names.table_named("main"), Some(TableId::MAIN));
        assert_eq!(names.table_named("unspec"), None);
        assert_eq!(names.table(TableId::new(7)), "7");
    }

    #[test]
    fn protocols_are_shown_with_name_and_number() {
        let names = Names::default();
        assert_eq!(names.protocol(Protocol::new(12)), "bird (12)");
        assert_eq!(names.protocol(Protocol::SRSYNC), "srsync (83)");
        assert_eq!(names.protocol(Protocol::new(200)), "200");
    }
}
