//! The table of attacks: collected while the tests run, printed once when the last one has reported.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What an attack came to.
struct Row {
    limit: &'static str,
    outcome: String,
    figures: Option<Figures>,
}

/// The measurements during an attack.
#[derive(Clone, Copy)]
pub(super) struct Figures {
    /// The longest time of 99 of 100 jobs of a neighbour, from push to receipt.
    pub(super) p99: Duration,
    /// The longest command of Redis.
    pub(super) longest: Duration,
}

static ROWS: Mutex<BTreeMap<&'static str, Row>> = Mutex::new(BTreeMap::new());

/// An attack that has not reported yet. Dropped before, it reports that it failed.
pub(super) struct Pending {
    name: &'static str,
    limit: &'static str,
    outcome: Option<String>,
    figures: Option<Figures>,
}

impl Pending {
    pub(super) fn new(name: &'static str, limit: &'static str) -> Self {
        Self { name, limit, outcome: None, figures: None }
    }

    /// It came to this.
    pub(super) fn report(mut self, outcome: String) {
        self.outcome = Some(outcome);
    }

    /// The same, with the measurements during the attack.
    pub(super) fn report_with(mut self, outcome: String, figures: Figures) {
        self.figures = Some(figures);
        self.report(outcome);
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| "FAILED: see above".to_owned());
        let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(self.name, Row { limit: self.limit, outcome, figures: self.figures.take() });
        let all = super::all();
        if rows.len() == all.len() {
            // Past the test harness, which keeps what `println!` says to itself.
            let _ = std::io::stdout().write_all(text(&all, &rows).as_bytes());
        }
    }
}

fn text(all: &[&'static str], rows: &BTreeMap<&'static str, Row>) -> String {
    let shown = |name: &str| name.replace('_', " ");
    let missing = Row { limit: "", outcome: "MISSING".to_owned(), figures: None };
    let of = |name: &str| rows.get(name).unwrap_or(&missing);
    let widest = |cells: &mut dyn Iterator<Item = usize>| cells.max().unwrap_or(0);
    let first = widest(&mut all.iter().map(|name| name.chars().count()));
    let second = widest(&mut all.iter().map(|name| of(name).limit.chars().count()));
    let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1000.0);
    let mut text = format!(
        "\n{:first$}  {:second$}  {:>12}  {:>12}  outcome\n",
        "attack", "stopped by", "neighbour", "in Redis"
    );
    for name in all {
        let Row { limit, outcome, figures } = of(name);
        let (p99, longest) =
            figures.map_or(Default::default(), |figures| (ms(figures.p99), ms(figures.longest)));
        text.push_str(&format!(
            "{:first$}  {limit:second$}  {p99:>12}  {longest:>12}  {outcome}\n",
            shown(name)
        ));
    }
    text.push_str("neighbour: p99 of its jobs meanwhile; in Redis: its longest command\n");
    text.push_str(&format!("{} attacks\n", all.len()));
    text
}
