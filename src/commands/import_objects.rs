//! `srsync import --kube`: the objects of a cluster as files.

use anyhow::{Result, anyhow};
use serde_json::{Map, Value};

use super::client::block_on;
use super::import::{List, count};
use super::output::{stderr, stdout};
use super::session::Session;
use super::{Exit, documents};
use crate::cli::{Global, Output};
use crate::kube::{self, Collection, Found};
use crate::model::{Dialect, FileId, FileName, KubeSource};
use crate::spec::{self, Context, Diagnostic, Problem, Severity};

/// An object as it is written.
struct Written {
    file: Map<String, Value>,
    text: String,
    /// What is wrong with it.
    diagnostics: Vec<Diagnostic>,
}

pub(super) fn run(global: &Global, groups: &[Dialect]) -> Result<Exit> {
    let session = Session::start(global)?;
    let source = match groups {
        [] => KubeSource::Present,
        groups => KubeSource::Groups(groups.iter().copied().collect()),
    };
    let collections = Collection::of(&source);
    let found = block_on(async { Ok(kube::fetch(&collections, kube::from_environment).await) })?;
    let found = found.map_err(|why| anyhow!(why))?;
    let mut names = Vec::new();
    let mut written = Vec::new();
    for (collection, name, object) in &found.objects {
        let id = FileId(u32::try_from(names.len()).unwrap_or(u32::MAX));
        let name = format!("kube:{collection}/{name}");
        names.push(FileName {
            path: name.as_str().into(),
            label: name.as_str().into(),
        });
        written.push(write(id, kube::file(object, *collection), &session));
    }
    if global.output == Output::Json {
        let files: Vec<&Map<String, Value>> = written.iter().map(|one| &one.file).collect();
        session.form.data(&List::of(&files))?;
    } else {
        stdout(|out| {
            for one in &written {
                out.write_all(document(one).as_bytes())?;
            }
            Ok(())
        })?;
    }
    let all = written
        .iter()
        .flat_map(|one| one.diagnostics.iter().cloned());
    let all: Vec<Diagnostic> = all.collect();
    let colour = session.form.colour(&std::io::stderr());
    stderr(&documents::rendered(
        &all,
        &names,
        Severity::Warning,
        colour,
    ));
    stderr(&summary(&found, &written));
    Ok(Exit::Done)
}

/// What an object is as a file, and what is wrong with it.
fn write(id: FileId, file: Map<String, Value>, session: &Session) -> Written {
    let text = kube::file_text(&file);
    let mut include = |name: &str| {
        let message = format!("the destinations of `{name}` are in no object of a cluster");
        let problem = Problem::new(message, "there are no files beside it");
        Err(problem
            .help("put a file of that name beside this one, or write them into `destinations`"))
    };
    let context = Context {
        names: &session.names,
        include: &mut include,
    };
    let diagnostics = spec::parse(id, &text, context).diagnostics;
    Written {
        file,
        text,
        diagnostics,
    }
}

/// With the line that divides it from others, and what is wrong with it.
fn document(written: &Written) -> String {
    let errors = written.diagnostics.iter();
    let errors = errors.filter(|found| found.severity == Severity::Error);
    let comment = |error: &Diagnostic| {
        let message = error.message.replace(char::is_control, "\u{fffd}");
        format!("# Not valid: {message}\n")
    };
    let comments: String = errors.map(comment).collect();
    format!("---\n{comments}{}", written.text)
}

fn summary(found: &Found, written: &[Written]) -> String {
    let is_error = |found: &Diagnostic| found.severity == Severity::Error;
    let invalid = written.iter();
    let invalid = invalid.filter(|one| one.diagnostics.iter().any(is_error));
    let mut text = String::new();
    for going in &found.going {
        text += &format!("note: {going} is being deleted; left out\n");
    }
    for missing in &found.missing {
        text += &format!("note: the cluster has no {missing}\n");
    }
    text += &format!("note: wrote {}", count(written.len(), "document"));
    match invalid.count() {
        0 => {}
        1 => text += "; 1 of them is not valid",
        more => text += &format!("; {more} of them are not valid"),
    }
    text + "\n"
}
