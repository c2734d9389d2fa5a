//! Servers of tests that need a port: TLS, Redis Cluster, a Sentinel, and ones that only look like Redis.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use sandhog::config::env;
use sandhog::storage::address::TlsFiles;
use tempfile::TempDir;

/// How long a server may take to start on a busy machine.
const START: Duration = Duration::from_secs(10);

/// A `redis-server` on its own port.
pub struct PortServer {
    child: Child,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its folder, with the certificates if it uses TLS.
    pub folder: TempDir,
}

/// A port that was free a moment ago. If another process takes it meanwhile, the test fails with that error.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl PortServer {
    /// A server without TLS, with additional arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let port = free_port();
        Self::launch(
            port,
            tempfile::tempdir().unwrap(),
            &[&["--port", &port.to_string()], arguments].concat(),
        )
    }

    /// A Redis Cluster of one node.
    pub fn cluster() -> Self {
        Self::start(&["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()])
    }

    /// A Sentinel.
    pub fn sentinel() -> Self {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, format!("port {port}\n")).unwrap();
        Self::launch(port, folder, &[file.to_str().unwrap(), "--sentinel"])
    }

    /// A server that accepts only TLS, has certificates of its own authority, and requires a client certificate.
    pub fn tls() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(&folder);
        Self::tls_with(folder, &[])
    }

    /// The same with `server.crt` and `server.key` of this folder, and `ca.crt` to check client certificates.
    pub fn tls_with(folder: TempDir, arguments: &[&str]) -> Self {
        let port = free_port();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let own: Vec<String> = [
            ("--tls-port", port.to_string()),
            ("--port", "0".to_owned()),
            ("--tls-cert-file", path("server.crt")),
            ("--tls-key-file", path("server.key")),
            ("--tls-ca-cert-file", path("ca.crt")),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        let own: Vec<&str> = own.iter().map(String::as_str).collect();
        Self::launch(port, folder, &[&own, arguments].concat())
    }

    fn launch(port: u16, folder: TempDir, arguments: &[&str]) -> Self {
        let mut command = Command::new(env::redis_server());
        command.args(arguments).current_dir(folder.path());
        if !arguments.contains(&"--sentinel") {
            command.args(["--save", "", "--bind", "127.0.0.1"]);
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, port, folder };
        assert!(server.listens(), "redis-server did not start on port {port} with {arguments:?}");
        server
    }

    fn listens(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Its address without TLS.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its address with TLS, by the name that its certificate has.
    pub fn tls_url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    /// The TLS files of a client that trusts its authority.
    pub fn files(&self) -> TlsFiles {
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        TlsFiles { ca: Some(read("ca.crt")), client: Some((read("client.crt"), read("client.key"))) }
    }
}

impl Drop for PortServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy with the older protocol: it answers PING, and closes the connection at HELLO. Returns its address.
pub fn old_proxy() -> String {
    imitation(|mut stream| {
        let mut bytes = [0; 1024];
        while let Ok(length @ 1..) = stream.read(&mut bytes) {
            let has = |word: &[u8]| bytes[..length].windows(word.len()).any(|part| part == word);
            if has(b"HELLO") || !has(b"PING") || stream.write_all(b"+PONG\r\n").is_err() {
                return;
            }
        }
    })
}

/// A web server that refuses every request. Returns its address as that of a Redis.
pub fn web_server() -> String {
    imitation(|mut stream| {
        let mut bytes = [0; 1024];
        if let Ok(1..) = stream.read(&mut bytes) {
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n<html></html>\r\n");
        }
    })
}

/// A balancer in front of the server at this port, one of whose servers is gone: it cuts the first `cuts` connections.
/// Returns its address.
pub fn balancer(port: u16, cuts: u64) -> String {
    let seen = AtomicU64::new(0);
    imitation(move |stream| {
        if seen.fetch_add(1, SeqCst) < cuts {
            return;
        }
        let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| carry(&stream, &server));
            carry(&server, &stream);
        });
    })
}

/// Copies bytes until the connection that they come from ends, then ends the other one.
fn carry(mut from: &TcpStream, mut to: &TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// A server on a free port that handles each connection with this function.
fn imitation(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), serve.clone());
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("redis://127.0.0.1:{port}")
}

/// A certificate authority with this name.
pub fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // Each has its own name: otherwise two certificates with one name would count as each other's issuer.
    authority.distinguished_name.push(DnType::CommonName, name);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap()
}

/// An authority, and its certificates for a server on localhost and for a client.
fn certificates(folder: &TempDir) {
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let issuer = authority("authority");
    write("ca.crt", issuer.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{name}.crt"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
