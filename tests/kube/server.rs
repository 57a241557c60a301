//! A Kubernetes API on a socket of this namespace, with one node, for daemons that are programs of their own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::tables::listen;

/// Long enough to let others work, too short to be waited for.
const MOMENT: Duration = Duration::from_millis(5);

/// The server; while it is stopped connections are refused.
pub struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: Option<JoinHandle<()>>,
    kubeconfig: PathBuf,
}

#[derive(Default)]
struct State {
    labels: Value,
    version: u64,
    running: bool,
    requests: usize,
    /// Collections by path, such as `/apis/srsync.dev/v1alpha1/staticroutes`.
    collections: BTreeMap<String, Collection>,
}

/// Objects by name, and what happened to them, each with its version.
#[derive(Default)]
struct Collection {
    objects: BTreeMap<String, Value>,
    events: Vec<(u64, Value)>,
}

impl Server {
    /// With a node `worker-1` of these labels; runs.
    pub fn start(labels: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        let kubeconfig = std::env::temp_dir().join(format!("srsync-kubeconfig-{pid}-{port}"));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let mut server = Self {
            port,
            state: Arc::default(),
            accepting: None,
            kubeconfig,
        };
        server.label(labels);
        server.accept(listener);
        server
    }

    /// The path of a KUBECONFIG for it.
    pub fn kubeconfig(&self) -> &str {
        self.kubeconfig.to_str().unwrap()
    }

    /// The node has these labels from now on.
    pub fn label(&self, labels: Value) {
        let mut state = self.state.lock().unwrap();
        state.labels = labels;
        state.version += 1;
    }

    /// It has this collection, also where there are no objects in it.
    pub fn has(&self, path: &str) {
        let mut state = self.state.lock().unwrap();
        state.collections.entry(path.to_owned()).or_default();
    }

    /// This object is there from now on, in the place of one of the same name.
    pub fn put(&self, path: &str, mut object: Value) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let collection = state.collections.entry(path.to_owned()).or_default();
        let before = collection.objects.insert(name, object.clone());
        let kind = before.map_or("ADDED", |_| "MODIFIED");
        let event = json!({"type": kind, "object": object});
        collection.events.push((version, event));
    }

    /// No object of this name is there any more.
    pub fn delete(&self, path: &str, name: &str) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        let version = state.version;
        let collection = state.collections.get_mut(path).unwrap();
        let mut object = collection.objects.remove(name).unwrap();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let event = json!({"type": "DELETED", "object": object});
        collection.events.push((version, event));
    }

    /// How many requests it got.
    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    /// Ends it, and all connections.
    pub fn stop(&mut self) {
        self.state.lock().unwrap().running = false;
        if let Some(accepting) = self.accepting.take() {
            accepting.join().unwrap();
        }
    }

    /// Starts it again.
    pub fn resume(&mut self) {
        let listener = listen(("127.0.0.1", self.port));
        self.accept(listener);
    }

    fn accept(&mut self, listener: TcpListener) {
        self.state.lock().unwrap().running = true;
        listener.set_nonblocking(true).unwrap();
        let state = self.state.clone();
        self.accepting = Some(thread::spawn(move || {
            let mut serving = Vec::new();
            while state.lock().unwrap().running {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let state = state.clone();
                        serving.push(thread::spawn(move || serve(stream, &state)));
                    }
                    Err(_) => thread::sleep(MOMENT),
                }
            }
            serving
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        }));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.lock().unwrap().running = false;
        // There is nothing to do about a failure.
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

/// One request for each connection.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    stream.set_nonblocking(false).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else {
        return;
    };
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    state.lock().unwrap().requests += 1;
    let path = request.split([' ', '?']).nth(1).unwrap().to_owned();
    let is_watch = request.contains("watch=true");
    let is_there = state.lock().unwrap().collections.contains_key(&path);
    let answered = match (path.starts_with("/apis/"), is_there, is_watch) {
        (false, _, true) => watch(stream, &request, state),
        (false, _, false) => answer(stream, "200 OK", &nodes(&state.lock().unwrap())),
        (true, false, _) => {
            let status = super::api::status(404, "404 page not found");
            answer(stream, "404 Not Found", &status)
        }
        (true, true, true) => watch_objects(stream, &request, (&path, state)),
        (true, true, false) => answer(stream, "200 OK", &list(&path, &state.lock().unwrap())),
    };
    // Whoever asked may have gone.
    drop(answered);
}

fn list(path: &str, state: &State) -> Value {
    let objects = &state.collections[path].objects;
    let items: Vec<&Value> = objects.values().collect();
    json!({"metadata": {"resourceVersion": state.version.to_string()}, "items": items})
}

fn watch_objects(
    mut stream: TcpStream,
    request: &str,
    (path, state): (&str, &Mutex<State>),
) -> std::io::Result<()> {
    let mut seen = version_in(request);
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    loop {
        thread::sleep(MOMENT);
        let state = state.lock().unwrap();
        if !state.running {
            return Ok(());
        }
        let events = state.collections[path].events.iter();
        for (version, event) in events {
            if *version > seen {
                writeln!(stream, "{event}")?;
                seen = *version;
            }
        }
    }
}

fn version_in(request: &str) -> u64 {
    let from = request.split("resourceVersion=").nth(1).unwrap();
    from.split(['&', ' ']).next().unwrap().parse().unwrap()
}

fn answer(mut stream: TcpStream, code: &str, object: &Value) -> std::io::Result<()> {
    let body = object.to_string();
    let head =
        format!("HTTP/1.1 {code}\r\nContent-Type: application/json\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn watch(mut stream: TcpStream, request: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut seen = version_in(request);
    write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    loop {
        thread::sleep(MOMENT);
        let state = state.lock().unwrap();
        if !state.running {
            return Ok(());
        }
        if state.version > seen {
            seen = state.version;
            writeln!(
                stream,
                "{}",
                json!({"type": "MODIFIED", "object": node(&state)})
            )?;
        }
    }
}

fn nodes(state: &State) -> Value {
    let version = state.version.to_string();
    json!({"metadata": {"resourceVersion": version}, "items": [node(state)]})
}

fn node(state: &State) -> Value {
    let version = state.version.to_string();
    json!({"kind": "PartialObjectMetadata", "metadata": {
        "name": "worker-1", "resourceVersion": version, "labels": state.labels,
    }})
}
