//! What was drained by hand: somebody's maintenance does not end because the daemon is upgraded or killed.
//!
//! Must not decide what a drain means: that is `overrides`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::model::Timestamp;

/// A gateway that was drained by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drain {
    /// The gateway.
    pub(super) gateway: IpAddr,
    /// The user who drained it.
    pub(super) uid: u32,
    /// When he did.
    pub(super) since: Timestamp,
    /// When it ends by itself.
    pub(super) until: Option<Timestamp>,
}

/// All drains by gateway.
pub(super) type Drains = BTreeMap<IpAddr, Drain>;

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    drains: Vec<Drain>,
}

/// What was kept.
///
/// # Errors
/// If there is something that cannot be used: text that says what is lost.
pub(super) fn load(store: &Store) -> Result<Drains, String> {
    let saved: Saved = store.load().map_err(|why| {
        format!(
            "which gateways were drained by hand is lost: {why}; drain them again (`srsync gateway drain`)"
        )
    })?;
    let drains = saved.drains.into_iter();
    Ok(drains.map(|drain| (drain.gateway, drain)).collect())
}

/// Keeps these and no others.
///
/// # Errors
/// As those of [`Store::save`].
pub(super) fn save(store: &Store, drains: &Drains) -> Result<(), String> {
    store.save(&Saved {
        drains: drains.values().copied().collect(),
    })
}
