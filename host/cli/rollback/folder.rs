//! Going back in a plugin folder: a version that a host of this machine has kept is put in the place of the present one,
//! as an operator would do it. The folder goes on being the truth, through restarts too.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use sandhog::config::settings::Settings;
use sandhog::plugin::name::PluginName;
use sandhog::plugin::release::Digest;
use sandhog::plugin::scan::{Pair, signature_file};
use sandhog::plugin::shelf::{Kept, Shelf, Standing};
use sandhog::plugin::survey::Offer;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Failure, Outcome, Shape as _};
use crate::cli::known;

/// Puts a kept version back.
pub(super) fn run(
    plugin: &PluginName,
    digits: Option<&str>,
    settings: &Settings,
    served: &[String],
    context: &Context,
) -> Outcome {
    let shelf = Shelf::new(&settings.host.state_dir);
    let kept = shelf.kept(plugin);
    if kept.is_empty() {
        let state = settings.host.state_dir.display();
        let instead = known::did_you_mean_plugin(plugin, served);
        return Err(Failure::refused(format!(
            "plugin `{plugin}` was never deployed to this fleet, and no version of it is kept in `{state}`{instead}"
        ))
        .with_hint("a host keeps what it has loaded in its state folder; `sandhog deploy` gives a version to the fleet"));
    }
    let folder = &settings.plugins_dir;
    let pair = Pair::of(&folder.join(format!("{plugin}.wasm")), None)
        .map_err(|problems| Failure::refused(problems.to_string()))?;
    // What cannot even be read is no version; all the more reason to go back.
    let present = pair.read(&settings.ceilings, &settings.plugins.trusted_keys).ok().map(Offer::new);
    let present = present.map(|offer| (offer.id, offer.release.component));
    let target = choose(&kept, present.as_ref().map(|(id, _)| id), digits)
        .map_err(|text| Failure::refused(text).with_details(kept.iter().map(entry).collect()))?;
    let release = &target.release;
    let component = shelf
        .component(plugin, &release.component, settings.ceilings.component_bytes)
        .with_context(|| format!("cannot read the kept version {}", release.component.short()))?;
    shelf.note(plugin, &release.id(), Standing::Good).context("cannot note that it is wanted again")?;
    let to = || format!("cannot put the files back in `{}`", folder.display());
    match &release.signature {
        Some(signature) => {
            replace(&signature_file(&pair.component), signature.as_bytes()).with_context(to).refuse()?
        }
        None => drop(fs::remove_file(signature_file(&pair.component))),
    }
    replace(&pair.manifest, release.manifest.as_bytes()).with_context(to).refuse()?;
    replace(&pair.component, &component).with_context(to).refuse()?;
    let instead = present.map(|(_, component)| component);
    if context.out.is_json() {
        return Ok(context.out.document(&json!({
            "plugin": plugin.as_str(),
            "version": release.component,
            "release": release.id(),
            "folder": folder.display().to_string(),
            "instead_of": instead,
        }))?);
    }
    let instead =
        instead.map_or_else(|| "what was there".to_owned(), |component| component.short().to_owned());
    let (version, folder) = (release.component.short(), folder.display());
    Ok(context.out.line(&format!("{plugin} {version} is back in `{folder}` instead of {instead}"))?)
}

/// The version to go back to: the one with these digits, or the latest good one that is not there now.
fn choose<'k>(kept: &'k [Kept], present: Option<&Digest>, digits: Option<&str>) -> Result<&'k Kept, String> {
    let Some(digits) = digits else {
        let mut good = kept.iter().filter(|kept| kept.standing == Standing::Good);
        return good
            .find(|kept| Some(&kept.release.id()) != present)
            .ok_or_else(|| "there is no other good version to go back to".to_owned());
    };
    let fits = |kept: &&Kept| {
        let (component, id) = (&kept.release.component, kept.release.id());
        !digits.is_empty() && (component.as_str().starts_with(digits) || id.as_str().starts_with(digits))
    };
    let mut found = kept.iter().filter(fits);
    let first = found.next();
    let first = first.ok_or_else(|| format!("no kept version begins with `{}`", digits.escape_debug()))?;
    if found.any(|other| other.release != first.release) {
        return Err(format!("several versions begin with `{}`; give more digits", digits.escape_debug()));
    }
    Ok(first)
}

/// What is kept, for whoever has to choose.
fn entry(kept: &Kept) -> String {
    let standing = match &kept.standing {
        Standing::Good => "good".to_owned(),
        Standing::Loaded => "was never served".to_owned(),
        Standing::Bad { why, .. } => why.clone(),
    };
    format!("version {}, release {}: {standing}", kept.release.component.short(), kept.release.id().short())
}

/// Writes a file beside its place and moves it there.
fn replace(place: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new().prefix(".sandhog-").tempfile_in(folder)?;
    new.write_all(bytes)?;
    let kept = fs::metadata(place).map(|file| file.permissions());
    if let Ok(permissions) = kept {
        new.as_file().set_permissions(permissions)?;
    }
    new.persist(place)?;
    Ok(())
}
