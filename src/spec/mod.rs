//! Documents as people write them: text in, typed [`Document`]s, gateway overrides and findings out.
//!
//! Owns the three dialects, everything that can be said about a document without looking at
//! anything else, and the words in which it is said. A document that has an error comes out as
//! findings only; one mistake never hides another.
//!
//! Must not open a file (the caller gives `destinationsFrom` through [`Include`]), look at the
//! node, or decide whether a route may be installed: that is `plan`.

pub mod config;
pub mod destinations;
pub mod diagnostic;
pub mod digitalocean;
pub mod envelope;
mod fields;
mod findings;
pub mod gateway_override;
mod given;
pub mod health;
pub mod ibm;
pub mod native;
mod raw;
pub mod render;
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

use crate::model::{Document, FileId, Names, Prefix};
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

/// A document without errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// The document.
    pub document: Document,
    /// Where its name is written.
    pub name: Spot,
}

/// What a text turned out to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The documents without errors, in the order of the text.
    pub documents: Vec<Valid>,
    /// The gateway overrides without errors, in the order of the text.
    pub overrides: Vec<ValidOverride>,
    /// All findings, in reading order.
    pub diagnostics: Vec<Diagnostic>,
}

/// The valid objects of a text.
#[derive(Debug, Default)]
struct Objects {
    documents: Vec<Valid>,
    overrides: Vec<ValidOverride>,
}

impl Objects {
    fn append(&mut self, other: Self) {
        self.documents.extend(other.documents);
        self.overrides.extend(other.overrides);
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
        diagnostics: reader.findings.finish(),
    }
}

/// Why no document can have this destination, if so.
pub fn refused_destination(prefix: &Prefix) -> Option<String> {
    let refused = values::destination_in(&prefix.to_string()).err();
    refused.map(|problem| problem.message)
}

/// Sorts documents by identity and takes out those whose identity is not theirs alone: which one
/// is meant, nobody can say.
pub fn take_ambiguous(documents: &mut Vec<Valid>) -> Vec<Diagnostic> {
    // Stable: of two with one name, the first read stays first.
    documents.sort_by(|a, b| a.document.id.cmp(&b.document.id));
    let mut diagnostics = Vec::new();
    for namesakes in documents.chunk_by(|a, b| a.document.id == b.document.id) {
        let [first, others @ ..] = namesakes else {
            continue;
        };
        for Valid { document, name } in others {
            let message = format!("there are two documents named `{}`", document.id);
            let problem = Problem::new(message, "the name is taken")
                .related(first.name.clone(), "first used here")
                .help("give each document a name of its own");
            diagnostics.push(Diagnostic::at(Severity::Error, name.clone(), problem));
        }
    }
    if !diagnostics.is_empty() {
        let unique = documents.chunk_by(|a, b| a.document.id == b.document.id);
        let unique = unique.filter(|namesakes| namesakes.len() == 1);
        *documents = unique.flatten().cloned().collect();
    }
    diagnostics
}
