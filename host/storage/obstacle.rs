//! Why Redis cannot be used: one obstacle for each hint. A fault carries its obstacle from the moment it is made, so
//! that the obstacle is not guessed from the text of an error. If the server gave no usable reply, a probe finds out
//! which protocol it speaks.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError};

use super::address::Address;
use super::fault::Fault;
use super::probe::{self, Speaks};

/// Codes of a server that is running and does not serve yet: it loads its data, runs a long script, lacks replicas,
/// or cannot save.
const NOT_READY: [&str; 5] = ["LOADING", "BUSY", "UNKILLABLE", "NOREPLICAS", "MISCONF"];

/// Texts of replies whose code is not specific, in lower case; the first match counts.
const REPLIES: [(&str, Obstacle); 8] = [
    ("acl failure in script", Obstacle::Permission),
    ("has no permissions to run", Obstacle::Permission),
    ("db index is out of range", Obstacle::Database),
    ("select is not allowed in cluster mode", Obstacle::Cluster),
    ("unknown command 'select'", Obstacle::Sentinel),
    ("unknown command 'hello'", Obstacle::OldProtocol),
    ("unknown command `hello`", Obstacle::OldProtocol),
    ("max number of clients", Obstacle::NotReady),
];

/// Texts of the system and the TLS library for errors without a specific kind, in lower case; the first match counts.
const WORDS: [(&str, Obstacle); 5] = [
    ("certificaterequired", Obstacle::ClientCertificate),
    ("peer certificate", Obstacle::Certificate),
    ("received fatal alert", Obstacle::Certificate),
    ("tls parameters", Obstacle::Certificate),
    ("lookup address", Obstacle::UnknownName),
];

/// Why Redis cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody listens there, or nobody answers.
    Absent,
    /// The host's name cannot be resolved.
    UnknownName,
    /// The path of the socket leads through a file.
    SocketPath,
    /// The system does not let this process connect.
    NoAccess,
    /// The server is running, and will serve later.
    NotReady,
    /// The server is a replica.
    Replica,
    /// The memory of the server is full.
    Full,
    /// It requires a password, and none was given.
    NoPassword,
    /// User or password are wrong.
    WrongPassword,
    /// It has no such database.
    Database,
    /// The user may not do this.
    Permission,
    /// Its certificate is not accepted.
    Certificate,
    /// It requires a client certificate.
    ClientCertificate,
    /// It speaks TLS, and the host did not.
    SpeaksTls,
    /// It does not speak TLS, and the host did.
    SpeaksPlain,
    /// It speaks an older version of the protocol.
    OldProtocol,
    /// The server speaks another protocol, such as HTTP.
    NotRedis,
    /// It is a Redis Cluster.
    Cluster,
    /// It is a Sentinel.
    Sentinel,
    /// The connection broke for an unknown reason.
    Cut,
    /// Something else.
    Other,
}

impl Obstacle {
    /// The obstacle that the fault carries.
    pub fn of(fault: &Fault) -> Self {
        match fault {
            Fault::TimedOut { .. } => Self::Absent,
            Fault::Lost { obstacle, .. } => *obstacle,
            Fault::Refused { code, detail } => Self::of_reply(code, detail),
            Fault::Forbidden { .. } | Fault::Unexpected(_) => Self::Other,
        }
    }

    /// The obstacle that an error reply of a server names.
    fn of_reply(code: &str, detail: &str) -> Self {
        match code {
            "NOAUTH" => return Self::NoPassword,
            "WRONGPASS" => return Self::WrongPassword,
            "NOPERM" => return Self::Permission,
            "NOPROTO" => return Self::OldProtocol,
            "READONLY" | "MASTERDOWN" => return Self::Replica,
            "OOM" => return Self::Full,
            "CROSSSLOT" | "MOVED" | "CLUSTERDOWN" => return Self::Cluster,
            code if NOT_READY.contains(&code) => return Self::NotReady,
            _ => {}
        }
        among(&REPLIES, detail).unwrap_or(Self::Other)
    }

