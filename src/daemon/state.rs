//! The state of a daemon, and what each event does to it.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Instant;

use tokio::sync::{broadcast, watch};

use super::connectivity::Connectivity;
use super::contest::Contest;
use super::gateways::{Gateways, Withdrawn};
use super::inbox::Inbox;
use super::journal::{Journal, News};
use super::labels::NodeLabels;
use super::overrides::Overrides;
use super::refused::RefusedObjects;
use super::relevance::Concern;
use super::schedule::Schedule;
use super::service::Service;
use super::store::Store;
use super::switch::Groups;
use super::things::Things;
use super::{DaemonError, Event, Reload, Setup, threads, time};
use crate::config::Settings;
use crate::kernel::{Events, Kernel, KernelEvent, RouteEvent};
use crate::model::{Names, RouteKey, Steering};
use crate::plan::{self, Inputs};
use crate::report::{Counters, HappeningKind, Level, Published, Running, Trigger};
use crate::source::{Hint, Keeper, Snapshot, Watch};
use crate::status::{Answer, Caller, Feed, Heartbeat, Request};

/// How many of those who undid a route of ours are remembered by route until the next pass.
const CULPRITS: usize = 100_000;
/// How many happenings a slow listener may be behind.
const BACKLOG: usize = 1024;

/// Everything the loop knows. It belongs to the loop alone.
pub(super) struct Daemon {
    pub(super) wanted: Wanted,
    pub(super) keeper: Keeper,
    pub(super) watch: Option<Watch>,
    reload: Box<Reload>,
    pub(super) kernel: Kernel,
    pub(super) schedule: Schedule,
    pub(super) contest: Contest,
    pub(super) things: Things,
    pub(super) gateways: Gateways,
    pub(super) connectivity: Connectivity,
    pub(super) groups: Groups,
    pub(super) overrides: Overrides,
    pub(super) culprits: Culprits,
    pub(super) journal: Journal,
    pub(super) running: Running,
    pub(super) published: Arc<Published>,
    pub(super) service: Service,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) publisher: watch::Sender<Arc<Published>>,
    pub(super) sender: SyncSender<Event>,
    pub(super) inbox: Inbox,
    /// Those who asked for a reload and wait for its pass.
    waiting: Vec<tokio::sync::oneshot::Sender<Answer>>,
    deaf: bool,
    stopping: bool,
}

/// What is wanted of this node.
pub(super) struct Wanted {
    pub(super) settings: Settings,
    pub(super) labels: NodeLabels,
    pub(super) names: Arc<Names>,
    pub(super) snapshot: Snapshot,
    /// Which gateways may be used, where they are watched.
    pub(super) steering: Steering,
    /// The nexthop objects that the kernel would not make.
    pub(super) refused: RefusedObjects,
    /// Why the documents may not be all that is wanted.
    pub(super) incomplete: Option<String>,
    /// The addresses whose next hop documents use.
    pub(super) lookups: Vec<IpAddr>,
}

impl Wanted {
    /// Takes over what the sources say now.
    pub(super) fn change(&mut self, snapshot: Snapshot) {
        self.incomplete = snapshot.incomplete();
        self.refused.forget();
        self.snapshot = snapshot;
        self.lookups = plan::interest(&self.inputs()).1.into_iter().collect();
    }

    /// What a plan is made from.
    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            documents: &self.snapshot.documents,
            egress: &self.snapshot.egress,
            policy: &self.settings.policy,
            labels: self.labels.known(),
            unknown_labels: self.labels.unknown(),
            names: &self.names,
            files: &self.snapshot.files,
            steering: &self.steering,
            objects: Some(self.refused.kinds()),
            incomplete: self.incomplete.as_deref(),
        }
    }
}

/// Who undid our routes since the last pass.
#[derive(Debug, Default)]
pub(super) struct Culprits {
    by_route: HashMap<RouteKey, Arc<str>>,
    /// The last of them.
    last: Option<Arc<str>>,
    /// Not every one was heard.
    incomplete: bool,
}

impl Culprits {
    fn note(&mut self, event: &RouteEvent) {
        let Some(by) = &event.by else { return };
        self.last = Some(by.clone());
        match self.by_route.len() < CULPRITS {
            true => drop(self.by_route.insert(event.key, by.clone())),
            false => self.incomplete = true,
        }
    }

    /// Somebody undid what many routes depend on.
    pub(super) fn note_all(&mut self, by: Option<&Arc<str>>) {
        if let Some(by) = by {
            self.last = Some(by.clone());
            self.incomplete = true;
        }
    }

