//! Routes that a kernel has already → documents that ask for just these, for people who come from
//! scripts of `ip route add`. Pure.
//!
//! Owns which of them can be said in documents, how a person would group and name those, and why others
//! are left out. What is written is read back and planned before it is handed out: with
//! `foreignRoutes: adopt` each route is taken over as it is, and whatever else would happen to it is a
//! reason to leave it out. Must not judge by rules of its own what `spec` and `plan` judge already.

mod left_out;
mod manifest;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Family, FileId, FileName, ForeignRoutes, Labels, Names, Observed, ObservedRoute, Policy,
    Prefix, Protocol, RouteKey, Steering, TableId,
};
use crate::plan::{self, Inputs, ReasonCode, Verdict};
use crate::spec::{self, Context, Parsed, Problem, Severity};

pub use left_out::{LeftOut, Why};
pub use manifest::Manifest;
use way::{Surroundings, Way};

/// Which routes are meant. Those of the table `local` never are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Whose.
    pub protocols: BTreeSet<Protocol>,
    /// Of which tables; `None` for every one.
    pub tables: Option<BTreeSet<TableId>>,
}

impl Selection {
    /// What scripts and people make: `ip route add` says `boot` unless it is told, and many tell it
    /// `static` (`RTPROT_BOOT`, `RTPROT_STATIC`, linux/rtnetlink.h).
    pub const SCRIPTS: [Protocol; 2] = [Protocol::new(3), Protocol::new(4)];

    fn contains(&self, route: &ObservedRoute) -> bool {
        let table = route.route.key.table;
        let tables = self.tables.as_ref();
        self.protocols.contains(&route.protocol)
            && table != TableId::LOCAL
            && tables.is_none_or(|tables| tables.contains(&table))
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            protocols: Self::SCRIPTS.into(),
            tables: Some(BTreeSet::from([TableId::MAIN])),
        }
    }
}

/// The node that the routes are of, and how it is set.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// How it is called.
    pub name: &'a str,
    /// How its tables and protocols are called.
    pub names: &'a Names,
    /// What may be done there. Default routes and adoption are taken to be allowed.
    pub policy: &'a Policy,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The documents, in the order in which they are written.
    pub documents: Vec<Manifest>,
    /// What is in none of them, by slot.
    pub left_out: Vec<LeftOut>,
    /// What stands before the documents: where they come from, and what to do with them.
    heading: Vec<String>,
}

impl Imported {
    /// How many routes the documents ask for.
    pub fn routes(&self) -> usize {
        let counts = self.documents.iter().map(|one| one.destinations().len());
        counts.sum()
    }

    /// Says of each route that is in no document why; of many of one kind it counts most.
    pub fn complaints(&self, names: &Names) -> Vec<String> {
        left_out::lines(&self.left_out, names)
    }

    /// The documents as YAML with comments; nothing where there are none.
    pub fn text(&self) -> String {
        if self.documents.is_empty() {
            return String::new();
        }
        let heading: String = self.heading.iter().map(|line| comment(line)).collect();
        heading + &text_of(&self.documents)
    }
}

/// A line that is nothing but a comment, whatever a name in it holds.
fn comment(line: &str) -> String {
    let clean: String = line.chars().filter(|c| !c.is_control()).collect();
    format!("# {}\n", clean.trim_end())
}

fn text_of(documents: &[Manifest]) -> String {
    documents.iter().map(Manifest::text).collect()
}

/// Writes the selected routes as documents.
pub fn import(observed: &Observed, selection: &Selection, node: &Node<'_>) -> Imported {
    let mut importer = Importer {
        observed,
        names: node.names,
        policy: Policy {
            foreign_routes: ForeignRoutes::Adopt,
            allow_default_route: true,
            ..node.policy.clone()
        },
        ways: BTreeMap::new(),
        left_out: Vec::new(),
    };
    importer.select(selection);
    let mut documents = importer.verified();
    importer.mark_default_routes(&mut documents);
    let mut left_out = importer.left_out;
    left_out.sort_by_key(|one| one.key);
    // Those that share a slot need not be named twice.
    left_out.dedup();
    let others_of_ours = observed
        .routes
        .iter()
        .any(|route| route.protocol == node.policy.protocol && !selection.contains(route));
    Imported {
        heading: heading(selection, node, &documents, others_of_ours),
        documents,
        left_out,
    }
}

