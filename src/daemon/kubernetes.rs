//! What is heard from Kubernetes, and those who listen there.

use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tokio::runtime;

use super::journal::News;
use super::state::Daemon;
use super::{DaemonError, Event, threads};
use crate::config::Mirror;
use crate::kube::{self, Task};
use crate::model::DocumentId;
use crate::report::{HappeningKind, Level, Published, Trigger};
use crate::{source, spec};

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

/// Makes objects from the files of their documents, where that is wanted.
pub(super) fn make(mirror: Mirror) -> Option<Box<kube::Make>> {
    let spec = |published: &Published, id: &DocumentId| {
        let documents = &published.documents;
        let place = documents.binary_search_by(|document| document.id.cmp(id));
        let file = documents.get(place.ok()?)?.place.file;
        let path = &published.files.get(file.0 as usize)?.path;
        // A file that has changed meanwhile is read soon, and then there is another try.
        let text = source::read_text(Path::new(&**path)).ok()?;
        spec::spec_of(&text, id)
    };
    mirror.create.then(|| Box::new(spec) as Box<kube::Make>)
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
            kube::News::Objects(collection, heard) => {
                let Some(told) = self.keeper.told() else {
                    return;
                };
                let collection = collection.to_string();
                match heard {
                    kube::Heard::All(objects) => told.all(&collection, &objects),
                    kube::Heard::One(name, text) => told.one(&collection, &name, text),
                }
                // Where one has changed others are about to, as with files.
                self.schedule.sources_changed(now);
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
