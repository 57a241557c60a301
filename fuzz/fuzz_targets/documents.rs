//! Bytes as a file of documents: whatever they are, reading them ends, says what is wrong in
//! words that can be shown, and what comes out valid can be planned and reported.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use srsync::model::egress::{NatObserved, SysctlKey, SysctlValue};
use srsync::model::*;
use srsync::plan::{self, Inputs};
use srsync::report::{Detail, Kind, Pass, Report, Style};
use srsync::source;
use srsync::spec::{self, Context, Included, Problem};

/// What follows the last line like this is the file that `destinationsFrom` names, not document.
const INCLUDED: &str = "\n...\n";

/// More than any finding has to say, whatever is quoted in it.
const LONGEST: usize = 16 << 10;

fuzz_target!(|data: &[u8]| {
    let files = ["routes.yaml", "ranges.txt"].map(|name| FileName {
        path: name.into(),
        label: name.into(),
    });
    let text = match source::decode(data.to_vec()) {
        Ok(text) => text,
        Err(error) => {
            let problem = error.problem("the file");
            let unreadable = spec::Diagnostic::about_file(FileId(0), problem);
            assert!(is_plain(&spec::render(&unreadable, &files, false)));
            return;
        }
    };
    let (text, included) = text.rsplit_once(INCLUDED).unwrap_or((&text, ""));
    let names = names();
    let parsed = parse(text, included, &names);
    assert_eq!(parsed, parse(text, included, &names), "not deterministic");

    let mut valid = parsed.documents;
    let mut diagnostics = parsed.diagnostics;
    diagnostics.extend(spec::take_ambiguous(&mut valid));
    let (mut egress, mut checks) = (parsed.egress, parsed.checks);
    diagnostics.extend(spec::take_ambiguous(&mut egress));
    diagnostics.extend(spec::take_ambiguous(&mut checks));
    let egress: Vec<Egress> = egress.into_iter().map(|valid| valid.document).collect();
    let mut overrides = parsed.overrides;
    diagnostics.extend(spec::take_ambiguous_overrides(&mut overrides));
    for diagnostic in &diagnostics {
        assert!(!diagnostic.message.is_empty());
        for colour in [false, true] {
            let shown = spec::render(diagnostic, &files, colour);
            assert!(shown.len() < LONGEST, "{} bytes", shown.len());
            // The colours of the tool itself are escape sequences too.
            assert!(colour || is_plain(&shown), "{shown:?}");
        }
    }
    let mut documents: Vec<Document> = valid.into_iter().map(|valid| valid.document).collect();
    documents.sort_by(|a, b| a.id.cmp(&b.id));
    for document in &documents {
        // The smallest covering prefix comes right before what it covers: neighbours are enough.
        for pair in document.destinations.windows(2) {
            let (a, b) = (pair[0].prefix, pair[1].prefix);
            assert!(a < b && !a.covers(&b), "{a} and {b}");
        }
        assert!(!document.id.name.is_empty());
    }
    for policy in [Policy::default(), lenient()] {
        let inputs = Inputs {
            egress: &egress,
            documents: &documents,
            policy: &policy,
            labels: &Labels::new(),
            unknown_labels: None,
            names: &names,
            files: &files,
            steering: srsync::model::Steering::NONE,
            objects: None,
            incomplete: None,
        };
        for node in [Observed::default(), small_node()] {
            shown(&inputs, node);
        }
    }
});

fn parse(text: &str, included: &str, names: &Names) -> spec::Parsed {
    let mut include = |name: &str| match name.contains("missing") {
        true => Err(Problem::new("there is no such file", "cannot be read")),
        false => Ok(Included {
            file: FileId(1),
            text: included.to_owned(),
        }),
    };
    let context = Context {
        names,
        include: &mut include,
    };
    spec::parse(FileId(0), text, context)
}

/// Plans, and writes the plan in the way that looks at most of it.
fn shown(inputs: &Inputs<'_>, observed: Observed) {
    let pass = Pass {
        plan: plan::plan(inputs, &observed),
        links: observed.links.clone(),
        ..Pass::default()
    };
    assert_eq!(pass.plan.egress.documents.len(), inputs.egress.len());
    assert_eq!(pass.plan.documents.len(), inputs.documents.len());
    let report = Report {
        kind: Kind::Plan,
        node: "node-1",
        inputs,
        pass: &pass,
        tables: None,
        running: None,
        selection: None,
    };
    let style = Style {
        colour: false,
        detail: Detail::Wide,
    };
    let mut out = Vec::new();
    assert!(report.write_text(&mut out, style).is_ok());
    assert!(is_plain(&String::from_utf8_lossy(&out)));
}

/// A terminal obeys control characters: none may come from a document.
fn is_plain(text: &str) -> bool {
    !text.contains(|c: char| c.is_control() && c != '\n')
}

fn names() -> Names {
    let mut names = Names::default();
    names.add_tables("100 partners\n200 lab\n");
    names
}

fn lenient() -> Policy {
    Policy {
        allow_default_route: true,
        allow_catch_all_rules: true,
        allow_empty: true,
        foreign_routes: ForeignRoutes::Adopt,
        ..Policy::default()
    }
}

/// Two links with a subnet of each family, a route of ours that no document asks for, and settings as after boot.
fn small_node() -> Observed {
    let mut node = Observed::default();
    for (index, name, v4, v6) in [
        (2, "eth0", "192.168.1.10", "2001:db8:1::10"),
        (3, "eth1", "10.0.0.2", "2001:db8:2::10"),
    ] {
        let link = IfIndex::new(index);
        node.links.push(Link {
            index: link,
            name: name.to_owned(),
            up: true,
            carrier: true,
            loopback: false,
        });
        for (local, length) in [(v4, 24), (v6, 64)] {
            let (Ok(local), protocol) = (local.parse(), Protocol::KERNEL) else {
                unreachable!("`{local}` is a constant of this file")
            };
            node.addresses.push(Address {
                link,
                local,
                length,
                peer: None,
            });
            if let Some(subnet) = Prefix::containing(local, length) {
                node.routes.push(direct(subnet, link, protocol));
            }
        }
    }
    if let Ok(prefix) = "203.0.113.0/24".parse() {
        node.routes
            .push(direct(prefix, IfIndex::new(2), Protocol::SRSYNC));
    }
    node.egress.nat = NatObserved::Absent;
    for family in Family::BOTH {
        let mut keys = vec![SysctlKey::ForwardAll(family)];
        let names = node.links.iter();
        for name in names.filter_map(|link| InterfaceName::new(&link.name)) {
            keys.push(SysctlKey::Forward(family, name.clone()));
            keys.push(SysctlKey::RpFilter(name));
        }
        let values = keys
            .into_iter()
            .map(|key| (key, SysctlValue::switch(false)));
        node.egress.sysctls.values.extend(values);
    }
    node
}

fn direct(prefix: Prefix, link: IfIndex, protocol: Protocol) -> ObservedRoute {
    let attrs = RouteAttrs::unicast(vec![NextHop {
        via: None,
        link: Some(link),
        weight: Weight::ONE,
        on_link: false,
    }]);
    ObservedRoute {
        scope: attrs.scope(prefix.family()),
        route: Route {
            key: RouteKey::new(TableId::MAIN, prefix, Metric::ZERO),
            attrs: Arc::new(attrs),
        },
        protocol,
    }
}
