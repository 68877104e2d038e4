//! Where a command reads and writes.
//!
//! What always holds: nothing that another person or program wrote can move the cursor or change what was shown before:
//! control and direction characters are replaced before anything reaches the terminal.

use crate::failure::Failure;
use crate::json;
use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};

/// Where answers to questions come from.
pub enum Answers {
    /// From the person at the terminal.
    Terminal,
    /// From a list, for tests.
    Scripted(VecDeque<String>),
}

/// Where a command reads and writes.
pub struct Console {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    answers: Answers,
    /// Why what was printed did not get out.
    unprinted: Option<io::Error>,
    /// Whether a person can be asked: stdin and stderr are terminals, and the output is text.
    pub interactive: bool,
    /// Whether output is JSON.
    pub json: bool,
}

impl Console {
    /// The process's own.
    pub fn of_process(json: bool) -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            answers: Answers::Terminal,
            unprinted: None,
            interactive: !json && io::stdin().is_terminal() && io::stderr().is_terminal(),
            json,
        }
    }

    /// One that writes elsewhere; it can be asked when `answers` is given.
    pub fn elsewhere(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        answers: Option<Vec<String>>,
        json: bool,
    ) -> Self {
        let interactive = answers.is_some() && !json;
        let answers = Answers::Scripted(answers.unwrap_or_default().into());
        Self { out, err, answers, unprinted: None, interactive, json }
    }

    /// Whether progress may be drawn: only for a person at a terminal of this process.
    pub fn draws(&self) -> bool {
        self.interactive && matches!(self.answers, Answers::Terminal)
    }

    /// Data, as text.
    pub fn text(&mut self, text: &str) {
        self.bytes(printable(text).as_bytes());
    }

    /// Data made here, byte for byte.
    pub fn bytes(&mut self, data: &[u8]) {
        match self.out.write_all(data).and_then(|()| self.out.flush()) {
            // A reader that went away (`| head`) is no error of the command.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(self.unprinted.get_or_insert(error)),
            Ok(()) | Err(_) => {}
        }
    }

    /// Why data did not get out, if any did not; said once.
    pub fn unprinted(&mut self) -> Option<io::Error> {
        self.unprinted.take()
    }

    /// Data, as one JSON document on one line.
    pub fn document(&mut self, document: &json::Document) {
        self.bytes(format!("{document}\n").as_bytes());
    }

    /// A remark that is no data.
    pub fn remark(&mut self, text: &str) {
        let _ = self.err.write_all(printable(text).as_bytes()).and_then(|()| self.err.flush());
    }

    /// A failure, on stderr.
    pub fn failure(&mut self, failure: &Failure) {
        if self.json {
            let _ = writeln!(self.err, "{}", json::error(failure));
        } else {
            self.remark(&failure.text());
        }
    }

    /// Asks a person and waits for the line typed; `None` when there is nobody (end of input).
    pub async fn ask(&mut self, question: &str) -> Option<String> {
        self.remark(question);
        match &mut self.answers {
            Answers::Scripted(lines) => {
                let line = lines.pop_front();
                self.remark(&format!("{}\n", line.as_deref().unwrap_or("")));
                line
            }
            Answers::Terminal => {
                let read = tokio::task::spawn_blocking(|| {
                    let mut line = String::new();
                    io::stdin().read_line(&mut line).map(|bytes| (bytes > 0).then_some(line))
                });
                read.await.ok().and_then(Result::ok).flatten().map(|line| line.trim().to_string())
            }
        }
    }
}

/// The text without characters that a terminal acts on.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if acts(c) && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// Whether a terminal acts on a character instead of showing it.
pub fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_terminal_acts_on_gets_through() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{202e}c\n"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\n");
        assert_eq!(printable("p50 0.8 s · → ü"), "p50 0.8 s · → ü");
    }
}
