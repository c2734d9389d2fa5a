//! What config readers computed, and what each worker sees of it. Snapshots are swapped whole: a run takes one
//! and keeps it. When readers run is in `reader`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::name::PluginName;

/// Names and values, whole and unchanging.
pub type Settings = BTreeMap<String, String>;

/// The answers of all config readers of a host, and the workers that look at them.
#[derive(Debug, Default)]
pub struct Snapshots {
    state: Mutex<State>,
}

/// What one worker sees: its static settings by their names, those of readers as `<reader>.<name>`.
#[derive(Debug)]
pub struct SettingsView {
    /// Changed and read under the lock of `Snapshots` only.
    terms: Mutex<Terms>,
    merged: Arc<ArcSwap<Settings>>,
}

#[derive(Debug)]
struct Terms {
    fixed: Settings,
    readers: Vec<String>,
}

/// How a config reader stands, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReaderStatus {
    /// The last good answer; none before the first.
    pub settings: Option<Arc<Settings>>,
    /// When that answer came first.
    pub since: Option<SystemTime>,
    /// Why there is no newer one; none while the last run was good.
    pub failure: Option<String>,
    /// Why the last good answer is not published; none if it is, or is not to be.
    pub unpublished: Option<String>,
    /// Runs that ended, whether well or not.
    pub runs: u64,
}

#[derive(Debug, Default)]
struct State {
    answers: BTreeMap<PluginName, Arc<Settings>>,
    readers: BTreeMap<PluginName, watch::Sender<ReaderStatus>>,
    views: Vec<Weak<SettingsView>>,
}

impl Snapshots {
    /// What a worker with these static settings and granted readers sees, from now on.
    pub fn view(&self, fixed: &Settings, readers: &[String]) -> Arc<SettingsView> {
        let mut state = self.lock();
        let terms = Terms { fixed: fixed.clone(), readers: readers.to_vec() };
        let merged = Arc::new(ArcSwap::from_pointee(state.merge(&terms)));
        let view = Arc::new(SettingsView { terms: Mutex::new(terms), merged });
        state.views.retain(|view| view.strong_count() > 0);
        state.views.push(Arc::downgrade(&view));
        view
    }

    /// Gives a view the static settings and granted readers of another manifest.
    pub fn change(&self, view: &SettingsView, fixed: &Settings, readers: &[String]) {
        let state = self.lock();
        let terms = Terms { fixed: fixed.clone(), readers: readers.to_vec() };
        view.merged.store(Arc::new(state.merge(&terms)));
        *view.terms() = terms;
    }

    /// Makes a reader known. Of one that is not, or was forgotten since, nothing is taken.
    pub fn enter(&self, reader: &PluginName) {
        self.lock().readers.entry(reader.clone()).or_default();
    }

    /// Takes a good answer; answers whether it differs from the last good one.
    pub fn accept(&self, reader: &PluginName, settings: Settings) -> bool {
        let mut state = self.lock();
        if !state.readers.contains_key(reader) {
            return false;
        }
        let changed = state.answers.get(reader).is_none_or(|last| **last != settings);
        if changed {
            state.answers.insert(reader.clone(), Arc::new(settings));
            // Before the status tells of it: who waits for an answer must then see it.
            state.refresh(reader);
        }
        let answer = state.answers.get(reader).cloned();
        state.change(reader, |status| {
            status.runs += 1;
            status.failure = None;
            if changed {
                status.settings = answer;
                status.since = Some(SystemTime::now());
            }
            changed
        })
    }

    /// Takes note of a failure; the last good answer stays. Answers whether it is another than the last one.
    pub fn fail(&self, reader: &PluginName, reason: &str) -> bool {
        self.lock().change(reader, |status| {
            status.runs += 1;
            let changed = status.failure.as_deref() != Some(reason);
            status.failure = Some(reason.to_owned());
            changed
        })
    }

    /// Takes note of how the publication of an answer went; answers whether that is another than the last time.
    pub fn publication(&self, reader: &PluginName, problem: Option<&str>) -> bool {
        self.lock().change(reader, |status| {
            let changed = status.unpublished.as_deref() != problem;
            status.unpublished = problem.map(str::to_owned);
            changed
        })
    }

    /// Forgets a reader that is gone, and with it its settings.
    pub fn forget(&self, reader: &PluginName) {
        let mut state = self.lock();
        state.readers.remove(reader);
        state.answers.remove(reader);
        state.refresh(reader);
    }

    /// How a reader stands, and a way to wait for its next run. A start waits here for the first one, whether
    /// it ends well or not.
    pub fn watch(&self, reader: &PluginName) -> watch::Receiver<ReaderStatus> {
        self.lock().readers.entry(reader.clone()).or_default().subscribe()
    }

