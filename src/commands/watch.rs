//! `srsync status --watch`: the status again and again, in the place of the one before.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Result;
use terminal_size::{Height, Width, terminal_size};

use super::Exit;
use super::client::{Client, ClientError};
use super::output::{stderr, stdout};
use super::status::ask;

/// Shows the status every `period`; a daemon that is restarted is waited for.
pub(super) async fn status(client: &Client, target: &str, period: Duration) -> Result<Exit> {
    let mut screen = Screen::new();
    loop {
        match ask(client, target).await {
            Ok(text) => screen.show(&text)?,
            Err(error @ (ClientError::Denied(_) | ClientError::Refused(_))) => {
                return Err(error.into());
            }
            Err(_) => screen.wait(&format!(
                "waiting for the daemon at {} …\n",
                client.socket().display()
            ))?,
        }
        tokio::time::sleep(period).await;
    }
}

/// Where the status is shown.
struct Screen {
    terminal: bool,
    /// Something was shown.
    begun: bool,
    /// It was said that the daemon is waited for.
    waits: bool,
}

impl Screen {
    fn new() -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            begun: false,
            waits: false,
        }
    }

    fn show(&mut self, text: &str) -> Result<()> {
        self.waits = false;
        let begun = std::mem::replace(&mut self.begun, true);
        let text = match self.terminal {
            true => self.redrawn(text, begun),
            false if begun => format!("\n{text}"),
            false => text.to_owned(),
        };
        stdout(|out| Ok(out.write_all(text.as_bytes())?))
    }

    /// Says once that the daemon is waited for; on a terminal in the place of its status.
    fn wait(&mut self, text: &str) -> Result<()> {
        if self.terminal {
            return self.show(text);
        }
        if !std::mem::replace(&mut self.waits, true) {
            stderr(text);
        }
        Ok(())
    }

    /// Over what is there, line by line, so that nothing flickers.
    fn redrawn(&self, text: &str, begun: bool) -> String {
        let size = terminal_size().map(|(Width(columns), Height(rows))| (columns, rows));
        let (columns, rows) = size.unwrap_or((80, 24));
        let text = cut(text, columns.into(), rows.into());
        let clear = if begun { "" } else { "\x1b[2J" };
        format!("{clear}\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
    }
}

/// As much as a screen holds, the last line of which says how many lines are missing.
fn cut(text: &str, columns: usize, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    // The cursor stands in the line after the last.
    let mut room = rows.saturating_sub(1);
    let needed: usize = lines.iter().map(|line| height(line, columns)).sum();
    if needed > room {
        room = room.saturating_sub(1); // for the line that says so
    }
    let fits = |line: &&&str| {
        let left = room.checked_sub(height(line, columns));
        room = left.unwrap_or(0);
        left.is_some()
    };
    let shown: Vec<&str> = lines.iter().take_while(fits).copied().collect();
    let mut screen: String = shown.iter().map(|line| format!("{line}\n")).collect();
    let missing = lines.len() - shown.len();
    if missing > 0 {
        // A colour that was begun ends here. Writing to a string never fails.
        let _ = writeln!(screen, "\x1b[0m… {missing} more lines");
    }
    screen
}

/// How many rows of a screen a line takes, not counting the codes of colours.
fn height(line: &str, columns: usize) -> usize {
    let mut width = 0_usize;
    let mut in_code = false;
    for c in line.chars() {
        match (in_code, c) {
            (false, '\x1b') => in_code = true,
            (false, _) => width += 1,
            // A code ends with its first letter: `\x1b[31m`.
            (true, c) => in_code = !c.is_ascii_alphabetic(),
        }
    }
    width.div_ceil(columns.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_shown_as_it_is() {
        assert_eq!(cut("a\nb\n", 80, 3), "a\nb\n");
        assert_eq!(cut("", 80, 24), "");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let text = "1\n2\n3\n4\n5\n";
        assert_eq!(cut(text, 80, 4), "1\n2\n\x1b[0m… 3 more lines\n");
        assert_eq!(cut(text, 80, 6), text);
        assert_eq!(cut(text, 80, 1), "\x1b[0m… 5 more lines\n");
        assert_eq!(cut(text, 0, 0), "\x1b[0m… 5 more lines\n");
    }

    #[test]
    fn a_long_line_takes_several_rows_and_colours_take_none() {
        assert_eq!(height("12345", 5), 1);
        assert_eq!(height("123456", 5), 2);
        assert_eq!(height("", 5), 1);
        assert_eq!(height("\x1b[1;31m12345\x1b[0m", 5), 1);
        assert_eq!(
            cut("123456\n2\n3\n", 5, 4),
            "123456\n\x1b[0m… 2 more lines\n"
        );
    }
}
