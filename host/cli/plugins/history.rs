//! What became of versions on all hosts: loaded, swapped, tried, rolled back, refused.

use sandhog::job::lease::Leases;
use sandhog::job::report::SWAPS_MAX;
use serde_json::{Value, json};

use super::VERSION_DIGITS;
use crate::cli::context::Context;
use crate::cli::error::Outcome;
use crate::cli::table::{Column, Table};
use crate::cli::text;

/// Shows what the fleet remembers.
pub(super) async fn run(context: &Context) -> Outcome {
    let link = context.link().await?;
    let now_ms = context.redis_now_ms(&link).await?;
    let swaps = Leases::new(link).swaps(SWAPS_MAX).await?;
    swaps.left_out.iter().for_each(|text| context.note(text));
    let swaps = swaps.entries;
    if context.out.is_json() {
        let swaps: Vec<Value> =
            swaps.iter().map(|(host, swap)| json!({ "host": host, "swap": swap })).collect();
        return Ok(context.out.document(&json!({ "swaps": swaps }))?);
    }
    if swaps.is_empty() {
        context.note("no host has told of a version yet");
        return Ok(());
    }
    let mut table = Table::new(&[
        Column::Text("when"),
        Column::Text("plugin"),
        Column::Text("version"),
        Column::Long("what"),
        Column::Id("host"),
        Column::Long("why"),
    ]);
    for (host, swap) in &swaps {
        let digits: String = swap.version.chars().take(VERSION_DIGITS).collect();
        table.row([
            text::when(swap.at_ms, now_ms),
            text::visible(swap.plugin.as_bytes(), 64),
            text::visible(digits.as_bytes(), VERSION_DIGITS),
            swap.what.name().to_owned(),
            text::visible(host.as_bytes(), 90),
            text::visible(swap.why.as_bytes(), 200),
        ]);
    }
    Ok(context.out.table(&table)?)
}
