//! Talking to systemd (sd_notify(3)): ready, what goes on, and that the loop is alive. Without
//! systemd nobody listens, and nothing is sent.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug)]
pub(super) struct Service {
    /// How often it wants to hear from the loop, and when it does next.
    watchdog: Option<(Duration, Instant)>,
    status: String,
    /// It waits for word that a start or a reload is over.
    waits: bool,
}

impl Service {
    pub(super) fn find(now: Instant) -> Self {
        // Twice as often as it asks for, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|timeout| (timeout / 2, now));
        Self {
            watchdog,
            status: String::new(),
            waits: true,
        }
    }

    /// A pass is done, and with it a start or a reload.
    pub(super) fn ready(&mut self) {
        if std::mem::take(&mut self.waits) {
            notify(&[NotifyState::Ready]);
        }
    }

    /// Config and sources are being read again; [`Service::ready`] ends it.
    pub(super) fn reloading(&mut self) {
        self.waits = true;
        let since_boot = NotifyState::monotonic_usec_now().ok();
        let states: Vec<_> = [Some(NotifyState::Reloading), since_boot]
            .into_iter()
            .flatten()
            .collect();
        notify(&states);
    }

    /// The daemon ends.
    pub(super) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`.
    pub(super) fn status(&mut self, status: String) {
        if self.status != status {
            notify(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// The loop goes round. To be called by the loop itself and nobody else: a loop that hangs must
    /// be noticed.
    pub(super) fn alive(&mut self, now: Instant) {
        if let Some((interval, next)) = &mut self.watchdog
            && *next <= now
        {
            notify(&[NotifyState::Watchdog]);
            *next = now + *interval;
        }
    }

    /// When [`Service::alive`] must be called at the latest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.watchdog.map(|(_, next)| next)
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell systemd: {error}");
    }
}
