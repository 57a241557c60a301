//! Golden cases: each folder of `tests/cases/<kind>/` holds an input and what must come of it.
//!
//! `SRSYNC_BLESS=1 cargo test --test golden` writes the expectations anew: read the difference
//! as a user would before committing it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads files that it wrote itself"
)]

mod changes;
mod dump;
mod gateways;
mod imports;
#[path = "../support/gateways.rs"]
mod life;
mod plans;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use srsync::model::Names;
use srsync::source::{Loaded, PathArg, load};
use srsync::spec::render;

#[test]
fn documents() {
    check("documents", "expected.yaml", |case| {
        let loaded = loaded(case);
        let errors = rendered(&loaded);
        assert!(loaded.is_complete(), "{}:\n{errors}", case.display());
        dump::documents(&loaded)
    });
}

#[test]
fn diagnostics() {
    check("diagnostics", "expected.txt", |case| {
        rendered(&loaded(case))
    });
}

#[test]
fn plans() {
    check("plan", "plan.txt", plans::text);
}

#[test]
fn changes() {
    check("changes", "changes.txt", changes::text);
}

#[test]
fn imports() {
    check("import", "expected.yaml", imports::text);
}

#[test]
fn gateways() {
    check("gateways", "expected.txt", gateways::text);
}

/// Runs `actual` on every folder of a kind, compares, and reports all that differ at once.
fn check(kind: &str, expected: &str, actual: impl Fn(&Path) -> String) {
    let root = Path::new("tests/cases").join(kind);
    let bless = std::env::var_os("SRSYNC_BLESS").is_some();
    let (mut report, mut failed, mut seen) = (String::new(), 0, 0);
    for case in folders(&root) {
        seen += 1;
        let text = actual(&case);
        let file = case.join(expected);
        if bless {
            fs::write(&file, &text).unwrap();
        }
        let wanted = fs::read_to_string(&file).unwrap_or_default();
        if wanted != text {
            failed += 1;
            let _ = writeln!(
                report,
                "=== {}\n{}",
                file.display(),
                difference(&wanted, &text)
            );
        }
    }
    assert!(seen > 0, "no cases in {}", root.display());
    assert!(
        failed == 0,
        "{failed} of {seen} cases differ (- expected, + actual):\n{report}"
    );
}

fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).unwrap();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

/// The lines that only one side has, with the common beginning and end left out.
fn difference(wanted: &str, actual: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), actual.lines().collect());
    let same = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    let tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let mut text = format!("@@ line {}\n", same + 1);
    for line in &a[..a.len() - tail] {
        let _ = writeln!(text, "-{line}");
    }
    for line in &b[..b.len() - tail] {
        let _ = writeln!(text, "+{line}");
    }
    text
}

/// The documents of a case: `input.yaml`, `input.json`, or all of the directory `input`.
/// Names are shown as if the case were the current directory.
fn loaded(case: &Path) -> Loaded {
    let input = ["input", "input.yaml", "input.json"].map(|name| case.join(name));
    let input = input.into_iter().find(|path| path.exists()).unwrap();
    let mut names = Names::default();
    names.add_tables("100 partners\n200 lab\n");
    let mut loaded = load(&[PathArg::Path(input)], &mut std::io::empty(), &names);
    let prefix = format!("{}/", case.display());
    for name in &mut loaded.files {
        name.path = name.path.replace(&prefix, "").into();
        name.label = name.label.replace(&prefix, "").into();
    }
    for diagnostic in &mut loaded.diagnostics {
        diagnostic.message = diagnostic.message.replace(&prefix, "");
        diagnostic.help = diagnostic.help.take().map(|help| help.replace(&prefix, ""));
    }
    loaded
}

fn rendered(loaded: &Loaded) -> String {
    let all = loaded.diagnostics.iter();
    all.map(|diagnostic| render(diagnostic, &loaded.files, false) + "\n\n")
        .collect()
}
