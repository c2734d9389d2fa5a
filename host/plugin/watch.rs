//! Notices that the plugin folder, or some files, have changed and come to rest. What is loaded then, and how, is not known here:
//! whoever asks is told "look again", as by SIGHUP.
//!
//! Events only wake: whether anything has changed is seen by looking (`watch/sight.rs`), and one looks every
//! `[plugins] poll` in any case, for file systems that have no events or not all of them.

mod sight;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;

use super::scan::Part;
use crate::config::settings::{PluginSettings, PluginsFrom, Watch};
use crate::config::unit::show_duration;
use crate::panics;
use sight::{Contents, Places, Scene, Sight, look};

/// A file that was written to is whole when nothing has happened to it for this long. One that takes longer
/// between two pieces is refused at first, and taken when it is whole.
const REST_AFTER_WRITE: Duration = Duration::from_millis(100);
/// A file that was moved or linked into place is whole; its manifest comes in the same breath.
const REST_AFTER_MOVE: Duration = Duration::from_millis(20);
/// Longest time without rest: a file that is written to all the time does not keep others from being loaded.
const UNREST_MAX: Duration = Duration::from_secs(2);
/// Most folders that are watched for events, those of link targets included; of the rest, polls tell.
const FOLDERS_MAX: usize = 64;

