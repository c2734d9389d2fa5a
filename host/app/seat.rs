//! Which seat a host takes: the one in its state folder, unless another live host has the same number. Then the
//! folder is a copy, and this host draws another number.

use crate::config::seat::Seat;
use crate::config::settings::Settings;
use crate::job::lease::{Leases, Life};
use crate::job::name::HostId;
use crate::storage::fault::Fault;

/// Takes a seat and logs what an operator should know about it.
///
/// # Errors
///
/// Redis did not say which lives of the seat are registered.
pub(super) async fn take(settings: &Settings, leases: &Leases) -> Result<Seat, Fault> {
    let mut seat = Seat::take(&settings.host.state_dir, &settings.host.name);
    seat.warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    // The epoch does not matter: only the name and the number of this id are used.
    let Ok(sample) = HostId::new(&settings.host.name, seat.number, 0) else { return Ok(seat) };
    if let Some(other) = other(&seat, &sample, leases).await? {
        leave(&mut seat, &other, settings);
    }
    Ok(seat)
}

/// Leaves the seat if another host has registered itself with it, too: hosts that start at the same time from copies of
/// one folder do not find each other in `take`. Ends the registration of `own`, the host id of this start. Returns true
/// if the host must start again, with the new number.
///
/// # Errors
///
/// Redis did not answer.
pub(super) async fn is_left(
    seat: &mut Seat,
    own: &HostId,
    settings: &Settings,
    leases: &Leases,
) -> Result<bool, Fault> {
    let Some(other) = other(seat, own, leases).await? else { return Ok(false) };
    leases.forget(own, true, &[]).await?;
    leave(seat, &other, settings);
    Ok(true)
}

/// The id of another host that has the seat of `own`.
async fn other(seat: &Seat, own: &HostId, leases: &Leases) -> Result<Option<HostId>, Fault> {
    let is_other = |life: &Life| {
        life.is_leased && life.id != *own && (life.origin.is_empty() || life.origin != seat.origin)
    };
    Ok(leases.of_seat(own.seat()).await?.into_iter().find(is_other).map(|life| life.id))
}

fn leave(seat: &mut Seat, other: &HostId, settings: &Settings) {
    let (host, state_dir) = (other.as_str(), settings.host.state_dir.display());
    tracing::warn!(
        host,
        %state_dir,
        "another host holds a live lease for the seat of this `state_dir`: the folder is a copy, or this machine \
         has just rebooted; this host uses another seat, and other hosts reclaim the jobs of that \
         host when its lease ends"
    );
    if let Err(error) = seat.redraw() {
        tracing::warn!(%error, "could not save the new seat number; the next start draws another one");
    }
}
