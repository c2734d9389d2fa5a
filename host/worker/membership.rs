//! The host's place in the fleet: its lease, renewed on a thread of its own that no guest and no queue can hold
//! up, and its id. If the lease has ended, it is renewed, unless the host is not registered any more; then the host
//! continues under a new id, and keeps the former one registered as long as it has jobs under it.

use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, watch};

use crate::job::lease::{HostInfo, Leases, Renewal};
use crate::job::name::{HostId, QueueName};
use crate::job::report::PluginReport;
use crate::job::store::StoreError;
use crate::panics;
use crate::storage::reminder::Reminder;

/// Former ids that are kept registered. The lease of an older one ends, and other hosts take its jobs.
const FORMERS_MAX: usize = 16;

/// One uninterrupted hold of a lease.
#[derive(Debug, PartialEq, Eq)]
pub struct Tenure {
    /// 0 for the first of this process, then one more for each.
    pub number: u32,
    /// The id that records of this tenure carry.
    pub host: HostId,
}

/// The host among hosts.
#[derive(Debug)]
pub struct Membership {
    leases: Leases,
    name: String,
    seat: u32,
    lease: Duration,
    info: StdMutex<HostInfo>,
    current: ArcSwapOption<Tenure>,
    /// Former tenures that may still have records.
    formers: StdMutex<Vec<Arc<Tenure>>>,
    joining: Mutex<()>,
    /// The feeders' connection after which this host last published what it serves. Locked while the host publishes.
    described: Mutex<u64>,
    /// When this host's lease was last found to have ended, and how often it was.
    lapsed_at: StdMutex<Option<Instant>>,
    lapses: watch::Sender<u64>,
    /// Since when Redis has refused these publications.
    untold: StdMutex<Option<Reminder>>,
}

impl Membership {
    /// Prepares; `join` makes it a member. `leases` should use a link of its own.
    pub fn new(leases: Leases, name: String, seat: u32, lease: Duration, info: HostInfo) -> Self {
        Self {
            leases,
            name,
            seat,
            lease,
            info: StdMutex::new(info),
            current: ArcSwapOption::empty(),
            formers: StdMutex::default(),
            joining: Mutex::new(()),
            described: Mutex::new(0),
            lapsed_at: StdMutex::default(),
            lapses: watch::Sender::new(0),
            untold: StdMutex::default(),
        }
    }

    /// The present tenure; a host joins before its feeders start, so there always is one.
    pub fn tenure(&self) -> Arc<Tenure> {
        self.current.load_full().expect("the host has joined before anybody asks for its tenure")
    }

    /// Takes the first lease. Or, if the lease of `lost` has ended and no other caller has renewed it since, renews
    /// it, under a new id if the host is not registered any more.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or a key is of a wrong type.
    pub async fn join(&self, lost: Option<&Tenure>) -> Result<Arc<Tenure>, StoreError> {
        let _one_at_a_time = self.joining.lock().await;
        let current = self.current.load_full();
        if let Some(current) = &current {
            let is_over = lost.is_some_and(|lost| lost.number == current.number);
            if !is_over || self.renew(current).await? {
                return Ok(current.clone());
            }
        }
        let info = self.info();
        let mut formers = self.formers();
        formers.extend(current.clone());
        formers.drain(..formers.len().saturating_sub(FORMERS_MAX));
        let ids: Vec<&HostId> = formers.iter().map(|tenure| &tenure.host).collect();
        let host = self.leases.register(&self.name, self.seat, self.lease, &info, &ids).await?;
        let number = current.as_ref().map_or(0, |t| t.number + 1);
        let tenure = Arc::new(Tenure { number, host });
        *lock(&self.formers) = formers;
        self.current.store(Some(tenure.clone()));
        if number > 0 {
            let host = tenure.host.as_str();
            tracing::warn!(host, "this host was no longer registered; continuing under a new id");
            self.lapse();
        }
        Ok(tenure)
    }

    /// Renews the leases of the present and of former tenures; false if the present one is not registered any more.
    async fn renew(&self, current: &Tenure) -> Result<bool, StoreError> {
        let formers = self.formers();
        let ids: Vec<&HostId> =
            std::iter::once(&current.host).chain(formers.iter().map(|tenure| &tenure.host)).collect();
        let renewals = self.leases.renew(&ids, self.lease).await?;
        // An id that is not registered any more has no records, or none that belong to this host.
        let gone: Vec<&Arc<Tenure>> = std::iter::zip(&formers, &renewals[1..])
            .filter_map(|(tenure, renewal)| (*renewal == Renewal::Gone).then_some(tenure))
            .collect();
        lock(&self.formers).retain(|tenure| !gone.contains(&tenure));
        match renewals[0] {
            Renewal::Gone => return Ok(false),
            Renewal::Revived => {
                tracing::warn!(host = current.host.as_str(), "the lease had ended before it was renewed");
                self.lapse();
            }
            Renewal::Kept => {}
        }
        Ok(true)
    }

