//! `srsync daemon`: keep the kernel's routes equal to the documents.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::session::Session;
use super::{Exit, UsageError};
use crate::cli::{Global, Paths};
use crate::config::Settings;
use crate::daemon::{self, DaemonError, Setup};
use crate::kernel::Lock;
use crate::model::KubeSource;
use crate::privileges;
use crate::status::Listeners;

pub(super) fn run(global: &Global, paths: &Paths) -> Result<Exit> {
    let (session, log) = Session::for_long(global)?;
    let sources = sources(session.paths(paths), session.settings())?;
    if !privileges::may_change_routes() {
        bail!(DaemonError::NotPermitted);
    }
    let _lock = Lock::take(session.policy().protocol)?;
    let settings = session.settings().clone();
    let (mut listeners, problems) = Listeners::bind(settings.listen, &settings.socket);
    for problem in problems {
        tracing::warn!("{problem}");
    }
    let socket = listeners.socket_guard();
    // Beside a socket that is not ours are the files of another daemon.
    let beside = socket.as_ref().map(|_| settings.socket.clone());
    privileges::keep_network_only()?;
    let names = session.names.clone();
    let (global, arguments) = (global.clone(), paths.clone());
    let reload = move || {
        let settings = session.settings_again(&global);
        let settings = settings.map_err(|error| format!("{error:#}"))?;
        let paths = match arguments.paths.as_slice() {
            [] => settings.sources.clone(),
            given => given.to_vec(),
        };
        let sources = self::sources(paths, &settings).map_err(|error| error.to_string())?;
        log.set(settings.log_level);
        Ok((settings, sources))
    };
    daemon::run(Setup {
        settings,
        sources,
        names,
        beside,
        listeners,
        reload: Box::new(reload),
    })?;
    Ok(Exit::Done)
}

/// What can be watched: standard input cannot.
fn sources(paths: Vec<PathBuf>, settings: &Settings) -> Result<Vec<PathBuf>, UsageError> {
    if paths.is_empty() && settings.kube_source == KubeSource::Off {
        let message = "no PATH given, and neither SRSYNC_SOURCES nor the config file names any; say \
                       which directory or files to keep the routes equal to";
        return Err(UsageError(message.to_owned()));
    }
    if paths.iter().any(|path| path.as_os_str() == "-") {
        let message = "standard input cannot be read again and again: a daemon needs files or \
                       directories (`srsync apply -` applies once)";
        return Err(UsageError(message.to_owned()));
    }
    Ok(paths)
}
