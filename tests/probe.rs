//! Health checks against real gateways, which are network namespaces; see `support`.
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

mod probe {
    mod asking;
    mod binding;
    mod http;
    mod icmp;
    mod neighbours;
    mod probing;
    mod sockets;
    mod tcp;
    mod time;
}
