//! `srsync import --kube` of a build that cannot talk to Kubernetes.

use anyhow::Result;

use super::{Exit, UsageError};
use crate::cli::Global;
use crate::model::Dialect;

pub(super) fn run(_: &Global, _: &[Dialect]) -> Result<Exit> {
    let message = "this build of srsync cannot talk to Kubernetes, so `--kube` is refused; use the container image, \
                   or build with `cargo build --features kube`";
    Err(UsageError(message.to_owned()).into())
}