    /// A pass has looked at everything.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Who undid this route; `None` means that it was the kernel, as far as can be told.
    pub(super) fn of(&self, key: &RouteKey) -> Option<Arc<str>> {
        let guess = self.last.as_ref().filter(|_| self.incomplete);
        self.by_route.get(key).or(guess).cloned()
    }
}

impl Daemon {
    /// Begins to listen, then reads everything for the first time: what changes in between is heard.
    pub(super) fn start(
        setup: Setup,
        sender: SyncSender<Event>,
        inbox: Inbox,
    ) -> Result<Self, DaemonError> {
        let now = Instant::now();
        let kernel = Kernel::of_node(&setup.settings.proc_sys, &setup.settings.socket)?;
        threads::hear_kernel(Events::open(&kernel)?, sender.clone())?;
        let settings = setup.settings;
        let (listeners, _) = broadcast::channel(BACKLOG);
        let names = Arc::new(setup.names);
        let published = Arc::new(Published::nothing(
            &settings.node_name,
            &settings.policy,
            &names,
        ));
        let (publisher, published_now) = watch::channel(published.clone());
        let (probes, probes_wanted) = watch::channel(BTreeSet::new());
        let (inquiries, inquiries_wanted) = watch::channel(BTreeSet::new());
        let heartbeat = Arc::new(Heartbeat::new());
        let requests = sender.clone();
        threads::serve(
            setup.listeners,
            Feed {
                published: published_now.clone(),
                happenings: listeners.clone(),
                heartbeat: heartbeat.clone(),
                // A loop that is that far behind drops the request, and with it its answer: the
                // caller is told.
                requests: Arc::new(move |request| drop(requests.try_send(Event::Request(request)))),
            },
            threads::Questions {
                probes: probes_wanted,
                inquiries: inquiries_wanted,
            },
            sender.clone(),
        )?;
        #[allow(unused_mut, reason = "it is not changed in a build without Kubernetes")]
        let mut keeper = Keeper::new(setup.sources);
        #[cfg(feature = "kube")]
        if settings.uses_kubernetes() {
            let objects = crate::kube::Collection::of(&settings.kube_source);
            if !objects.is_empty() {
                keeper.await_texts(objects.iter().map(ToString::to_string));
            }
            let task = crate::kube::Task {
                node: settings.node_name.clone(),
                labels: settings.kube.node_labels,
                mirror: settings.kube.mirror.map(|mirror| crate::kube::Mirror {
                    published: published_now.clone(),
                    make: super::kubernetes::make(mirror),
                }),
                objects,
                published: Some(published_now),
            };
            super::kubernetes::talk(task, sender.clone())?;
        }
        let beside = |what| {
            setup
                .beside
                .as_ref()
                .map(|socket| socket.with_extension(what))
        };
        let (overrides, lost) = Overrides::load(beside("drains.json"));
        let withdrawn = Withdrawn::load(Store::new(beside("withdrawn.json")));
        let schedule = Schedule::new(settings.debounce, settings.resync_interval, now);
        let mut daemon = Self {
            wanted: Wanted {
                labels: NodeLabels::of(&settings),
                settings,
                names,
                snapshot: Snapshot::default(),
                steering: Steering::default(),
                refused: RefusedObjects::default(),
                incomplete: None,
                lookups: Vec::new(),
            },
            reload: setup.reload,
            keeper,
            watch: None,
            kernel,
            schedule,
            contest: Contest::default(),
            things: Things::default(),
            gateways: Gateways::new(probes, withdrawn),
            connectivity: Connectivity::new(inquiries),
            groups: Groups::default(),
            overrides,
            culprits: Culprits::default(),
            journal: Journal::new(listeners),
            running: Running {
                version: env!("CARGO_PKG_VERSION"),
                pid: std::process::id(),
                started: time(),
                counters: Counters::default(),
                ..Running::default()
            },
            published,
            service: Service::find(now),
            heartbeat,
            publisher,
            sender,
            inbox,
            waiting: Vec::new(),
            deaf: false,
            stopping: false,
        };
        daemon.tell_start();
        if let Some(lost) = lost {
            daemon.tell(News::new(HappeningKind::GatewayReleased, Level::Warn, lost));
        }
        Ok(daemon)
    }