    /// How all readers stand.
    pub fn all(&self) -> BTreeMap<PluginName, ReaderStatus> {
        let state = self.lock();
        state.readers.iter().map(|(name, status)| (name.clone(), status.borrow().clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whatever panicked left whole answers: each is swapped in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SettingsView {
    /// The present snapshot. Takes no lock: every run asks.
    pub fn current(&self) -> Arc<Settings> {
        self.merged.load_full()
    }

    /// Where the present snapshot stands, for whoever asks often. It is swapped as long as this view is held.
    pub fn cell(&self) -> &Arc<ArcSwap<Settings>> {
        &self.merged
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        // Terms are replaced whole.
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Changes the status of a known reader; answers what the change answers, else false.
    fn change(&self, reader: &PluginName, change: impl FnOnce(&mut ReaderStatus) -> bool) -> bool {
        let mut answer = false;
        if let Some(status) = self.readers.get(reader) {
            status.send_modify(|status| answer = change(status));
        }
        answer
    }

    fn merge(&self, terms: &Terms) -> Settings {
        let mut merged = terms.fixed.clone();
        for (name, settings) in self.answers.iter().filter(|(name, _)| terms.sees(name)) {
            for (setting, value) in settings.iter() {
                merged.insert(format!("{name}.{setting}"), value.clone());
            }
        }
        merged
    }

    /// Swaps what the workers see that were granted this reader. Under the lock, so a later answer is never
    /// replaced by an earlier one.
    fn refresh(&self, reader: &PluginName) {
        for view in self.views.iter().filter_map(Weak::upgrade) {
            let terms = view.terms();
            if terms.sees(reader) {
                view.merged.store(Arc::new(self.merge(&terms)));
            }
        }
    }
}

impl Terms {
    fn sees(&self, reader: &PluginName) -> bool {
        self.readers.iter().any(|name| name == reader.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(list: &[(&str, &str)]) -> Settings {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Snapshots that know these readers.
    fn of(readers: &[&str]) -> Snapshots {
        let snapshots = Snapshots::default();
        readers.iter().for_each(|reader| snapshots.enter(&name(reader)));
        snapshots
    }

    fn name(text: &str) -> PluginName {
        PluginName::new(text).unwrap()
    }

    #[test]
    fn a_worker_sees_its_own_settings_and_those_of_granted_readers() {
        let snapshots = of(&["site", "ads", "later"]);
        let (site, ads) = (name("site"), name("ads"));
        assert!(snapshots.accept(&site, settings(&[("title", "a")])));
        let view = snapshots.view(&settings(&[("size", "320")]), &["site".to_owned(), "later".to_owned()]);
        assert_eq!(*view.current(), settings(&[("size", "320"), ("site.title", "a")]));
        let kept = view.current();
        assert!(snapshots.accept(&site, settings(&[("colour", "red")])));
        assert!(snapshots.accept(&ads, settings(&[("on", "1")])));
        assert!(snapshots.accept(&name("later"), settings(&[("x", "y")])));
        let expected = settings(&[("size", "320"), ("site.colour", "red"), ("later.x", "y")]);
        assert_eq!(*view.current(), expected);
        // A run keeps the snapshot it began with.
        assert_eq!(*kept, settings(&[("size", "320"), ("site.title", "a")]));
        snapshots.forget(&site);
        assert_eq!(*view.current(), settings(&[("size", "320"), ("later.x", "y")]));
        // A run that began before comes too late.
        assert!(!snapshots.accept(&site, settings(&[("title", "z")])));
        assert_eq!(*view.current(), settings(&[("size", "320"), ("later.x", "y")]));
        assert!(!snapshots.all().contains_key(&site));
    }

    #[test]
    fn a_failure_keeps_the_last_good_answer() {
        let snapshots = of(&["site"]);
        let site = name("site");
        let view = snapshots.view(&Settings::new(), &["site".to_owned()]);
        assert!(snapshots.fail(&site, "no title"));
        assert!(view.current().is_empty());
        assert!(snapshots.accept(&site, settings(&[("a", "1")])));
        let before = view.current();
        assert!(snapshots.fail(&site, "no title"));
        assert!(!snapshots.fail(&site, "no title"));
        assert!(Arc::ptr_eq(&before, &view.current()));
        let status = snapshots.watch(&site).borrow().clone();
        assert_eq!((status.failure.as_deref(), status.runs), (Some("no title"), 4));
        assert_eq!(status.settings.as_deref(), Some(&settings(&[("a", "1")])));
        // The same answer again clears the failure and swaps nothing.
        assert!(!snapshots.accept(&site, settings(&[("a", "1")])));
        assert!(Arc::ptr_eq(&before, &view.current()));
        assert_eq!(snapshots.all()[&site].failure, None);
    }

    #[test]
    fn another_manifest_changes_what_is_seen_in_the_same_place() {
        let snapshots = of(&["site"]);
        snapshots.accept(&name("site"), settings(&[("title", "a")]));
        let view = snapshots.view(&settings(&[("size", "320")]), &[]);
        let cell = view.cell().clone();
        snapshots.change(&view, &settings(&[("size", "640")]), &["site".to_owned()]);
        assert_eq!(**cell.load(), settings(&[("size", "640"), ("site.title", "a")]));
        snapshots.accept(&name("site"), settings(&[("title", "b")]));
        assert_eq!(**cell.load(), settings(&[("size", "640"), ("site.title", "b")]));
    }

    #[test]
    fn views_that_nobody_holds_go() {
        let snapshots = Snapshots::default();
        for _ in 0..10 {
            drop(snapshots.view(&Settings::new(), &[]));
        }
        assert_eq!(snapshots.lock().views.len(), 1);
    }

    #[tokio::test]
    async fn the_first_run_can_be_waited_for() {
        let snapshots = of(&["site"]);
        let site = name("site");
        let mut watched = snapshots.watch(&site);
        let (waited, _) = tokio::join!(watched.wait_for(|status| status.runs > 0), async {
            snapshots.fail(&site, "x");
        });
        assert_eq!(waited.unwrap().runs, 1);
    }
}
