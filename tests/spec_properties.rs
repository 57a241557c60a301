//! No text makes the parser panic, and what it lets through is sound.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads files that it wrote itself"
)]

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use srsync::model::egress::NatRule;
use srsync::model::{EgressSpec, FileId, FileName, Names, Prefix, PrefixSet};
use srsync::source::decode;
use srsync::spec::{Context, Included, Parsed, parse, render};

/// Parses and renders, with a file that includes the text itself.
fn all_the_way(text: &str) -> Parsed {
    let mut include = |_: &str| {
        Ok(Included {
            file: FileId(1),
            text: text.to_owned(),
        })
    };
    let context = Context {
        names: &Names::default(),
        include: &mut include,
    };
    let parsed = parse(FileId(0), text, context);
    let name = |path: &str| FileName {
        path: path.into(),
        label: path.into(),
    };
    let files = [name("a.yaml"), name("b.txt")];
    for diagnostic in &parsed.diagnostics {
        let shown = render(diagnostic, &files, true);
        assert!(shown.len() < 20_000, "{shown}");
        serde_json::to_string(&diagnostic.view(&files)).unwrap();
    }
    parsed
}

/// Every input of the golden cases: the richest corpus there is.
fn corpus() -> Vec<Vec<u8>> {
    fn collect(path: &Path, texts: &mut Vec<Vec<u8>>) {
        let mut entries: Vec<PathBuf> = fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        for entry in entries {
            let extension = entry.extension().and_then(|extension| extension.to_str());
            if entry.is_dir() {
                collect(&entry, texts);
            } else if matches!(extension, Some("yaml" | "json")) {
                texts.push(fs::read(&entry).unwrap());
            }
        }
    }
    let mut texts = Vec::new();
    collect(Path::new("tests/cases/documents"), &mut texts);
    collect(Path::new("tests/cases/diagnostics"), &mut texts);
    assert!(texts.len() > 50);
    texts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(text) = decode(bytes) {
            all_the_way(&text);
        }
    }

    #[test]
    fn arbitrary_yaml_characters_never_panic(text in "[-:{}\\[\\],&*!|>'\"#%@`?~<= a1.\\n\\r\\t\u{feff}é]{0,200}") {
        all_the_way(&text);
    }

    #[test]
    fn mutated_documents_never_panic(
        pick in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6),
    ) {
        let corpus = corpus();
        let mut bytes = corpus[pick.index(corpus.len())].clone();
        for (at, byte, kind) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        if let Ok(text) = decode(bytes) {
            all_the_way(&text);
        }
    }

    /// Whatever destinations are written, what comes out is sorted, disjoint and the same set.
    #[test]
    fn destinations_come_out_sorted_and_disjoint(
        list in proptest::collection::vec((0u32..64, 26u8..=32), 1..40),
    ) {
        let prefixes: Vec<srsync::model::Prefix> = list
            .into_iter()
            .map(|(host, length)| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + host);
                srsync::model::Prefix::containing(address.into(), length).unwrap()
            })
            .collect();
        let lines: String = prefixes.iter().map(|prefix| format!("  - {prefix}\n")).collect();
        let text = format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {{name: a}}\n\
             spec:\n  gateway: 10.9.9.9\n  destinations:\n{lines}"
        );
        let parsed = all_the_way(&text);
        let document = &parsed.documents[0].document;
        let out: Vec<_> = document.destinations.iter().map(|d| d.prefix).collect();
        for pair in out.windows(2) {
            prop_assert!(pair[0] < pair[1] && !pair[0].covers(&pair[1]));
        }
        let set = |list: &[srsync::model::Prefix]| list.iter().collect::<srsync::model::PrefixSet>();
        prop_assert_eq!(set(&out), set(&prefixes));
    }

    /// The same of what is translated; and each rule is of one family, with somebody's packets.
    #[test]
    fn sources_come_out_sorted_and_disjoint(
        list in proptest::collection::vec((0u32..64, 26u8..=32, any::<bool>()), 1..40),
    ) {
        let prefixes: Vec<Prefix> = list
            .into_iter()
            .map(|(host, length, v6)| match v6 {
                false => Prefix::containing(Ipv4Addr::from(0x0a00_0000 + host).into(), length),
                true => Prefix::containing(Ipv6Addr::from(0xfd00 << 112 | u128::from(host)).into(), length + 96),
            })
            .map(Option::unwrap)
            .collect();
        let lines: String = prefixes.iter().map(|prefix| format!("  - \"{prefix}\"\n")).collect();
        let text = format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: Masquerade\nmetadata: {{name: a}}\n\
             spec:\n  sources:\n{lines}"
        );
        let parsed = all_the_way(&text);
        let document = &parsed.egress[0].document;
        let EgressSpec::Masquerade(asked) = &document.spec else {
            panic!("{document:?}");
        };
        for pair in asked.sources.windows(2) {
            prop_assert!(pair[0] < pair[1] && !pair[0].covers(&pair[1]));
        }
        let set = |list: &[Prefix]| list.iter().collect::<PrefixSet>();
        prop_assert_eq!(set(&asked.sources), set(&prefixes));
        for rule in NatRule::of(&document.id, asked) {
            prop_assert!(!rule.sources.is_empty());
            prop_assert!(rule.sources.iter().all(|source| source.family() == rule.family));
        }
    }

    /// A rule that comes through is one that some packet can match.
    #[test]
    fn conditions_of_rules_can_be_true(
        mark in "(0x)?[0-9a-f]{1,9}(/(0x)?[0-9a-f]{1,9})?",
        ports in "[0-9]{1,5}(-[0-9]{1,5})?",
        quoted in any::<bool>(),
    ) {
        let quote = if quoted { "\"" } else { "" };
        let text = format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: RoutingRule\nmetadata: {{name: a}}\n\
             spec:\n  priority: 1\n  ipProto: tcp\n  fwmark: {quote}{mark}{quote}\n  dport: {quote}{ports}{quote}\n"
        );
        let parsed = all_the_way(&text);
        prop_assert_eq!(parsed.egress.is_empty(), !parsed.diagnostics.is_empty());
        for valid in &parsed.egress {
            let EgressSpec::RoutingRule(asked) = &valid.document.spec else {
                panic!("{valid:?}");
            };
            let mark = asked.selector.fwmark.unwrap();
            prop_assert!(mark.mask != 0 && mark.value & !mark.mask == 0);
            let ports = asked.selector.dport.unwrap();
            prop_assert!(0 < ports.first && ports.first <= ports.last);
        }
    }
}
