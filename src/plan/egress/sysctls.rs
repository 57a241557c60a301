//! Settings below `/proc/sys/net` that documents ask for.

use crate::model::egress::Sysctls;
use crate::plan::claims::Choice;

use super::{EgressPlan, Inputs};

pub(super) fn plan(_: &Inputs<'_>, _: &[Choice], _: &Sysctls, _: &mut EgressPlan) {}
