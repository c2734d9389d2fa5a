//! What a host is to serve: the releases that its folder and the fleet offer, compared with what is served, refused
//! or being loaded.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::queues::queues_of;
use super::{Refusal, Served};
use crate::app::hosted::Claim;
use crate::app::loads::{Ended, GetOffer, Order, Unavailable, run_blocking};
use crate::config::problem::{Problem, Problems};
use crate::config::settings::PluginsFrom;
use crate::job::report::SwapKind;
use crate::plugin::fetch::{FetchError, fetch};
use crate::plugin::fleet::AllWanted;
use crate::plugin::name::PluginName;
use crate::plugin::release::{Digest, Wanted};
use crate::plugin::shelf::Standing;
use crate::plugin::survey::{Offer, Survey};

/// Wait before what could not be had is asked for again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// What the plugins have to be looked at for.
pub(in crate::app) enum Event {
    /// Something has been loaded, or not.
    Loaded(Box<Ended>),
    /// The fleet is to run this.
    Wanted(AllWanted),
    /// It is time to try again what could not be had.
    Retry,
    /// A compiler has begun or ended.
    Compiling,
    /// A config reader that workers wait for has answered, or has not answered in time.
    Answered,
}

impl Served {
    /// Brings the plugins in line with what the folder and the fleet have, as far as nothing has to be loaded; that goes
    /// on in the background, and `next` tells its end. What cannot be loaded stays as it was. `again`: what was refused
    /// is tried once more.
    pub(in crate::app) async fn look(&mut self, again: bool) {
        let mut survey = self.survey().await;
        let others = std::mem::take(&mut survey.others);
        self.tell(&others, &self.others);
        self.others = others;
        // What was deployed to the fleet wins over files of the same name.
        self.wanted.keys().for_each(|name| survey.without(name));
        // A folder that is away for a moment is not an empty one.
        if !survey.unreadable {
            self.remove_all_but(&survey);
            self.offered = queues_of(&survey);
        }
        let of_folder: Vec<PluginName> =
            self.bad_orders.keys().filter(|name| survey.has(name)).cloned().collect();
        for (name, problems) in std::mem::take(&mut survey.refused) {
            self.loads.forget(&name);
            self.refuse(name.clone(), Refusal { problems, release: None, is_final: false });
            self.stand_in(&name, None);
        }
        for offer in survey.offers {
            let order = Order {
                name: offer.source.name.clone(),
                id: offer.id.clone(),
                number: 0,
                origin: offer.source.component_origin.clone(),
                stands_in: false,
                component: (offer.release.component.clone(), Some(offer.source.component.len() as u64)),
                offer: at_hand(offer),
                trial: None,
            };
            self.want(order, again);
        }
        for (name, wanted) in self.wanted.clone() {
            let order = Order {
                id: wanted.release.clone(),
                number: wanted.number,
                origin: format!("deploy {} of `{name}`", wanted.number),
                stands_in: false,
                component: (wanted.component.clone(), None),
                offer: self.fetching(name.clone(), wanted),
                trial: None,
                name,
            };
            self.want(order, again);
        }
        self.refuse_bad_orders(&of_folder);
        self.take_in_held_back();
    }

    /// Drains plugins that are no longer in the folder.
    fn remove_all_but(&mut self, survey: &Survey) {
        let (wanted, bad) = (&self.wanted, &self.bad_orders);
        let is_gone =
            |name: &PluginName| !survey.has(name) && !wanted.contains_key(name) && !bad.contains_key(name);
        self.refusals.retain(|name, _| !is_gone(name));
        let unloaded: Vec<PluginName> = self.loads.names().filter(|name| is_gone(name)).cloned().collect();
        unloaded.iter().for_each(|name| self.loads.forget(name));
        let gone = self.plugins.extract_if(.., |name, _| is_gone(name));
        for (name, plugin) in gone {
            tracing::info!(
                plugin = name.as_str(),
                "plugin was removed; the host no longer claims jobs of its queues"
            );
            let version = plugin.loaded().version.digest();
            self.history.add(name.as_str(), SwapKind::Removed, version, "");
            plugin.close();
            self.loads.forget(&name);
            self.readers.close(&name);
        }
    }

