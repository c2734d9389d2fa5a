//! Why Redis cannot be used, as precisely as the hints differ. Mostly the text of the error says it; if the server
//! gave no usable reply, a probe finds out which protocol it speaks.

use super::address::Address;
use super::fault::Fault;
use super::probe::{self, Speaks};

/// Codes of a server that is running and does not serve yet: it loads its data, runs a long script, lacks replicas,
/// is a replica that lost its primary or may be promoted, or cannot save.
const NOT_READY: [&str; 6] = ["LOADING", "BUSY", "NOREPLICAS", "MASTERDOWN", "READONLY", "MISCONF"];

/// Texts of servers, the system and the TLS library, in lower case; the first match counts.
const WORDS: [(&str, Obstacle); 21] = [
    ("it is a replica", Obstacle::NotReady),
    ("acl failure in script", Obstacle::Permission),
    ("has no permissions to run", Obstacle::Permission),
    ("user or password were refused", Obstacle::WrongPassword),
    ("db index is out of range", Obstacle::Database),
    ("select is not allowed in cluster mode", Obstacle::Cluster),
    ("unknown command 'select'", Obstacle::Sentinel),
    ("resp3", Obstacle::OldProtocol),
    ("unknown command 'hello'", Obstacle::OldProtocol),
    ("unknown command `hello`", Obstacle::OldProtocol),
    ("noproto", Obstacle::OldProtocol),
    ("max number of clients", Obstacle::NotReady),
    ("certificaterequired", Obstacle::ClientCertificate),
    ("peer certificate", Obstacle::Certificate),
    ("received fatal alert", Obstacle::Certificate),
    ("tls parameters", Obstacle::Certificate),
    ("lookup address", Obstacle::UnknownName),
    ("connection refused", Obstacle::Absent),
    ("no such file", Obstacle::Absent),
    ("unreachable", Obstacle::Absent),
    ("timed out", Obstacle::Absent),
];

/// Why Redis cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// Nobody listens there, or nobody answers.
    Absent,
    /// The host's name cannot be resolved.
    UnknownName,
    /// The server is running, and will serve later.
    NotReady,
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
    /// The obstacle that the text of the error names.
    pub fn of(fault: &Fault) -> Self {
        let (code, text) = match fault {
            Fault::TimedOut { .. } => return Self::Absent,
            Fault::Lost { cause, .. } => (cause.split(' ').next().unwrap_or_default(), cause.as_str()),
            Fault::Refused { code, detail } => (code.as_str(), detail.as_str()),
            _ => return Self::Other,
        };
        match code {
            "NOAUTH" => return Self::NoPassword,
            "WRONGPASS" => return Self::WrongPassword,
            "NOPERM" => return Self::Permission,
            "CROSSSLOT" | "MOVED" | "CLUSTERDOWN" => return Self::Cluster,
            code if NOT_READY.contains(&code) => return Self::NotReady,
            _ => {}
        }
        let text = text.to_ascii_lowercase();
        match WORDS.iter().find(|(words, _)| text.contains(words)) {
            Some((_, obstacle)) => *obstacle,
            // The error of a server begins with a code.
            None if code.len() > 1 && code.bytes().all(|b| b.is_ascii_uppercase()) => Self::Other,
            None => Self::Cut,
        }
    }

    /// As `of`, and probes the server if the text does not decide. Takes up to 4 seconds then.
    pub async fn find(address: &Address, fault: &Fault) -> Self {
        let said = Self::of(fault);
        let is_open = match fault {
            // A plain server takes the beginning of TLS for an unfinished command, and waits for the rest.
            Fault::TimedOut { .. } => address.server().is_some_and(|(.., tls)| tls),
            Fault::Lost { .. } => said == Self::Cut,
            _ => false,
        };
        let Some((host, port, tls)) = address.server().filter(|_| is_open) else { return said };
        match (tls, probe::what_speaks(host, port).await) {
            (true, Some(Speaks::Redis)) => Self::SpeaksPlain,
            (false, Some(Speaks::Tls)) => Self::SpeaksTls,
            // It closed the connection when it was greeted in RESP3.
            (false, Some(Speaks::Redis)) => Self::OldProtocol,
            _ => said,
        }
    }

    /// Whether it may pass without a change of settings.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::Absent | Self::UnknownName | Self::NotReady | Self::Cut)
    }

    /// What to do about it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_and_systems_say_is_told_apart() {
        let lost = |cause: &str| Fault::Lost { address: "redis://h".to_owned(), cause: cause.to_owned() };
        for (cause, expected) in [
            ("Connection refused (os error 111)", Obstacle::Absent),
            ("it is a replica, and a host needs the primary", Obstacle::NotReady),
            ("No such file or directory (os error 2)", Obstacle::Absent),
            ("failed to lookup address information: Name or service not known", Obstacle::UnknownName),
            ("NOAUTH HELLO must be called with the client already authenticated", Obstacle::NoPassword),
            ("WRONGPASS invalid username-password pair or user is disabled.", Obstacle::WrongPassword),
            ("ERR DB index is out of range", Obstacle::Database),
            ("ERR User app has no permissions to run the 'select' command", Obstacle::Permission),
            ("ERR max number of clients reached", Obstacle::NotReady),
            ("ERR unknown command 'HELLO', with args beginning with: '3' ", Obstacle::OldProtocol),
            ("ERR unknown command 'SELECT', with args beginning with: '1' ", Obstacle::Sentinel),
            ("ERR SELECT is not allowed in cluster mode", Obstacle::Cluster),
            ("LOADING Redis is loading the dataset in memory", Obstacle::NotReady),
            ("invalid peer certificate: UnknownIssuer", Obstacle::Certificate),
            ("received fatal alert: CertificateRequired", Obstacle::ClientCertificate),
            ("received fatal alert: HandshakeFailure", Obstacle::Certificate),
            ("Connection reset by peer (os error 104)", Obstacle::Cut),
            ("DENIED Redis is running in protected mode", Obstacle::Other),
        ] {
            assert_eq!(Obstacle::of(&lost(cause)), expected, "{cause}");
        }
        let refused = |code: &str| Fault::Refused { code: code.to_owned(), detail: String::new() };
        for (code, expected) in [
            ("NOPERM", Obstacle::Permission),
            ("CROSSSLOT", Obstacle::Cluster),
            ("NOREPLICAS", Obstacle::NotReady),
            ("BUSY", Obstacle::NotReady),
            ("WRONGTYPE", Obstacle::Other),
        ] {
            assert_eq!(Obstacle::of(&refused(code)), expected, "{code}");
        }
    }
}