    fn tell_start(&mut self) {
        let protocol = self
            .wanted
            .names
            .protocol(self.wanted.settings.policy.protocol);
        let message = format!(
            "srsync {} started on {}, protocol {protocol}",
            self.running.version, self.wanted.settings.node_name
        );
        self.tell(News::new(HappeningKind::Started, Level::Info, message));
    }

    pub(super) fn tell(&mut self, news: News) {
        self.journal.tell(news, time());
    }

    /// Reads the sources, makes the first pass, and says that the daemon is ready.
    ///
    /// # Errors
    /// If routes may not be changed. Anything else is tried again.
    pub(super) fn first_pass(&mut self) -> Result<(), DaemonError> {
        self.publish();
        self.arm();
        self.read_sources();
        self.update_overrides(None, Instant::now());
        self.pass(Trigger::Start)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// When something is due at the latest.
    pub(super) fn next_moment(&self) -> Instant {
        let next = self.schedule.next();
        let others = [
            self.service.next(),
            self.overrides.next(time(), Instant::now()),
        ];
        others.into_iter().flatten().fold(next, Instant::min)
    }

    /// What an event does: mostly it says when something is due.
    pub(super) fn take(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Kernel(events) => events.iter().for_each(|event| self.hear(event, now)),
            Event::Nat(events) => self.hear_nat(&events, now),
            Event::NatDeaf => self.things.nat_is_heard = false,
            Event::Deaf(error) => {
                self.deaf = true;
                let message = format!("cannot hear the kernel, trying again: {error}");
                self.tell(News::new(HappeningKind::PassFailed, Level::Error, message));
            }
            Event::Sources(hint) => self.source_moved(hint, now),
            Event::Probed(probed) => {
                let news = self.gateways.probed(&probed, probed.ended);
                news.into_iter().for_each(|news| self.tell(news));
            }
            Event::Asked(asked) => {
                let news = self.connectivity.heard(&asked, time());
                let is_news = !news.is_empty();
                news.into_iter().for_each(|news| self.tell(news));
                if is_news {
                    self.publish_checks();
                }
            }
            Event::Request(Request::Reload { by, answer }) => {
                self.waiting.push(answer);
                self.reload(Some(&by), now);
            }
            Event::Request(Request::Drain {
                gateway,
                lasting,
                by,
                answer,
            }) => self.drain((gateway, lasting), &by, answer, now),
            Event::Request(Request::Undrain {
                gateway,
                by,
                answer,
            }) => self.undrain(gateway, &by, answer, now),
            #[cfg(feature = "kube")]
            Event::Kubernetes(news) => self.hear_kubernetes(news, now),
            Event::Reload => self.reload(None, now),
            Event::Stop(signal) => {
                tracing::debug!("got {signal}");
                self.stopping = true;
            }
        }
    }

    fn hear(&mut self, event: &KernelEvent, now: Instant) {
        match event {
            KernelEvent::Node => {
                self.wanted.refused.ask_again();
                self.schedule.want_pass(Trigger::Kernel, now);
            }
            KernelEvent::NextHop(event) => self.hear_nexthop(event, now),
            KernelEvent::Overflow => {
                self.culprits.incomplete = true;
                self.running.counters.overflows += 1;
                self.schedule.want_pass_now(Trigger::Overflow, now);
            }
            KernelEvent::Route(event) => {
                let concern = Concern {
                    protocol: self.wanted.settings.policy.protocol,
                    rows: &self.published.pass.plan.rows,
                    lookups: &self.wanted.lookups,
                };
                let ours = event.protocol == concern.protocol || concern.is_wanted(&event.key);
                if concern.covers(event) {
                    self.schedule.want_pass(Trigger::Kernel, now);
                }
                if ours {
                    self.culprits.note(event);
                }
            }
        }
    }

    fn source_moved(&mut self, hint: Hint, now: Instant) {
        match hint {
            Hint::Swapped => self.schedule.sources_ready(now),
            Hint::Changed => self.schedule.sources_changed(now),
            Hint::Writing(file) => self.schedule.writing(file, now),
            Hint::Written(file) => self.schedule.written(&file, now),
            Hint::Lost(why) => {
                tracing::debug!("the file watcher lost something: {why}");
                self.watch = None;
                self.arm();
                self.schedule.sources_ready(now);
            }
        }
    }

