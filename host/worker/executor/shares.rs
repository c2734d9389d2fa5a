//! Who shares the threads: plugins among each other, and the queues of one plugin what it gets. So a plugin with many
//! queues has no more than one with a single queue of the same weight.

use std::collections::HashMap;

use std::time::Duration;

use super::turns::{Member, Turns};

/// One queue of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    plugin: Member,
    queue: Member,
}

/// All who share, and what they want to run.
#[derive(Debug)]
pub(super) struct Shares<T> {
    names: HashMap<String, Member>,
    plugins: Turns<()>,
    queues: HashMap<Member, Queues<T>>,
}

#[derive(Debug)]
struct Queues<T> {
    turns: Turns<T>,
    count: usize,
    /// Tasks of the plugin that run.
    running: usize,
}

impl<T> Default for Shares<T> {
    fn default() -> Self {
        Self { names: HashMap::new(), plugins: Turns::default(), queues: HashMap::new() }
    }
}

impl<T> Shares<T> {
    /// One more queue of this plugin.
    pub(super) fn join(&mut self, plugin: &str, weight: u32) -> Place {
        let member = match self.names.get(plugin) {
            Some(member) => *member,
            None => {
                let member = self.plugins.join(weight);
                self.names.insert(plugin.to_owned(), member);
                self.queues.insert(member, Queues { turns: Turns::default(), count: 0, running: 0 });
                member
            }
        };
        let queues = self.queues.get_mut(&member).expect("a plugin with a name has queues");
        queues.count += 1;
        let place = Place { plugin: member, queue: queues.turns.join(weight) };
        self.weigh_plugin(member);
        place
    }

    /// Gives a queue another weight.
    pub(super) fn weigh(&mut self, place: Place, weight: u32) {
        if let Some(queues) = self.queues.get_mut(&place.plugin) {
            queues.turns.weigh(place.queue, weight);
        }
        self.weigh_plugin(place.plugin);
    }

    /// Forgets a queue that has nothing to run any more, and with its last one the plugin.
    pub(super) fn leave(&mut self, place: Place) {
        let Some(queues) = self.queues.get_mut(&place.plugin) else { return };
        queues.turns.leave(place.queue);
        queues.count -= 1;
        if queues.count > 0 {
            self.weigh_plugin(place.plugin);
        } else {
            self.queues.remove(&place.plugin);
            self.plugins.leave(place.plugin);
            self.names.retain(|_, member| *member != place.plugin);
        }
    }

    /// Something to run; after what the queue has already.
    pub(super) fn add(&mut self, place: Place, task: T) {
        if let Some(queues) = self.queues.get_mut(&place.plugin) {
            queues.turns.add(place.queue, task);
            self.plugins.add(place.plugin, ());
        }
    }

    /// The next task, and the plugin that is charged for it. A plugin runs at most `most` tasks at the same time.
    pub(super) fn next(&mut self, most: usize) -> Option<(Place, T)> {
        loop {
            let all = &self.queues;
            let (plugin, ()) = self.plugins.next_of(|plugin| is_below(all, plugin, most))?;
            let Some(queues) = self.queues.get_mut(&plugin) else { continue };
            if let Some((queue, task)) = queues.turns.next() {
                queues.running += 1;
                return Some((Place { plugin, queue }, task));
            }
        }
    }

    /// Whether `next` would return a task.
    pub(super) fn has_next(&self, most: usize) -> bool {
        self.plugins.has_next_of(|plugin| is_below(&self.queues, plugin, most))
    }

    /// Records that a task has stopped running, and how long it ran.
    pub(super) fn end(&mut self, place: Place, took: Duration) {
        self.charge(place, took);
        if let Some(queues) = self.queues.get_mut(&place.plugin) {
            queues.running = queues.running.saturating_sub(1);
        }
    }

    /// Puts time on a queue's account, and its plugin's.
    pub(super) fn charge(&mut self, place: Place, took: Duration) {
        self.plugins.charge(place.plugin, took);
        if let Some(queues) = self.queues.get_mut(&place.plugin) {
            queues.turns.charge(place.queue, took);
        }
    }

    /// All that waits.
    pub(super) fn drain(&mut self) -> Vec<T> {
        self.plugins.drain();
        self.queues.values_mut().flat_map(|queues| queues.turns.drain()).collect()
    }

    /// A plugin weighs as much as the heaviest of its queues.
    fn weigh_plugin(&mut self, plugin: Member) {
        let weight = self.queues.get(&plugin).and_then(|queues| queues.turns.weight_max());
        self.plugins.weigh(plugin, weight.unwrap_or(1));
    }
}

fn is_below<T>(all: &HashMap<Member, Queues<T>>, plugin: Member, most: usize) -> bool {
    all.get(&plugin).is_none_or(|queues| queues.running < most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Who gets how many of `turns` turns, if all always want one.
    fn counts(shares: &mut Shares<usize>, places: &[Place], turns: usize) -> Vec<usize> {
        let mut counts = vec![0; places.len()];
        for (who, place) in places.iter().enumerate() {
            shares.add(*place, who);
        }
        for _ in 0..turns {
            let (place, who) = shares.next(usize::MAX).unwrap();
            assert_eq!(place, places[who]);
            shares.charge(place, MS);
            shares.add(place, who);
            counts[who] += 1;
        }
        counts
    }

    #[test]
    fn many_queues_have_together_what_one_has() {
        let mut shares = Shares::default();
        let places = [shares.join("many", 1), shares.join("many", 1), shares.join("one", 1)];
        assert_eq!(counts(&mut shares, &places, 400), [100, 100, 200]);
    }

    #[test]
    fn weights_count_among_queues_and_among_plugins() {
        let mut shares = Shares::default();
        let places = [shares.join("p", 3), shares.join("p", 1), shares.join("q", 1)];
        assert_eq!(counts(&mut shares, &places, 400), [225, 75, 100]);
        let mut shares = Shares::default();
        let places = [shares.join("p", 1), shares.join("q", 1)];
        shares.weigh(places[0], 3);
        assert_eq!(counts(&mut shares, &places, 400), [300, 100]);
    }

    #[test]
    fn a_plugin_runs_no_more_than_so_many_at_once() {
        let mut shares = Shares::default();
        let places = [shares.join("p", 1), shares.join("p", 1), shares.join("q", 1)];
        for (who, place) in places.iter().enumerate().cycle().take(9) {
            shares.add(*place, who);
        }
        let running: Vec<Place> = std::iter::from_fn(|| shares.next(2)).map(|(place, _)| place).collect();
        let of = |place: Place| running.iter().filter(|running| running.plugin == place.plugin).count();
        assert_eq!((running.len(), of(places[0]), of(places[2])), (4, 2, 2));
        assert!(!shares.has_next(2) && shares.has_next(3));
        shares.end(running[0], MS);
        assert!(shares.has_next(2));
        assert_eq!(shares.next(2).unwrap().0.plugin, running[0].plugin);
        assert!(shares.next(2).is_none());
    }

    #[test]
    fn who_left_is_forgotten() {
        let mut shares = Shares::default();
        let (first, second) = (shares.join("p", 5), shares.join("p", 1));
        shares.add(first, 1);
        assert_eq!(shares.drain(), [1]);
        shares.leave(first);
        shares.leave(second);
        shares.charge(first, MS);
        shares.add(first, 2);
        assert!(shares.next(usize::MAX).is_none() && shares.names.is_empty() && shares.queues.is_empty());
    }
}
