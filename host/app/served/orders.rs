//! The orders of the fleet: which release of each plugin to run, and who signed the order. A refused order changes
//! nothing, and the host publishes the reason.

use super::{Refusal, Served};
use crate::config::problem::{Problem, Problems};
use crate::plugin::fleet::AllWanted;
use crate::plugin::name::PluginName;
use crate::plugin::order::OrderError;
use crate::plugin::release::Wanted;

/// A refused order.
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
    /// A missing entry is not an order, because a Redis that has lost its data must not stop a fleet. After a refused
    /// order, the former one stays in force.
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

    /// Publishes why orders are refused. If no version of such a plugin is served, the host loads the last good version
    /// that it has kept, except for plugins of `of_folder`.
    pub(super) fn refuse_bad_orders(&mut self, of_folder: &[PluginName]) {
        let refused = self.bad_orders.iter().map(|(name, bad)| (name.clone(), bad.refusal(name)));
        for (name, refusal) in refused.collect::<Vec<_>>() {
            self.refuse(name.clone(), refusal);
            // The order is refused, not the release: the kept version may be that release.
            if !self.wanted.contains_key(&name) && !of_folder.contains(&name) {
                self.stand_in(&name, None);
            }
        }
    }

    /// The offered version is served: clears the refusal, unless an order is refused.
    pub(super) fn forget_refusal(&mut self, name: &PluginName) {
        match self.bad_orders.get(name) {
            Some(bad) => drop(self.refusals.insert(name.clone(), bad.refusal(name))),
            None => drop(self.refusals.remove(name)),
        }
    }
}