    /// Does what is due. The loop calls this each time it goes round.
    pub(super) fn do_what_is_due(&mut self) -> Result<(), DaemonError> {
        let now = Instant::now();
        self.heartbeat.beat();
        self.service.alive(now);
        self.switch(now);
        if self.schedule.check_is_due(now) {
            self.arm();
            self.hear_again();
            self.settle(now);
            self.settle_things(now);
            self.publish_checks();
        }
        if self.schedule.sources_are_due(now) {
            self.read_sources();
        }
        if self.overrides.is_due(time()) {
            self.update_overrides(None, now);
        }
        if let Some(trigger) = self.schedule.pass_is_due(now)
            && !self.stopping
        {
            if trigger == Trigger::Resync {
                self.read_sources();
            }
            self.pass(trigger)?;
            self.answer();
            self.answer_overrides();
        }
        Ok(())
    }

    /// Listens to the kernel again, should that have ended.
    fn hear_again(&mut self) {
        if !self.deaf {
            return;
        }
        let events = Events::open(&self.kernel).map_err(DaemonError::Kernel);
        let listening = events.and_then(|events| threads::hear_kernel(events, self.sender.clone()));
        if listening.is_ok() {
            self.deaf = false;
            self.schedule
                .want_pass_now(Trigger::Overflow, Instant::now());
        }
    }

    /// Reads config and sources again, and makes a pass.
    fn reload(&mut self, by: Option<&Caller>, now: Instant) {
        self.service.reloading();
        self.running.counters.reloads += 1;
        let by = by.map_or_else(
            || "SIGHUP".to_owned(),
            |caller| format!("user {}", caller.uid),
        );
        match (self.reload)() {
            Ok((settings, sources)) => {
                self.take_settings(settings, sources, now);
                let message = format!("reloaded config and sources, asked by {by}");
                self.tell(News::new(HappeningKind::Reloaded, Level::Info, message));
            }
            Err(error) => {
                let message = format!(
                    "reload asked by {by}: the old settings stay, for the new ones are not valid: {error}"
                );
                self.tell(News::new(HappeningKind::Reloaded, Level::Error, message));
                for waiting in self.waiting.drain(..) {
                    let _ = waiting.send(Err(error.clone()));
                }
            }
        }
        self.schedule.want_pass_now(Trigger::Reload, now);
        self.arm();
        self.read_sources();
    }

    fn take_settings(&mut self, mut settings: Settings, sources: Vec<PathBuf>, now: Instant) {
        let old = &self.wanted.settings;
        let mut fixed = Vec::new();
        if settings.policy.protocol != old.policy.protocol {
            settings.policy.protocol = old.policy.protocol;
            fixed.push("protocol");
        }
        if settings.listen != old.listen {
            settings.listen = old.listen;
            fixed.push("listen");
        }
        if settings.socket != old.socket {
            settings.socket.clone_from(&old.socket);
            fixed.push("socket");
        }
        if settings.kube != old.kube {
            settings.kube = old.kube;
            fixed.push("kube");
        }
        if settings.kube_source != old.kube_source {
            settings.kube_source.clone_from(&old.kube_source);
            fixed.push("sources.kube");
        }
        if settings.uses_kubernetes() && settings.node_name != old.node_name {
            settings.node_name.clone_from(&old.node_name);
            fixed.push("node.name");
        }
        self.schedule
            .change(settings.debounce, settings.resync_interval, now);
        self.keeper.set_paths(sources);
        self.wanted.labels.change(&settings);
        self.wanted.settings = settings;
        // Labels choose documents.
        self.gateways.documents_changed();
        self.groups.forget();
        if !fixed.is_empty() {
            let message = format!(
                "{} changed: that takes a restart of the daemon",
                fixed.join(", ")
            );
            self.tell(News::new(HappeningKind::Reloaded, Level::Warn, message));
        }
    }

    /// Answers those who asked for a reload.
    fn answer(&mut self) {
        let summary = self.summary();
        let failed = self
            .running
            .last_pass
            .as_ref()
            .and_then(|pass| pass.error.as_ref());
        let said = match (failed, &self.wanted.incomplete) {
            (Some(error), _) => Err(error.clone()),
            (None, Some(missing)) => Err(format!("reloaded, but {missing}; {summary}")),
            (None, None) => Ok(format!("reloaded: {summary}")),
        };
        for waiting in self.waiting.drain(..) {
            // Who does not wait any more need not know.
            let _ = waiting.send(said.clone());
        }
    }

    /// Ends in order. The routes stay.
    pub(super) fn stop(&mut self) {
        self.service.stopping();
        let message = "stopped; the routes stay";
        self.tell(News::new(HappeningKind::Stopped, Level::Info, message));
    }
}
