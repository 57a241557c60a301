//! Requests to the API server, and the connection they go through.
//!
//! Owns the wire: paths and bodies go out, JSON comes in, and whatever else happens is a [`Trouble`]. A
//! connection is made anew when its credentials are not accepted or it breaks: then the token, the
//! certificate authority and KUBECONFIG are read again.

use std::error::Error;
use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::http::{HeaderMap, Method, Request, Response, header};
use kube::client::Body;
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

use super::{Kind, Trouble};

/// How long an answer may take. (A watch is answered at once, and then goes on.)
const PATIENCE: Duration = Duration::from_secs(15);
/// No answer is longer. An object is some kilobytes, and all of them may come in one answer.
const LONGEST: usize = 64 << 20;

/// How long one watch lasts. The connection may have died without a word, so this is how late a change can be
/// heard at worst.
pub(super) const WATCHED: Duration = Duration::from_secs(120);
/// How much later the server may end it.
pub(super) const GRACE: Duration = Duration::from_secs(15);

/// What is asked.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
}

impl Ask {
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            accept: "application/json",
            body: None,
        }
    }

    /// Nothing but the metadata of objects.
    pub(super) fn metadata_only(self) -> Self {
        Self {
            accept: "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            ..self
        }
    }

    /// The same of a list.
    pub(super) fn metadata_of_all(self) -> Self {
        Self {
            accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            ..self
        }
    }

    /// Says something.
    pub(super) fn with(self, method: Method, kind: &'static str, body: &Value) -> Self {
        let body = Some((kind, body.to_string().into_bytes()));
        Self {
            method,
            body,
            ..self
        }
    }

    fn request(&self) -> Result<Request<Body>, Trouble> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header(header::ACCEPT, self.accept);
        let mut body = Vec::new();
        if let Some((kind, content)) = &self.body {
            request = request.header(header::CONTENT_TYPE, *kind);
            body.clone_from(content);
        }
        let request = request.body(Body::from(body));
        request.map_err(|error| Trouble::new(Kind::Config, error.to_string()))
    }
}

/// A connection that is made when it is needed.
pub(super) struct Link<'a, C> {
    connect: &'a C,
    client: Option<Client>,
}

impl<'a, C> Link<'a, C>
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    pub(super) fn new(connect: &'a C) -> Self {
        let client = None;
        Self { connect, client }
    }

    /// Asks for something small.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Value, Trouble> {
        let body = self.send(ask).await?.into_body();
        let body = timeout(PATIENCE, Limited::new(body, LONGEST).collect());
        let body = body.await.map_err(|_| late())?;
        let body = body.map_err(|error| self.broken(&*error))?.to_bytes();
        json(&body)
    }

    /// Asks for something that goes on.
    pub(super) async fn watch(&mut self, ask: &Ask) -> Result<Lines, Trouble> {
        let body = self.send(ask).await?.into_body();
        let read = Vec::new();
        Ok(Lines { body, read })
    }

    async fn send(&mut self, ask: &Ask) -> Result<Response<Body>, Trouble> {
        let is_new = self.client.is_none();
        match self.send_once(ask).await {
            // The token of this connection may have been replaced since.
            Err(trouble) if trouble.kind == Kind::Unauthorized && !is_new => {
                self.send_once(ask).await
            }
            sent => sent,
        }
    }

    async fn send_once(&mut self, ask: &Ask) -> Result<Response<Body>, Trouble> {
        let client = match self.client.take() {
            Some(client) => client,
            None => (self.connect)().await?,
        };
        let answer = timeout(PATIENCE, client.send(ask.request()?)).await;
        let answer = answer.map_err(|_| late())?;
        let answer = answer.map_err(|error| broken(&error))?;
        let code = answer.status().as_u16();
        if code != 401 {
            self.client = Some(client);
        }
        if answer.status().is_success() {
            return Ok(answer);
        }
        let wait = retry_after(answer.headers());
        let body = timeout(
            PATIENCE,
            Limited::new(answer.into_body(), LONGEST).collect(),
        )
        .await;
        let body = body.map_err(|_| late())?;
        let body = body.map_err(|error| self.broken(&*error))?.to_bytes();
        Err(Trouble::of_answer(code, reason(code, &body), wait))
    }

    fn broken(&mut self, error: &(dyn Error + 'static)) -> Trouble {
        self.client = None;
        broken(error)
    }
}

