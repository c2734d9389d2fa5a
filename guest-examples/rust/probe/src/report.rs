//! Where results go.

use crate::sandhog::worker::{kv, queue};

/// The queue results are pushed to unless the script says otherwise.
const DEFAULT: &str = "probe-results";

/// Where results go, and all of them so far.
pub(crate) struct Report {
    place: Place,
    lines: Vec<String>,
}

enum Place {
    Queue(String),
    Key(String),
    Nowhere,
}

impl Report {
    /// Nothing reported yet.
    pub(crate) fn new() -> Self {
        Self { place: Place::Queue(DEFAULT.to_owned()), lines: Vec::new() }
    }

    /// `queue NAME`, `key NAME` or `none`.
    pub(crate) fn send_to(&mut self, words: &[&str]) {
        self.place = match words {
            ["queue", name] => Place::Queue((*name).to_owned()),
            ["key", name] => Place::Key((*name).to_owned()),
            ["none"] => Place::Nowhere,
            _ => panic!("`report` takes `queue NAME`, `key NAME` or `none`"),
        };
    }

    /// Adds a line. That it cannot be written is no reason to stop: tests look at refused calls.
    pub(crate) fn add(&mut self, line: String) {
        match &self.place {
            Place::Queue(name) => drop(queue::push(name, line.as_bytes())),
            Place::Key(name) => {
                let mut text = self.lines.join("\n");
                text.extend(self.lines.last().map(|_| '\n'));
                drop(kv::set(name, (text + &line).as_bytes()));
            }
            Place::Nowhere => {}
        }
        self.lines.push(line);
    }

    /// Every line so far, in one.
    pub(crate) fn all(&self) -> String {
        self.lines.join("; ")
    }
}