/// Watches a plugin folder, or some files, until it is dropped.
#[derive(Debug)]
pub struct FolderWatch {
    /// None if nobody is to be told.
    changes: Option<watch::Receiver<Option<Sight>>>,
    /// What was seen when the last change was told, or at the start.
    last: Option<Sight>,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl FolderWatch {
    /// Starts to watch: what changes from here on is told.
    pub fn start(folder: &Path, settings: &PluginSettings) -> io::Result<Self> {
        // A host of the fleet has no folder to watch.
        let watch = if settings.source == PluginsFrom::Redis { Watch::Off } else { settings.watch };
        Self::begin(Scene::Folder(folder.to_owned()), watch, settings.poll)
    }

    /// The same for files, wherever they are. Those that are not there may come.
    pub fn of_files(files: Vec<PathBuf>, poll: Duration) -> io::Result<Self> {
        Self::begin(Scene::Files(files), Watch::Events, poll)
    }

    fn begin(scene: Scene, watch: Watch, poll: Duration) -> io::Result<Self> {
        let inbox = Arc::new(Inbox { only_names: matches!(scene, Scene::Files(_)), ..Inbox::default() });
        if watch == Watch::Off {
            return Ok(Self { changes: None, last: None, inbox, thread: None });
        }
        let (teller, changes) = watch::channel(None);
        let mut watcher = Watcher::new(scene, (watch, poll), inbox.clone(), teller);
        watcher.told = watcher.look().ok();
        let last = watcher.told.clone();
        let body = move || watcher.run();
        let thread = panics::thread("watch", body)?;
        Ok(Self { changes: Some(changes), last, inbox, thread: Some(thread) })
    }

    /// Returns when something has changed since the last time, and come to rest: the names of files that look other than
    /// they did. Loses nothing if dropped.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        let Some(changes) = &mut self.changes else { return std::future::pending().await };
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        let now = changes.borrow_and_update().clone();
        let before = std::mem::replace(&mut self.last, now);
        match (&self.last, before) {
            (Some(now), Some(before)) => now.differences(&before),
            _ => Vec::new(),
        }
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        self.inbox.update(|news| news.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What events and the owner have said since the thread last asked.
#[derive(Debug, Default)]
struct News {
    /// When the last event was that may concern a plugin.
    touched: Option<Instant>,
    /// Something else was than a file moved into place.
    slow: bool,
    /// Something was written to.
    written: bool,
    /// A watched folder is no longer where it was.
    uprooted: bool,
    stop: bool,
}

/// Where they say it: one place, however many events there are.
#[derive(Debug, Default)]
struct Inbox {
    news: Mutex<News>,
    bell: Condvar,
    /// Names that are of concern beyond those of plugins' files.
    names: Mutex<BTreeSet<PathBuf>>,
    /// And no others are.
    only_names: bool,
}

impl Inbox {
    fn update(&self, change: impl FnOnce(&mut News)) {
        change(&mut lock(&self.news));
        self.bell.notify_one();
    }

    /// Waits until `at`, or until an event if these are of interest; takes what was said.
    fn take(&self, at: Instant, interested: bool) -> News {
        let mut news = lock(&self.news);
        while !(news.stop || interested && news.touched.is_some()) {
            let left = at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            news = self.bell.wait_timeout(news, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut news)
    }

    /// Called by the library, on its thread, for every event.
    fn receive(&self, event: notify::Result<Event>) {
        let now = Instant::now();
        let (mut concerned, mut slow, mut written, mut uprooted) = (true, true, false, false);
        if let Ok(event) = event {
            match event.kind {
                EventKind::Access(AccessKind::Close(AccessMode::Write)) => written = true,
                // To read is to open and to close.
                EventKind::Access(_) => return,
                EventKind::Create(_) | EventKind::Modify(ModifyKind::Data(_)) => written = true,
                EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => slow = false,
                EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => uprooted = true,
                _ => {}
            }
            let names = lock(&self.names);
            uprooted &= event.paths.iter().any(|path| names.contains(path));
            let ours = |path: &PathBuf| names.contains(path) || !self.only_names && Part::of(path).is_some();
            concerned = event.need_rescan() || event.paths.iter().any(ours);
        }
        if concerned {
            self.update(|news| {
                news.touched = Some(now);
                news.slow |= slow;
                news.written |= written;
                news.uprooted |= uprooted;
            });
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Flags and sets are changed whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A change that has not come to rest.
#[derive(Debug)]
struct Unrest {
    since: Instant,
    last: Instant,
    rest: Duration,
    /// Tell of it even if everything looks as before.
    certain: bool,
    /// What was seen when it began, if that was by looking and not by an event.
    seen: Option<Sight>,
}

impl Unrest {
    fn over_at(&self) -> Instant {
        (self.last + self.rest).min(self.since + UNREST_MAX)
    }
}

/// The thread's own.
struct Watcher {
    scene: Scene,
    poll: Duration,
    events: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    /// One of them is no longer where it was.
    uprooted: bool,
    inbox: Arc<Inbox>,
    contents: Contents,
    /// The scene as it was when the owner was last told, or at the start.
    told: Option<Sight>,
    teller: watch::Sender<Option<Sight>>,
    warned: Warned,
}

/// What has been said once.
#[derive(Default)]
struct Warned {
    events: bool,
    folder: bool,
}

impl Watcher {
    fn new(
        scene: Scene,
        (watch, poll): (Watch, Duration),
        inbox: Arc<Inbox>,
        teller: watch::Sender<Option<Sight>>,
    ) -> Self {
        let mut watcher = Self {
            scene,
            poll,
            events: None,
            watched: BTreeSet::new(),
            uprooted: false,
            inbox,
            contents: Contents::default(),
            told: None,
            teller,
            warned: Warned::default(),
        };
        if watch == Watch::Events {
            let inbox = watcher.inbox.clone();
            match notify::recommended_watcher(move |event| inbox.receive(event)) {
                Ok(events) => watcher.events = Some(events),
                Err(error) => watcher.warn(&error),
            }
        }
        watcher
    }

    fn run(mut self) {
        let mut poll_at = Instant::now() + self.poll;
        let mut unrest: Option<Unrest> = None;
        loop {
            let at = unrest.as_ref().map_or(poll_at, Unrest::over_at);
            let news = self.inbox.take(at, unrest.is_none());
            if news.stop {
                return;
            }
            self.uprooted |= news.uprooted;
            if let Some(last) = news.touched {
                let rest = if news.slow { REST_AFTER_WRITE } else { REST_AFTER_MOVE };
                let begun = Unrest { since: last, last, rest, certain: false, seen: None };
                let before = unrest.take().unwrap_or(begun);
                let (rest, certain) = (rest.max(before.rest), news.written || before.certain);
                let now = Unrest { since: before.since, last, rest, certain, seen: None };
                if Instant::now() < now.over_at() {
                    unrest = Some(now);
                    continue;
                }
                unrest = Some(now);
            }
            unrest = match unrest {
                Some(unrest) => self.settle(unrest),
                None => self.poll(),
            };
            poll_at = Instant::now() + self.poll;
        }
    }

    /// Tells of a change if it has come to rest; else answers it.
    fn settle(&mut self, unrest: Unrest) -> Option<Unrest> {
        // A folder that cannot be read is not an empty one: what was loaded goes on.
        let sight = self.look().ok()?;
        let now = Instant::now();
        if unrest.seen.as_ref().is_some_and(|seen| *seen != sight) && now < unrest.since + UNREST_MAX {
            return Some(Unrest { last: now, seen: Some(sight), ..unrest });
        }
        if unrest.certain || self.told.as_ref() != Some(&sight) {
            self.told = Some(sight.clone());
            self.teller.send_replace(Some(sight));
        }
        None
    }

    /// Looks without an event; answers a change that was not told of.
    fn poll(&mut self) -> Option<Unrest> {
        let sight = self.look().ok()?;
        let certain = match &self.scene {
            Scene::Folder(folder) => self.contents.advance(folder, &sight),
            // Somebody sits there and can save once more.
            Scene::Files(_) => false,
        };
        if !certain && self.told.as_ref() == Some(&sight) {
            return None;
        }
        let now = Instant::now();
        Some(Unrest { since: now, last: now, rest: REST_AFTER_WRITE, certain, seen: Some(sight) })
    }

    /// Looks at the scene, and follows the places that its state depends on.
    fn look(&mut self) -> io::Result<Sight> {
        let (mut sight, places) = look(&self.scene);
        if self.follow(places) {
            // What happened before they were watched has no event.
            sight = look(&self.scene).0;
        }
        match &sight {
            Ok(_) => self.warned.folder = false,
            Err(error) if !self.warned.folder => {
                self.warned.folder = true;
                let scene = &self.scene;
                tracing::warn!("cannot read {scene}: {error}; what was loaded from there goes on");
            }
            Err(_) => {}
        }
        sight
    }

    /// Watches these places and no others; whether one is new.
    fn follow(&mut self, places: Places) -> bool {
        if self.events.is_none() {
            return false;
        }
        let folders: BTreeSet<PathBuf> = places.folders().into_iter().take(FOLDERS_MAX).collect();
        let uprooted = std::mem::take(&mut self.uprooted);
        let gone = |watched: &&PathBuf| uprooted || !folders.contains(*watched);
        let gone: Vec<PathBuf> = self.watched.iter().filter(gone).cloned().collect();
        gone.iter().for_each(|folder| self.unwatch(folder));
        let mut names = places.names;
        names.extend(folders.iter().cloned());
        *lock(&self.inbox.names) = names;
        // Also those that are watched: one that was made anew under its old name is another.
        let new = folders.iter().filter(|folder| self.watch(folder)).count();
        new > 0
    }

    /// Whether the folder was not watched before.
    fn watch(&mut self, folder: &Path) -> bool {
        let Some(events) = &mut self.events else { return false };
        match events.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => self.watched.insert(folder.to_owned()),
            Err(error) => {
                // One that has gone meanwhile is seen at the next look.
                if !matches!(error.kind, notify::ErrorKind::PathNotFound) {
                    self.warn(&error);
                }
                false
            }
        }
    }

    fn unwatch(&mut self, folder: &Path) {
        if let Some(events) = &mut self.events {
            // It fails if the folder is gone, which ends the watch as well.
            let _ = events.unwatch(folder);
        }
        self.watched.remove(folder);
    }

    /// Says once that there are no events, or not all.
    fn warn(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.warned.events, true) {
            let (scene, every) = (&self.scene, show_duration(self.poll));
            tracing::warn!("no events of {scene}: {error}; one looks every {every}");
        }
    }
}
