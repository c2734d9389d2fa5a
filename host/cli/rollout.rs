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
/// How long a fleet may take if no host compiles, unless the operator says otherwise.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// How long hosts may compile. Each host bounds its compilers, but a report in Redis may say anything.
const COMPILE_MAX: Duration = Duration::from_secs(3600);

/// Where a host is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stand {
    Pending,
    /// It compiles the release, or waits for a compiler.
    Loading,
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
    patience: Option<Duration>,
) -> Outcome {
    let leases = Leases::new(link);
    let begun = Instant::now();
    let bar = progress::over_steps(0);
    let (mut told, mut is_told) = (Vec::new(), false);
    let stands = loop {
        let rows = leases.list().await?;
        let stands = stands(&rows, plugin, wanted);
        show(&bar, &stands, &mut told, begun);
        if !goes_on(&stands, begun.elapsed(), patience) {
            break stands;
        }
        if patience.is_none() && begun.elapsed() > WAIT_MAX && !is_told {
            is_told = true;
            bar.suspend(|| context.note("still waiting: a host is compiling the component"));
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

/// Whether to go on waiting after this time. A host that compiles is waited for, unless the operator has set a time.
fn goes_on(stands: &[(String, Stand)], elapsed: Duration, patience: Option<Duration>) -> bool {
    let is_any = |wanted: &Stand| stands.iter().any(|(_, stand)| stand == wanted);
    let most = match patience {
        Some(patience) => patience,
        None if is_any(&Stand::Loading) => COMPILE_MAX,
        None => WAIT_MAX,
    };
    (is_any(&Stand::Pending) || is_any(&Stand::Loading)) && elapsed <= most
}

/// A line for each host that has come to its end, over a bar that names those it waits for.
fn show(bar: &ProgressBar, stands: &[(String, Stand)], told: &mut Vec<String>, begun: Instant) {
    let mut pending = Vec::new();
    for (host, stand) in stands {
        if *stand == Stand::Pending {
            pending.push(host.clone());
        } else if *stand == Stand::Loading {
            pending.push(format!("{host} (compiling)"));
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
            Some(report) if report.loading => Stand::Loading,
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
        Stand::Loading => Some(format!("{host}: is still compiling it; it may still take it")),
        Stand::Refused(reason) => Some(format!("{host}: {}", text::visible(reason.as_bytes(), 2000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_compiles_is_waited_for_unless_the_operator_has_set_a_time() {
        let goes_on = |stand: Stand, seconds: u64, patience: Option<u64>| {
            let stands = [("a".to_owned(), Stand::Done), ("b".to_owned(), stand)];
            goes_on(&stands, Duration::from_secs(seconds), patience.map(Duration::from_secs))
        };
        assert!(goes_on(Stand::Pending, 119, None) && !goes_on(Stand::Pending, 121, None));
        assert!(goes_on(Stand::Loading, 121, None) && goes_on(Stand::Loading, 3599, None));
        assert!(!goes_on(Stand::Loading, 3601, None), "but not for ever");
        assert!(goes_on(Stand::Loading, 4, Some(5)) && !goes_on(Stand::Loading, 6, Some(5)));
        assert!(!goes_on(Stand::Done, 0, None) && !goes_on(Stand::Refused(String::new()), 0, None));
    }
}
