//! Counters by the words of their kinds, for whoever shows them.
//!
//! Every word that is known is there, also where nothing was counted yet: who computes a rate then
//! sees the first occurrence, and who writes an alert sees which words there are.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, Counters, Trigger};
use crate::plan::ReasonCode;

/// All that change a route.
const CHANGES: [Action; 4] = [Action::Add, Action::Replace, Action::Adopt, Action::Remove];

/// All that keep a single route from being installed. (Node selectors keep whole documents away,
/// the guards against mass removal hold back what nobody asks for.)
const FAILURES: [ReasonCode; 17] = [
    ReasonCode::OtherDocument,
    ReasonCode::OtherOwner,
    ReasonCode::ProtectedSubnet,
    ReasonCode::DefaultRoute,
    ReasonCode::SelfCapture,
    ReasonCode::NoInterface,
    ReasonCode::LinkDown,
    ReasonCode::GatewayNotConnected,
    ReasonCode::GatewayIsLocal,
    ReasonCode::AllGatewaysDown,
    ReasonCode::GatewayDown,
    ReasonCode::LookupUnreachable,
    ReasonCode::NoSourceAddress,
    ReasonCode::Kernel,
    ReasonCode::NotThere,
    ReasonCode::LabelsUnknown,
    ReasonCode::Contested,
];

impl Counters {
    /// Passes by what made them happen.
    pub fn passes_by_trigger(&self) -> BTreeMap<String, u64> {
        by_word(&Trigger::ALL, &self.passes)
    }

    /// Routes changed, by what was done.
    pub fn changes_by_action(&self) -> BTreeMap<String, u64> {
        by_word(&CHANGES, &self.changes)
    }

    /// Routes that could not be installed, by reason.
    pub fn failures_by_reason(&self) -> BTreeMap<String, u64> {
        by_word(&FAILURES, &self.failures)
    }
}

/// The words are those of JSON.
fn by_word<K: Serialize>(known: &[K], counted: &BTreeMap<K, u64>) -> BTreeMap<String, u64> {
    let word = |kind: &K| match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(), // each of these kinds is a word
    };
    let mut counts: BTreeMap<String, u64> = known.iter().map(|kind| (word(kind), 0)).collect();
    counts.extend(counted.iter().map(|(kind, count)| (word(kind), *count)));
    counts
}