    /// The obstacle of a connection that could not be made, or broke.
    pub(super) fn of_broken(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::RESP3NotSupported => return Self::OldProtocol,
            ErrorKind::AuthenticationFailed => return Self::WrongPassword,
            ErrorKind::Parse if is_garbled(error) => return Self::NotRedis,
            _ => {}
        }
        // The library wraps the error: the source is an `Arc` of it.
        let wrapped = error.source().and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
        let system = wrapped.and_then(|wrapped| wrapped.downcast_ref::<io::Error>());
        match system.map(io::Error::kind) {
            Some(
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotFound
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::TimedOut,
            ) => Self::Absent,
            Some(io::ErrorKind::NotADirectory) => Self::SocketPath,
            Some(io::ErrorKind::PermissionDenied) => Self::NoAccess,
            _ => among(&WORDS, &error.to_string()).unwrap_or(Self::Cut),
        }
    }

    /// As `of`, but probes the server if the fault is not specific, which takes up to 8 seconds.
    pub async fn find(address: &Address, fault: &Fault) -> Self {
        let said = Self::of(fault);
        let is_open = match fault {
            // A plain server takes the beginning of TLS for an unfinished command, and waits for the rest.
            Fault::TimedOut { .. } => address.server().is_some_and(|(.., tls)| tls),
            Fault::Lost { .. } => matches!(said, Self::Cut | Self::NotRedis),
            _ => false,
        };
        let Some((host, port, tls)) = address.server().filter(|_| is_open) else { return said };
        match (tls, probe::what_speaks(host, port).await) {
            (true, Some(Speaks::Redis | Speaks::OldRedis)) => Self::SpeaksPlain,
            (false, Some(Speaks::Tls)) => Self::SpeaksTls,
            (false, Some(Speaks::OldRedis)) => Self::OldProtocol,
            // The server answers now: only this connection was cut, for example by a proxy that lost one of its
            // servers.
            (false, Some(Speaks::Redis)) => Self::Cut,
            (_, Some(Speaks::Http)) => Self::NotRedis,
            _ => said,
        }
    }

    /// Whether it may pass without a change of settings.
    pub fn may_pass(self) -> bool {
        matches!(
            self,
            Self::Absent
                | Self::UnknownName
                | Self::NoAccess
                | Self::NotReady
                | Self::Replica
                | Self::Full
                | Self::Cut
        )
    }

    /// The hint: what to do about the obstacle.
    pub fn hint(self) -> Option<&'static str> {
        Some(match self {
            Self::Absent => {
                "start a Redis there, or name another one with `--redis URL` or `SANDHOG_REDIS_URL`"
            }
            Self::UnknownName => {
                "check the host in the URL: this machine cannot resolve its name; or name another Redis with `--redis URL` or \
             `SANDHOG_REDIS_URL`"
            }
            Self::NotReady => {
                "Redis is running but not ready; try again later (`sandhog run` waits for it: `host.start_wait`)"
            }
            Self::Replica => {
                "this Redis is a replica: use the address of its primary, or try again after the failover (`sandhog run` waits \
             for it: `host.start_wait`)"
            }
            Self::Full => {
                "the memory of Redis is full: raise `maxmemory`, or delete what is not needed (`sandhog jobs discard` removes \
             dead jobs)"
            }
            Self::SocketPath => {
                "the path of a unix socket ends with the name of the socket: write the database as `unix:///path?db=2`"
            }
            Self::NoAccess => {
                "the system does not let this process connect: check the rights of the socket (`unixsocketperm`) and of its \
             folder, or the firewall"
            }
            Self::NoPassword => {
                "this Redis requires a password: write `redis://user:password@host`, or `redis://:password@host` without a user"
            }
            Self::WrongPassword => {
                "check user and password in the URL; write `#` as `%23`, `/` as `%2F`, `?` as `%3F`, `@` as `%40`, `%` as `%25`"
            }
            Self::Database => {
                "choose a database that this Redis has (`CONFIG GET databases`): `redis://host/0` names the first"
            }
            Self::Permission => {
                "`sandhog acl --host` prints the line that gives a user the rights of a host: its commands, and the keys \
             `sandhog:*`, `QUEUE` and `{QUEUE}:sandhog:*` for each queue"
            }
            Self::Certificate => {
                "see docs/tls.md for the certificates that are accepted, and how to make them"
            }
            Self::ClientCertificate => {
                "this Redis requires a client certificate: set `redis.cert` and `redis.key`; see docs/tls.md for how to make one"
            }
            Self::SpeaksTls => "the server speaks TLS on this port: write `rediss://`",
            Self::SpeaksPlain => "the server does not speak TLS on this port: write `redis://`",
            Self::OldProtocol => {
                "the server does not speak RESP3, which Sandhog needs: it is a proxy, or older than Redis 6; use the address \
             of a Redis 7 or newer"
            }
            Self::NotRedis => {
                "this server is not a Redis: it speaks another protocol, for example HTTP; check host and port in the URL"
            }
            Self::Cluster => "Redis Cluster is not supported: use a server with `cluster-enabled no`",
            Self::Sentinel => {
                "a Sentinel has no databases and no data: use the address of the primary that it watches"
            }
            Self::Cut => {
                "the server, or a proxy in front of it, closed the connection; the log of Redis may say why"
            }
            Self::Other => return None,
        })
    }
}

