//! Reads one file without ever hanging, and without trusting its size.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use crate::spec::Problem;

/// The largest file that is read: a million destinations fit.
pub const LARGEST: u64 = 32 << 20;

/// Why the text of a file is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no such file or directory")]
    Missing,
    /// A symbolic link to nowhere.
    #[error("it is a symbolic link to `{}`, which does not exist", .0.display())]
    Dangling(PathBuf),
    /// Not a regular file.
    #[error("it is {0}, not a regular file")]
    NotAFile(&'static str),
    /// More than [`LARGEST`].
    #[error("it is {size}, and at most {} are read", mebibytes(LARGEST))]
    TooLarge {
        /// The size in words.
        size: String,
    },
    /// Not UTF-8.
    #[error("it is not UTF-8 text: {byte} at byte {column} of line {line}")]
    NotText {
        /// The offending byte in words.
        byte: String,
        /// Its line, from 1.
        line: usize,
        /// Its position in the line in bytes, from 1.
        column: usize,
        /// Whether the file begins as UTF-16 does.
        utf16: bool,
    },
    /// The operating system said no.
    #[error("{0}")]
    Os(#[source] io::Error),
}

impl ReadError {
    /// As a finding, `what` being what could not be read.
    pub fn problem(&self, what: &str) -> Problem {
        let problem = Problem::new(format!("cannot read {what}: {self}"), "cannot be read");
        problem.maybe_help(self.help())
    }

    fn help(&self) -> Option<String> {
        let help = match self {
            Self::TooLarge { .. } => {
                "split it, or move the destinations to files named in `destinationsFrom`"
            }
            Self::NotText { utf16: true, .. } => "save it as UTF-8; it looks like UTF-16",
            Self::NotText { .. } => "save it as UTF-8",
            Self::NotAFile("a directory") => {
                "give the directory itself as a path, or rename it so that it does not end like a document"
            }
            Self::NotAFile("a named pipe (FIFO)") => {
                "to read from another command, pipe it into standard input and give `-` as the path"
            }
            Self::Os(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // By number: asking for the name may mean asking a server, which a daemon cannot wait for.
                let user = nix::unistd::geteuid();
                return Some(format!(
                    "srsync runs as user {user} here: let it read this (`chmod`, `chown`, `chgrp`)"
                ));
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}

/// The text of a regular file.
pub(super) fn file(path: &Path) -> Result<String, ReadError> {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer that may never come.
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(O_NONBLOCK)
        .open(path);
    let file = opened.map_err(|error| cannot_open(path, error))?;
    let size = regular_size(&file)?;
    if size > LARGEST {
        return Err(ReadError::TooLarge {
            size: mebibytes(size),
        });
    }
    decode(limited(file, size)?)
}

/// The text of standard input, or of anything else that is open.
pub(super) fn stream(input: impl Read) -> Result<String, ReadError> {
    decode(limited(input, 0)?)
}

fn cannot_open(path: &Path, error: io::Error) -> ReadError {
    match error.kind() {
        io::ErrorKind::NotFound => match std::fs::read_link(path) {
            Ok(goal) => ReadError::Dangling(goal),
            Err(_) => ReadError::Missing,
        },
        _ => match error.raw_os_error() {
            // What opening a socket says.
            Some(nix::libc::ENXIO) => ReadError::NotAFile("a socket or device"),
            _ => ReadError::Os(error),
        },
    }
}

fn regular_size(file: &File) -> Result<u64, ReadError> {
    let metadata = file.metadata().map_err(ReadError::Os)?;
    let kind = metadata.file_type();
    match () {
        () if kind.is_file() => Ok(metadata.len()),
        () if kind.is_dir() => Err(ReadError::NotAFile("a directory")),
        () if kind.is_fifo() => Err(ReadError::NotAFile("a named pipe (FIFO)")),
        () => Err(ReadError::NotAFile("a device")),
    }
}

/// Everything, unless it is more than [`LARGEST`]: files grow, and some have no size at all.
fn limited(input: impl Read, expected: u64) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    let read = input.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(ReadError::Os)?;
    if bytes.len() as u64 > LARGEST {
        let size = format!("more than {}", mebibytes(LARGEST));
        return Err(ReadError::TooLarge { size });
    }
    Ok(bytes)
}

/// Bytes as text, or the place where they are none.
pub fn decode(bytes: Vec<u8>) -> Result<String, ReadError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        let (before, rest) = bytes.split_at(good);
        let line_start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |i| i + 1);
        ReadError::NotText {
            byte: rest
                .first()
                .map_or_else(String::new, |b| format!("0x{b:02x}")),
            line: before.iter().filter(|b| **b == b'\n').count() + 1,
            column: good - line_start + 1,
            utf16: matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]),
        }
    })
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1 << 20);
    match tenths % 10 {
        0 => format!("{} MiB", tenths / 10),
        rest => format!("{}.{rest} MiB", tenths / 10),
    }
}
