//! What each fault of a storm does to the hosts and to Redis, and how it ends. Faults after which Redis does not answer
//! are in `reach`, those of its clock and its users in `trust`.

use std::time::{Duration, Instant};

use redis::{RedisResult, cmd};

use super::Storm;
use super::fault::{End, Fault};
use super::seat::LEASE;
use crate::support::faults::Cut;

/// Renames a key and puts a string in its place.
const SPOIL: &str = r"
if redis.call('EXISTS', 'aside:' .. KEYS[1]) == 1 then return 0 end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], 'aside:' .. KEYS[1]) end
redis.call('SET', KEYS[1], 'spoiled')
return 1";
/// Restores the key, however much of the above has been lost meanwhile.
const RESTORE: &str = r"
local value = redis.pcall('GET', KEYS[1])
if value == 'spoiled' then redis.call('DEL', KEYS[1]) end
if redis.call('EXISTS', 'aside:' .. KEYS[1]) == 1 then redis.call('RENAME', 'aside:' .. KEYS[1], KEYS[1]) end
return 1";

const SPOILED_KEYS: [&str; 13] = [
    "ledger",
    "{ledger}:sandhog:ready",
    "{ledger}:sandhog:delayed",
    "{ledger}:sandhog:dead",
    "{ledger}:sandhog:stats",
    "{ledger-follow}:sandhog:delayed",
    "{ledger-follow}:sandhog:ready",
    "sandhog:hosts",
    "ledger:balance",
    "ledger:seq:0",
    "ledger-receipts",
    "ledger-audit",
    "ledger-tickets",
];

impl Storm {
    /// Injects the fault. Fails if Redis is away; then the fault has not happened.
    pub async fn inject(&mut self, fault: Fault) -> RedisResult<()> {
        let seat = self.rng.usize(..self.seats.len());
        let soon = self.moment(0, 150);
        match fault {
            Fault::HostKilled => self.kill_host(seat, soon),
            Fault::HostLost => {
                let long = LEASE + self.moment(300, 800);
                self.kill_host(seat, long);
            }
            Fault::AllHostsKilled => self.kill_hosts(),
            Fault::HostTerminated if self.seats[seat].is_up() => self.seats[seat].terminate(),
            Fault::HostAsleep if self.seats[seat].is_up() => {
                let long = LEASE + self.moment(200, 800);
                self.seats[seat].sleep(long);
            }
            Fault::HostTerminated | Fault::HostAsleep => self.kill_host(seat, soon),
            Fault::LeaseRunOut => return self.run_out(seat).await,
            Fault::PluginsReloaded => self.seats[seat].reload(),
            Fault::RedisKilled => self.crash(),
            Fault::TailLost => self.lose_tail(),
            Fault::FailedOver => return self.fail_over(None).await,
            Fault::FailedOverLate => return self.fail_over_late().await,
            Fault::HostAndRedisKilled => {
                self.kill_host(seat, soon);
                self.crash();
            }
            Fault::EverythingKilled => {
                self.kill_hosts();
                self.crash();
            }
            Fault::HostKilledInFailover => {
                self.fail_over_late().await?;
                self.kill_host(seat, soon);
            }
            Fault::ConnectionsKilled => return self.kill_connections().await,
            Fault::CutBefore => self.cut(seat, Cut::Before),
            Fault::CutAfter => self.cut(seat, Cut::After),
            Fault::Silence => self.silence(seat),
            Fault::ScriptsFlushed => return self.server.ask(cmd("SCRIPT").arg("FLUSH")).await,
            Fault::MemoryFull => return self.fill().await,
            Fault::WrongType => return self.spoil().await,
            Fault::RecordsDeleted => return self.delete_records(seat).await,
            Fault::ForeignPop => return self.pop_foreign().await,
            Fault::FailedOverOpen => return self.fail_over_open(None).await,
            Fault::FailedOverOpenLate => {
                let lag = self.moment(0, 60);
                return self.fail_over_open(Some(lag)).await;
            }
            Fault::RedisAway => self.take_away(),
            Fault::ClockAhead => self.set_clock(true),
            Fault::ClockBehind => self.set_clock(false),
            Fault::IdleClosed => return self.close_idle().await,
            Fault::RedisStalled => return self.stall().await,
            Fault::RedisBusy => return self.occupy().await,
            Fault::LinkSlow => self.slow_down(seat),
            Fault::RightsTaken => return self.take_rights().await,
        }
        Ok(())
    }

