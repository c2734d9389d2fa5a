//! Finds out which protocol a server speaks: that of Redis, TLS or HTTP. Used only after a failed connection attempt,
//! to report the cause.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait to connect, and longest wait for a reply, for each request.
const WAIT: Duration = Duration::from_secs(1);
/// A command that every Redis and every proxy answers.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// Beginnings of its answers: without a password, with one, and for a user without the right.
const PONGS: [&[u8]; 3] = [b"+PONG", b"-NOAUTH", b"-NOPERM"];
/// The request for the protocol that the host needs.
const HELLO: &[u8] = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";
/// Beginnings of the replies of servers that do not speak that protocol.
const OLD: [&[u8]; 2] = [b"-NOPROTO", b"-ERR unknown command"];
/// How many connections the server must close at HELLO, each after an answered PING, to prove an old protocol. One may
/// be closed by chance.
const CUTS: usize = 2;
/// Beginnings of TLS records that carry a handshake or an alert.
const RECORDS: [&[u8]; 2] = [&[0x16, 3], &[0x15, 3]];
/// Beginnings of replies of web servers.
const WEB: [&[u8]; 2] = [b"HTTP/", b"<"];
/// Most bytes of a reply that are read; enough to recognise its beginning.
const ANSWER_BYTES: usize = 512;
/// Bytes that are enough if the reply is not a line.
const DECISIVE_BYTES: usize = 7;

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Redis' protocol, without TLS.
    Redis,
    /// An older version of the protocol of Redis.
    OldRedis,
    /// TLS.
    Tls,
    /// HTTP.
    Http,
}

/// The reaction of a server to a request.
struct Answer {
    /// The beginning of the reply.
    bytes: Vec<u8>,
    /// Whether the server ended the connection.
    is_cut: bool,
}

impl Answer {
    fn begins(&self, beginnings: &[&[u8]]) -> bool {
        beginnings.iter().any(|beginning| self.bytes.starts_with(beginning))
    }
}

/// Asks the server. None if the protocol is not one of these.
pub(super) async fn what_speaks(host: &str, port: u16) -> Option<Speaks> {
    for _ in 0..CUTS {
        let mut stream = connect(host, port).await?;
        let answer = ask(&mut stream, PING).await;
        if !answer.begins(&PONGS) {
            return what_else(host, port, &answer).await;
        }
        let hello = ask(&mut stream, HELLO).await;
        if hello.begins(&OLD) {
            return Some(Speaks::OldRedis);
        }
        if !hello.is_cut || !hello.bytes.is_empty() {
            return Some(Speaks::Redis);
        }
    }
    Some(Speaks::OldRedis)
}

/// The protocol of a server that gave this reply to PING.
async fn what_else(host: &str, port: u16, answer: &Answer) -> Option<Speaks> {
    if answer.begins(&WEB) {
        return Some(Speaks::Http);
    }
    // A TLS server may answer a plain command with an alert, or just close.
    if answer.begins(&RECORDS) {
        return Some(Speaks::Tls);
    }
    let mut stream = connect(host, port).await?;
    ask(&mut stream, &client_hello()).await.begins(&RECORDS).then_some(Speaks::Tls)
}

/// None if no server listens.
async fn connect(host: &str, port: u16) -> Option<TcpStream> {
    tokio::time::timeout(WAIT, TcpStream::connect((host, port))).await.ok()?.ok()
}

async fn ask(stream: &mut TcpStream, question: &[u8]) -> Answer {
    let mut answer = Answer { bytes: Vec::new(), is_cut: false };
    let exchange = async {
        stream.write_all(question).await?;
        while !is_whole(&answer.bytes) {
            if stream.read_buf(&mut answer.bytes).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let ended = tokio::time::timeout(WAIT, exchange).await;
    answer.is_cut = matches!(ended, Ok(Err(_)));
    answer
}

/// Whether enough of a reply has arrived. A line of Redis is read to its end, because the next reply follows it.
fn is_whole(answer: &[u8]) -> bool {
    match answer.first() {
        Some(b'+' | b'-') => answer.contains(&b'\n') || answer.len() >= ANSWER_BYTES,
        _ => answer.len() >= DECISIVE_BYTES,
    }
}

/// The smallest message that a TLS server accepts as a ClientHello, even if it rejects the parameters.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([0; 32]);
    // No session; one cipher suite; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    hello
}
