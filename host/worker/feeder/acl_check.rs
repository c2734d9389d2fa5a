//! Commits are made by the host, on its own connection. Where plugins have users of their own in Redis, Redis is asked
//! before whether the plugin's user might have made each change itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::job::store::Slot;
use crate::sandbox::asks;
use crate::storage::fault::Fault;
use crate::storage::user::Ask;
use crate::worker::desk::Commitment;

/// For each commit, the key of a change that Redis would not let the plugin's own user make, if there is one.
pub(super) async fn forbidden(commits: &[(Slot, &Commitment)]) -> Result<Vec<Option<String>>, Fault> {
    let mut forbidden = vec![None; commits.len()];
    // By user: runs of two versions of a plugin may be in one batch.
    let mut users: BTreeMap<&str, (&Commitment, BTreeMap<Ask, Vec<usize>>)> = BTreeMap::new();
    for (nth, (_, commitment)) in commits.iter().enumerate() {
        let Some(user) = &commitment.edition.user else { continue };
        let (_, of_user) = users.entry(user.name()).or_insert((*commitment, BTreeMap::new()));
        for ask in commitment.pending.changes.writes.iter().flat_map(asks) {
            of_user.entry(ask).or_default().push(nth);
        }
    }
    for (commitment, asked) in users.into_values() {
        let Some(user) = commitment.edition.user.as_ref().map(Arc::clone) else { continue };
        let (asks, whose): (Vec<Ask>, Vec<Vec<usize>>) = asked.into_iter().unzip();
        let denied = user.is_denied(&asks).await?;
        for ((ask, whose), _) in asks.iter().zip(whose).zip(denied).filter(|(_, denied)| *denied) {
            let plugin = user.name();
            tracing::error!(user = plugin, key = ?ask.key, "Redis would refuse a change that the grants had let through");
            whose.into_iter().for_each(|nth| forbidden[nth] = Some(ask.key.clone()));
        }
    }
    Ok(forbidden)
}
