//! What a server speaks: Redis' protocol or TLS. Asked only after an attempt to connect has failed, to say why.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait for each of the two answers.
const WAIT: Duration = Duration::from_secs(1);
/// A question that every Redis and every proxy before one answers.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// Answers to it: that of a server without a password, and the beginnings of that of others.
const PONGS: [&[u8]; 3] = [b"+PONG", b"-NOAUTH", b"-NOPERM"];
/// What the records of TLS begin with, those that carry a handshake or an alert.
const RECORDS: [&[u8]; 2] = [&[0x16, 3], &[0x15, 3]];
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 7;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Redis' protocol, without TLS.
    Redis,
    /// TLS.
    Tls,
}

/// Asks the server; none if it answers in neither way.
pub(super) async fn what_speaks(host: &str, port: u16) -> Option<Speaks> {
    let begins = |answer: &[u8], beginnings: &[&[u8]]| beginnings.iter().any(|b| answer.starts_with(b));
    let answer = ask(host, port, PING).await?;
    if begins(&answer, &PONGS) {
        return Some(Speaks::Redis);
    }
    // A server of TLS may answer the plain question with an alert, or just close.
    let answer = if begins(&answer, &RECORDS) { answer } else { ask(host, port, &client_hello()).await? };
    begins(&answer, &RECORDS).then_some(Speaks::Tls)
}

/// The beginning of the answer; empty if the server closes or waits. None if nobody listens.
async fn ask(host: &str, port: u16, question: &[u8]) -> Option<Vec<u8>> {
    let opened = tokio::time::timeout(WAIT, TcpStream::connect((host, port))).await.ok()?;
    let mut stream = opened.ok()?;
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(question).await?;
        while answer.len() < ANSWER_BYTES {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok::<(), std::io::Error>(())
    };
    let _ = tokio::time::timeout(WAIT, exchange).await;
    Some(answer)
}

/// The least that a server of TLS takes for a greeting, whether or not it goes on from there.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([0; 32]);
    // No session; one cipher suite; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    hello
}