fn heading(
    selection: &Selection,
    node: &Node<'_>,
    documents: &[Manifest],
    others_of_ours: bool,
) -> Vec<String> {
    let names = node.names;
    let protocols = selection.protocols.iter();
    let protocols: Vec<String> = protocols.map(|one| names.protocol(*one)).collect();
    let tables = match &selection.tables {
        None => "every table".to_owned(),
        Some(tables) => {
            let tables: Vec<String> = tables.iter().map(|table| names.table(*table)).collect();
            format!("table {}", tables.join(", "))
        }
    };
    let flags = match documents.iter().any(Manifest::is_default) {
        true => "--foreign-routes adopt --allow-default-route",
        false => "--foreign-routes adopt",
    };
    let mut lines = vec![
        format!(
            "Routes of {}, as `srsync import --routes` found them in the kernel:",
            node.name
        ),
        format!("protocol {}; {tables}.", protocols.join(", ")),
        "Save this as routes.yaml: the first shows that only their owner changes, the second does it."
            .to_owned(),
        format!("  srsync plan {flags} routes.yaml"),
        format!("  sudo srsync apply {flags} routes.yaml"),
    ];
    if others_of_ours {
        lines.push(
            "srsync owns routes here already: give it their documents as well, or they go."
                .to_owned(),
        );
    }
    lines
}

struct Importer<'a> {
    observed: &'a Observed,
    names: &'a Names,
    policy: Policy,
    /// What goes where.
    ways: BTreeMap<Way, BTreeSet<Prefix>>,
    left_out: Vec<LeftOut>,
}

