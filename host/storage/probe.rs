//! Which protocol a server speaks: Redis' or TLS. Used only after a connection attempt has failed, to say why.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest wait to connect, and longest wait for an answer, for each of the two questions.
const WAIT: Duration = Duration::from_secs(1);
/// A command that every Redis and every proxy answers.
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
/// Beginnings of its answers: without a password, with one, and for a user without the right.
const PONGS: [&[u8]; 3] = [b"+PONG", b"-NOAUTH", b"-NOPERM"];
/// Beginnings of TLS records that carry a handshake or an alert.
const RECORDS: [&[u8]; 2] = [&[0x16, 3], &[0x15, 3]];
/// Bytes of an answer that are compared.
const ANSWER_BYTES: usize = 7;

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    /// Redis' protocol, without TLS.
    Redis,
    /// TLS.
    Tls,
}

/// Asks the server; none if it speaks neither.
pub(super) async fn what_speaks(host: &str, port: u16) -> Option<Speaks> {
    let begins = |answer: &[u8], beginnings: &[&[u8]]| beginnings.iter().any(|b| answer.starts_with(b));
    let answer = ask(host, port, PING).await?;
    if begins(&answer, &PONGS) {
        return Some(Speaks::Redis);
    }
    // A TLS server may answer a plain command with an alert, or just close.
    let answer = if begins(&answer, &RECORDS) { answer } else { ask(host, port, &client_hello()).await? };
    begins(&answer, &RECORDS).then_some(Speaks::Tls)
}

/// The beginning of the answer; empty if the server closes or sends nothing. None if nobody listens.
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

/// The smallest message that a TLS server accepts as a ClientHello, even if it rejects the parameters.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([0; 32]);
    // No session; one cipher suite; no compression.
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    hello
}
