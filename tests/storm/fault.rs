//! The faults of a storm by name, and how often each is chosen. `strike` implements them.

/// Something bad that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A host is killed and started again, at once or after a moment.
    HostKilled,
    /// A host is killed and stays away until the other one has taken its jobs.
    HostLost,
    /// All hosts are killed.
    AllHostsKilled,
    /// A host is told to end, and started again.
    HostTerminated,
    /// A host stops for longer than its lease, then goes on.
    HostAsleep,
    /// A host's lease runs out while it works.
    LeaseRunOut,
    /// A host reads its plugins again.
    PluginsReloaded,
    /// Redis is killed and started again on its append-only file.
    RedisKilled,
    /// The same, and the end of the file is lost.
    TailLost,
    /// A replica that has everything takes over.
    FailedOver,
    /// A replica takes over that has not heard the last words of its master.
    FailedOverLate,
    /// A host and Redis are killed at the same moment.
    HostAndRedisKilled,
    /// All hosts and Redis are killed at the same moment.
    EverythingKilled,
    /// A host is killed in a failover that loses the last words of the master.
    HostKilledInFailover,
    /// Every connection of every host is closed by the server.
    ConnectionsKilled,
    /// A connection is cut before a command reaches Redis.
    CutBefore,
    /// A connection is cut after a command was carried out.
    CutAfter,
    /// A host's connections stay open and carry nothing for a while.
    Silence,
    /// Redis forgets all scripts.
    ScriptsFlushed,
    /// Redis is at its memory limit for a while.
    MemoryFull,
    /// A companion key, or one of the ledger's, is of another type for a while.
    WrongType,
    /// The records of what a host has in flight are deleted by hand.
    RecordsDeleted,
    /// A plain client takes a job.
    ForeignPop,
    /// A replica with all data takes over. The former primary becomes its replica and keeps all connections
    /// open; only new connections lead to the new primary.
    FailedOverOpen,
    /// The same, but for a moment both are primaries: writes to the former one are lost.
    FailedOverOpenLate,
    /// Redis is killed and stays away for one to three leases.
    RedisAway,
    /// Redis' clock is ahead for a while, then corrected.
    ClockAhead,
    /// Redis' clock is behind for a while, then corrected.
    ClockBehind,
    /// Redis closes idle connections, and nothing is pushed for a while.
    IdleClosed,
    /// Redis answers nobody for up to two leases.
    RedisStalled,
    /// Another client's script runs, and Redis answers everybody else with `BUSY`.
    RedisBusy,
    /// Data between a host and Redis is delayed.
    LinkSlow,
    /// The user of the hosts loses rights for a while.
    RightsTaken,
}

/// Every fault, and how often it is chosen.
pub const ALL: [(Fault, u32); 33] = [
    (Fault::HostKilled, 30),
    (Fault::HostLost, 3),
    (Fault::AllHostsKilled, 10),
    (Fault::HostTerminated, 6),
    (Fault::HostAsleep, 2),
    (Fault::LeaseRunOut, 10),
    (Fault::PluginsReloaded, 2),
    (Fault::RedisKilled, 10),
    (Fault::TailLost, 6),
    (Fault::FailedOver, 2),
    (Fault::FailedOverLate, 3),
    (Fault::HostAndRedisKilled, 8),
    (Fault::EverythingKilled, 6),
    (Fault::HostKilledInFailover, 2),
    (Fault::ConnectionsKilled, 8),
    (Fault::CutBefore, 8),
    (Fault::CutAfter, 12),
    (Fault::Silence, 3),
    (Fault::ScriptsFlushed, 4),
    (Fault::MemoryFull, 3),
    (Fault::WrongType, 4),
    (Fault::RecordsDeleted, 3),
    (Fault::ForeignPop, 4),
    (Fault::FailedOverOpen, 3),
    (Fault::FailedOverOpenLate, 2),
    (Fault::RedisAway, 3),
    (Fault::ClockAhead, 4),
    (Fault::ClockBehind, 4),
    (Fault::IdleClosed, 2),
    (Fault::RedisStalled, 3),
    (Fault::RedisBusy, 3),
    (Fault::LinkSlow, 4),
    (Fault::RightsTaken, 5),
];

/// Faults after which Redis does not answer, or not in time, but loses nothing: jobs must never be charged for them.
pub const UNREACHABLE: [Fault; 14] = [
    Fault::RedisKilled,
    Fault::FailedOver,
    Fault::FailedOverLate,
    Fault::FailedOverOpen,
    Fault::FailedOverOpenLate,
    Fault::ConnectionsKilled,
    Fault::CutBefore,
    Fault::CutAfter,
    Fault::Silence,
    Fault::RedisAway,
    Fault::IdleClosed,
    Fault::RedisStalled,
    Fault::RedisBusy,
    Fault::LinkSlow,
];

/// How something that lasts a while ends.
#[derive(Debug)]
pub enum End {
    /// The host may speak again.
    Speak(usize),
    /// There is memory again.
    Memory,
    /// The key is what it was before.
    Restore(String),
    /// Redis is started again.
    Return,
    /// Redis no longer closes idle connections.
    Idle,
    /// Redis' clock is corrected.
    Clock,
    /// The other client's script ends.
    Script,
    /// Data between the host and Redis is no longer delayed.
    Quick(usize),
    /// The user of the hosts has all rights again.
    Rights,
}

impl End {
    /// Whether ending it takes a command to Redis.
    pub fn needs_redis(&self) -> bool {
        match self {
            Self::Memory | Self::Restore(_) | Self::Idle | Self::Clock | Self::Rights => true,
            Self::Speak(_) | Self::Return | Self::Script | Self::Quick(_) => false,
        }
    }
}
