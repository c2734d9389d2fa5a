//! `sandhog rollback`: what was run before is to be run again: by the fleet, whose former releases Redis has, or by the
//! hosts of a plugin folder (`rollback/folder`).

mod folder;

use std::path::PathBuf;
use std::time::Duration;

use sandhog::config::env;
use sandhog::config::settings::Overrides;
use sandhog::plugin::depot::Depot;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::order;
use sandhog::plugin::release::Wanted;
use serde_json::json;

use crate::cli::context::{self, Context};
use crate::cli::error::{Failure, Outcome};
use crate::cli::{argument, changes, known, rollout, sign, text};

/// Makes a former version of a plugin the one that is run.
///
/// Without `--to` it is the one before: what was deployed before the present release was deployed first. Of a plugin that was deployed, the whole
/// fleet goes back; of any other, the files in the plugin folder of this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The plugin.
    #[arg(value_parser = argument::plugin)]
    plugin: PluginName,
    /// The first digits of a version or of a release, as `sandhog deploy` told them.
    #[arg(long, value_name = "DIGITS")]
    to: Option<String>,
    /// The plugin folder, for a plugin that was not deployed.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// The private key that signs the order for hosts with `plugins.trusted_keys`, as for `sandhog deploy`.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Waits until every living host of the fleet has taken it; fails with the reasons of those that refuse it.
    #[arg(long)]
    wait: bool,
    /// How long to wait; default: 2m, and up to 1h while a host compiles the component.
    #[arg(long, value_name = "TIME", value_parser = argument::duration)]
    timeout: Option<Duration>,
}

/// Runs the command.
pub(crate) async fn run(args: Args, context: &Context) -> Outcome {
    let is_folder = args.plugins.is_some();
    let flags = Overrides { plugins_dir: args.plugins, ..Overrides::default() };
    let settings = context.settings_with(flags)?;
    let plugin = &args.plugin;
    if is_folder {
        return folder::run(plugin, args.to.as_deref(), &settings, &[], context);
    }
    let link = context::connect(&settings).await?;
    let depot = Depot::new(link.clone());
    let (history, mut all) = (depot.history(plugin).await?, depot.wanted().await?);
    history.left_out.iter().chain(&all.left_out).for_each(|text| context.note(text));
    let history = history.entries;
    let present = all.entries.remove(plugin).or_else(|| history.first().cloned());
    let Some(present) = present else {
        let served = known::served_plugins(&link).await?;
        return folder::run(plugin, args.to.as_deref(), &settings, &served, context);
    };
    let key = sign::order_key(args.key.as_deref(), &settings, context)?;
    let trusted = key.as_ref().map(|key| sign::counted_keys(&settings, key));
    // An unsigned former version is not signed now, because anybody with access to Redis may have written it.
    let is_ours = |wanted: &Wanted| {
        trusted.as_ref().is_none_or(|trusted| order::verify(plugin, wanted, trusted).is_ok())
    };
    let ours: Vec<Wanted> = history.iter().filter(|wanted| is_ours(wanted)).cloned().collect();
    let target = choose(&ours, &present, args.to.as_deref()).map_err(|text| {
        let remembered = history.iter().map(|wanted| match is_ours(wanted) {
            true => entry(wanted),
            false => format!("{}; not signed by a trusted key", entry(wanted)),
        });
        Failure::refused(text).with_details(remembered.collect())
    })?;
    let (id, component, by) = (&target.release, &target.component, env::machine_name());
    let wanted = match (&key, &trusted) {
        (Some(key), Some(trusted)) => depot.want_signed(plugin, id, component, &by, key, trusted).await?,
        _ => depot.want(plugin, id, component, &by).await?,
    };
    let changed = changes::of_releases(&depot, &present, &wanted).await;
    report(context, plugin, &wanted, &present, target, &changed)?;
    if args.wait {
        rollout::wait(context, link, plugin, &wanted, args.timeout).await?;
    }
    Ok(())
}

