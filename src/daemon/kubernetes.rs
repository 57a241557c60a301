//! What is heard from Kubernetes, and those who listen there.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tokio::runtime;

use super::journal::News;
use super::state::Daemon;
use super::{DaemonError, Event, threads};
use crate::kube::{self, Task};
use crate::report::{HappeningKind, Level, Trigger};

/// Talks to the API, on a thread of its own: names are resolved and certificates checked there, and
/// neither a probe nor somebody who asks for the status waits for that.
pub(super) fn talk(task: Task, sender: SyncSender<Event>) -> Result<(), DaemonError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|source| DaemonError::Start {
        what: "talking to Kubernetes",
        source,
    })?;
    threads::spawn("kubernetes", move || {
        // Waits while the loop is behind. Without a receiver the daemon has ended.
        let tell = |news| drop(sender.send(Event::Kubernetes(news)));
        runtime.block_on(kube::run(task, kube::from_environment, tell));
    })
}

impl Daemon {
    pub(super) fn hear_kubernetes(&mut self, news: kube::News, now: Instant) {
        match news {
            kube::News::Labels(labels) => {
                let Some(message) = self.wanted.labels.learn(labels, &self.wanted.settings) else {
                    return;
                };
                let kind = HappeningKind::NodeLabels;
                self.tell(News::new(kind, Level::Info, message));
                self.gateways.documents_changed();
                self.groups.forget();
                self.schedule.want_pass_now(Trigger::Labels, now);
            }
            kube::News::Standing(status, said) => {
                for said in said {
                    let kind = HappeningKind::Kubernetes;
                    self.tell(News::new(kind, said.level, said.message));
                }
                self.running.kubernetes = Some(status);
                self.publish();
            }
        }
    }
}
