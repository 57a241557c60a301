//! Asks the running daemon, over its Unix socket, in HTTP.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Exit;

/// A daemon that is alive begins to answer at once.
const LOOKS_WITHIN: Duration = Duration::from_secs(10);
/// What it does on demand it says when it is done, or after two minutes.
const DOES_WITHIN: Duration = Duration::from_secs(150);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no daemon answers at {} (--socket)", .0.display())]
    NoDaemon(PathBuf),
    #[error(
        "{} is for root and the group srsync: ask as one of them, or name another socket with \
         --socket",
        .0.display()
    )]
    Denied(PathBuf),
    #[error("cannot connect to {} (--socket)", path.display())]
    Connect { path: PathBuf, source: io::Error },
    #[error("whoever listens at {} does not answer (--socket)", .0.display())]
    Silent(PathBuf),
    #[error("the daemon's answer breaks off")]
    BrokenOff(#[from] hyper::Error),
    #[error("{0}")]
    Refused(String),
}

/// Asks at one socket.
#[derive(Debug, Clone)]
pub(super) struct Client {
    socket: PathBuf,
}

/// An answer that is being received.
pub(super) struct Answer(Incoming);

impl Client {
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Looks at something.
    pub(super) async fn get(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::GET, target, LOOKS_WITHIN).await
    }

    /// Has something done.
    pub(super) async fn post(&self, target: &str) -> Result<Answer, ClientError> {
        self.ask(Method::POST, target, DOES_WITHIN).await
    }

    async fn ask(
        &self,
        method: Method,
        target: &str,
        patience: Duration,
    ) -> Result<Answer, ClientError> {
        let answer = tokio::time::timeout(patience, self.exchange(method, target)).await;
        let (status, answer) = answer.map_err(|_| ClientError::Silent(self.socket.clone()))??;
        match status {
            StatusCode::OK => Ok(answer),
            _ => Err(ClientError::Refused(answer.text().await?.trim().to_owned())),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
    ) -> Result<(StatusCode, Answer), ClientError> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| self.not_connected(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How the connection ends shows in the answer.
        tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        // The targets are written in this program.
        *request.uri_mut() = target.parse().unwrap_or_default();
        let host = hyper::header::HeaderValue::from_static("localhost");
        request.headers_mut().insert(hyper::header::HOST, host);
        let response = sender.send_request(request).await?;
        Ok((response.status(), Answer(response.into_body())))
    }

    fn not_connected(&self, source: io::Error) -> ClientError {
        let path = self.socket.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon(path)
            }
            io::ErrorKind::PermissionDenied => ClientError::Denied(path),
            _ => ClientError::Connect { path, source },
        }
    }
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub(super) async fn part(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(bytes) = frame?.into_data() {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// All of it.
    pub(super) async fn text(self) -> Result<String, ClientError> {
        let bytes = self.0.collect().await?.to_bytes();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Runs to the end.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    let runtime = runtime.context("cannot wait for a daemon's answer")?;
    runtime.block_on(work)
}

/// Runs until Ctrl-C, which is how a person ends what has no end.
pub(super) fn until_interrupted(work: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    block_on(async {
        tokio::select! {
            ended = work => ended,
            _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        }
    })
}