    /// Former tenures under which this host may still have records.
    pub fn formers(&self) -> Vec<Arc<Tenure>> {
        lock(&self.formers).clone()
    }

    /// Former tenures that nothing in this process uses any more.
    pub fn abandoned(&self) -> Vec<HostId> {
        let formers = lock(&self.formers);
        let is_abandoned = |tenure: &&Arc<Tenure>| Arc::strong_count(tenure) == 1;
        formers.iter().filter(is_abandoned).map(|tenure| tenure.host.clone()).collect()
    }

    /// A former tenure has no more records.
    pub fn drop_former(&self, host: &HostId) {
        lock(&self.formers).retain(|tenure| tenure.host != *host);
    }

    /// Counts how often the lease had ended: each time other hosts may have taken jobs back.
    pub fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    /// Whether this host's lease had ended less than one lease ago. What kept this host from renewing it may have
    /// kept other hosts as well.
    pub fn has_lapsed_lately(&self) -> bool {
        lock(&self.lapsed_at).is_some_and(|at| at.elapsed() < self.lease)
    }

    /// How long a lease lasts.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// The machine and the file of the seat; empty without such a file.
    pub fn origin(&self) -> String {
        self.info().origin
    }

    fn lapse(&self) {
        *lock(&self.lapsed_at) = Some(Instant::now());
        self.lapses.send_modify(|lapses| *lapses += 1);
    }

    /// What this host is about to serve, and what it may still hold jobs of; told with the next `join`.
    pub fn will_serve(&self, queues: Vec<QueueName>, plugins: Vec<PluginReport>) {
        let mut info = lock(&self.info);
        (info.queues, info.plugins) = (queues, plugins);
    }

    /// Tells the fleet what this host serves; false: nobody knows it, and the host had better not claim.
    pub async fn describe(&self) -> bool {
        // One after the other, so that what was true before does not come last.
        let _describing = self.described.lock().await;
        let info = self.info();
        match self.leases.describe(&self.tenure().host, &info).await {
            Ok(told) => {
                *lock(&self.untold) = None;
                told
            }
            Err(error) => {
                // The links themselves log that Redis cannot be reached.
                let is_lost = matches!(&error, StoreError::Fault(fault) if fault.is_lost());
                let mut untold = lock(&self.untold);
                let reminder = untold.get_or_insert_with(Reminder::growing);
                if !is_lost && reminder.is_due(&error.to_string()).is_some() {
                    tracing::warn!(%error, "could not publish what this host serves; trying again");
                } else {
                    tracing::debug!(%error, "could not publish what this host serves; trying again");
                }
                false
            }
        }
    }

    /// Publishes again what this host serves, once for each connection of the feeders. The Redis behind a new
    /// connection may have lost the end of its data; other hosts would then not search all queues for the jobs of this
    /// host.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or a key is of a wrong type.
    pub async fn describe_again(&self, connection: u64) -> Result<(), StoreError> {
        let mut described = self.described.lock().await;
        if *described != connection {
            self.leases.describe(&self.tenure().host, &self.info()).await?;
            *described = connection;
        }
        Ok(())
    }

    /// The registry of hosts.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Renews the lease until `stop` says so. Runs on its own thread.
    pub async fn keep(&self, mut stop: watch::Receiver<bool>) {
        let period = self.lease / 3;
        let mut wait = period;
        while !*stop.borrow() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = stop.changed() => {
                    if changed.is_err() { return }
                    continue;
                }
            }
            let tenure = self.tenure();
            let kept = match self.renew(&tenure).await {
                Ok(false) => self.join(Some(&tenure)).await.map(drop),
                renewed => renewed.map(drop),
            };
            // The link itself logs lost connections.
            wait = if kept.is_ok() { period } else { period / 4 };
        }
    }

    fn info(&self) -> HostInfo {
        lock(&self.info).clone()
    }
}

/// Nothing panics while one of these locks is held.
fn lock<T>(mutex: &StdMutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that keeps the lease; joined when dropped after `stop` was sent.
#[derive(Debug)]
pub struct LeaseThread {
    thread: Option<std::thread::JoinHandle<()>>,
}

impl LeaseThread {
    /// Starts it.
    pub fn start(membership: Arc<Membership>, stop: watch::Receiver<bool>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keep = move || runtime.block_on(membership.keep(stop));
        let thread = panics::thread("lease", keep)?;
        Ok(Self { thread: Some(thread) })
    }
}

impl Drop for LeaseThread {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
