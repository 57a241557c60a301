//! A Kubernetes API on a socket of this namespace, with one node, for daemons that are programs of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

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
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
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
    let answered = match request.contains("watch=true") {
        true => watch(stream, &request, state),
        false => answer(stream, &nodes(&state.lock().unwrap())),
    };
    // Whoever asked may have gone.
    drop(answered);
}

fn answer(mut stream: TcpStream, node: &Value) -> std::io::Result<()> {
    let body = node.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn watch(mut stream: TcpStream, request: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let from = request.split("resourceVersion=").nth(1).unwrap();
    let mut seen: u64 = from.split(['&', ' ']).next().unwrap().parse().unwrap();
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