    /// Waits until a plugin has been loaded, another release is wanted, or workers stop waiting for a config reader;
    /// waits forever if none of these can happen.
    pub(in crate::app) async fn next(&mut self) -> Event {
        let is_open = self.refusals.values().any(|refusal| !refusal.is_final && refusal.release.is_some());
        let compilers = self.loads.compilers();
        let fleet = async {
            match &mut self.fleet {
                Some(fleet) => fleet.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.loads.next() => Event::Loaded(Box::new(ended)),
            wanted = fleet => Event::Wanted(wanted),
            () = tokio::time::sleep(RETRY_EVERY), if is_open => Event::Retry,
            () = compilers.notified() => Event::Compiling,
            () = self.readers.answered() => Event::Answered,
        }
    }

    /// Does what an event calls for.
    pub(in crate::app) async fn handle(&mut self, event: Event) {
        match event {
            Event::Loaded(ended) => self.arrive(*ended),
            Event::Wanted(wanted) => {
                self.note_wanted(wanted);
                self.look(false).await;
            }
            Event::Retry => self.look(false).await,
            // Only what the host publishes has changed.
            Event::Compiling => {}
            Event::Answered => self.readers.note_answers(),
        }
    }

    /// Learns what the fleet is to run before the first look. A Redis that does not tell it is not waited for.
    pub(super) async fn first_wanted(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        if let Ok(wanted) = tokio::time::timeout(self.settings.redis.timeout, fleet.changed()).await {
            self.note_wanted(wanted);
        }
    }

    /// Fetches a wanted release.
    fn fetching(&self, name: PluginName, wanted: Wanted) -> GetOffer {
        let Some(fleet) = &self.fleet else { return Box::new(|| std::future::pending().boxed()) };
        let (depot, ceilings) = (fleet.depot().clone(), self.settings.ceilings);
        let trusted = self.settings.plugins.trusted_keys.clone();
        Box::new(move || {
            let (depot, name, wanted) = (depot.clone(), name.clone(), wanted.clone());
            let trusted = trusted.clone();
            async move {
                match fetch(&depot, &name, &wanted, &ceilings, &trusted).await {
                    Ok(source) => Ok(Arc::new(Offer::new(source))),
                    Err(FetchError::Refused(problems)) => Err(Unavailable { problems, is_final: true }),
                    Err(FetchError::Fault(fault)) => {
                        let origin = format!("deploy {} of `{name}`", wanted.number);
                        let problems = Problems::one(Problem::new(origin, fault.to_string()));
                        Err(Unavailable { problems, is_final: false })
                    }
                }
            }
            .boxed()
        })
    }

    async fn survey(&self) -> Survey {
        if self.settings.plugins.source == PluginsFrom::Redis {
            return Survey::default();
        }
        let (folder, ceilings) = (self.settings.plugins_dir.clone(), self.settings.ceilings);
        let trusted = self.settings.plugins.trusted_keys.clone();
        let origin = folder.display().to_string();
        // Reading and hashing takes its time, and this thread feeds queues.
        let found =
            run_blocking(self.lanes.executor(), move || Survey::of(&folder, &ceilings, &trusted)).await;
        found.unwrap_or_else(|fault| unread(origin, &fault))
    }

    /// Loads a release that is to be served, unless it is served, or was refused before.
    fn want(&mut self, order: Order, again: bool) {
        let Order { name, id, number, .. } = &order;
        let number = *number;
        let is_refused = self.refusals.get(name).is_some_and(|refusal| {
            refusal.is_final && refusal.release.as_ref() == Some(&(id.clone(), number))
        });
        if let Some(plugin) = self.plugins.get_mut(name).filter(|plugin| plugin.is_all_of(id)) {
            plugin.claim = Claim::default();
            self.loads.forget(name);
            self.forget_refusal(name);
            return;
        }
        if is_refused && !again {
            return;
        }
        match self.shelf.standing(name, id) {
            Some(Standing::Bad { why, number: then }) if number <= then => {
                let Order { name, id, origin, .. } = order;
                let problems = Problems::one(Problem::new(origin, why));
                self.refuse(
                    name.clone(),
                    Refusal { problems, release: Some((id.clone(), number)), is_final: true },
                );
                self.stand_in(&name, Some(&id));
            }
            _ => {
                let trial = self.plugins.contains_key(name).then(|| self.readers.trial());
                self.loads.start(Order { trial, ..order });
            }
        }
    }

    /// Where nothing serves a plugin whose release is refused: loads the last good one that is kept.
    pub(super) fn stand_in(&mut self, name: &PluginName, refused: Option<&Digest>) {
        if self.plugins.contains_key(name) {
            return;
        }
        let Some(release) = self.shelf.last_good(name, refused) else { return };
        let (shelf, ceilings) = (self.shelf.clone(), self.settings.ceilings);
        let trusted = self.settings.plugins.trusted_keys.clone();
        let origin = format!("the last good version of `{name}`");
        let (id, component, known_as) = (release.id(), release.component.clone(), origin.clone());
        let executor = self.lanes.executor().clone();
        let plugin = name.clone();
        let read = move || {
            let (shelf, plugin, release) = (shelf.clone(), plugin.clone(), release.clone());
            let (known_as, trusted) = (known_as.clone(), trusted.clone());
            move || {
                let refused =
                    |error: std::io::Error| Problems::one(Problem::new(&known_as, error.to_string()));
                let bytes = shelf
                    .component(&plugin, &release.component, ceilings.component_bytes)
                    .map_err(refused)?;
                Offer::of_release(plugin, release, bytes, &known_as, &ceilings, &trusted)
            }
        };
        let of_host = origin.clone();
        let offer: GetOffer = Box::new(move || {
            let (read, executor, of_host) = (read(), executor.clone(), of_host.clone());
            async move {
                let failed =
                    |fault| Problem::new(of_host, format!("reading failed inside the host: {fault}"));
                let read = run_blocking(&executor, read).await;
                read.unwrap_or_else(|fault| Err(Problems::one(failed(fault))))
                    .map(Arc::new)
                    .map_err(|problems| Unavailable { problems, is_final: true })
            }
            .boxed()
        });
        let (name, component) = (name.clone(), (component, None));
        let order = Order { name, id, number: 0, origin, stands_in: true, component, offer, trial: None };
        self.loads.start(order);
    }
}

/// A pair that was read already.
fn at_hand(offer: Offer) -> GetOffer {
    let offer = Arc::new(offer);
    Box::new(move || std::future::ready(Ok(offer.clone())).boxed())
}

/// The survey of a folder that could not be read because of a fault inside the host: it is unreadable, so no plugin
/// is changed.
fn unread(folder: String, fault: &str) -> Survey {
    let problem =
        Problem::new(folder, format!("reading failed inside the host: {fault}; no plugin was changed"));
    Survey { others: Problems::one(problem), unreadable: true, ..Survey::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_reading_panicked_is_not_an_empty_one() {
        let survey = unread("plugins".to_owned(), "index 4 of 3");
        assert!(survey.unreadable, "nothing may be drained");
        let text = "plugins: reading failed inside the host: index 4 of 3; no plugin was changed";
        assert_eq!(survey.others.to_string(), text);
    }
}
