//! What is answered to which request. The same on both sockets, but for what changes something:
//! that is for callers whom the kernel names.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request as HttpRequest, Response, StatusCode};
use tokio::sync::{Semaphore, oneshot};

use super::body::{self, Body};
use super::query::Query;
use super::{Answer, Caller, Feed, Request, events, metrics, now};
use crate::model::time::{self, A_DURATION};
use crate::model::{State, Timestamp};
use crate::report::{Detail, Probing, Published, Running, Selection, Style};

/// Where something is answered, and what.
const PATHS: [(&str, &str); 10] = [
    ("/", "the status as a page"),
    ("/status", "the status, for programs and people"),
    ("/gateways", "the gateways that are watched"),
    ("/events", "what happened and what happens, line by line"),
    ("/metrics", "metrics, as OpenMetrics text"),
    ("/healthz", "whether the daemon is alive"),
    ("/readyz", "whether the routes were complete once"),
    (
        "/reload",
        "POST, on the Unix socket: read config and sources again",
    ),
    (
        "/drain",
        "POST, on the Unix socket: move traffic away from a gateway",
    ),
    ("/undrain", "POST, on the Unix socket: undo that"),
];
/// What only looks.
const READS: &str = "GET, HEAD";
/// The names of the query of `/gateways`.
const FORM_NAMES: [&str; 2] = ["output", "color"];
/// What changes something, and how a person asks for it.
const CHANGES: [(&str, &str); 3] = [
    ("/reload", "srsync reload"),
    ("/drain", "srsync gateway drain ADDRESS"),
    ("/undrain", "srsync gateway undrain ADDRESS"),
];
/// The names of the query of `/status`.
const STATUS_NAMES: [&str; 5] = ["output", "color", "limit", "state", "filter"];

/// A loop that shows no life for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// An answer of the loop is waited for so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);
/// So many may follow the events at once, so that there is room for others to connect.
const FOLLOWERS: usize = 32;

const TEXT: &str = "text/plain; charset=utf-8";
/// One file to whoever reads it, two to whoever writes it.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let style = include_str!("page.css");
    include_str!("page.html").replacen("/* page.css */\n", style, 1)
});
/// The page loads nothing, from nowhere; it asks only the server it came from.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Answers the requests of one listener.
pub(super) struct Routes {
    feed: Feed,
    followers: Arc<Semaphore>,
}

type Reply = Response<Body>;

impl Routes {
    pub(super) fn new(feed: Feed) -> Self {
        Self {
            feed,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        }
    }

    /// The answer to a request, whose body is not looked at.
    pub(super) async fn answer<B>(
        &self,
        request: &HttpRequest<B>,
        caller: Option<Caller>,
    ) -> Reply {
        let path = request.uri().path();
        let mut reply = match *request.method() {
            _ if !PATHS.iter().any(|(known, _)| *known == path) => unknown(path),
            _ if CHANGES.iter().any(|(change, _)| *change == path) => {
                self.change(path, request, caller).await
            }
            Method::GET => self.read(path, request),
            // Nobody reads the body: what would write it finds that out.
            Method::HEAD => self.read(path, request).map(|_| body::whole("")),
            _ => refused(READS, format!("{path} is only for reading ({READS})")),
        };
        let headers = reply.headers_mut();
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
        reply
    }

    fn read<B>(&self, path: &str, request: &HttpRequest<B>) -> Reply {
        let query = request.uri().query();
        match path {
            "/" => page(),
            "/status" => self.status(query, request.headers()),
            "/gateways" => self.gateways(query),
            "/events" => self.events(query),
            "/metrics" => self.metrics(),
            "/healthz" => self.health(),
            _ => self.readiness(),
        }
    }

    fn published(&self) -> Arc<Published> {
        self.feed.published.borrow().clone().fresh()
    }

    fn health(&self) -> Reply {
        let age = self.feed.heartbeat.age();
        if age < STUCK {
            return text(StatusCode::OK, "ok");
        }
        let seconds = age.as_secs();
        text(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the daemon's loop has shown no life for {seconds} seconds"),
        )
    }

    fn readiness(&self) -> Reply {
        let published = self.published();
        let running = &published.running;
        if running.ready.is_some() {
            return text(StatusCode::OK, "ok");
        }
        let last = running.last_pass.as_ref();
        let why = match last.and_then(|pass| pass.error.as_ref()) {
            Some(error) => format!("no pass was complete yet; the last one: {error}"),
            None => "no pass was complete yet".to_owned(),
        };
        text(StatusCode::SERVICE_UNAVAILABLE, why)
    }

