//! Who wants to know when a key changes. Redis says it (client tracking) on the connection that read the key;
//! this table turns the message into a signal. It knows nothing of queues.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::{PushInfo, PushKind, Value};
use tokio::sync::Notify;

/// Keys and the signals to give when they change.
#[derive(Debug, Default)]
pub struct Wake {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    keys: HashMap<Vec<u8>, Vec<Arc<Notify>>>,
    prefixes: Vec<(Vec<u8>, Arc<Notify>)>,
}

impl Wake {
    /// Gives `signal` whenever `key` changes.
    pub fn watch_key(&self, key: &str, signal: &Arc<Notify>) {
        let mut table = self.lock();
        let signals = table.keys.entry(key.as_bytes().to_vec()).or_default();
        if !signals.iter().any(|s| Arc::ptr_eq(s, signal)) {
            signals.push(signal.clone());
        }
    }

    /// Gives `signal` whenever a key that starts with `prefix` changes.
    pub fn watch_prefix(&self, prefix: &str, signal: &Arc<Notify>) {
        self.lock().prefixes.push((prefix.as_bytes().to_vec(), signal.clone()));
    }

    /// Forgets everything that gives `signal`.
    pub fn forget(&self, signal: &Arc<Notify>) {
        let mut table = self.lock();
        table.prefixes.retain(|(_, s)| !Arc::ptr_eq(s, signal));
        table.keys.retain(|_, signals| {
            signals.retain(|s| !Arc::ptr_eq(s, signal));
            !signals.is_empty()
        });
    }

    /// Gives every signal: after a reconnect nobody knows what was missed.
    pub fn wake_all(&self) {
        let table = self.lock();
        table.keys.values().flatten().for_each(|s| s.notify_one());
        table.prefixes.iter().for_each(|(_, s)| s.notify_one());
    }

    /// Takes a push message from the connection. Never blocks for long: the connection waits.
    pub(crate) fn receive(&self, push: PushInfo) {
        match push.kind {
            PushKind::Invalidate => {}
            PushKind::Disconnection => return self.wake_all(),
            _ => return,
        }
        match push.data.first() {
            Some(Value::Array(keys)) => keys.iter().for_each(|key| self.changed(key)),
            // No list of keys: the database was flushed.
            _ => self.wake_all(),
        }
    }

    fn changed(&self, key: &Value) {
        let key = match key {
            Value::BulkString(bytes) => bytes.as_slice(),
            Value::SimpleString(text) => text.as_bytes(),
            _ => return,
        };
        let table = self.lock();
        table.keys.get(key).into_iter().flatten().for_each(|s| s.notify_one());
        table.prefixes.iter().filter(|(p, _)| key.starts_with(p)).for_each(|(_, s)| s.notify_one());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        // A panic while it was held leaves whole entries: the table is still good.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invalidate(keys: Value) -> PushInfo {
        PushInfo { kind: PushKind::Invalidate, data: vec![keys] }
    }

    fn given(signal: &Notify) -> bool {
        let mut waiting = Box::pin(signal.notified());
        waiting.as_mut().enable()
    }

    #[test]
    fn only_those_who_watch_are_woken() {
        let wake = Wake::default();
        let (a, b, p) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));
        wake.watch_key("a", &a);
        wake.watch_key("b", &b);
        wake.watch_prefix("conf:", &p);
        wake.receive(invalidate(Value::Array(vec![Value::BulkString(b"a".to_vec())])));
        assert!(given(&a) && !given(&b) && !given(&p));
        wake.receive(invalidate(Value::Array(vec![Value::BulkString(b"conf:x".to_vec())])));
        assert!(!given(&a) && given(&p));
        wake.forget(&p);
        wake.receive(invalidate(Value::Nil));
        assert!(given(&a) && given(&b) && !given(&p));
    }
}
