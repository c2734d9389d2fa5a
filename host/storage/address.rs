//! Where Redis is and how to get in: URL, user, password, database, TLS files. Prints itself without secrets.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};

/// Idle time after which the kernel asks whether the server is still there, and the time between two questions: load
/// balancers and NAT forget connections that are idle for minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);

/// PEM files for `rediss://`, already read.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// Certificates to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, for servers that ask for one.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

/// A Redis server and database.
#[derive(Clone)]
pub struct Address {
    info: ConnectionInfo,
    tls: TlsFiles,
}

/// Why a URL was refused. Never holds the URL itself: it may carry a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not one of the forms.
    #[error(
        "not a Redis URL; forms: `redis://[user:password@]host[:port][/db]`, `rediss://…`, `unix:///path?db=0`"
    )]
    Form,
    /// The library could not make a client of it.
    #[error("cannot use these TLS files: {0}")]
    Tls(String),
}

impl Address {
    /// Reads a URL: `redis://`, `rediss://` (TLS), `unix://` (or `redis+unix://`).
    pub fn parse(url: &str, tls: TlsFiles) -> Result<Self, AddressError> {
        let info = url.into_connection_info().map_err(|_| AddressError::Form)?;
        let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_EVERY);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let address = Self { info: info.set_redis_settings(redis).set_tcp_settings(tcp), tls };
        address.client()?;
        Ok(address)
    }

    /// The same server and database for another user.
    pub(super) fn of_user(&self, name: &str, password: &str) -> Self {
        let redis = self.info.redis_settings().clone().set_username(name).set_password(password);
        Self { info: self.info.clone().set_redis_settings(redis), tls: self.tls.clone() }
    }

    /// A client for this address; it connects nothing yet.
    pub(crate) fn client(&self) -> Result<redis::Client, AddressError> {
        // Fails when somebody chose a provider before: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let form = |_| AddressError::Form;
        if !matches!(self.info.addr(), ConnectionAddr::TcpTls { .. }) {
            return redis::Client::open(self.info.clone()).map_err(form);
        }
        let client_tls = self.tls.client.clone();
        let files = TlsCertificates {
            client_tls: client_tls
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: self.tls.ca.clone(),
        };
        redis::Client::build_with_tls(self.info.clone(), files).map_err(|e| AddressError::Tls(e.to_string()))
    }

    /// Whether the URL carried a password.
    pub fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.database();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{host}:{port}/{db}"),
            ConnectionAddr::TcpTls { host, port, .. } => write!(f, "rediss://{host}:{port}/{db}"),
            ConnectionAddr::Unix(path) => write!(f, "unix://{}?db={db}", path.display()),
            _ => f.write_str("redis"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_no_secret() {
        for (url, shown) in [
            ("redis://anna:s3cret@db.example:6380/4", "redis://db.example:6380/4"),
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("rediss://:s3cret@db.example", "rediss://db.example:6379/0"),
            ("unix:///run/redis.sock?db=2&user=anna&pass=s3cret", "unix:///run/redis.sock?db=2"),
        ] {
            let address = Address::parse(url, TlsFiles::default()).unwrap();
            assert_eq!(address.to_string(), shown);
            assert!(!format!("{address:?}").contains("s3cret"));
            assert_eq!(address.has_password(), url.contains("s3cret"), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_repeating_it() {
        for bad in ["", "localhost", "http://x", "redis://h/notadb"] {
            let error = Address::parse(bad, TlsFiles::default()).unwrap_err();
            assert_eq!(error, AddressError::Form, "{bad}");
        }
    }
}
