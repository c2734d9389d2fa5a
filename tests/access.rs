//! Ways to a Redis: TCP and TLS, user and password, any database; and what a host says when there is none.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use redis::cmd;
use sandhog::storage::address::{Address, TlsFiles};
use sandhog::storage::link::{Link, Tracking};

use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::redis::TestRedis;
use crate::support::server::{PortServer, authority};

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
    let server = PortServer::tls();
    let files = server.files();
    one_job(&server.tls_url(), files.clone()).await;
    let unknown = link(&server.tls_url(), TlsFiles { ca: files.ca, client: None });
    assert!(unknown.query::<String>(&cmd("PING")).await.is_err(), "no certificate, no way in");
    let distrusted = link(&server.tls_url(), TlsFiles::default());
    assert!(distrusted.query::<String>(&cmd("PING")).await.is_err(), "an unknown authority");
}

/// What a client that trusts `ca.crt` of the folder reports about a server with this certificate.
async fn greeted_with(certificate: &str, key: &str, ca: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("server.crt", certificate), ("server.key", key), ("ca.crt", ca)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let server = PortServer::tls_with(folder, &["--tls-auth-clients", "no"]);
    let files = TlsFiles { ca: Some(ca.as_bytes().to_vec()), client: None };
    let said = link(&server.tls_url(), files).query::<String>(&cmd("PING")).await;
    said.map_err(|fault| fault.to_string())
}

/// Each kind of certificate that `docs/tls.md` lists.
#[tokio::test]
async fn certificates_are_accepted_and_refused_as_documented() {
    let localhost = || CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let nameless = || CertificateParams::new(Vec::new()).unwrap();
    let issuer = authority("authority");
    let named = |mut params: CertificateParams, name: &str| {
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    // Signed by an authority: only a subject alternative name counts as the name.
    for (params, said) in [
        (named(localhost(), "redis"), Ok("PONG")),
        (named(nameless(), "localhost"), Err("certificate not valid for name \"localhost\"")),
    ] {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().pem();
        let answer = greeted_with(&certificate, &key.serialize_pem(), &issuer.pem()).await;
        match said {
            Ok(said) => assert_eq!(answer.as_deref(), Ok(said)),
            Err(said) => assert!(answer.as_ref().is_err_and(|error| error.contains(said)), "{answer:?}"),
        }
    }
    // Self-signed and used as `ca`: accepted if marked as not an authority.
    for (is_ca, said) in [
        (IsCa::ExplicitNoCa, Ok("PONG")),
        (IsCa::Ca(BasicConstraints::Unconstrained), Err("CaUsedAsEndEntity")),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = named(localhost(), "localhost");
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap().pem();
        let answer = greeted_with(&certificate, &key.serialize_pem(), &certificate).await;
        match said {
            Ok(said) => assert_eq!(answer.as_deref(), Ok(said)),
            Err(said) => assert!(answer.as_ref().is_err_and(|error| error.contains(said)), "{answer:?}"),
        }
    }
}
