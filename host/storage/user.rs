//! A plugin's own Redis user: made by the host with exactly the plugin's rights and a random password, so that Redis
//! itself refuses what a mistake in the host would let through. Which rights those are is `capability::acl`; which
//! users there are, and when they go, `app` knows.

use std::fmt;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use redis::{Pipeline, Value, cmd};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::address::{Address, AddressError};
use super::fault::Fault;
use super::link::{Link, Tracking};
use super::primary::Primary;

/// What the names of all users made by hosts begin with.
pub const USER_PREFIX: &str = "sandhog:";
/// Bytes of a password.
const PASSWORD_BYTES: usize = 32;
/// Most questions in one write.
const ASKS_MAX: usize = 1000;

/// What it takes to make a user, and to be it.
#[derive(Clone)]
pub(super) struct Door {
    admin: Link,
    name: String,
    rules: Vec<String>,
    password: String,
}

/// A plugin's own user, and the connection on which its guests' calls travel.
#[derive(Debug)]
pub struct PluginUser {
    door: Door,
    link: Link,
}

/// A command about a key: whether the user may use it there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// The command, with a place for the key.
    pub command: &'static str,
    /// The key.
    pub key: String,
    /// Arguments after the key, as many as the command needs.
    pub arguments: &'static [&'static str],
}

impl Door {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The server at which the user is created.
    pub(super) fn primary(&self) -> &Primary {
        self.admin.primary()
    }

    /// Whether the user's connection with this id is at another server than the one at which the user was created. A
    /// plugin's user may not ask for the run id, so the host looks for the connection in `CLIENT LIST`. False if it
    /// is there, or if the host may not look.
    pub(super) fn is_elsewhere(&self, number: i64) -> BoxFuture<'_, bool> {
        let mut list = cmd("CLIENT");
        list.arg("LIST").arg("ID").arg(number);
        let user = format!("user={}", self.name);
        // Boxed, because one link waits for another here.
        async move {
            match self.admin.query::<String>(&list).await {
                Ok(list) => !list.split_ascii_whitespace().any(|field| field == user),
                Err(_) => false,
            }
        }
        .boxed()
    }

    pub(super) fn address(&self, host: &Address) -> Address {
        host.of_user(&self.name, &self.password)
    }

    /// Makes the user, or makes it again what it should be.
    pub(super) fn make_user(&self) -> BoxFuture<'_, Result<(), Fault>> {
        let mut set = cmd("ACL");
        // Redis is told what the password hashes to: it does not travel but to log in.
        let hash = hex(&Sha256::digest(self.password.as_bytes()));
        set.arg("SETUSER").arg(&self.name).arg("reset").arg(format!("#{hash}")).arg(&self.rules);
        // One link waits for another here.
        async move { self.admin.query::<Value>(&set).await.map(drop) }.boxed()
    }
}

impl PluginUser {
    /// Makes a user of this name with these rules, over `admin`, and a connection of its own. Fails with what Redis
    /// says if the host may not do that.
    pub async fn make(admin: &Link, name: String, rules: Vec<String>) -> Result<Self, Fault> {
        let mut password = [0; PASSWORD_BYTES];
        SystemRandom::new()
            .fill(&mut password)
            .map_err(|_| Fault::Unexpected("the system gave no random numbers".to_owned()))?;
        let door = Door { admin: admin.clone(), name, rules, password: hex(&password) };
        door.make_user().await?;
        let form = |error: AddressError| Fault::Unexpected(error.to_string());
        let link = Link::through(door.clone(), "guests", Tracking::Off).map_err(form)?;
        link.connect().await?;
        Ok(Self { door, link })
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.door.name
    }

    /// The connection of its guests' calls.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// One more connection of this user, which is told of changes.
    pub fn watch(&self, role: &'static str, tracking: Tracking) -> Result<Link, AddressError> {
        Link::through(self.door.clone(), role, tracking)
    }

    /// Of these questions, whether Redis would say no.
    pub async fn is_denied(&self, asks: &[Ask]) -> Result<Vec<bool>, Fault> {
        let mut denied = Vec::with_capacity(asks.len());
        for some in asks.chunks(ASKS_MAX) {
            let answers = match self.dry_run(some).await {
                // Somebody has deleted it, or Redis was started again.
                Err(fault) if fault.is_code("ERR") => {
                    self.door.make_user().await?;
                    self.dry_run(some).await?
                }
                answers => answers?,
            };
            denied.extend(answers);
        }
        Ok(denied)
    }

    async fn dry_run(&self, asks: &[Ask]) -> Result<Vec<bool>, Fault> {
        let mut pipe = Pipeline::with_capacity(asks.len());
        for ask in asks {
            let dry = pipe.cmd("ACL").arg("DRYRUN").arg(&self.door.name);
            dry.arg(ask.command).arg(&ask.key).arg(ask.arguments);
        }
        let answers = self.door.admin.pipeline(&pipe).await?;
        // Anything but a yes is a no.
        answers.into_iter().map(|answer| Ok(answer? != Value::Okay)).collect()
    }
}

/// Names of the users that hosts have made.
pub async fn users(admin: &Link) -> Result<Vec<String>, Fault> {
    let names: Vec<String> = admin.query(cmd("ACL").arg("USERS")).await?;
    Ok(names.into_iter().filter(|name| name.starts_with(USER_PREFIX)).collect())
}

/// Deletes a user, and ends its connections.
pub async fn delete(admin: &Link, name: &str) -> Result<(), Fault> {
    admin.query::<Value>(cmd("ACL").arg("DELUSER").arg(name)).await.map(drop)
}

impl fmt::Debug for Door {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({})", self.name)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