fn report(
    context: &Context,
    plugin: &PluginName,
    wanted: &Wanted,
    present: &Wanted,
    target: &Wanted,
    changed: &[String],
) -> Outcome {
    if context.out.is_json() {
        return Ok(context.out.document(&json!({
            "plugin": plugin.as_str(),
            "version": wanted.component,
            "release": wanted.release,
            "number": wanted.number,
            "instead_of": { "version": present.component, "release": present.release, "number": present.number },
            "manifest_changes": changed,
        }))?);
    }
    let (version, number) = (changes::release_name(wanted), text::count(wanted.number));
    let (instead, of) = (changes::release_name(present), text::count(target.number));
    context.out.line(&format!(
        "{plugin} {version} is wanted instead of {instead}, deploy {number} (as deploy {of})"
    ))?;
    changes::tell(context, changed);
    Ok(())
}

/// The entry to go back to: the last one with these digits, or the last one that differs.
fn choose<'h>(history: &'h [Wanted], present: &Wanted, digits: Option<&str>) -> Result<&'h Wanted, String> {
    let Some(digits) = digits else {
        // Deploys since the first one of this release are later, even if a rollback has left them.
        let first = history.iter().rposition(|entry| entry.release == present.release);
        let former = &history[first.map_or(0, |at| at + 1)..];
        return former.iter().find(|entry| entry.release != present.release).ok_or_else(|| {
            let is_alone = history.iter().all(|entry| entry.release == present.release);
            let to = if is_alone { "" } else { "; `--to DIGITS` goes to a later one" };
            format!("there is no former version to go back to{to}")
        });
    };
    let fits = |entry: &&Wanted| {
        !digits.is_empty()
            && (entry.component.as_str().starts_with(digits) || entry.release.as_str().starts_with(digits))
    };
    let mut found = history.iter().filter(fits);
    let Some(first) = found.next() else {
        return Err(format!("no version that is remembered begins with `{}`", digits.escape_debug()));
    };
    // The same component with two manifests is told apart by the release.
    if found.any(|other| other.release != first.release) {
        return Err(format!("several releases begin with `{}`; give more digits", digits.escape_debug()));
    }
    Ok(first)
}

/// What is remembered, for whoever has to choose.
fn entry(wanted: &Wanted) -> String {
    let (number, version, release) = (wanted.number, wanted.component.short(), wanted.release.short());
    format!("deploy {number}: version {version}, release {release}, from {}", wanted.by)
}

#[cfg(test)]
mod tests {
    use sandhog::plugin::release::Digest;

    use super::*;

    fn wanted(number: u64, component: &[u8], release: &[u8]) -> Wanted {
        let (component, release) = (Digest::of(component), Digest::of(release));
        Wanted { release, component, number, at_ms: 0, by: "here".to_owned(), signed: None }
    }

    #[test]
    fn one_goes_back_to_the_last_that_differs_or_to_the_one_that_is_named() {
        let history =
            [wanted(4, b"a", b"1"), wanted(3, b"a", b"1"), wanted(2, b"b", b"2"), wanted(1, b"b", b"3")];
        let choose = |digits: Option<&str>| choose(&history, &history[0], digits).map(|found| found.number);
        assert_eq!(choose(None), Ok(2));
        assert_eq!(choose(Some(history[0].component.short())), Ok(4));
        assert_eq!(choose(Some(history[3].release.as_str())), Ok(1));
        let both = history[2].component.short();
        assert_eq!(
            choose(Some(both)),
            Err(format!("several releases begin with `{both}`; give more digits"))
        );
        for none in ["", "x", "\u{1b}"] {
            let text = format!("no version that is remembered begins with `{}`", none.escape_debug());
            assert_eq!(choose(Some(none)), Err(text));
        }
        let alone = &history[..2];
        let refused = super::choose(alone, &history[0], None).unwrap_err();
        assert_eq!(refused, "there is no former version to go back to");
    }
}
