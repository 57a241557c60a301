//! Connections: how many, how long, and who is at the other end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::routes::Routes;
use super::{Caller, Feed};

/// So many at once; whoever comes later waits in the kernel's queue.
const CONNECTIONS: usize = 64;
/// A head must have come by then; a connection without a request is closed as well.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// Longest head of a request.
const LONGEST_HEAD: usize = 16 * 1024;
/// A silent peer is asked after so many seconds whether it is still there.
const ASK_AFTER: u32 = 60;
/// Waited for when the kernel has no file descriptor left.
const BREATH: Duration = Duration::from_millis(100);

/// A kind of socket that connections come from.
pub(super) trait Door {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and whose it is, if the kernel says.
    async fn next(&self) -> io::Result<(Self::Stream, Option<Caller>)>;
}

impl Door for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Option<Caller>)> {
        let (stream, _) = self.accept().await?;
        // Who follows the events and loses power never says goodbye.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &ASK_AFTER)?;
        Ok((stream, None))
    }
}

impl Door for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Option<Caller>)> {
        let (stream, _) = self.accept().await?;
        let credentials = stream.peer_cred()?;
        let caller = Caller {
            uid: credentials.uid(),
            // A process of another PID namespace has number 0 here.
            pid: credentials.pid().filter(|pid| *pid > 0),
        };
        Ok((stream, Some(caller)))
    }
}

/// Answers on every connection that comes, for ever.
pub(super) async fn accept(door: impl Door, feed: Feed) {
    let routes = Arc::new(Routes::new(feed));
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    // A semaphore is closed only by closing it, which nobody does.
    while let Ok(place) = room.clone().acquire_owned().await {
        match door.next().await {
            Ok((stream, caller)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    converse(stream, caller, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!("cannot accept a connection: {error}");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
}

async fn converse<S>(stream: S, caller: Option<Caller>, routes: Arc<Routes>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(&request, caller).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_header_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!("a connection ended early: {error}");
    }
}
