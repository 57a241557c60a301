//! `srsync explain` beside a running daemon: its gateways go by nexthop objects, and it knows how they are.

use serde_json::Value;

use super::failover::{between_two_gateways, document, silence};
use crate::support::daemon::Daemon;
use crate::support::program::Srsync;
use crate::support::tables::wait_until;

fn explain(srsync: &Srsync<'_>, daemon: &Daemon) -> Value {
    let socket = daemon.socket();
    let arguments = format!("-o json --socket {} explain 198.18.1.7", socket.display());
    srsync.on_directory(&arguments).exits(0).report()
}

/// The next hop by which the packet goes, as the kernel says.
fn chosen(told: &Value) -> Value {
    let mut hops = told["nextHops"].as_array().unwrap().iter();
    let chosen = hops.find(|hop| hop["chosen"] == true);
    chosen.unwrap_or_else(|| panic!("{told:#}")).clone()
}

#[test]
fn the_health_of_gateways_is_what_the_daemon_says() {
    between_two_gateways(|srsync, [first, _]| {
        document(srsync, "");
        let daemon = Daemon::start(srsync, "");
        wait_until("the first is known to be up", || {
            let hop = chosen(&explain(srsync, &daemon));
            hop["address"] == "10.0.1.2" && hop["health"] == "the daemon says Up"
        });
        let told = explain(srsync, &daemon);
        assert_eq!(told["kernel"]["agrees"], true, "{told:#}");
        assert_eq!(told["result"]["route"]["document"], "a");
        assert_eq!(told["missing"], serde_json::json!([]), "{told:#}");
        silence(first, true);
        wait_until(
            "the second is chosen, and the first said to be down",
            || {
                let told = explain(srsync, &daemon);
                chosen(&told)["address"] == "10.0.2.2"
            },
        );
    });
}
