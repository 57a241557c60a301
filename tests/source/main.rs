//! What `source` makes of the things that a directory can hold and go through; see the modules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads files that it wrote itself"
)]

mod configmap;
mod exhausted;
mod keeping;
mod loading;
mod random_edits;
mod watching;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

const ROUTE: &str = "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {name: NAME}\n\
                     spec: {destinations: [192.0.2.0/24], gateway: 10.0.0.1}\n";

fn route(name: &str) -> String {
    ROUTE.replace("NAME", name)
}

/// A directory that goes away with the test. It has a parent of its own: what is missing is searched
/// for among its neighbours ("did you mean"), and those of other tests come and go.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srsync-source-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name).join("routes");
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}
