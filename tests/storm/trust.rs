//! Faults of Redis' clock and of the rights of the hosts' user.

use redis::{RedisResult, cmd};

use super::Storm;
use super::fault::End;
use super::seat::LEASE;

/// One hour: longer than any lease, rate or delay of a storm.
const HOUR_MS: u64 = 3_600_000;
/// A job that is due later than this was delayed while the clock was ahead.
const DELAY_MS_MAX: u64 = 5_000;
/// Makes those jobs due: only the test knows that nobody wants them to wait.
const MAKE_DUE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local moved = 0
for _, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'zset' then
    for _, job in ipairs(redis.call('ZRANGEBYSCORE', key, now + ARGV[1], '+inf')) do
      redis.call('ZADD', key, 'XX', now, job)
      moved = moved + 1
    end
  end
end
return moved";
const DELAYED: [&str; 3] =
    ["{ledger}:sandhog:delayed", "{ledger-follow}:sandhog:delayed", "{twins}:sandhog:delayed"];

/// Rights that the user of the hosts loses for a while, each as ACL rules.
const RIGHTS: [&[&str]; 9] = [
    &["-@write"],
    &["-@read"],
    &["-@scripting"],
    &["-evalsha"],
    &["-hset", "-hdel", "-zadd"],
    &["-info", "-config", "-client", "-script"],
    &["resetkeys", "~ledger*"],
    &["resetkeys", "~*sandhog:*"],
    // Existing connections continue; new ones are refused.
    &["resetpass", ">other"],
];
/// All of them.
const ALL_RIGHTS: [&str; 5] = ["on", "nopass", "~*", "&*", "+@all"];

impl Storm {
    pub(super) fn set_clock(&mut self, ahead: bool) {
        let lease_ms = LEASE.as_millis() as u64;
        let off = if self.rng.bool() {
            self.moment(lease_ms / 2, 4 * lease_ms)
        } else {
            self.moment(HOUR_MS, HOUR_MS)
        };
        self.story.push(format!("  by {off:?}"));
        let off_ms = off.as_millis() as i64;
        self.was_wrong = true;
        self.server.set_clock(if ahead { off_ms } else { -off_ms });
        let long = self.moment(100, 2_000);
        self.later(long, End::Clock);
    }

    pub(super) async fn right_clock(&mut self) {
        self.server.set_clock(0);
        let moved: u64 = self
            .server
            .surely(cmd("EVAL").arg(MAKE_DUE).arg(DELAYED.len()).arg(&DELAYED).arg(DELAY_MS_MAX))
            .await;
        if moved > 0 {
            self.story.push(format!("  {moved} delayed jobs are made due"));
        }
    }

    pub(super) async fn take_rights(&mut self) -> RedisResult<()> {
        let rules = RIGHTS[self.rng.usize(..RIGHTS.len())];
        self.story.push(format!("  {}", rules.join(" ")));
        let long = self.moment(50, 2_000);
        self.later(long, End::Rights);
        self.server.ask(cmd("ACL").arg("SETUSER").arg("default").arg(rules)).await
    }

    pub(super) async fn give_rights(&mut self) {
        self.server.surely::<()>(cmd("ACL").arg("SETUSER").arg("default").arg(&ALL_RIGHTS)).await;
    }
}
