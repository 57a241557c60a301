//! What is wanted × what is there → what to do. Pure: no clock, no files, no netlink.
//!
//! Owns every decision about a route: which document wins a slot, what a guard refuses, which next
//! hop a gateway resolves to, and whether a slot is added, replaced, kept, removed or left alone.
//! Total: any documents with any observation give a [`Plan`], in which every route that is wanted
//! or ours has exactly one [`Verdict`]. Nothing foreign is ever in a verdict that changes it,
//! except an adoption, which changes only its owner.
//!
//! The steps, one file each: documents become claims on slots (`claims`), next hops are resolved
//! on this node (`node`, `resolve`), watched gateways get nexthop objects (`objects`), guards look at both (`guards`), and the claims are compared with
//! the kernel's routes (`diff`).

mod claims;
mod diff;
pub mod egress;
mod guards;
mod node;
pub mod objects;
mod resolve;

pub mod reason;

use std::cell::LazyCell;
use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use egress::EgressPlan;
use node::Node;
pub use objects::Objects;
pub use reason::{Reason, ReasonCode};
pub use resolve::Reach;

pub use claims::{Choice, choose};

use crate::model::document::Gateways;
use crate::model::{
    Document, Egress, FileName, IfIndex, Labels, Names, NextHopKind, Observed, ObservedRoute,
    Place, Policy, Protocol, RouteAttrs, RouteKey, State, Steering, TableId, Target,
};

/// Everything a plan is made from, except what the kernel has.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Valid, sorted by [`Document::id`].
    pub documents: &'a [Document],
    /// Documents of other kinds: valid, sorted by kind and name.
    pub egress: &'a [Egress],
    /// What may be done.
    pub policy: &'a Policy,
    /// This node's labels.
    pub labels: &'a Labels,
    /// Why the node may have more labels than these: then selectors that ask for others decide nothing.
    pub unknown_labels: Option<&'a str>,
    /// For messages: how tables and protocols are called.
    pub names: &'a Names,
    /// For messages: how files are called, by `FileId`.
    pub files: &'a [FileName],
    /// Which gateways may be used, where they are watched.
    pub steering: &'a Steering,
    /// The nexthop objects that this kernel refuses, if routes to watched gateways are to go by
    /// such objects at all: with somebody there who repairs what a lost carrier takes along.
    pub objects: Option<&'a HashSet<NextHopKind>>,
    /// Why the documents may not be all that is wanted: then nothing is removed.
    pub incomplete: Option<&'a str>,
}

/// A route's document, and the line that asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Index into [`Inputs::documents`].
    pub document: u32,
    /// The line of the destination.
    pub place: Place,
}

/// What happens to one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There, and as wanted.
    Keep(Arc<RouteAttrs>),
    /// The slot is free.
    Add(Arc<RouteAttrs>),
    /// Ours, but different.
    Replace {
        /// What is there.
        from: Arc<RouteAttrs>,
        /// What will be.
        to: Arc<RouteAttrs>,
    },
    /// Somebody else's, identical but for its owner, and `foreignRoutes: adopt` is set.
    Adopt {
        /// What is there and stays.
        attrs: Arc<RouteAttrs>,
        /// Whose it was.
        from: Protocol,
    },
    /// Ours, and no document asks for it.
    Remove(Arc<RouteAttrs>),
    /// Wanted, but it cannot or must not be.
    Blocked(Box<Blocked>),
    /// Ours, and the document says that it goes for as long as all gateways are down.
    Withdraw {
        /// What is there.
        attrs: Arc<RouteAttrs>,
        /// What it is once it is gone.
        blocked: Box<Blocked>,
    },
}

/// Why a wanted route is not being installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The state that this is.
    pub state: State,
    /// Why, and what to do.
    pub reason: Arc<Reason>,
    /// What is in the slot and stays there: somebody else's route, or one of ours, because what a
    /// document claims is never removed.
    pub occupant: Option<Arc<RouteAttrs>>,
}

/// One route and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The slot.
    pub key: RouteKey,
    /// Who asks for it; `None` for a removal.
    pub claim: Option<Claim>,
    /// What happens.
    pub verdict: Verdict,
    /// Something a person should know although the route is in place.
    pub warning: Option<Box<str>>,
}

/// Whether routes that nobody asks for any more may go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Removals {
    /// They may.
    #[default]
    Allowed,
    /// A guard holds all of them back.
    Withheld(Reason),
}

/// What a document comes to on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentVerdict {
    /// Why it is not for this node, if it is not.
    pub not_selected: Option<Reason>,
    /// What a person should know: from parsing and from resolving its gateways.
    pub notes: Vec<String>,
}

/// The whole difference, in the order of slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One row for every route that is wanted or ours.
    pub rows: Vec<Row>,
    /// Whether the removals among them are carried out.
    pub removals: Removals,
    /// For each of [`Inputs::documents`].
    pub documents: Vec<DocumentVerdict>,
    /// How many routes of our protocol the kernel had.
    pub owned: usize,
    /// The nexthop objects that routes refer to.
    pub objects: Objects,
    /// Everything but routes.
    pub egress: EgressPlan,
}

impl Plan {
    /// Whether carrying it out would change nothing.
    pub fn is_empty(&self) -> bool {
        self.objects.are_settled()
            && self.egress.is_settled(self.removals == Removals::Allowed)
            && !self.rows.iter().any(|row| self.changes(row))
    }

