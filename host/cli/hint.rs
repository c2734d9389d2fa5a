//! Hints for a Redis that cannot be used: one for each obstacle.

use sandhog::storage::address::Address;
use sandhog::storage::fault::Fault;
use sandhog::storage::obstacle::Obstacle;

use crate::cli::error::Failure;

/// The hint if no server answers.
const ABSENT: &str = "start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`";

/// The refusal to go on without Redis, with the hint that fits.
pub(crate) async fn no_redis(address: &Address, fault: Fault) -> Failure {
    let remedy = remedy(Obstacle::find(address, &fault).await);
    let failure = Failure::refused(fault.to_string());
    match remedy {
        Some(remedy) => failure.with_hint(remedy),
        None => failure,
    }
}

/// The hint for an error in the middle of the work, if it is about rights or a server that does not serve now.
pub(crate) fn within(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match Obstacle::of(cause.downcast_ref::<Fault>()?) {
        obstacle @ (Obstacle::Permission | Obstacle::NotReady | Obstacle::Replica | Obstacle::Full) => {
            remedy(obstacle)
        }
        _ => None,
    }
}

fn remedy(obstacle: Obstacle) -> Option<&'static str> {
    Some(match obstacle {
        Obstacle::Absent => ABSENT,
        Obstacle::UnknownName => {
            "check the host in the URL: this machine cannot resolve its name; or name another Redis with `--redis URL` or \
             `SANDHOG_REDIS_URL`"
        }
        Obstacle::NotReady => {
            "Redis is running but not ready; try again later (`sandhog run` waits for it: `host.start_wait`)"
        }
        Obstacle::Replica => {
            "this Redis is a replica: use the address of its primary, or try again after the failover (`sandhog run` waits \
             for it: `host.start_wait`)"
        }
        Obstacle::Full => {
            "the memory of Redis is full: raise `maxmemory`, or delete what is not needed (`sandhog jobs discard` removes \
             dead jobs)"
        }
        Obstacle::SocketPath => {
            "the path of a unix socket ends with the socket: write its database as `unix:///path?db=2`"
        }
        Obstacle::NoAccess => {
            "the system does not let this process connect: check the rights of the socket (`unixsocketperm`) and of its \
             folder, or the firewall"
        }
        Obstacle::NoPassword => {
            "this Redis requires a password: write `redis://user:password@host`, or `redis://:password@host` without a user"
        }
        Obstacle::WrongPassword => {
            "check user and password in the URL; write `#` as `%23`, `/` as `%2F`, `?` as `%3F`, `@` as `%40`, `%` as `%25`"
        }
        Obstacle::Database => {
            "choose a database that this Redis has (`CONFIG GET databases`): `redis://host/0` names the first"
        }
        Obstacle::Permission => {
            "`sandhog acl --host` prints the line that gives a user the rights of a host: its commands, and the keys \
             `sandhog:*`, `QUEUE` and `{QUEUE}:sandhog:*` for each queue"
        }
        Obstacle::Certificate => {
            "see docs/tls.md for the certificates that are accepted, and how to make them"
        }
        Obstacle::ClientCertificate => {
            "this Redis requires a client certificate: set `redis.cert` and `redis.key`; see docs/tls.md for how to make one"
        }
        Obstacle::SpeaksTls => "the server speaks TLS on this port: write `rediss://`",
        Obstacle::SpeaksPlain => "the server does not speak TLS on this port: write `redis://`",
        Obstacle::OldProtocol => {
            "the server does not speak RESP3, which Sandhog needs: it is a proxy, or older than Redis 6; use the address \
             of a Redis 7 or newer"
        }
        Obstacle::NotRedis => {
            "this server is not a Redis: it speaks another protocol, for example HTTP; check host and port in the URL"
        }
        Obstacle::Cluster => "Redis Cluster is not supported: use a server with `cluster-enabled no`",
        Obstacle::Sentinel => {
            "a Sentinel has no databases and no data: use the address of the primary that it watches"
        }
        Obstacle::Cut => {
            "the server, or a proxy in front of it, closed the connection; the log of Redis may say why"
        }
        Obstacle::Other => return None,
    })
}
