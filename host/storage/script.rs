//! A Lua script and how it is called: by digest, with the text sent only when the server has forgotten it.
//!
//! Scripts, not Functions: those need an administrator, and two versions of the host in one fleet would fight
//! over the library.

use redis::{Cmd, FromRedisValue, Value};

use super::fault::Fault;
use super::link::Link;

/// One script.
#[derive(Debug)]
pub struct Script {
    source: &'static str,
    sha: String,
    command: &'static str,
    only_reads: bool,
}

impl Script {
    /// Takes the text of a `.lua` file. One that says it writes nothing is called so that a user who may only read the
    /// keys may call it.
    pub fn new(source: &'static str) -> Self {
        let head = source.lines().next().unwrap_or_default();
        let only_reads = head.contains("no-writes");
        let command = if only_reads { "EVALSHA_RO" } else { "EVALSHA" };
        Self { source, sha: redis::Script::new(source).get_hash().to_owned(), command, only_reads }
    }

    /// The text that the server is given.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The call with its keys; the caller adds the arguments.
    pub fn call<K: AsRef<str>>(&self, keys: &[K]) -> Cmd {
        let mut cmd = redis::cmd(self.command);
        cmd.arg(&self.sha).arg(keys.len());
        for key in keys {
            cmd.arg(key.as_ref());
        }
        cmd
    }

    /// Makes a call; loads the script first if the server does not know it. A script that only reads is sent once
    /// more if its connection is lost.
    ///
    /// # Errors
    ///
    /// Redis did not answer, or refused the call.
    pub async fn run<T: FromRedisValue>(&self, link: &Link, call: &Cmd) -> Result<T, Fault> {
        match self.send(link, call).await {
            Err(fault) if fault.is_code("NOSCRIPT") => {
                self.load(link).await?;
                self.send(link, call).await
            }
            answer => answer,
        }
    }

    async fn send<T: FromRedisValue>(&self, link: &Link, call: &Cmd) -> Result<T, Fault> {
        if self.only_reads { link.ask(call).await } else { link.query(call).await }
    }

    /// Gives the server the text.
    pub async fn load(&self, link: &Link) -> Result<(), Fault> {
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(self.source);
        match link.query::<Value>(&load).await {
            Err(refused) if is_withheld(&refused) => self.load_by_eval(link, refused).await,
            loaded => loaded.map(drop),
        }
    }

    /// As `load`, for a user or a server without `SCRIPT LOAD`. `EVAL_RO` stores the script before Redis runs it. It
    /// writes nothing: a script that writes is not run at all, and one that reads gets no keys.
    async fn load_by_eval(&self, link: &Link, refused: Fault) -> Result<(), Fault> {
        let mut eval = redis::cmd("EVAL_RO");
        eval.arg(self.source).arg(0);
        match link.query::<Value>(&eval).await {
            Err(fault) if fault.is_lost() => Err(fault),
            Err(fault) if is_withheld(&fault) => Err(refused),
            // Whether the run itself failed does not matter.
            _ => Ok(()),
        }
    }
}

/// Whether the user may not send the command, or the server does not have it, because some providers rename commands.
fn is_withheld(fault: &Fault) -> bool {
    matches!(fault, Fault::Refused { code, detail }
        if code == "NOPERM" || code == "ERR" && detail.contains("unknown command"))
}
