//! Which gateways may carry traffic: what watching them has come to, for whoever plans.

use std::collections::BTreeMap;

use super::document::DocumentId;
use super::prefix::Family;

/// For documents whose gateways are watched, which of them may be used. About any other document
/// there is nothing: each of its gateways may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steering(BTreeMap<DocumentId, BTreeMap<Family, Steer>>);

/// The gateways of one family of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steer {
    /// Those that may be used, by their place in the document's list, preferred first.
    pub candidates: Vec<usize>,
    /// Others that work, for the moment in which a link takes the candidates along: the first of
    /// these on another link takes over before anybody has decided anything.
    pub standby: Vec<Standby>,
    /// Why others may not be used, by their place.
    pub down: BTreeMap<usize, String>,
}

/// A gateway that stands by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standby {
    /// Its place in the document's list.
    pub place: usize,
    /// It is known to work; otherwise nothing is known of it yet, and it stays as it is: a restart
    /// changes nothing.
    pub proven: bool,
}

impl Steering {
    /// Nothing is watched.
    pub const NONE: &'static Self = &Self(BTreeMap::new());

    /// Says which gateways of a document may be used.
    pub fn set(&mut self, document: DocumentId, family: Family, steer: Steer) {
        self.0.entry(document).or_default().insert(family, steer);
    }

    /// Which gateways of a document may be used; `None` where nobody watches them.
    pub fn of(&self, document: &DocumentId, family: Family) -> Option<&Steer> {
        self.0.get(document)?.get(&family)
    }
}