impl Importer<'_> {
    /// Sorts the selected routes by where they go.
    fn select(&mut self, selection: &Selection) {
        let routes = &self.observed.routes;
        let mut slots: BTreeMap<RouteKey, usize> = BTreeMap::new();
        for route in routes {
            *slots.entry(route.route.key).or_default() += 1;
        }
        let links = |inputs: &Inputs<'_>| {
            let surroundings = Surroundings {
                node: self.observed,
                usual_table: self.policy.table,
                link_towards: &plan::link_towards(inputs, self.observed),
            };
            let mut ways: BTreeMap<(Way, Family), BTreeSet<Prefix>> = BTreeMap::new();
            let mut left_out = Vec::new();
            for route in routes.iter().filter(|route| selection.contains(route)) {
                let key = route.route.key;
                let way = match slots.get(&key) {
                    Some(1) => Way::of(route, &surroundings),
                    _ => Err(Why::SharedSlot),
                };
                match way {
                    Ok(way) => {
                        let family = (way, key.prefix.family());
                        ways.entry(family).or_default().insert(key.prefix);
                    }
                    Err(why) => left_out.push(LeftOut { key, why }),
                }
            }
            (ways, left_out)
        };
        let (ways, left_out) = self.with_inputs(&[], &self.policy, links);
        self.left_out = left_out;
        for ((way, _), prefixes) in ways {
            let example = prefixes.first().copied();
            match example.and_then(|example| self.problem(&way, example)) {
                None => self.ways.entry(way).or_default().extend(prefixes),
                Some(message) => {
                    let why = Why::NoDocument(message);
                    let left_out = prefixes
                        .iter()
                        .map(|prefix| way.left_out(*prefix, why.clone()));
                    self.left_out.extend(left_out);
                }
            }
        }
    }

    /// Why no document can say this way for destinations such as this one, if so.
    fn problem(&self, way: &Way, example: Prefix) -> Option<String> {
        let text = Manifest::new("example".to_owned(), way, vec![example]).text();
        let mut findings = self.parsed(&text).diagnostics.into_iter();
        let error = findings.find(|finding| finding.severity == Severity::Error);
        error.map(|error| error.message)
    }

    fn parsed(&self, text: &str) -> Parsed {
        let mut include = |_: &str| Err(Problem::new("no other file is read", "not here"));
        let context = Context {
            names: self.names,
            include: &mut include,
        };
        spec::parse(FileId(0), text, context)
    }

    /// Documents of which every route is taken over as it is. Each round but the last leaves out a
    /// route, or says its links.
    fn verified(&mut self) -> Vec<Manifest> {
        loop {
            let documents = manifest::documents(&self.ways);
            let policy = &self.policy;
            let refused = self.planned(&documents, policy, |verdict| match verdict {
                Verdict::Keep(_) | Verdict::Adopt { .. } => None,
                Verdict::Blocked(blocked) if blocked.reason.code != ReasonCode::OtherOwner => {
                    Some(Why::Blocked(blocked.reason.clone()))
                }
                _ => Some(Why::Different),
            });
            let ways: BTreeMap<&str, &Way> = documents
                .iter()
                .map(|document| (document.name(), document.way()))
                .collect();
            let mut is_done = true;
            for (name, prefix, why) in refused {
                let Some(way) = ways.get(name.as_str()) else {
                    continue;
                };
                if let Some(prefixes) = self.ways.get_mut(*way) {
                    is_done &= !prefixes.remove(&prefix);
                }
                // Connected routes that the documents ask for can lead elsewhere than those that are
                // there without them.
                match way.with_links() {
                    Some(way) => drop(self.ways.entry(way).or_default().insert(prefix)),
                    None => self.left_out.push(way.left_out(prefix, why)),
                }
            }
            if is_done {
                return documents;
            }
        }
    }

    /// Says in the documents that make a default route what that takes.
    fn mark_default_routes(&self, documents: &mut [Manifest]) {
        let policy = Policy {
            allow_default_route: false,
            ..self.policy.clone()
        };
        let refused = self.planned(documents, &policy, |verdict| match verdict {
            Verdict::Blocked(blocked) if blocked.reason.code == ReasonCode::DefaultRoute => {
                Some(())
            }
            _ => None,
        });
        let refused: BTreeSet<String> = refused.into_iter().map(|(name, ..)| name).collect();
        for document in documents {
            if refused.contains(document.name()) {
                document.mark_default();
            }
        }
    }

    /// Reads the documents back and plans them; what `of_interest` finds in verdicts, with the
    /// document and the destination that it is about.
    fn planned<T>(
        &self,
        documents: &[Manifest],
        policy: &Policy,
        of_interest: impl Fn(&Verdict) -> Option<T>,
    ) -> Vec<(String, Prefix, T)> {
        let mut valid = self.parsed(&text_of(documents)).documents;
        spec::take_ambiguous(&mut valid);
        let read: Vec<_> = valid.into_iter().map(|valid| valid.document).collect();
        let plan = self.with_inputs(&read, policy, |inputs| plan::plan(inputs, self.observed));
        let found = plan.rows.iter().filter_map(|row| {
            let document = read.get(row.claim?.document as usize)?;
            let found = of_interest(&row.verdict)?;
            Some((document.id.name.clone(), row.key.prefix, found))
        });
        found.collect()
    }

    fn with_inputs<T>(
        &self,
        documents: &[crate::model::Document],
        policy: &Policy,
        run: impl FnOnce(&Inputs<'_>) -> T,
    ) -> T {
        let file = FileName {
            path: "routes.yaml".into(),
            label: "routes.yaml".into(),
        };
        run(&Inputs {
            egress: &[],
            documents,
            policy,
            labels: &Labels::new(),
            unknown_labels: None,
            names: self.names,
            files: &[file],
            steering: Steering::NONE,
            objects: None,
            incomplete: None,
        })
    }
}
