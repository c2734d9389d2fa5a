//! What one run holds to reach the world: its grants, its budget, its effects. The traits of the WIT contract
//! are implemented on it in `kv`, `queue`, `config` and `log`; here are the checks they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binding::sandhog::worker::types;
use super::effects::Effects;
use super::foresight::Foresight;
use super::grant::{Grants, Patterns};
use super::limits::Limits;
use super::log::GuestLog;
use super::overlay::Pending;
use super::plan::Plan;
use super::refusal::Refusal;
use super::status::Told;
use super::voice::Voice;
use super::write_rate::BYTES_EACH;
use crate::escape;
use crate::storage::fault::Fault;
use crate::storage::link::Link;

/// Longest key, queue name or unique key in bytes.
pub const NAME_BYTES_MAX: usize = 1024;
/// Most keys or entries in one call.
pub const BATCH_MAX: usize = 1_000;
/// Most keys and prefixes a config reader may read: each is watched.
pub const READS_MAX: usize = 10_000;

/// What every run of one version shares.
#[derive(Debug)]
pub struct Scope {
    /// The plugin's name.
    pub plugin: String,
    /// The first 12 digits of the version's digest.
    pub version: String,
    /// What it may touch.
    pub grants: Arc<Grants>,
    /// How much it may use.
    pub limits: Limits,
    /// Static settings from the manifest.
    pub config: Arc<BTreeMap<String, String>>,
    /// Whether writes are denied whatever the grants say: config readers.
    pub read_only: bool,
    /// What it may say in the log, together with the plugin's other versions.
    pub voice: Arc<Voice>,
}

/// The keys and listing prefixes a run read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSet {
    /// Keys.
    pub keys: BTreeSet<String>,
    /// Prefixes.
    pub prefixes: BTreeSet<String>,
}

/// What a run has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Calls of `kv` and `queue`.
    pub calls: u64,
    /// The same by name, in the order of their first ones.
    pub by_name: Vec<(&'static str, u64)>,
    /// Keys and entries written.
    pub effects: u64,
    /// Calls refused because no grant covers them.
    pub denied: u64,
    /// Bytes of values that were sent to Redis and fetched from it.
    pub moved_bytes: u64,
}

/// One run's way to the world.
#[derive(Debug)]
pub struct View {
    pub(super) scope: Arc<Scope>,
    pub(super) effects: Effects,
    pub(super) settings: Arc<BTreeMap<String, String>>,
    pub(super) log: Option<GuestLog>,
    pub(super) told: Option<Box<Told>>,
    reads: Option<Box<ReadSet>>,
    usage: Usage,
    /// Whether a call was refused because Redis was unavailable.
    met_outage: bool,
}

impl View {
    /// A view with a full budget. Without a link every call of `kv` and `queue` is refused.
    pub fn new(
        scope: Arc<Scope>,
        link: Option<Link>,
        settings: Arc<BTreeMap<String, String>>,
        log: Option<GuestLog>,
        plan: &Plan,
    ) -> Self {
        let effects = Effects::new(link, scope.limits.value_bytes, scope.voice.clone(), plan);
        let reads = scope.read_only.then(Box::default);
        Self { scope, effects, settings, log, told: None, reads, usage: Usage::default(), met_outage: false }
    }

    /// What the run has used so far.
    pub fn usage(&self) -> Usage {
        Usage { moved_bytes: self.effects.moved_bytes(), ..self.usage.clone() }
    }

    /// The run's log, if its component can write one.
    pub fn log(&self) -> Option<&GuestLog> {
        self.log.as_ref()
    }

    /// From now on the run may be given what other runs have asked for, if that was after `since`.
    pub fn foresee(&mut self, foresight: Arc<Foresight>, since: Instant) {
        self.effects.foresee(foresight, since);
    }

    /// Whether the run was told what only its commit can show to be right.
    pub fn has_presumed(&self) -> bool {
        self.effects.has_presumed()
    }

    /// Whether a call of the run was refused because Redis was unavailable, which is not the guest's fault.
    pub fn met_outage(&self) -> bool {
        self.met_outage
    }

    /// How long the run has waited for slow replies of Redis; replies within 100 ms do not count.
    pub fn stalled(&self) -> Duration {
        self.effects.stalled()
    }

    /// What the run leaves to be committed; none if each of its effects took place at once.
    pub fn finish(&mut self) -> Option<Pending> {
        self.effects.finish()
    }

    /// What a config reader has read; empty for workers.
    pub fn take_reads(&mut self) -> ReadSet {
        self.reads.take().map(|reads| *reads).unwrap_or_default()
    }

