//! Which seat a host takes: the one of its state folder, unless a living host elsewhere has one of the same number, from
//! which the folder was copied.

use crate::config::seat::Seat;
use crate::config::settings::Settings;
use crate::job::lease::Leases;
use crate::job::name::HostId;
use crate::storage::fault::Fault;

/// Takes a seat. Says what is to be said about it.
pub(super) async fn take(settings: &Settings, leases: &Leases) -> Result<Seat, Fault> {
    let mut seat = Seat::take(&settings.host.state_dir, &settings.host.name);
    seat.warning.iter().for_each(|warning| tracing::warn!("{warning}"));
    // Any epoch will do to learn what the name and the seat look like.
    let Ok(sample) = HostId::new(&settings.host.name, seat.number, 0) else { return Ok(seat) };
    let lives = leases.of_seat(sample.seat()).await?;
    let is_elsewhere = |origin: &str| origin.is_empty() || origin != seat.origin;
    if let Some(life) = lives.iter().find(|life| life.is_leased && is_elsewhere(&life.origin)) {
        let (host, state_dir) = (life.id.as_str(), settings.host.state_dir.display());
        tracing::warn!(
            host,
            %state_dir,
            "a host with a living lease has the seat of this `state_dir`: the folder is a copy, or this machine was \
             started again a moment ago; this host takes another seat, and jobs of that one come back when its lease ends"
        );
        if let Err(error) = seat.redraw() {
            tracing::warn!(%error, "the other seat was not written down; the next start takes another one again");
        }
    }
    Ok(seat)
}
