//! Which seat a host takes: the one in its state folder, unless another live host has the same number. Then the
//! folder is a copy, and this host draws another number.

use crate::config::seat::Seat;
use crate::config::settings::Settings;
use crate::job::lease::Leases;
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
    let lives = leases.of_seat(sample.seat()).await?;
    let is_elsewhere = |origin: &str| origin.is_empty() || origin != seat.origin;
    if let Some(life) = lives.iter().find(|life| life.is_leased && is_elsewhere(&life.origin)) {
        let (host, state_dir) = (life.id.as_str(), settings.host.state_dir.display());
        tracing::warn!(
            host,
            %state_dir,
            "another host holds a live lease for the seat of this `state_dir`: the folder is a copy, or this machine \
             has just rebooted; this host takes another seat, and the jobs of that host are taken back when its lease ends"
        );
        if let Err(error) = seat.redraw() {
            tracing::warn!(%error, "the new seat number was not saved; the next start draws another one again");
        }
    }
    Ok(seat)
}