    fn metrics(&self) -> Reply {
        match metrics::text(self.published()) {
            Ok(text) => reply(StatusCode::OK, metrics::CONTENT_TYPE, body::whole(text)),
            Err(_) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics cannot be written",
            ),
        }
    }

    fn gateways(&self, query: Option<&str>) -> Reply {
        let form = Query::parse(query, &FORM_NAMES).and_then(|query| form(&query));
        let form = match form {
            Ok(form) => form,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        // It is asked for at this moment, and that is the moment it is of.
        let published = as_of(now(), &self.published());
        let mut bytes = Vec::new();
        match write_gateways(&published, form, &mut bytes) {
            Ok(()) => reply(StatusCode::OK, form.content_type(), body::whole(bytes)),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    fn events(&self, query: Option<&str>) -> Reply {
        let wanted = match events::Wanted::of(query) {
            Ok(wanted) => wanted,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        let Ok(place) = self.followers.clone().try_acquire_owned() else {
            return text(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{FOLLOWERS} others read the events already; come back later"),
            );
        };
        let body = events::stream(&self.feed, wanted, place);
        reply(StatusCode::OK, wanted.content_type(), body)
    }

    fn status(&self, query: Option<&str>, headers: &HeaderMap) -> Reply {
        let (form, selection) = match status_query(query) {
            Ok(wanted) => wanted,
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        };
        let published = self.published();
        let tag = tag(&published, query);
        let mut reply = if has_it(headers, &tag) {
            let mut unchanged = Response::new(body::whole(""));
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        } else {
            let body = body::written(move |out| write(&published, form, selection.as_ref(), out));
            reply(StatusCode::OK, form.content_type(), body)
        };
        // It may be kept, but not shown without asking.
        set(&mut reply, header::CACHE_CONTROL, "no-cache");
        set(&mut reply, header::ETAG, &tag);
        reply
    }

    async fn change<B>(
        &self,
        path: &str,
        request: &HttpRequest<B>,
        caller: Option<Caller>,
    ) -> Reply {
        let Some(by) = caller else {
            let command = CHANGES.iter().find(|(change, _)| *change == path);
            let command = command.map_or("srsync", |(_, command)| command);
            return text(
                StatusCode::FORBIDDEN,
                format!("this is for the Unix socket: `{command}` on the node itself"),
            );
        };
        if request.method() != Method::POST {
            return refused("POST", format!("{path} changes something (POST)"));
        }
        let (answer, answered) = oneshot::channel();
        match wanted(path, request.uri().query(), by, answer) {
            Ok(wanted) => (self.feed.requests)(wanted),
            Err(why) => return text(StatusCode::BAD_REQUEST, why),
        }
        match tokio::time::timeout(ANSWER_WITHIN, answered).await {
            Ok(Ok(Ok(done))) => text(StatusCode::OK, done),
            Ok(Ok(Err(why))) => text(StatusCode::UNPROCESSABLE_ENTITY, why),
            Ok(Err(_)) => text(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending"),
            Err(_) => text(
                StatusCode::GATEWAY_TIMEOUT,
                "the daemon was asked, but has not answered yet; see `srsync events`",
            ),
        }
    }
}

/// What the loop is asked to do.
fn wanted(
    path: &str,
    query: Option<&str>,
    by: Caller,
    answer: oneshot::Sender<Answer>,
) -> Result<Request, String> {
    let known: &[&str] = match path {
        "/drain" => &["gateway", "for"],
        "/undrain" => &["gateway"],
        _ => &[],
    };
    let query = Query::parse(query, known)?;
    if path == "/reload" {
        return Ok(Request::Reload { by, answer });
    }
    let gateway = query.text("gateway").ok_or("`gateway` is missing")?;
    let gateway = gateway
        .parse()
        .map_err(|_| format!("`gateway` must be an IP address, not `{gateway}`"))?;
    let lasting = |text: &str| {
        let lasting = time::lasting(text);
        lasting.ok_or_else(|| format!("`for` must be {A_DURATION}, not `{text}`"))
    };
    Ok(match path {
        "/drain" => Request::Drain {
            gateway,
            lasting: query.text("for").map(lasting).transpose()?,
            by,
            answer,
        },
        _ => Request::Undrain {
            gateway,
            by,
            answer,
        },
    })
}

/// A form of the status.
#[derive(Debug, Clone, Copy)]
enum Form {
    Text(Style),
    Json,
    Yaml,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Text(_) => TEXT,
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
        }
    }
}

fn form(query: &Query) -> Result<Form, String> {
    let colour = query.switch("color", false)?;
    let style = |detail| Form::Text(Style { colour, detail });
    match query.text("output") {
        None | Some("json") => Ok(Form::Json),
        Some("yaml") => Ok(Form::Yaml),
        Some("text") => Ok(style(Detail::Short)),
        Some("wide") => Ok(style(Detail::Wide)),
        Some(other) => Err(format!(
            "`output` must be text, wide, json or yaml, not `{other}`"
        )),
    }
}

fn status_query(query: Option<&str>) -> Result<(Form, Option<Selection>), String> {
    let query = Query::parse(query, &STATUS_NAMES)?;
    let form = form(&query)?;
    let selection = Selection {
        limit: query.number("limit")?,
        state: query.text("state").map(state).transpose()?,
        text: query.text("filter").map(str::to_owned),
    };
    let all = selection == Selection::default();
    Ok((form, (!all).then_some(selection)))
}

fn state(word: &str) -> Result<State, String> {
    let found = State::ALL.into_iter().find(|state| state.name() == word);
    found.ok_or_else(|| {
        let words = State::ALL.map(State::name).join(", ");
        format!("`state` must be one of {words}, not `{word}`")
    })
}

fn write(
    published: &Published,
    form: Form,
    selection: Option<&Selection>,
    mut out: &mut dyn Write,
) -> io::Result<()> {
    let aged;
    let published = match form {
        // Text says how long ago something was, so that it must know when it is read. Programs get
        // the moments, with that of the copy, and can tell one that is old.
        Form::Text(_) => {
            aged = as_of(now(), published);
            &aged
        }
        Form::Json | Form::Yaml => published,
    };
    published.report(selection, |report| match form {
        Form::Text(style) => report.write_text(out, style),
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)
        }
        Form::Yaml => serde_yaml::to_io_writer(&mut out, report).map_err(io::Error::other),
    })
}

