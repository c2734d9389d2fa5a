//! What the fleet is told to run, and by whom: an order that this host does not accept changes nothing, and the host
//! shows why.

use super::{Refusal, Served};
use crate::config::problem::{Problem, Problems};
use crate::plugin::fleet::AllWanted;
use crate::plugin::name::PluginName;
use crate::plugin::order::OrderError;
use crate::plugin::release::Wanted;

/// An order that is not accepted.
pub(super) struct BadOrder {
    wanted: Wanted,
    error: OrderError,
}

impl BadOrder {
    fn refusal(&self, name: &PluginName) -> Refusal {
        let problem =
            Problem::new(format!("deploy {} of `{name}`", self.wanted.number), self.error.to_string());
        let release = Some((self.wanted.release.clone(), self.wanted.number));
        Refusal { problems: Problems::one(problem), release, is_final: true }
    }
}

impl Served {
    /// An entry that is gone is not an order: a Redis that has lost its data must not stop a fleet. An order that is not
    /// accepted leaves the former one in force.
    pub(super) fn note_wanted(&mut self, wanted: AllWanted) {
        for (name, wanted) in wanted {
            if self.bad_orders.get(&name).is_some_and(|bad| bad.wanted == wanted) {
                continue;
            }
            let is_known = self.wanted.get(&name) == Some(&wanted);
            let accepted = if is_known { Ok(()) } else { self.orders.accept(&name, &wanted) };
            match accepted {
                Ok(()) => {
                    self.bad_orders.remove(&name);
                    self.wanted.insert(name, wanted);
                }
                Err(error) => drop(self.bad_orders.insert(name, BadOrder { wanted, error })),
            }
        }
    }

    /// Shows why orders are not accepted. If nothing serves such a plugin, the host loads the last good version that it
    /// has kept, except for plugins of `of_folder`.
    pub(super) fn refuse_bad_orders(&mut self, of_folder: &[PluginName]) {
        let refused = self.bad_orders.iter().map(|(name, bad)| (name.clone(), bad.refusal(name)));
        for (name, refusal) in refused.collect::<Vec<_>>() {
            self.refuse(name.clone(), refusal);
            // The order is refused, not the release: that may be the very one that is kept.
            if !self.wanted.contains_key(&name) && !of_folder.contains(&name) {
                self.stand_in(&name, None);
            }
        }
    }

    /// What is served is what was offered: nothing is refused, except for an order that is not accepted.
    pub(super) fn forget_refusal(&mut self, name: &PluginName) {
        match self.bad_orders.get(name) {
            Some(bad) => drop(self.refusals.insert(name.clone(), bad.refusal(name))),
            None => drop(self.refusals.remove(name)),
        }
    }
}
