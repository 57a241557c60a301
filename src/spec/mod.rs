//! Documents as people write them: text in, typed documents of each kind and findings out.
//!
//! Owns the three dialects, everything that can be said about a document without looking at
//! anything else, and the words in which it is said. A document that has an error comes out as
//! findings only; one mistake never hides another.
//!
//! Must not open a file (the caller gives `destinationsFrom` through [`Include`]), look at the
//! node, or decide whether a route may be installed: that is `plan`.

pub mod config;
pub mod connectivity;
pub mod destinations;
pub mod diagnostic;
pub mod digitalocean;
pub mod egress;
pub mod envelope;
mod fields;
mod findings;
pub mod forwarding;
pub mod gateway_override;
mod given;
pub mod health;
pub mod ibm;
mod lists;
pub mod masquerade;
pub mod native;
mod packets;
mod raw;
pub mod render;
pub mod routing_rule;
pub mod selector;
mod sources;
pub mod target;
mod values;
mod words;
pub mod yaml;

pub use diagnostic::{Diagnostic, Problem, Related, Severity, Span, Spot};
pub(crate) use gateway_override::other_gateways;
pub use gateway_override::{
    OverrideSpots, ValidOverride, idle_overrides, take_ambiguous_overrides,
};
pub use raw::spec_of;
pub use render::render;
pub(crate) use words::{did_you_mean, nearest};

use crate::model::{ConnectivityCheck, Document, DocumentId, Egress, FileId, Names, Place, Prefix};
use findings::Findings;

/// A file of `destinationsFrom`, read by the caller.
#[derive(Debug, Clone)]
pub struct Included {
    /// Its number among the files that were read.
    pub file: FileId,
    /// Its text.
    pub text: String,
}

/// Gives the file of this name, which is relative to the document's own file and stays inside
/// its directory; or says why it cannot.
pub type Include<'a> = dyn FnMut(&str) -> Result<Included, Problem> + 'a;

/// What a document may refer to.
pub struct Context<'a> {
    /// The names of tables.
    pub names: &'a Names,
    /// The files of `destinationsFrom`.
    pub include: &'a mut Include<'a>,
}

/// A document without errors, of any kind that is known by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid<T = Document> {
    /// The document.
    pub document: T,
    /// Where its name is written.
    pub name: Spot,
}

/// A document that no other one of its kind may share its name with.
pub trait Known: Clone {
    /// Its kind, as documents write it, and its name.
    fn identity(&self) -> (&'static str, &DocumentId);
    /// Where it begins.
    fn place(&self) -> Place;
}

impl Known for Document {
    fn identity(&self) -> (&'static str, &DocumentId) {
        ("StaticRoute", &self.id)
    }

    fn place(&self) -> Place {
        self.place
    }
}

impl Known for Egress {
    fn identity(&self) -> (&'static str, &DocumentId) {
        (self.kind().name(), &self.id)
    }

    fn place(&self) -> Place {
        self.place
    }
}

impl Known for ConnectivityCheck {
    fn identity(&self) -> (&'static str, &DocumentId) {
        ("ConnectivityCheck", &self.id)
    }

    fn place(&self) -> Place {
        self.place
    }
}

/// What a text turned out to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The documents without errors, in the order of the text.
    pub documents: Vec<Valid>,
    /// The gateway overrides without errors, in the order of the text.
    pub overrides: Vec<ValidOverride>,
    /// The documents about forwarding, translation and rules without errors, in the order of the text.
    pub egress: Vec<Valid<Egress>>,
    /// The connectivity checks without errors, in the order of the text.
    pub checks: Vec<Valid<ConnectivityCheck>>,
    /// All findings, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

/// The valid objects of a text.
#[derive(Debug, Default)]
struct Objects {
    documents: Vec<Valid>,
    overrides: Vec<ValidOverride>,
    egress: Vec<Valid<Egress>>,
    checks: Vec<Valid<ConnectivityCheck>>,
}

impl Objects {
    fn append(&mut self, other: Self) {
        self.documents.extend(other.documents);
        self.overrides.extend(other.overrides);
        self.egress.extend(other.egress);
        self.checks.extend(other.checks);
    }
}

/// What reading a text needs at every step.
struct Reader<'a, 't> {
    names: &'a Names,
    include: &'a mut Include<'a>,
    findings: Findings<'t>,
}

/// Reads all documents of a YAML or JSON text.
pub fn parse(file: FileId, text: &str, context: Context<'_>) -> Parsed {
    let text = destinations::without_bom(text);
    let mut reader = Reader {
        names: context.names,
        include: context.include,
        findings: Findings::new(file, text),
    };
    let mut objects = Objects::default();
    let mut trees = yaml::Documents::of(text);
    loop {
        let before = reader.findings.errors();
        let Some(tree) = trees.next(&mut reader.findings) else {
            break;
        };
        let well_formed = reader.findings.errors() == before;
        let mut read = Objects::default();
        envelope::read(&tree, &mut reader, &mut read);
        if well_formed {
            objects.append(read);
        }
    }
    Parsed {
        documents: objects.documents,
        overrides: objects.overrides,
        egress: objects.egress,
        checks: objects.checks,
        diagnostics: reader.findings.finish(),
    }
}

/// Why no document can have this destination, if so.
pub fn refused_destination(prefix: &Prefix) -> Option<String> {
    let refused = values::destination_in(&prefix.to_string()).err();
    refused.map(|problem| problem.message)
}

/// Sorts documents by kind and name and takes out those whose name is not theirs alone: which one
/// is meant, nobody can say.
pub fn take_ambiguous<T: Known>(documents: &mut Vec<Valid<T>>) -> Vec<Diagnostic> {
    // Stable: of two with one name, the first read stays first.
    documents.sort_by(|a, b| a.document.identity().cmp(&b.document.identity()));
    let same = |a: &Valid<T>, b: &Valid<T>| a.document.identity() == b.document.identity();
    let mut diagnostics = Vec::new();
    for namesakes in documents.chunk_by(same) {
        let [first, others @ ..] = namesakes else {
            continue;
        };
        for Valid { document, name } in others {
            let message = match document.identity() {
                ("StaticRoute", id) => format!("there are two documents named `{id}`"),
                (kind, id) => format!("there are two documents of kind {kind} named `{id}`"),
            };
            let problem = Problem::new(message, "the name is taken")
                .related(first.name.clone(), "first used here")
                .help("give each document a name of its own");
            diagnostics.push(Diagnostic::at(Severity::Error, name.clone(), problem));
        }
    }
    if !diagnostics.is_empty() {
        let unique = documents.chunk_by(same);
        let unique = unique.filter(|namesakes| namesakes.len() == 1);
        *documents = unique.flatten().cloned().collect();
    }
    diagnostics
}
