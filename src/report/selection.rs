//! Which rows of a report are listed, for those who look for something in many.

use super::{Report, RowView};
use crate::model::{Document, State};

/// Picks rows. The summary of a report still counts all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// No more than these.
    pub limit: Option<usize>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Only those with this text in their prefix, document, file or gateway.
    pub text: Option<String>,
}

impl Selection {
    fn picks(&self, report: &Report<'_>, view: &RowView<'_>) -> bool {
        let state = self.state.is_none_or(|state| view.state == Some(state));
        let text = self.text.as_deref();
        state && text.is_none_or(|text| mentions(report, view, text))
    }
}

/// Whether the row has the text in anything that a person would look for it by.
fn mentions(report: &Report<'_>, view: &RowView<'_>, text: &str) -> bool {
    let hops = view.attrs.map_or(&[][..], |attrs| attrs.hops());
    let mut vias = hops.iter().filter_map(|hop| hop.via);
    if view.row.key.prefix.to_string().contains(text) || vias.any(|via| is_in(via, text)) {
        return true;
    }
    let Some(claim) = view.row.claim else {
        return false;
    };
    let file = report.inputs.files.get(claim.place.file.0 as usize);
    let document = report.inputs.documents.get(claim.document as usize);
    file.is_some_and(|file| file.path.contains(text))
        || document
            .is_some_and(|document| document.id.to_string().contains(text) || wants(document, text))
}

/// Whether a document asks for such a gateway; a route that is not installed has no other.
fn wants(document: &Document, text: &str) -> bool {
    let mut gateways = document.gateways().iter();
    gateways.any(|gateway| is_in(gateway.address, text))
}

fn is_in(address: std::net::IpAddr, text: &str) -> bool {
    address.to_string().contains(text)
}

impl<'a> Report<'a> {
    /// The rows that are listed, in the order of slots: all of them unless there is a selection.
    pub fn selected_rows(&self) -> impl Iterator<Item = RowView<'a>> {
        let limit = self.selection.and_then(|selection| selection.limit);
        self.matching_rows().take(limit.unwrap_or(usize::MAX))
    }

    /// How many rows would be listed if there were no limit; `None` without a selection.
    pub fn selected_count(&self) -> Option<usize> {
        self.selection.map(|_| self.matching_rows().count())
    }

    fn matching_rows(&self) -> impl Iterator<Item = RowView<'a>> {
        let report = *self;
        self.rows().filter(move |view| {
            let selection = report.selection;
            selection.is_none_or(|selection| selection.picks(&report, view))
        })
    }
}
