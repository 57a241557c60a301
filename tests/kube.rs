//! Kubernetes: what is asked of its API, what comes of the answers, and that no route is touched by trouble.
//! The API is in this process; `tests/kube/run` does the same with a real one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and its helpers are for all test binaries"
)]

mod support;

mod kube {
    mod api;
    mod daemon;
    mod events;
    mod finalizers;
    mod import;
    mod labels;
    mod mirror;
    mod mirror_kinds;
    mod objects;
    mod server;
    mod settings;
    mod source;
}