    /// Whether carrying out the plan changes this row's route.
    pub fn changes(&self, row: &Row) -> bool {
        match row.verdict {
            Verdict::Add(_)
            | Verdict::Replace { .. }
            | Verdict::Adopt { .. }
            | Verdict::Withdraw { .. } => true,
            Verdict::Remove(_) => self.removals == Removals::Allowed,
            Verdict::Keep(_) | Verdict::Blocked(_) => false,
        }
    }
}

/// Which tables and which `gatewayLookup` addresses must be observed for these documents.
pub fn interest(inputs: &Inputs<'_>) -> (BTreeSet<TableId>, BTreeSet<IpAddr>) {
    // The main table always: gateways are resolved on its connected routes.
    let mut tables = BTreeSet::from([TableId::MAIN, inputs.policy.table]);
    let mut lookups = BTreeSet::new();
    for document in inputs.documents {
        tables.extend(document.table);
        match document.target {
            Target::Lookup(address) => lookups.insert(address),
            Target::ConfiguredLookup => lookups.insert(inputs.policy.gateway_lookup),
            _ => false,
        };
    }
    tables.extend(egress::tables(inputs));
    (tables, lookups)
}

/// Whether a plan for these documents makes nexthop objects, if the kernel has them.
pub fn wants_objects(inputs: &Inputs<'_>) -> bool {
    let is_watched = |document: &Document| document.choice().is_some_and(Gateways::are_watched);
    inputs.objects.is_some() && inputs.documents.iter().any(is_watched)
}

/// Every route of ours as it is, for those who ask without documents.
pub fn inventory(observed: &Observed, protocol: Protocol) -> Plan {
    let ours = observed.routes.iter().filter(|r| r.protocol == protocol);
    let row = |route: &ObservedRoute| Row {
        key: route.route.key,
        claim: None,
        verdict: Verdict::Keep(route.route.attrs.clone()),
        warning: None,
    };
    let mut rows: Vec<Row> = ours.map(row).collect();
    rows.sort_by_key(|row| row.key);
    Plan {
        owned: rows.len(),
        rows,
        removals: Removals::Allowed,
        documents: Vec::new(),
        objects: Objects::default(),
        egress: egress::inventory(observed, protocol),
    }
}

/// How this node could use each gateway of the documents that are for it and that `of_interest`
/// names.
pub fn reach(
    inputs: &Inputs<'_>,
    observed: &Observed,
    of_interest: impl Fn(&Document) -> bool,
) -> Vec<Reach> {
    let selected = claims::select(inputs);
    let claims = LazyCell::new(|| claims::claims(inputs, &selected));
    let node = Node::new(inputs, || claims.as_slice(), observed);
    resolve::reach(&node, &selected, of_interest)
}

/// Finds the link that routes of a table take to a gateway of which no interface is said, as the node
/// is without any documents.
pub fn link_towards<'a>(
    inputs: &'a Inputs<'a>,
    observed: &'a Observed,
) -> impl Fn(IpAddr, TableId) -> Option<IfIndex> + 'a {
    let node = Node::new(inputs, || &[], observed);
    move |gateway, table| {
        node.connected_to(gateway, None, table)
            .map(|(link, _)| link)
    }
}

/// Compares what is wanted with what is there.
pub fn plan(inputs: &Inputs<'_>, observed: &Observed) -> Plan {
    let selected = claims::select(inputs);
    let claims = claims::claims(inputs, &selected);
    let node = Node::new(inputs, || claims.as_slice(), observed);
    let mut resolved = resolve::resolve(&node, &selected);
    let mut there: Vec<&ObservedRoute> = observed.routes.iter().collect();
    // Stable: the order of routes in one slot is the kernel's, whose first is what REPLACE hits.
    there.sort_by_key(|route| route.route.key);
    let objects = objects::objects(inputs, &selected, &mut resolved, &there, observed);
    let defaults = guards::default_routes(inputs, &selected);
    let judge = guards::Judge {
        inputs,
        resolved: &resolved,
        defaults: &defaults,
    };
    let (rows, owned) = diff::diff(&judge, &claims, &there);
    let slots: Vec<RouteKey> = match inputs.egress {
        [] => Vec::new(),
        _ => claims.iter().map(|claim| claim.key).collect(),
    };
    let egress = egress::plan(inputs, observed, &slots);
    let undecided = selected.iter().find_map(Choice::undecided).cloned();
    let undecided = undecided.or_else(|| egress::undecided(inputs));
    let missing = inputs
        .incomplete
        .or(undecided.as_deref().map(|reason| &*reason.message));
    let removals = guards::removals(inputs, missing, (&rows, &egress), owned);
    let documents = selected
        .into_iter()
        .zip(resolved)
        .zip(inputs.documents)
        .map(|((selected, resolved), document)| DocumentVerdict {
            not_selected: match selected {
                Choice::No(reason) => Some(reason),
                Choice::Yes | Choice::Perhaps(_) => None,
            },
            notes: [document.notes.clone(), resolved.notes].concat(),
        })
        .collect();
    Plan {
        rows,
        removals,
        documents,
        owned,
        objects,
        egress,
    }
}
