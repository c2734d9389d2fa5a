//! The Redis users of this host's plugins: one for each plugin and the rules it has, made before its first run, deleted
//! when the last run under it has ended. A user is named `sandhog:<host>.<seat>:<plugin>:<digest of its rules>`: hosts
//! of a fleet never share one, and two versions with other grants have two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

use super::loads::Unavailable;
use crate::capability::acl;
use crate::config::problem::{Problem, Problems};
use crate::config::settings::Settings;
use crate::job::key::HOSTS;
use crate::job::lease::HOSTS_MAX;
use crate::job::name::HostId;
use crate::plugin::load::Loaded;
use crate::plugin::manifest::Kind;
use crate::plugin::release::Digest;
use crate::storage::address::AddressError;
use crate::storage::bounded::{self, Bound, Of};
use crate::storage::fault::Fault;
use crate::storage::link::{Link, Tracking};
use crate::storage::primary::Primary;
use crate::storage::user::{PluginUser, USER_PREFIX, delete, users};

/// How often users without runs are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(2);
/// How often those of hosts that are gone are. One that is seen in vain twice goes: its host may be about to join.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Digits of the digest in a name.
const DIGEST_DIGITS: usize = 12;

/// The users of this host's plugins; clones share them.
#[derive(Clone)]
pub(super) struct Users {
    admin: Link,
    database: i64,
    /// What the names of this host's users begin with.
    prefix: String,
    made: Arc<Mutex<BTreeMap<String, Weak<PluginUser>>>>,
}

impl Users {
    /// The users of the host with this seat; none if the operator wants none.
    pub(super) fn new(
        primary: &Primary,
        settings: &Settings,
        seat: u32,
    ) -> Result<Option<Self>, AddressError> {
        if !settings.redis.per_plugin_users {
            return Ok(None);
        }
        let (database, admin) = (settings.redis.address.database(), primary.link("users", Tracking::Off)?);
        let prefix = format!("{USER_PREFIX}{}.{seat:08x}:", settings.host.name);
        Ok(Some(Self { admin, database, prefix, made: Arc::default() }))
    }

    /// Gives a plugin its user. One that cannot have one is not served.
    pub(super) async fn admit(&self, loaded: Loaded) -> Result<Loaded, Unavailable> {
        let (grants, database) = (&loaded.manifest.grants, self.database);
        let rules = match loaded.manifest.kind {
            Kind::Worker | Kind::BatchWorker => acl::rules(grants, loaded.manifest.is_atomic(), database),
            Kind::ConfigReader => acl::reader_rules(grants, database),
        };
        let digest = Digest::of(rules.join("\n").as_bytes());
        let name = format!("{}{}:{}", self.prefix, loaded.name, &digest.as_str()[..DIGEST_DIGITS]);
        let mut made = self.made.lock().await;
        if let Some(user) = made.get(&name).and_then(Weak::upgrade) {
            return Ok(Loaded { user: Some(user), ..loaded });
        }
        // Recorded before the user is created, so that the user is deleted even if the load is dropped in between.
        made.insert(name.clone(), Weak::new());
        let user = PluginUser::make(&self.admin, name.clone(), rules).await;
        let user = Arc::new(user.map_err(|fault| unavailable(&loaded, &name, &fault))?);
        for note in acl::notes(grants) {
            tracing::info!(plugin = loaded.name.as_str(), "{note}");
        }
        made.insert(name, Arc::downgrade(&user));
        Ok(Loaded { user: Some(user), ..loaded })
    }

    /// Deletes what is of no more use, until the host stops; then all of this host's.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut suspects = BTreeSet::new();
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        while !*stop.borrow() {
            let done = tokio::select! {
                changed = stop.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    continue;
                }
                () = tokio::time::sleep(TIDY_EVERY) => self.tidy().await,
                _ = sweep.tick() => self.sweep(&mut suspects).await,
            };
            if let Err(fault) = done {
                tracing::debug!(%fault, "users of plugins that are gone could not be deleted");
            }
        }
        for name in self.made.lock().await.keys() {
            let _ = delete(&self.admin, name).await;
        }
    }

    /// Deletes users that no version and no run holds.
    async fn tidy(&self) -> Result<(), Fault> {
        let mut made = self.made.lock().await;
        let gone = made.iter().filter(|(_, user)| user.strong_count() == 0);
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            delete(&self.admin, &name).await?;
            made.remove(&name);
        }
        Ok(())
    }

    /// Deletes what former lives of this host, and other hosts that are no more, have left. Nobody can log in as one of
    /// those: their passwords were in the memory of their hosts.
    async fn sweep(&self, suspects: &mut BTreeSet<String>) -> Result<(), Fault> {
        let made = self.made.lock().await;
        let bound = Bound { elements: HOSTS_MAX as usize, bytes: 256 };
        let hosts = bounded::texts(&self.admin, HOSTS, Of::Sorted, bound).await?;
        let living: BTreeSet<String> = hosts
            .iter()
            .filter_map(|id| Some(format!("{USER_PREFIX}{}:", HostId::parse(id)?.seat())))
            .collect();
        let is_ours = |name: &String| name.starts_with(&self.prefix);
        let is_known = |name: &String| made.contains_key(name);
        let is_of_living = |name: &String| living.iter().any(|prefix| name.starts_with(prefix));
        let mut seen = BTreeSet::new();
        for name in users(&self.admin).await? {
            if is_ours(&name) && !is_known(&name)
                || !is_ours(&name) && suspects.contains(&name) && !is_of_living(&name)
            {
                delete(&self.admin, &name).await?;
            } else if !is_ours(&name) && !is_of_living(&name) {
                seen.insert(name);
            }
        }
        *suspects = seen;
        Ok(())
    }
}

fn unavailable(loaded: &Loaded, name: &str, fault: &Fault) -> Unavailable {
    let text = if fault.is_lost() {
        format!("Redis could not be asked for a user of its own: {fault}")
    } else {
        format!(
            "it cannot have the Redis user `{name}` (`redis.per_plugin_users`): {fault}; let the host's own user run \
             `ACL SETUSER`, `ACL DELUSER`, `ACL USERS` and `ACL DRYRUN`"
        )
    };
    let problems = Problems::one(Problem::new(format!("plugin `{}`", loaded.name), text));
    Unavailable { problems, is_final: !fault.is_lost() }
}
