//! The life of a daemon: the real program against a real kernel, in network namespaces, from its
//! start over everything that files, the kernel and people do to it; see `support`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are for all test binaries"
)]

mod support;

mod daemon {
    mod node;

    mod checks;
    mod configmap;
    mod connectivity;
    mod contested;
    mod directory;
    mod drained;
    mod drift;
    mod egress;
    mod explain;
    mod failover;
    mod files;
    mod flood;
    mod life;
    mod lifetimes;
    mod links;
    mod log;
    mod objects;
    mod seen;
    mod settings;
    mod traffic;
}