/// The events of a watch, one in each line.
pub(super) struct Lines {
    body: Body,
    read: Vec<u8>,
}

impl Lines {
    /// The next event; `None` at the end. What has been read is kept if nobody waits for the rest.
    pub(super) async fn next(&mut self) -> Result<Option<Value>, Trouble> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return json(&line).map(Some);
            }
            if self.read.len() > LONGEST {
                return Err(Trouble::new(Kind::Server, "an event without an end"));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
            }
        }
    }
}

/// A client for the cluster of KUBECONFIG, or of the pod in which this runs.
///
/// # Errors
/// If neither is there, or cannot be read.
pub async fn from_environment() -> Result<Client, Trouble> {
    let config = |error: &dyn Error| Trouble::new(Kind::Config, chain(error));
    let mut found = Config::infer().await.map_err(|error| config(&error))?;
    // When to try again is decided here, and said.
    found.default_retry = false;
    found.connect_timeout = Some(PATIENCE);
    Client::try_from(found).map_err(|error| config(&error))
}

fn json(text: &[u8]) -> Result<Value, Trouble> {
    let parsed = serde_json::from_slice(text);
    parsed.map_err(|error| Trouble::new(Kind::Server, format!("its answer is no JSON: {error}")))
}

/// What the body of a refusal says, on one line: a `Status`, or whatever a proxy writes.
fn reason(code: u16, body: &[u8]) -> String {
    let status: Option<Value> = serde_json::from_slice(body).ok();
    let message = status
        .as_ref()
        .and_then(|status| status["message"].as_str());
    let text = message.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => format!("status {code}"),
        false => words.join(" ").chars().take(1000).collect(),
    }
}

/// What a watch says instead of an event: a `Status`.
pub(super) fn refusal(status: &Value) -> Trouble {
    let code = status["code"]
        .as_u64()
        .and_then(|code| u16::try_from(code).ok());
    let message = status["message"].as_str().unwrap_or("the watch failed");
    match code {
        Some(code) => Trouble::of_answer(code, message, None),
        None => Trouble::new(Kind::Server, message),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

fn late() -> Trouble {
    let message = format!("no answer within {} s", PATIENCE.as_secs());
    Trouble::new(Kind::Unreachable, message)
}

/// What it means that a request got no answer.
fn broken(error: &(dyn Error + 'static)) -> Trouble {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let is_tls = causes.any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        // What the TLS library says is inside of an I/O error, of no type that could be named here.
        io.is_some_and(|io| io.kind() == io::ErrorKind::InvalidData)
            || cause.to_string().contains("certificate")
    });
    let kind = if is_tls { Kind::Tls } else { Kind::Unreachable };
    Trouble::new(kind, chain(error))
}

/// An error with its causes, without those that only repeat what is below them.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    let mut said: Vec<String> = Vec::new();
    for cause in causes.map(ToString::to_string) {
        said.retain(|before| !before.ends_with(&cause) || *before == cause);
        if said.last() != Some(&cause) {
            said.push(cause);
        }
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_its_body_says() {
        let status = br#"{"kind":"Status","message":"nodes \"a\" is forbidden"}"#;
        assert_eq!(reason(403, status), "nodes \"a\" is forbidden");
        assert_eq!(reason(502, b"<html>\n bad gateway"), "<html> bad gateway");
        assert_eq!(reason(500, b""), "status 500");
        assert_eq!(reason(500, &[b'x'; 5000]).len(), 1000);
    }

    #[test]
    fn a_certificate_that_is_not_trusted_is_another_trouble_than_no_answer() {
        let tls = io::Error::new(
            io::ErrorKind::InvalidData,
            "invalid peer certificate: UnknownIssuer",
        );
        assert_eq!(broken(&tls).kind, Kind::Tls);
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(broken(&refused).kind, Kind::Unreachable);
    }
}
