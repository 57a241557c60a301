//! The kernel half against a real kernel, in network namespaces; see `support`.
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

mod kernel {
    mod apply;
    mod build;
    mod building;
    mod documents;
    mod egress;
    mod events;
    mod explain;
    mod foreign;
    mod gate;
    mod import;
    mod interrupted;
    mod lock;
    mod nat;
    mod nat_random;
    mod nat_traffic;
    mod nexthop;
    mod observe;
    mod random_documents;
    mod random_egress;
    mod ranges;
    mod rules;
    mod sysctl;
    mod topology;
    mod traffic;
    mod way;
}
