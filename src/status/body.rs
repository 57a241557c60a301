//! Bodies of answers: whole, or made while they are sent.

use std::io::{self, BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// What is sent after the head of an answer.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// So much is written at once.
const CHUNK: usize = 64 * 1024;
/// So many parts wait for a reader.
const AHEAD: usize = 2;
/// A reader that takes nothing for so long holds a copy of the daemon's state, and a thread, no
/// longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body that is there.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    let body = Full::new(bytes.into());
    body.map_err(|never| match never {}).boxed()
}

/// A body that comes in parts.
pub(super) fn parts() -> (Sender, Body) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let body = Parts {
        receiver,
        ended: false,
    };
    (Sender(sender), body.boxed())
}

/// A body that `write` writes, on a thread of its own, as fast as it is read: a report over 100,000
/// routes needs no memory, and nobody else waits for it.
pub(super) fn written(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, body) = parts();
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(CHUNK, Paced { sender, runtime });
        let written = write(&mut out).and_then(|()| out.flush());
        let Paced { sender, runtime } = out.into_parts().0;
        match written {
            Ok(()) => runtime.block_on(sender.end()),
            Err(error) => tracing::debug!("an answer was not sent completely: {error}"),
        }
    });
    body
}

/// Writes at the pace of a reader.
struct Paced {
    sender: Sender,
    runtime: Handle,
}

impl Write for Paced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let send = self.sender.send(Bytes::copy_from_slice(bytes));
        let sent = async { tokio::time::timeout(PATIENCE, send).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(bytes.len()),
            Ok(Err(Gone)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Part {
    Data(Bytes),
    End,
}

/// Where the parts of a body are put. Dropped without [`Sender::end`], the body breaks off in a way
/// that its reader notices: a half is never taken for the whole.
pub(super) struct Sender(mpsc::Sender<Part>);

/// Nobody reads the body any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Sender {
    /// Waits until there is room.
    pub(super) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        let sent = self.0.send(Part::Data(bytes)).await;
        sent.map_err(|_| Gone)
    }

    /// The body is complete.
    pub(super) async fn end(self) {
        // If the reader is gone there is nobody to be told.
        let _ = self.0.send(Part::End).await;
    }

    /// Waits until nobody reads any more.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

struct Parts {
    receiver: mpsc::Receiver<Part>,
    ended: bool,
}

impl HttpBody for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        Poll::Ready(match ready!(self.receiver.poll_recv(context)) {
            Some(Part::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Part::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
