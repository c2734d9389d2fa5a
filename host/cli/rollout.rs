//! Waiting until every living host that serves the fleet runs a release, or says why it does not.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use sandhog::job::lease::{HostRow, Leases};
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::Wanted;
use sandhog::storage::link::Link;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome};
use crate::cli::{progress, text};

/// Time between two looks at what the hosts tell.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long a fleet may take: compiling takes a minute at the most, on every host at once.
pub(crate) const WAIT_MAX: &str = "2m";

/// Where a host is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    Pending,
    /// It runs the release, or tries it as a canary.
    Done,
    Refused(String),
}

/// Returns when every host has taken the release; fails with the reasons of those that have not. Hosts that come and go
/// meanwhile are counted as they are in the end.
pub(crate) async fn wait(
    context: &Context,
    link: Link,
    plugin: &PluginName,
    wanted: &Wanted,
    patience: Duration,
) -> Outcome {
    let leases = Leases::new(link);
    let begun = Instant::now();
    let bar = progress::over_steps(0);
    let mut told = Vec::new();
    let stands = loop {
        let rows = leases.list().await?;
        let stands = stands(&rows, plugin, wanted);
        show(&bar, &stands, &mut told, begun);
        let is_pending = stands.iter().any(|(_, stand)| *stand == Stand::Pending);
        if !is_pending || begun.elapsed() > patience {
            break stands;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    let behind: Vec<String> = stands.iter().filter_map(|(host, stand)| why(host, stand)).collect();
    if !behind.is_empty() {
        let count = text::counted(behind.len() as u64, "host", "hosts");
        return Err(
            Failure::failed(format!("{count} of {} did not take it", stands.len())).with_details(behind)
        );
    }
    if stands.is_empty() {
        context.note("no living host serves the fleet (`[plugins] source = \"redis\"`)");
    } else if !context.out.is_json() {
        let hosts = text::counted(stands.len() as u64, "host", "hosts");
        context.out.line(&format!("{hosts} took it within {}", text::elapsed(begun.elapsed())))?;
    }
    Ok(())
}

/// A line for each host that has come to its end, over a bar that names those it waits for.
fn show(bar: &ProgressBar, stands: &[(String, Stand)], told: &mut Vec<String>, begun: Instant) {
    let mut pending = Vec::new();
    for (host, stand) in stands {
        if *stand == Stand::Pending {
            pending.push(host.as_str());
        } else if !told.contains(host) {
            let word = if *stand == Stand::Done { "took it" } else { "refuses it" };
            bar.println(format!("{host} {word} after {}", text::elapsed(begun.elapsed())));
            told.push(host.clone());
        }
    }
    bar.set_length(stands.len() as u64);
    bar.set_position((stands.len() - pending.len()) as u64);
    let waits = pending.join(", ");
    bar.set_message(if waits.is_empty() { waits } else { format!("waiting for {waits}") });
}

fn stands(rows: &[HostRow], plugin: &PluginName, wanted: &Wanted) -> Vec<(String, Stand)> {
    let living = rows.iter().filter(|row| row.expires_in_ms > 0 && row.info.fleet);
    let stand = |row: &HostRow| {
        let report = row.info.plugins.iter().find(|report| report.name == plugin.as_str());
        let stand = match report {
            Some(report) if report.release == wanted.release.as_str() => Stand::Done,
            // Of an earlier deploy of the same it says nothing about this one.
            Some(report)
                if report.refused.as_deref() == Some(wanted.release.as_str())
                    && report.refused_deploy >= wanted.number =>
            {
                Stand::Refused(report.refusal.clone().unwrap_or_default())
            }
            _ => Stand::Pending,
        };
        (row.id.as_str().to_owned(), stand)
    };
    living.map(stand).collect()
}

fn why(host: &str, stand: &Stand) -> Option<String> {
    match stand {
        Stand::Done => None,
        Stand::Pending => Some(format!("{host}: has not said anything yet; it may still take it")),
        Stand::Refused(reason) => Some(format!("{host}: {}", text::visible(reason.as_bytes(), 2000))),
    }
}
