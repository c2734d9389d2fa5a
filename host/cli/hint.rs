//! What to do about a Redis that cannot be used: a remedy for each obstacle.

use sandhog::storage::address::Address;
use sandhog::storage::fault::Fault;
use sandhog::storage::obstacle::Obstacle;

use crate::cli::error::Failure;

/// What to do when nobody listens.
const ABSENT: &str = "start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`";

/// The refusal to go on without Redis, with the remedy that fits.
pub(crate) async fn no_redis(address: &Address, fault: Fault) -> Failure {
    let remedy = remedy(Obstacle::find(address, &fault).await);
    let failure = Failure::refused(fault.to_string());
    match remedy {
        Some(remedy) => failure.with_hint(remedy),
        None => failure,
    }
}

/// The remedy for an error in the middle of the work, if it is one that no other command has. By its words: errors of
/// every part pass those of Redis on.
pub(crate) fn within(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let said = cause.to_string();
    let (code, detail) = said.strip_prefix("Redis refused: ")?.split_once(' ')?;
    let fault = Fault::Refused { code: code.to_owned(), detail: detail.to_owned() };
    match Obstacle::of(&fault) {
        obstacle @ (Obstacle::Permission | Obstacle::NotReady) => remedy(obstacle),
        _ => None,
    }
}

fn remedy(obstacle: Obstacle) -> Option<&'static str> {
    Some(match obstacle {
        Obstacle::Absent => ABSENT,
        Obstacle::UnknownName => {
            "check the host in the URL: this machine finds no address for its name; another Redis is named with \
             `--redis URL` or `SANDHOG_REDIS_URL`"
        }
        Obstacle::NotReady => {
            "Redis is there and not ready; try again later (`sandhog run` waits for it: `host.start_wait`)"
        }
        Obstacle::NoPassword => {
            "this Redis wants a password: write `redis://user:password@host`, or `redis://:password@host` without a user"
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
        Obstacle::Certificate => "docs/tls.md tells which certificates are accepted, and how to make them",
        Obstacle::ClientCertificate => {
            "this Redis wants a certificate of the client: set `redis.cert` and `redis.key`; docs/tls.md tells how to make it"
        }
        Obstacle::SpeaksTls => "the server speaks TLS at this port: write `rediss://`",
        Obstacle::SpeaksPlain => "the server does not speak TLS at this port: write `redis://`",
        Obstacle::OldProtocol => {
            "the server does not speak RESP3, which Sandhog needs: it is a proxy, or older than Redis 6; use the address \
             of a Redis 7 or newer"
        }
        Obstacle::Cluster => "Redis Cluster is not supported: use a server with `cluster-enabled no`",
        Obstacle::Sentinel => {
            "a Sentinel has no databases and no data: use the address of the primary that it watches"
        }
        Obstacle::Cut => {
            "the server, or something before it, ended the connection; the log of Redis may tell why"
        }
        Obstacle::Other => return None,
    })
}
