//! Ways to a Redis: TCP and TLS, user and password, any database; and what a host says when there is none.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::cmd;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};
use tempfile::TempDir;

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::redis::TestRedis;

const NOOP: &str = "kind = \"worker\"\n[[consume]]\nqueue = \"jobs\"\n";

fn link(url: &str, tls: TlsFiles) -> Link {
    let address = Address::parse(url, tls).unwrap();
    Link::new(&address, "test", Duration::from_secs(5), Tracking::Off).unwrap()
}

/// Serves one job of a Redis at `url`.
async fn one_job(url: &str, tls: TlsFiles) {
    let plain = link(url, tls.clone());
    let plugins = Plugins::new().with("noop", &worker("", "", "(i32.const 0)"), NOOP);
    let mut settings = plugins.settings(url, "h");
    settings.redis.address = Address::parse(url, tls).unwrap();
    let host = serve(settings).await;
    let _: u64 = plain.query(cmd("RPUSH").arg("jobs").arg("x")).await.unwrap();
    until("the job is completed", async || count(&host, "jobs", |c| &c.completed) == 1).await;
    stop(host).await;
}

#[tokio::test]
async fn a_user_with_a_password_and_another_database() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for rules in ["anna on >s3cret ~* &* +@all", "default resetpass >other"] {
        let mut acl = cmd("ACL");
        rules.split(' ').fold(acl.arg("SETUSER"), |acl, rule| acl.arg(rule));
        let _: () = acl.query_async(&mut plain).await.unwrap();
    }
    let url = format!("{}?db=5&user=anna&pass=s3cret", redis.url());
    one_job(&url, TlsFiles::default()).await;
    let queues: Vec<String> =
        link(&url, TlsFiles::default()).query(cmd("SMEMBERS").arg("sandhog:queues")).await.unwrap();
    assert_eq!(queues, ["jobs"], "in database 5");
    let wrong = link(&format!("{}?user=anna&pass=wrong", redis.url()), TlsFiles::default());
    let refused = wrong.query::<String>(&cmd("PING")).await.unwrap_err();
    assert!(refused.is_lost() && !refused.to_string().contains("wrong"), "{refused}");
}

#[tokio::test]
async fn where_tracking_is_refused_idle_queues_are_looked_at() {
    let redis = TestRedis::start();
    let mut acl = cmd("ACL");
    acl.arg("SETUSER").arg("anna").arg(&["on", ">s3cret", "~*", "&*", "+@all", "-client|tracking"]);
    let _: () = acl.query_async(&mut redis.plain().await).await.unwrap();
    let url = format!("{}?user=anna&pass=s3cret", redis.url());
    let plugins = Plugins::new().with("noop", &worker("", "", "(i32.const 0)"), NOOP);
    let host = plugins.serve(&url, "h").await;
    let mut plain = redis.plain().await;
    // The second push comes when the queue has been found empty and nobody will be told of it.
    for number in 1..=2 {
        let _: u64 = cmd("RPUSH").arg("jobs").arg("x").query_async(&mut plain).await.unwrap();
        until("the job is completed", async || count(&host, "jobs", |c| &c.completed) == number).await;
    }
    stop(host).await;
}

#[tokio::test]
async fn tls_with_our_own_authority_and_client_certificates() {
    let server = TlsRedis::start();
    let files = server.files();
    one_job(&server.url(), files.clone()).await;
    let unknown = link(&server.url(), TlsFiles { ca: files.ca, client: None });
    assert!(unknown.query::<String>(&cmd("PING")).await.is_err(), "no certificate, no way in");
    let distrusted = link(&server.url(), TlsFiles::default());
    assert!(distrusted.query::<String>(&cmd("PING")).await.is_err(), "an unknown authority");
}

/// A Redis that speaks only TLS, on a free port.
struct TlsRedis {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl TlsRedis {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificates(&folder);
        // Free a moment ago. Should somebody take it meanwhile, the test says so.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--bind", "127.0.0.1", "--tls-port", &port.to_string()]);
        for (option, file) in [
            ("--tls-cert-file", "server.crt"),
            ("--tls-key-file", "server.key"),
            ("--tls-ca-cert-file", "ca.crt"),
        ] {
            command.arg(option).arg(folder.path().join(file));
        }
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, port, folder };
        assert!(server.listens(), "redis-server did not start with TLS on port {port}");
        server
    }

    fn listens(&mut self) -> bool {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(10) {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn url(&self) -> String {
        format!("rediss://localhost:{}", self.port)
    }

    fn files(&self) -> TlsFiles {
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        TlsFiles { ca: Some(read("ca.crt")), client: Some((read("client.crt"), read("client.key"))) }
    }
}

impl Drop for TlsRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and certificates of it for a server on localhost and for a client.
fn certificates(folder: &TempDir) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    // Each its own name: two certificates of one name would be taken for each other's issuer.
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    write("ca.crt", issuer.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        write(&format!("{name}.crt"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
