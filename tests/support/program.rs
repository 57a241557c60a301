//! The real program on the documents of a test, in a namespace of the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use super::Namespace;

/// A directory of documents, which goes away with the test, and the program that reads it.
pub struct Srsync<'n> {
    directory: PathBuf,
    namespace: Option<&'n Namespace>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
}

impl<'n> Srsync<'n> {
    /// In the namespace of the calling thread.
    pub fn here() -> Self {
        Self::new(None)
    }

    /// In another namespace.
    pub fn inside(namespace: &'n Namespace) -> Self {
        Self::new(Some(namespace))
    }

    fn new(namespace: Option<&'n Namespace>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("srsync-test-{}-{count}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        // The machine's own config file must not have a say, nor what others on it remember beside their socket.
        let config = format!("socket: {}\n", directory.join(".socket").display());
        fs::write(directory.join(".config"), config).unwrap();
        Self {
            directory,
            namespace,
            flags: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// With more flags (split at white space), for every run.
    pub fn with(mut self, flags: &str) -> Self {
        self.flags
            .extend(flags.split_whitespace().map(str::to_owned));
        self
    }

    /// With an environment variable, for every run.
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The directory of the documents.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes the native document `name`; `spec` is the inside of a YAML mapping in braces.
    pub fn document(&self, name: &str, spec: &str) {
        let text = format!(
            "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {{name: {name}}}\n\
             spec: {{{spec}}}\n"
        );
        self.file(&format!("{name}.yaml"), &text);
    }

    /// Takes a document away.
    pub fn without(&self, name: &str) {
        fs::remove_file(self.directory.join(format!("{name}.yaml"))).unwrap();
    }

    /// Writes any file of the directory.
    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    /// The program with these arguments (split at white space), ready to run.
    pub fn command(&self, arguments: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_srsync");
        let mut command = match self.namespace {
            Some(namespace) => namespace.command(program),
            None => Command::new(program),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SRSYNC_") {
                command.env_remove(name);
            }
        }
        command
            .env_remove("NODE_NAME")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .arg("--config")
            .arg(self.directory.join(".config"))
            .args(&self.flags)
            .args(arguments.split_whitespace())
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &str) -> Run {
        let output = self.command(arguments).output().unwrap();
        Run::new(arguments, &output)
    }

    /// `apply` of the directory, reporting in JSON.
    pub fn apply(&self) -> Run {
        self.on_directory("-o json apply")
    }

    /// `plan --exit-code` of the directory, reporting in JSON.
    pub fn plan(&self) -> Run {
        self.on_directory("-o json plan --exit-code")
    }

    /// Runs a command on the directory.
    pub fn on_directory(&self, arguments: &str) -> Run {
        let mut command = self.command(arguments);
        let output = command.arg(&self.directory).output().unwrap();
        Run::new(arguments, &output)
    }

    /// `apply` of the directory, left running; its report is thrown away.
    pub fn start_apply(&self) -> Child {
        let mut command = self.command("-q apply");
        command.arg(&self.directory);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    /// Applies, which must succeed completely and leave nothing to do.
    pub fn converge(&self) -> Run {
        let run = self.apply().exits(0);
        self.plan().exits(0);
        run
    }
}

impl Drop for Srsync<'_> {
    fn drop(&mut self) {
        // There is nothing to do about a failure.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// How a run of the program ended.
pub struct Run {
    arguments: String,
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    fn new(arguments: &str, output: &Output) -> Self {
        Self {
            arguments: arguments.to_owned(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails with everything it said unless it ended with this code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "srsync {}\nstdout: {}\nstderr: {}",
            self.arguments,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The report, where it was asked for as JSON.
    #[track_caller]
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.stdout, self.stderr))
    }

    /// A number of the report's summary, such as `add`.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        let summary = &self.report()["summary"];
        let number = summary[name]
            .as_u64()
            .or_else(|| summary["states"][name].as_u64());
        number.unwrap_or_else(|| panic!("no {name} in {summary}"))
    }

    /// The report's row about a prefix that is wanted.
    #[track_caller]
    pub fn row(&self, prefix: &str) -> Value {
        let report = self.report();
        let mut rows = report["routes"].as_array().unwrap().iter();
        let row = rows.find(|row| row["prefix"] == prefix && row.get("document").is_some());
        row.unwrap_or_else(|| panic!("no row of {prefix} in {report:#}"))
            .clone()
    }

    /// State and reason of a prefix that is wanted, as `State: message`.
    #[track_caller]
    pub fn state(&self, prefix: &str) -> String {
        let row = self.row(prefix);
        let state = row["state"].as_str().unwrap_or("none");
        match row["reason"]["message"].as_str() {
            Some(message) => format!("{state}: {message}"),
            None => state.to_owned(),
        }
    }
}