    /// Ends faults whose time is over. Ends that need Redis wait until it answers.
    pub async fn end_what_is_over(&mut self) {
        let now = Instant::now();
        let deaf = self.server.is_away() || self.ends.iter().any(|(_, end)| matches!(end, End::Script));
        let is_over = |(at, end): &(Instant, End)| *at <= now && !(deaf && end.needs_redis());
        let (over, lasting) = std::mem::take(&mut self.ends).into_iter().partition(is_over);
        self.ends = lasting;
        for (_, end) in over {
            match end {
                End::Speak(seat) => self.seats[seat].proxy().silence(false),
                End::Memory => {
                    self.server.surely::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(0)).await;
                }
                End::Restore(key) => {
                    let _: i64 = self.server.surely(cmd("EVAL").arg(RESTORE).arg(1).arg(key)).await;
                }
                End::Idle => {
                    self.server.surely::<()>(cmd("CONFIG").arg("SET").arg("timeout").arg(0)).await;
                }
                End::Return => self.server.come_back(),
                End::Clock => self.right_clock().await,
                End::Script => self.end_script().await,
                End::Quick(seat) => self.seats[seat].proxy().delay(Duration::ZERO),
                End::Rights => self.give_rights().await,
            }
        }
    }

    fn kill_host(&mut self, seat: usize, pause: Duration) {
        self.tally.host_kills += u64::from(self.seats[seat].kill(pause));
    }

    fn kill_hosts(&mut self) {
        for seat in 0..self.seats.len() {
            let pause = self.moment(0, 150);
            self.kill_host(seat, pause);
        }
    }

    fn crash(&mut self) {
        let away = self.moment(0, 200);
        self.server.crash(away);
        self.tally.redis_kills += 1;
    }

    fn lose_tail(&mut self) {
        let part = self.rng.f64();
        let lost = self.server.lose_tail(part);
        self.story.push(format!("  {lost} bytes of the append-only file are gone"));
        self.book.lossy = true;
        self.tally.redis_kills += 1;
    }

    async fn fail_over(&mut self, lag: Option<Duration>) -> RedisResult<()> {
        // A running script would make Redis refuse the commands of a failover.
        self.end_script().await;
        self.book.lossy |= lag.is_some();
        let seats = &self.seats;
        let redirect = |socket: &std::path::Path| seats.iter().for_each(|seat| seat.proxy().aim(socket));
        self.server.fail_over(lag, redirect).await?;
        self.tally.redis_kills += 1;
        Ok(())
    }

    async fn fail_over_late(&mut self) -> RedisResult<()> {
        let lag = self.moment(0, 60);
        self.fail_over(Some(lag)).await
    }

    async fn fill(&mut self) -> RedisResult<()> {
        let long = self.moment(50, 300);
        self.server.ask::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(1)).await?;
        self.later(long, End::Memory);
        Ok(())
    }

    fn cut(&mut self, seat: usize, cut: Cut) {
        let nth = self.rng.u64(1..=40);
        self.seats[seat].proxy().cut_in(nth, cut);
    }

    /// Makes the host's lease look expired for a long time, as after a pause of its machine.
    async fn run_out(&mut self, seat: usize) -> RedisResult<()> {
        for host in self.lives_of(seat).await? {
            self.server.ask::<i64>(cmd("ZADD").arg("sandhog:hosts").arg("XX").arg(1).arg(host)).await?;
        }
        Ok(())
    }

    async fn delete_records(&mut self, seat: usize) -> RedisResult<()> {
        self.book.lossy = true;
        for host in self.lives_of(seat).await? {
            let key = format!("{{ledger}}:sandhog:inflight:{host}");
            self.server.ask::<i64>(cmd("DEL").arg(key)).await?;
        }
        Ok(())
    }

    async fn lives_of(&mut self, seat: usize) -> RedisResult<Vec<String>> {
        let hosts: Vec<String> = self.server.ask(cmd("ZRANGE").arg("sandhog:hosts").arg(0).arg(-1)).await?;
        let prefix = format!("{}.", self.seats[seat].name);
        Ok(hosts.into_iter().filter(|host| host.starts_with(&prefix)).collect())
    }

    async fn spoil(&mut self) -> RedisResult<()> {
        let key = SPOILED_KEYS[self.rng.usize(..SPOILED_KEYS.len())].to_owned();
        self.story.push(format!("  it is {key}"));
        let long = self.moment(20, 400);
        // It is restored in any case: after a lost reply it is unknown whether it was done.
        self.later(long, End::Restore(key.clone()));
        self.server.ask(cmd("EVAL").arg(SPOIL).arg(1).arg(key)).await
    }

    /// Restores everything once more: Redis may have lost the first restore.
    pub async fn restore_all(&mut self) {
        self.give_rights().await;
        if self.was_wrong {
            self.right_clock().await;
        }
        for key in SPOILED_KEYS {
            let _: i64 = self.server.surely(cmd("EVAL").arg(RESTORE).arg(1).arg(key)).await;
        }
    }

    /// The other client keeps the job; it is pushed again at the end of the round.
    async fn pop_foreign(&mut self) -> RedisResult<()> {
        let end = if self.rng.bool() { "LPOP" } else { "RPOP" };
        let taken: Option<String> = self.server.ask(cmd(end).arg("ledger")).await?;
        let id: Option<u64> = taken.as_deref().and_then(|payload| payload.split(' ').next()?.parse().ok());
        self.book.excused.extend(id);
        Ok(())
    }

    pub(super) fn later(&mut self, long: Duration, end: End) {
        self.ends.push((Instant::now() + long, end));
    }

    /// A random time between these, in milliseconds.
    pub fn moment(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.rng.u64(from_ms..=to_ms))
    }
}
