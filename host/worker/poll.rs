//! The safety net under key tracking: one look, every second, at all idle queues together. Where tracking is
//! refused it is how idle queues are woken, and looks more often.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use redis::Value;
use tokio::sync::watch;

use super::lane::Lane;
use crate::storage::link::Link;

/// Period with tracking: a lost message costs at most this.
const PERIOD_TRACKED: Duration = Duration::from_secs(1);
/// Period without tracking.
const PERIOD_UNTRACKED: Duration = Duration::from_millis(100);
/// Keys per command.
const KEYS_MAX: usize = 512;

/// Looks at idle lanes until `stop`.
pub async fn run(link: Link, lanes: watch::Receiver<Vec<Arc<Lane>>>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let tracked = link.connect().await.unwrap_or(true);
        let period = if tracked { PERIOD_TRACKED } else { PERIOD_UNTRACKED };
        tokio::select! {
            () = tokio::time::sleep(period.mul_f64(0.75 + 0.5 * fastrand::f64())) => {}
            changed = stop.changed() => {
                if changed.is_err() { return }
                continue;
            }
        }
        // One that is held is not looked at where Redis says when it no longer is.
        let is_idle = |lane: &&Arc<Lane>| lane.idle.load(Relaxed) && !(tracked && lane.paused.load(Relaxed));
        let idle: Vec<Arc<Lane>> = lanes.borrow().iter().filter(is_idle).cloned().collect();
        for some in idle.chunks(KEYS_MAX / 3) {
            look(&link, some).await;
        }
    }
}

/// Checks all these lanes with one command, and each lane only if any has something: jobs that wait, or jobs that are
/// due by Redis' clock.
async fn look(link: &Link, lanes: &[Arc<Lane>]) {
    let mut all = redis::pipe();
    let exists = all.cmd("TIME").cmd("EXISTS");
    for lane in lanes {
        let keys = lane.store.keys();
        exists.arg(&keys.list).arg(&keys.ready).arg(&keys.delayed);
    }
    let Ok(found) = link.pipeline(&all).await else { return };
    let Ok([Ok(time), Ok(Value::Int(1..))]) = <[_; 2]>::try_from(found) else { return };
    let Ok((seconds, micros)) = redis::from_redis_value::<(u64, u64)>(time) else { return };
    let now_ms = seconds.saturating_mul(1000).saturating_add(micros / 1000);
    let mut each = redis::pipe();
    for lane in lanes {
        let keys = lane.store.keys();
        each.cmd("EXISTS").arg(&keys.list).arg(&keys.ready);
        each.cmd("ZCOUNT").arg(&keys.delayed).arg("-inf").arg(now_ms);
    }
    let Ok(found) = link.pipeline(&each).await else { return };
    for (lane, found) in lanes.iter().zip(found.chunks(2)) {
        if found.iter().any(|found| matches!(found, Ok(Value::Int(1..)))) {
            lane.wake.notify_one();
        }
    }
}
