//! How one job looks: as a row of a table, as a sheet of its own, in JSON. Payloads and reasons come from outside
//! and are made harmless here.

use std::fmt::Write as _;

use sandhog::job::inspect::{JobRow, Place};
use sandhog::job::status::Progress;
use serde_json::{Value, json};

use crate::cli::output;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// Characters of a payload in a table.
const PREVIEW_CHARS: usize = 40;
/// Characters of a reason in a table.
const REASON_CHARS: usize = 50;
/// Characters of a payload on a sheet.
const PAYLOAD_CHARS: usize = 20_000;

/// The word for a place.
pub(super) fn place_name(place: Place) -> &'static str {
    match place {
        Place::Waiting => "waiting",
        Place::Ready => "ready",
        Place::Inflight => "inflight",
        Place::Delayed => "delayed",
        Place::Parked => "parked",
        Place::Dead => "dead",
    }
}

/// Rows under a header.
pub(super) fn table(rows: &[JobRow], now_ms: u64) -> Table {
    // Crashes are rare, and a column of zeros takes its width from the texts.
    let has_crashes = rows.iter().any(|row| row.crashes > 0);
    let crashes = has_crashes.then_some(Column::Number("crashes"));
    let head = [Column::Text("place"), Column::Id("id"), Column::Number("attempts")];
    let tail =
        [Column::Text("when"), Column::Number("size"), Column::Long("payload"), Column::Long("reason")];
    let columns: Vec<Column> = head.into_iter().chain(crashes).chain(tail).collect();
    let mut table = Table::new(&columns);
    for row in rows {
        let head = [
            place_name(row.place).to_owned(),
            row.id.as_ref().map_or("-".to_owned(), ToString::to_string),
            row.attempts.to_string(),
        ];
        let tail = [
            when(row, now_ms),
            text::size(row.payload_bytes),
            text::visible(&row.preview, PREVIEW_CHARS),
            match &row.progress {
                Some(progress) => text::visible(far(progress).as_bytes(), REASON_CHARS),
                None => text::visible(row.reason.as_deref().unwrap_or_default().as_bytes(), REASON_CHARS),
            },
        ];
        let crashes = has_crashes.then(|| row.crashes.to_string());
        table.row(head.into_iter().chain(crashes).chain(tail));
    }
    table
}

/// The time that matters where the job is.
fn when(row: &JobRow, now_ms: u64) -> String {
    match (row.place, row.at_ms) {
        (Place::Delayed, Some(due_ms)) if due_ms <= now_ms => "due".to_owned(),
        (Place::Delayed, Some(due_ms)) => format!("due {}", text::when(due_ms, now_ms)),
        (Place::Dead, Some(died_ms)) => format!("died {}", text::when(died_ms.min(now_ms), now_ms)),
        _ => row
            .first_seen_ms
            .map_or(String::new(), |seen_ms| format!("seen {}", text::when(seen_ms.min(now_ms), now_ms))),
    }
}

/// Everything about one job.
pub(super) fn sheet(row: &JobRow, payload: &[u8], now_ms: u64) -> String {
    let mut sheet = String::new();
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(sheet, "\x1b[1m{name:<12}\x1b[0m{value}");
    };
    field("id", row.id.as_ref().map_or("-", |id| id.as_str()));
    field("place", &format!("{}  {}", place_name(row.place), when(row, now_ms)));
    if let Some(host) = &row.host {
        field("host", &text::visible(host.as_bytes(), 100));
    }
    field("attempts", &row.attempts.to_string());
    field("crashes", &row.crashes.to_string());
    if let Some(seen_ms) = row.first_seen_ms {
        field("first seen", &text::when(seen_ms.min(now_ms), now_ms));
    }
    if let Some(progress) = &row.progress {
        field("progress", &text::visible(far(progress).as_bytes(), 400));
    }
    if let Some(reason) = &row.reason {
        field("reason", &text::visible(reason.as_bytes(), 2000));
    }
    for (key, value) in &row.notes {
        // `!reason` is shown above; the other two only make records and owners unique.
        if !["!reason", "!n", "!own"].contains(&key.as_str()) {
            let name = text::visible(key.trim_start_matches('!').as_bytes(), 40);
            field(&name, &text::visible(value.as_bytes(), 8000));
        }
    }
    let shown = text::visible(payload, PAYLOAD_CHARS);
    field("payload", &format!("{}  {shown}", text::size(payload.len() as u64)));
    sheet
}

/// A job as JSON; the payload's beginning as `preview`.
pub(super) fn document(row: &JobRow) -> Value {
    let notes: Vec<Value> =
        row.notes.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
    let mut document = json!({
        "place": place_name(row.place),
        "id": row.id.as_ref().map(|id| id.as_str()),
        "attempts": row.attempts,
        "crashes": row.crashes,
        "first_seen_ms": row.first_seen_ms,
        "at_ms": row.at_ms,
        "host": row.host,
        "reason": row.reason,
        "payload_bytes": row.payload_bytes,
        "preview": output::payload(&row.preview),
        "headers": notes,
    });
    if let Some(Progress { done, total, note }) = &row.progress {
        document["progress"] = json!({ "done": done, "total": total, "note": note });
    }
    document
}

/// How far a run is: `3 of 10: pages`.
fn far(progress: &Progress) -> String {
    let Progress { done, total, note } = progress;
    let of = if *total > 0 {
        format!("{} of {}", text::count(*done), text::count(*total))
    } else {
        text::count(*done)
    };
    if note.is_empty() { of } else { format!("{of}: {note}") }
}
