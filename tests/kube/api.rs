//! A Kubernetes API in this process: it answers what a test has written down, one request after the other.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame};
use hyper::http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use srsync::kube::Trouble;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a request gets.
pub enum Answer {
    /// This status and this object.
    Json(u16, Value),
    /// The same, with the header `Retry-After`.
    Later(u16, u64),
    /// No answer.
    Broken(io::ErrorKind),
    /// An answer that goes on.
    Stream(mpsc::UnboundedReceiver<Result<Bytes, io::Error>>),
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Came {
    pub line: String,
    pub kind: String,
    pub body: Value,
    pub at: Instant,
}

/// The API: what it is to answer, and what it was asked. When it has answered all that, nothing happens
/// any more.
#[derive(Clone, Default)]
pub struct Api {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    came: Arc<Mutex<Vec<Came>>>,
    /// What it is to say to those who write Events, and what they wrote.
    to_events: Arc<Mutex<VecDeque<u16>>>,
    events: Arc<Mutex<Vec<Came>>>,
    connections: Arc<Mutex<usize>>,
    last: Arc<Mutex<Option<Value>>>,
}

impl Api {
    /// Answers this, after all that it is to answer already.
    pub fn then(&self, answer: Answer) -> &Self {
        self.answers.lock().unwrap().push_back(answer);
        self
    }

    /// Answers with an object.
    pub fn json(&self, code: u16, object: Value) -> &Self {
        self.then(Answer::Json(code, object))
    }

    /// Answers with a refusal, as the real one does.
    pub fn refuses(&self, code: u16, message: &str) -> &Self {
        self.json(code, status(code, message))
    }

    /// Answers with a stream, of which the other end is returned.
    pub fn stream(&self) -> Events {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.then(Answer::Stream(receiver));
        Events(sender)
    }

    /// Answers the next Event with this status. Without that they are all taken; none of them is in `came`.
    pub fn answers_event(&self, code: u16) -> &Self {
        self.to_events.lock().unwrap().push_back(code);
        self
    }

    /// The Events that were written until now, or were to be.
    pub fn events(&self) -> Vec<Came> {
        self.events.lock().unwrap().clone()
    }

    /// What it was asked until now.
    pub fn came(&self) -> Vec<Came> {
        self.came.lock().unwrap().clone()
    }

    /// How often somebody connected.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Makes a client of it.
    pub async fn connect(&self) -> Result<Client, Trouble> {
        *self.connections.lock().unwrap() += 1;
        let api = self.clone();
        let service = tower::service_fn(move |request| api.clone().answer(request));
        Ok(Client::new(service, "default"))
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Sent>, io::Error> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = head.headers.get("content-type");
        let came = Came {
            line: format!("{} {}", head.method, head.uri),
            kind: kind.map_or(String::new(), |kind| kind.to_str().unwrap().to_owned()),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            at: Instant::now(),
        };
        if head.uri.path().contains("/events") {
            let object = came.body.clone();
            self.events.lock().unwrap().push(came);
            let refused = self.to_events.lock().unwrap().pop_front();
            let (code, object) = match refused {
                Some(code) => (code, status(code, "no")),
                None => (201, object),
            };
            let response = Response::builder().status(code);
            return Ok(response.body(Sent::Once(Some(object))).unwrap());
        }
        self.came.lock().unwrap().push(came);
        let next = self.answers.lock().unwrap().pop_front();
        let response = |code: u16| Response::builder().status(code);
        let (response, body) = match next {
            // Nothing was said about that, so all is as it was: a watch sees no event.
            None if head.uri.to_string().contains("watch=true") => (response(200), Sent::Silence),
            None => (response(200), Sent::Once(self.last.lock().unwrap().clone())),
            Some(Answer::Broken(kind)) => return Err(kind.into()),
            Some(Answer::Json(code, object)) if code == 200 => {
                *self.last.lock().unwrap() = Some(object.clone());
                (response(code), Sent::Once(Some(object)))
            }
            Some(Answer::Json(code, object)) => (response(code), Sent::Once(Some(object))),
            Some(Answer::Later(code, seconds)) => {
                let object = status(code, "busy");
                let response = response(code).header("Retry-After", seconds);
                (response, Sent::Once(Some(object)))
            }
            Some(Answer::Stream(events)) => (response(200), Sent::Stream(events)),
        };
        Ok(response.body(body).unwrap())
    }
}

/// What the real one says when it refuses.
pub fn status(code: u16, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
}

/// The end of a stream at which it is written; without it the stream ends.
pub struct Events(mpsc::UnboundedSender<Result<Bytes, io::Error>>);

impl Events {
    pub fn event(&self, kind: &str, object: Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        // In two pieces, as they come over a network.
        let (first, second) = line.split_at(line.len() / 2);
        for piece in [first, second] {
            let _ = self.0.send(Ok(Bytes::copy_from_slice(piece.as_bytes())));
        }
    }

    pub fn breaks(self) {
        let _ = self.0.send(Err(io::ErrorKind::ConnectionReset.into()));
    }
}

/// The body of an answer.
pub enum Sent {
    Once(Option<Value>),
    Stream(mpsc::UnboundedReceiver<Result<Bytes, io::Error>>),
    Silence,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match &mut *self {
            Self::Silence => Poll::Pending,
            Self::Once(object) => {
                let text = object.take().map(|object| object.to_string());
                Poll::Ready(text.map(|text| Ok(Frame::data(Bytes::from(text)))))
            }
            Self::Stream(events) => {
                let next = events.poll_recv(context);
                next.map(|next| next.map(|piece| piece.map(Frame::data)))
            }
        }
    }
}
