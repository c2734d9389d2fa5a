//! Where Redis is and how to get in: URL, user, password, database, TLS files. Prints itself without secrets.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ClientTlsConfig, ConnectionAddr, ConnectionInfo, TlsCertificates};

/// Idle time after which the kernel sends a keepalive probe, and the time between two probes: load balancers and NAT
/// drop connections that are idle for minutes.
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

/// Why a URL was refused, as the end of a sentence that begins with the source of the URL. Never contains the URL
/// itself, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not one of the forms.
    #[error(
        "is not a Redis URL; its forms are `redis://[user:password@]host[:port][/db]`, `rediss://…` (TLS), `unix:///path?db=0`"
    )]
    Form,
    /// The URL does not name a host.
    #[error("does not name a host; write for example `redis://127.0.0.1:6379`")]
    Host,
    /// An IPv6 address without brackets.
    #[error("names an IPv6 address without brackets; write for example `redis://[::1]:6379`")]
    Brackets,
    /// The port is not a valid number.
    #[error("names a port that is not a number from 1 to 65535; write for example `redis://host:6379`")]
    Port,
    /// A user without a password. The client library would ignore the user.
    #[error(
        "names a user without a password; write `redis://user:password@host` (for a user without a password any text)"
    )]
    UserOnly,
    /// A character that ends a part of a URL is in a user, a password or a path.
    #[error(
        "has a `{0}` that ends the user, password or path it is part of; write it percent-encoded: `#` as `%23`, `/` as `%2F`, `?` as `%3F`, `@` as `%40`, `%` as `%25`"
    )]
    Reserved(char),
    /// The database is not a number.
    #[error("names a database that is not a number; write for example `redis://host:6379/4`")]
    Database,
    /// It names two different databases.
    #[error("names two databases, {0} and {1}; leave one out")]
    TwoDatabases(i64, i64),
    /// A parameter that is not known. Its name is left out if it may be the end of a password.
    #[error("has {}; known: {}", parameter(name.as_deref()), known.join(", "))]
    Parameter {
        /// The name of the parameter, if it may be shown.
        name: Option<String>,
        /// The parameters that this form of URL may have.
        known: &'static [&'static str],
    },
    /// An address to listen on.
    #[error(
        "names an address that is only for listening (`0.0.0.0` or `::`); for this machine write `127.0.0.1`"
    )]
    AnyAddress,
    /// The library could not make a client of it.
    #[error("cannot be used with these TLS files: {0}")]
    Tls(String),
}

fn parameter(name: Option<&str>) -> String {
    match name {
        Some(name) => format!("the unknown parameter `{name}`"),
        None => "an unknown parameter; if it is the end of a password, write `&` as `%26` and `?` as `%3F`"
            .to_owned(),
    }
}

impl Address {
    /// Reads a URL: `redis://`, `rediss://` (TLS), `unix://` (or `redis+unix://`).
    pub fn parse(url: &str, tls: TlsFiles) -> Result<Self, AddressError> {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_EVERY);
        let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let address = Self { info: read::connection_info(url)?.set_tcp_settings(tcp), tls };
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
        // The library would send its name to servers from 7.2 on (CLIENT SETINFO). A user with few rights may not do
        // that, and each connection would leave a denial in the ACL log.
        let settings = self.info.redis_settings().clone().set_skip_set_lib_name();
        let info = self.info.clone().set_redis_settings(settings);
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return redis::Client::open(info).map_err(form);
        }
        let client_tls = self.tls.client.clone();
        let files = TlsCertificates {
            client_tls: client_tls
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
            root_cert: self.tls.ca.clone(),
        };
        redis::Client::build_with_tls(info, files).map_err(|e| AddressError::Tls(e.to_string()))
    }

    /// Whether the URL carried a password.
    pub fn has_password(&self) -> bool {
        self.info.redis_settings().password().is_some()
    }

    /// Host, port and whether TLS is spoken; none for a unix socket.
    pub(super) fn server(&self) -> Option<(&str, u16, bool)> {
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => Some((host, *port, false)),
            ConnectionAddr::TcpTls { host, port, .. } => Some((host, *port, true)),
            _ => None,
        }
    }

    /// The user that the URL names.
    pub fn user(&self) -> Option<&str> {
        self.info.redis_settings().username()
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.info.redis_settings().db()
    }
}

impl fmt::Display for Address {
    /// As a URL that can be used again, but for user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let db = self.database();
        match self.info.addr() {
            ConnectionAddr::Tcp(host, port) => write!(f, "redis://{}:{port}/{db}", bracketed(host)),
            ConnectionAddr::TcpTls { host, port, .. } => {
                write!(f, "rediss://{}:{port}/{db}", bracketed(host))
            }
            ConnectionAddr::Unix(path) => write!(f, "unix://{}?db={db}", encoded(path)),
            _ => f.write_str("redis"),
        }
    }
}

/// A host as it is written in a URL: an IPv6 address needs brackets.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A path as it is written in a URL.
fn encoded(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => text.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => text.push(char::from(*byte)),
            byte => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}
