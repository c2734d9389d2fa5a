//! The host's place in the fleet: its lease, renewed on a thread of its own that no guest and no queue can hold
//! up, and its id, which is a new one after every lost lease.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, watch};

use crate::job::lease::{HostInfo, Leases};
use crate::job::name::{HostId, QueueName};
use crate::job::report::PluginReport;
use crate::job::store::StoreError;

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
    joining: Mutex<()>,
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
            joining: Mutex::new(()),
        }
    }

    /// The present tenure; a host joins before its feeders start, so there always is one.
    pub fn tenure(&self) -> Arc<Tenure> {
        self.current.load_full().expect("the host has joined before anybody asks for its tenure")
    }

    /// Takes a lease under a new id, unless somebody did since `lost` was the present tenure.
    pub async fn join(&self, lost: Option<&Tenure>) -> Result<Arc<Tenure>, StoreError> {
        let _one_at_a_time = self.joining.lock().await;
        let current = self.current.load_full();
        if let Some(current) = &current
            && lost.is_none_or(|lost| lost.number != current.number)
        {
            return Ok(current.clone());
        }
        let info = self.info();
        let host = self.leases.register(&self.name, self.seat, self.lease, &info).await?;
        let number = current.as_ref().map_or(0, |t| t.number + 1);
        if number > 0 {
            tracing::warn!(host = host.as_str(), "lease was lost; the host goes on under a new id");
        }
        let tenure = Arc::new(Tenure { number, host });
        self.current.store(Some(tenure.clone()));
        Ok(tenure)
    }

    /// What this host is about to serve, and what it may still hold jobs of; told with the next `join`.
    pub fn will_serve(&self, queues: Vec<QueueName>, plugins: Vec<PluginReport>) {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        (info.queues, info.plugins) = (queues, plugins);
    }

    /// Tells the fleet what this host serves; false: nobody knows it, and the host had better not claim.
    pub async fn describe(&self) -> bool {
        let info = self.info();
        match self.leases.describe(&self.tenure().host, &info).await {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%error, "the fleet was not told what this host serves; trying again");
                false
            }
        }
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
            wait = match self.leases.renew(&tenure.host, self.lease).await {
                Ok(true) => period,
                Ok(false) => match self.join(Some(&tenure)).await {
                    Ok(_) => period,
                    Err(_) => period / 4,
                },
                // The link itself tells of lost connections.
                Err(_) => period / 4,
            };
        }
    }

    fn info(&self) -> HostInfo {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
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
        let thread = std::thread::Builder::new().name("sandhog-lease".to_owned()).spawn(keep)?;
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
