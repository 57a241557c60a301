//! Which objects of the cluster are read like files.

use std::collections::BTreeSet;

use super::document::Dialect;

/// Which objects of the cluster are a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KubeSource {
    /// None.
    #[default]
    Off,
    /// Those of every group that the cluster has.
    Present,
    /// Those of these groups, which the cluster must have.
    Groups(BTreeSet<Dialect>),
}
