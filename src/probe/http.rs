//! HTTP: a GET is answered with one of the statuses that are expected.
//!
//! Only the head of the answer is read. Redirects are answers like any other, and not followed.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;

use super::way::Way;
use super::{Loss, tcp};

/// Longest head of an answer, in bytes: as little as hyper allows.
const LONGEST_HEAD: usize = 8192;

/// What is asked for, and which answers are good.
pub(super) struct Question {
    pub(super) port: u16,
    pub(super) path: String,
    /// Other than the address.
    pub(super) host: Option<String>,
    /// The first and the last.
    pub(super) expect_status: (u16, u16),
    /// Whether the last connection came about.
    pub(super) is_connected: bool,
}

/// Asks once, on a connection of its own.
pub(super) async fn probe(way: &Way, question: &mut Question) -> Result<(), Loss> {
    question.is_connected = false;
    let Question { port, path, .. } = &*question;
    let host = question.host.clone();
    let request = Request::get(path)
        .header(HOST, host.unwrap_or_else(|| authority(way, *port)))
        .header(USER_AGENT, concat!("srsync/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Loss::Local(format!("cannot ask for {path}: {error}").into()))?;
    let stream = TokioIo::new(tcp::connect(way, *port).await?);
    question.is_connected = true;
    let status = exchange(stream, request).await.map_err(broken)?;
    let (first, last) = question.expect_status;
    match (first..=last).contains(&status) {
        true => Ok(()),
        false => Err(Loss::Status(status)),
    }
}

/// The `Host` of who is known by address only (RFC 9110, 7.2).
fn authority(way: &Way, port: u16) -> String {
    match port {
        80 if way.to().is_ipv6() => format!("[{}]", way.to()),
        80 => way.to().to_string(),
        _ => SocketAddr::new(way.to(), port).to_string(),
    }
}

/// Sends the request and returns the status. The connection is driven here rather than in a task
/// of its own, so that it ends with the probe whatever happens.
async fn exchange(
    stream: TokioIo<tokio::net::TcpStream>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<u16> {
    let mut settings = http1::Builder::new();
    settings.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = settings.handshake(stream).await?;
    let mut answer = pin!(sender.send_request(request));
    let response = tokio::select! {
        biased;
        response = &mut answer => response,
        // It may have brought the answer at last, and its own end is told there, too.
        _ = connection => answer.await,
    };
    Ok(response?.status().as_u16())
}

fn broken(error: hyper::Error) -> Loss {
    if error.is_parse_too_large() {
        return Loss::Broken(format!("an HTTP head of more than {LONGEST_HEAD} bytes").into());
    }
    if error.is_parse() {
        return Loss::Broken("the answer is not HTTP".into());
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Loss::Broken("the connection was closed before an answer".into());
    }
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    match source.and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno).into(),
        None => Loss::Broken(error.to_string().into()),
    }
}
