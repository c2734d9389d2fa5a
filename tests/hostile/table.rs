//! The table of attacks: collected while the tests run, printed once when the last one has reported.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// What an attack came to.
struct Row {
    limit: &'static str,
    outcome: String,
}

static ROWS: Mutex<BTreeMap<&'static str, Row>> = Mutex::new(BTreeMap::new());

/// An attack that has not reported yet. Dropped before, it reports that it failed.
pub(super) struct Pending {
    name: &'static str,
    limit: &'static str,
    outcome: Option<String>,
}

impl Pending {
    pub(super) fn new(name: &'static str, limit: &'static str) -> Self {
        Self { name, limit, outcome: None }
    }

    /// It came to this.
    pub(super) fn report(mut self, outcome: String) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| "FAILED: see above".to_owned());
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(self.name, Row { limit: self.limit, outcome });
        let all = super::all();
        if rows.len() == all.len() {
            // Past the test harness, which keeps what `println!` says to itself.
            let _ = std::io::stdout().write_all(text(&all, &rows).as_bytes());
        }
    }
}

fn text(all: &[&'static str], rows: &BTreeMap<&'static str, Row>) -> String {
    let shown = |name: &str| name.replace('_', " ");
    let missing = Row { limit: "", outcome: "MISSING".to_owned() };
    let of = |name: &str| rows.get(name).unwrap_or(&missing);
    let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
    let first = widest(&mut all.iter().map(|name| name.chars().count()));
    let second = widest(&mut all.iter().map(|name| of(name).limit.chars().count()));
    let mut text = format!("\n{:first$}  {:second$}  outcome\n", "attack", "stopped by");
    for name in all {
        let Row { limit, outcome } = of(name);
        text.push_str(&format!("{:first$}  {limit:second$}  {outcome}\n", shown(name)));
    }
    text.push_str(&format!("{} attacks\n", all.len()));
    text
}