    /// Counts one call of this name.
    pub(super) fn spend_call(&mut self, name: &'static str) -> Result<(), Refusal> {
        if self.usage.calls >= self.scope.limits.kv_calls {
            return Err(Refusal::Quota("kv_calls"));
        }
        self.usage.calls += 1;
        match self.usage.by_name.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.usage.by_name.push((name, 1)),
        }
        Ok(())
    }

    /// Counts `count` keys or entries that are about to be written.
    pub(super) fn spend_effects(&mut self, count: usize) -> Result<(), Refusal> {
        let effects = self.usage.effects.saturating_add(count as u64);
        if effects > self.scope.limits.effects {
            return Err(Refusal::Quota("effects"));
        }
        self.usage.effects = effects;
        Ok(())
    }

    /// Counts keys or entries that a call writes or pushes, and spends bytes for their names and values if the plugin
    /// has a write rate.
    pub(super) async fn spend_writes(&mut self, count: usize, bytes: usize) -> Result<(), Refusal> {
        self.spend_effects(count)?;
        let Some(rate) = self.scope.limits.write_rate else { return Ok(()) };
        let bytes = bytes.saturating_add(count.saturating_mul(BYTES_EACH)) as u64;
        self.effects.pay(&self.scope.plugin, rate, bytes).await
    }

    /// Passes a key that may be read, and remembers it for a config reader.
    pub(super) fn check_read(&mut self, key: &str) -> Result<(), Refusal> {
        check_name("key", key)?;
        check_grant(&self.scope.grants.kv_read, key)?;
        self.remember(|reads| &mut reads.keys, key)
    }

    /// Passes a prefix under which every key may be read.
    pub(super) fn check_prefix(&mut self, prefix: &str) -> Result<(), Refusal> {
        if prefix.len() > NAME_BYTES_MAX {
            return Err(Refusal::Quota("key"));
        }
        if !self.scope.grants.prefix_readable(prefix) {
            return Err(Refusal::Denied(format!("{prefix}*")));
        }
        self.remember(|reads| &mut reads.prefixes, prefix)
    }

    /// Passes a key that may be written.
    pub(super) fn check_write(&self, key: &str) -> Result<(), Refusal> {
        check_name("key", key)?;
        if self.scope.read_only {
            return Err(Refusal::Denied(key.to_owned()));
        }
        check_grant(&self.scope.grants.kv_write, key)
    }

    /// Passes a value that is not too long.
    pub(super) fn check_value(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes as u64 > self.scope.limits.value_bytes {
            return Err(Refusal::Quota("value"));
        }
        Ok(())
    }

    fn remember(
        &mut self,
        place: fn(&mut ReadSet) -> &mut BTreeSet<String>,
        name: &str,
    ) -> Result<(), Refusal> {
        let Some(reads) = self.reads.as_deref_mut() else { return Ok(()) };
        let known = reads.keys.len() + reads.prefixes.len();
        let place = place(reads);
        if !place.contains(name) {
            if known >= READS_MAX {
                return Err(Refusal::Quota("reads"));
            }
            place.insert(name.to_owned());
        }
        Ok(())
    }

    /// Counts a refusal, and tells the operator of those that are theirs to mend, once a second per plugin.
    fn note(&mut self, refusal: &Refusal) {
        let text = match refusal {
            Refusal::Denied(name) => {
                self.usage.denied += 1;
                self.scope.voice.deny();
                format!("denied a call about `{}`: no grant covers it", escape::line(name))
            }
            Refusal::Forbidden(name, fault) => {
                self.usage.denied += 1;
                let fault = fault.to_string();
                format!(
                    "denied a call about `{}` that the grants cover: {}",
                    escape::line(name),
                    escape::line(&fault)
                )
            }
            Refusal::Unavailable(fault @ (Fault::Refused { .. } | Fault::Unexpected(_))) => {
                format!("a call failed: {}", escape::line(&fault.to_string()))
            }
            // A lost connection concerns the whole host, which reports it; the others concern the guest.
            _ => return,
        };
        let Scope { plugin, version, voice, .. } = &*self.scope;
        if voice.may_complain() {
            tracing::warn!(%plugin, %version, "{text}");
        }
    }
}

impl types::Host for View {
    fn convert_error(&mut self, refusal: Refusal) -> wasmtime::Result<types::Error> {
        self.note(&refusal);
        self.met_outage |= matches!(&refusal, Refusal::Unavailable(fault) if fault.is_outage());
        Ok(refusal.for_guest())
    }
}

/// Passes a name of 1 to 1,024 bytes. Comes before the grant, so that matching a pattern takes bounded time.
pub(super) fn check_name(bound: &'static str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(Refusal::Quota(bound));
    }
    Ok(())
}

/// Passes a name that some pattern covers.
pub(super) fn check_grant(patterns: &Patterns, name: &str) -> Result<(), Refusal> {
    if patterns.matches(name) { Ok(()) } else { Err(Refusal::Denied(name.to_owned())) }
}
