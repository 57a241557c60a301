//! An explanation for people.

use std::fmt;

use super::view::{Explanation, HopView, LookupView, Origin, Owner, RouteView, RuleView};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.packet.text)?;
        self.rules.iter().try_for_each(|rule| rule.fmt(f))?;
        match self.rules_not_met {
            0 => {}
            1 => writeln!(f, "(1 more rule is not asked)")?,
            more => writeln!(f, "({more} more rules are not asked)")?,
        }
        write!(f, "\nresult: ")?;
        match (&self.result.route, &self.result.rule) {
            (Some(route), _) => writeln!(f, "{}: {route}", self.result.outcome)?,
            (None, Some(rule)) => writeln!(f, "{} by rule {rule}", self.result.outcome)?,
            (None, None) => writeln!(f, "no table has a route for it")?,
        }
        self.next_hops.iter().try_for_each(|hop| hop.fmt(f))?;
        let agrees = match self.kernel.agrees {
            true => "says the same",
            false => "DIFFERS",
        };
        writeln!(f, "kernel: {agrees}: {}", self.kernel.answer)?;
        if let Some(translation) = &self.translation {
            let rule = &translation.rule;
            match &translation.origin {
                Some(origin) => writeln!(f, "translated: {rule} ({origin})")?,
                None => writeln!(
                    f,
                    "translated: {rule} (no document that was read asks for it)"
                )?,
            }
        }
        for missing in &self.missing {
            let state = missing.state.map_or("not there yet", |state| state.name());
            let (route, origin, reason) = (&missing.route, &missing.origin, &missing.reason);
            writeln!(f, "asked for, {state}: {route} ({origin}): {reason}")?;
        }
        let mut remarks = self.remarks.iter();
        remarks.try_for_each(|remark| writeln!(f, "note: {remark}"))
    }
}

impl fmt::Display for RuleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.rule, self.owner)?;
        if let Some(because) = &self.because {
            writeln!(f, "    {}: {because}", self.matches)?;
        }
        match &self.lookup {
            Some(lookup) => lookup.fmt(f),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LookupView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        let [best, beaten @ ..] = &self.routes[..] else {
            return writeln!(f, "    table {table} has no route for it");
        };
        match (self.outcome, self.suppress_prefix_length) {
            ("throw", _) => writeln!(f, "    {best}: goes on with the next rule")?,
            (_, Some(length)) => writeln!(
                f,
                "    {best}: no longer than /{length}, so it is passed over"
            )?,
            _ => writeln!(f, "    {best}")?,
        }
        for route in beaten {
            writeln!(f, "      rather than {route}")?;
        }
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "      and {more} more"),
        }
    }
}

impl fmt::Display for RouteView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.route, self.owner)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.ours) {
            (Some(origin), _) => origin.fmt(f),
            (None, true) => write!(f, "{}, of no document that was read", self.protocol),
            (None, false) => f.write_str(&self.protocol),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.document, self.file, self.line)
    }
}

impl fmt::Display for HopView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.gateway {
            true => "gateway",
            false => "on the link:",
        };
        let chosen = match self.chosen {
            true => "->",
            false => "  ",
        };
        write!(
            f,
            "  {chosen} {what} {} dev {}",
            self.address, self.interface
        )?;
        if let Some(neighbour) = self.neighbour {
            write!(f, ", {neighbour}")?;
        }
        if let Some(health) = &self.health {
            write!(f, ", {health}")?;
        }
        writeln!(f)
    }
}