fn write_gateways(published: &Published, form: Form, mut out: &mut dyn Write) -> io::Result<()> {
    let gateways = published.gateways();
    match form {
        Form::Text(style) => gateways.write_text(out, style),
        Form::Json => {
            serde_json::to_writer_pretty(&mut out, &gateways)?;
            writeln!(out)
        }
        Form::Yaml => serde_yaml::to_io_writer(&mut out, &gateways).map_err(io::Error::other),
    }
}

fn as_of(now: Timestamp, published: &Published) -> Published {
    let running = Running {
        now,
        ..Running::clone(&published.running)
    };
    Published {
        running: Arc::new(running),
        ..published.clone()
    }
}

/// A name for what is answered to this query as long as there is nothing new.
fn tag(published: &Published, query: Option<&str>) -> String {
    let running = &published.running;
    let mut hasher = DefaultHasher::new();
    (running.started, running.now, query).hash(&mut hasher);
    // The clock may stand still, or be set back, from one copy to the next.
    running.counters.durations.count().hash(&mut hasher);
    let newest = running.recent.last().map(|newest| newest.sequence);
    newest.hash(&mut hasher);
    // Probes end all the time, without a copy for each.
    let probed = running.gateways.iter().flat_map(|gateway| &gateway.probing);
    let last = |probing: &Probing| probing.last.as_ref().map(|last| last.time);
    for probing in probed {
        (probing.sent, last(probing)).hash(&mut hasher);
    }
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether the asker has what has this tag.
fn has_it(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == tag || known == "*")
}

fn page() -> Reply {
    let mut page = reply(
        StatusCode::OK,
        "text/html; charset=utf-8",
        body::whole(PAGE.as_str()),
    );
    set(&mut page, header::CONTENT_SECURITY_POLICY, POLICY);
    set(&mut page, header::REFERRER_POLICY, "no-referrer");
    set(&mut page, header::CACHE_CONTROL, "no-cache");
    page
}

fn unknown(path: &str) -> Reply {
    let known = PATHS.map(|(path, what)| format!("  {path:<10} {what}\n"));
    let known = known.concat();
    text(
        StatusCode::NOT_FOUND,
        format!("there is no {path} here; there are:\n{known}"),
    )
}

fn refused(allow: &'static str, why: String) -> Reply {
    let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, why);
    set(&mut refusal, header::ALLOW, allow);
    refusal
}

fn text(status: StatusCode, text: impl Into<String>) -> Reply {
    let mut text = text.into();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    reply(status, TEXT, body::whole(text))
}

fn reply(status: StatusCode, content_type: &str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    set(&mut reply, header::CONTENT_TYPE, content_type);
    reply
}

fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    // Every value is written in this file, in ASCII.
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}
