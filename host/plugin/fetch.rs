//! From a wanted release in the depot to what loading starts from, as if its files had lain in the plugin folder.
//! When one fetches, and what becomes of it, is the host's business.

use super::depot::{Depot, DepotError};
use super::manifest::Manifest;
use super::name::PluginName;
use super::release::Wanted;
use super::scan::Source;
use super::signature;
use crate::config::problem::{Problem, Problems};
use crate::config::public_key::PublicKey;
use crate::config::settings::Ceilings;
use crate::storage::fault::Fault;

/// Why there is nothing to load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Redis gave no usable answer: the same may succeed later.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The release is not taken.
    #[error("{0}")]
    Refused(Problems),
}

/// Fetches the wanted release of a plugin, by an order that was accepted (`order`). The signature of the component is
/// verified before the component is fetched.
pub async fn fetch(
    depot: &Depot,
    plugin: &PluginName,
    wanted: &Wanted,
    ceilings: &Ceilings,
    trusted: &[PublicKey],
) -> Result<Source, FetchError> {
    let file = |ending: &str| format!("{plugin}.{ending} of deploy {}", wanted.number);
    let (origin, component_origin) = (file("toml"), file("wasm"));
    let refused = |error: DepotError| match error {
        DepotError::Fault(fault) => FetchError::Fault(fault),
        error => refusal(&component_origin, error.to_string()),
    };
    let Some(release) = depot.release(&wanted.release).await.map_err(refused)? else {
        let text = format!("release {} is not in Redis any more; deploy it again", wanted.release.short());
        return Err(refusal(&component_origin, text));
    };
    let mut problems = Problems::default();
    let manifest =
        Manifest::parse(&origin, &release.manifest, ceilings).map_err(|found| problems.append(found)).ok();
    if let Err(error) = signature::verify(&release.component, release.signature.as_deref(), trusted) {
        problems.push(Problem::new(&component_origin, error.to_string()));
    }
    let Some(manifest) = manifest.filter(|_| problems.is_empty()) else {
        return Err(FetchError::Refused(problems));
    };
    let component = depot.component(&release.component, ceilings.component_bytes).await.map_err(refused)?;
    Ok(Source {
        name: plugin.clone(),
        manifest,
        component,
        origin,
        component_origin,
        text: release.manifest,
        signature: release.signature,
    })
}

fn refusal(origin: &str, text: String) -> FetchError {
    FetchError::Refused(Problems::one(Problem::new(origin, text)))
}