/// Whether a reply is not in the protocol of Redis. A reply of another type than the caller wants has the same kind.
pub(super) fn is_garbled(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Parse && error.detail().is_some_and(|detail| detail.starts_with("Parse error"))
}

fn among(texts: &[(&str, Obstacle)], text: &str) -> Option<Obstacle> {
    let text = text.to_ascii_lowercase();
    texts.iter().find(|(words, _)| text.contains(words)).map(|(_, obstacle)| *obstacle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_reply_is_told_apart() {
        for (code, detail, expected) in [
            ("NOAUTH", "HELLO must be called with the client already authenticated", Obstacle::NoPassword),
            ("WRONGPASS", "invalid username-password pair or user is disabled.", Obstacle::WrongPassword),
            ("ERR", "DB index is out of range", Obstacle::Database),
            ("ERR", "User app has no permissions to run the 'select' command", Obstacle::Permission),
            ("ERR", "max number of clients reached", Obstacle::NotReady),
            ("ERR", "unknown command 'HELLO', with args beginning with: '3' ", Obstacle::OldProtocol),
            ("ERR", "unknown command 'SELECT', with args beginning with: '1' ", Obstacle::Sentinel),
            ("ERR", "SELECT is not allowed in cluster mode", Obstacle::Cluster),
            ("LOADING", "Redis is loading the dataset in memory", Obstacle::NotReady),
            ("DENIED", "Redis is running in protected mode", Obstacle::Other),
            ("NOPERM", "", Obstacle::Permission),
            ("CROSSSLOT", "", Obstacle::Cluster),
            ("NOREPLICAS", "", Obstacle::NotReady),
            ("BUSY", "", Obstacle::NotReady),
            ("READONLY", "You can't write against a read only replica.", Obstacle::Replica),
            ("MASTERDOWN", "Link with MASTER is down", Obstacle::Replica),
            ("OOM", "command not allowed when used memory > 'maxmemory'.", Obstacle::Full),
            ("WRONGTYPE", "", Obstacle::Other),
        ] {
            let fault = Fault::Refused { code: code.to_owned(), detail: detail.to_owned() };
            assert_eq!(Obstacle::of(&fault), expected, "{code} {detail}");
            // This happens while a connection is set up, or when the link leaves a server. There is no connection then.
            let lost = Fault::lost("redis://h", &fault);
            assert!(lost.is_lost() && lost.to_string().contains(code), "{lost}");
            assert_eq!(Obstacle::of(&lost), expected, "{lost}");
        }
    }

    #[test]
    fn what_systems_say_is_told_apart() {
        for (error, expected) in [
            (io::Error::from_raw_os_error(111), Obstacle::Absent),
            (io::Error::from_raw_os_error(2), Obstacle::Absent),
            (io::Error::from_raw_os_error(113), Obstacle::Absent),
            (io::Error::from_raw_os_error(101), Obstacle::Absent),
            (io::Error::from_raw_os_error(20), Obstacle::SocketPath),
            (io::Error::from_raw_os_error(13), Obstacle::NoAccess),
            (io::Error::from_raw_os_error(104), Obstacle::Cut),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                Obstacle::UnknownName,
            ),
            (io::Error::other("invalid peer certificate: UnknownIssuer"), Obstacle::Certificate),
            (io::Error::other("received fatal alert: CertificateRequired"), Obstacle::ClientCertificate),
            (io::Error::other("received fatal alert: HandshakeFailure"), Obstacle::Certificate),
        ] {
            let fault = Fault::new(&RedisError::from(error), "redis://h");
            assert_eq!(Obstacle::of(&fault), expected, "{fault}");
        }
    }
}
