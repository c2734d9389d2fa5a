//! One attack: a plugin or a producer that means harm beside a good plugin, in a host with one place to run.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Cmd};
use sandhog::app::Host;
use sandhog::job::envelope::Header;

use super::table::Pending;
use crate::support::guest::worker;
use crate::support::host::{Plugins, count, serve, stop, until};
use crate::support::redis::TestRedis;

/// The payload that begins an attack; an empty one is a job like any other.
const GO: &[u8] = b"go";
/// Most of a reason that is shown in the table.
const SHOWN_CHARS_MAX: usize = 90;

/// How an attack ends.
pub(super) enum Ends {
    /// The job is done: what was tried had no effect.
    Done,
    /// The job is dead, for a reason with this text in it.
    Dead(&'static str),
    /// The component is not loaded, for a reason with this text in it.
    Refused(&'static str),
}

/// A plugin that consumes `attack`, and what is done with it.
pub(super) struct Attack {
    component: Vec<u8>,
    consume: &'static str,
    limits: &'static str,
    grants: &'static str,
    effects: &'static str,
    payload: Vec<u8>,
    ceilings: fn(&mut sandhog::config::settings::Settings),
    before: Vec<Cmd>,
    after: Vec<(Cmd, redis::Value)>,
    sent_bytes_max: Option<u64>,
    is_repeated: bool,
}

/// Tests of attacks, and their names in order: name, what stops it, how it ends, what it is.
macro_rules! attacks {
    ($($name:ident: $limit:literal, $ends:expr, $attack:expr;)*) => {
        pub(super) const ATTACKS: &[&str] = &[$(stringify!($name)),*];
        $(
            #[tokio::test]
            async fn $name() {
                let pending = $crate::hostile::table::Pending::new(stringify!($name), $limit);
                $crate::hostile::attack::run(pending, $ends, $attack.into()).await;
            }
        )*
    };
}
pub(super) use attacks;

impl From<Vec<u8>> for Attack {
    fn from(component: Vec<u8>) -> Self {
        Self {
            component,
            consume: "timeout = \"20s\"",
            limits: "",
            grants: "kv = { read = [\"*\"], write = [\"*\"] }\nqueue = { push = [\"*\"], pop = [\"*\"] }",
            effects: "immediate",
            payload: GO.to_vec(),
            ceilings: |_| {},
            before: Vec::new(),
            after: Vec::new(),
            sent_bytes_max: None,
            is_repeated: true,
        }
    }
}

impl Attack {
    pub(super) fn of(component: Vec<u8>) -> Self {
        component.into()
    }

    /// The wall clock of its runs is short.
    pub(super) fn hurried(self) -> Self {
        Self { consume: "timeout = \"200ms\"", ..self }
    }

    /// Lines of `[limits]` in its manifest.
    pub(super) fn limits(self, limits: &'static str) -> Self {
        Self { limits, ..self }
    }

    /// Lines of `[grants]` in its manifest; without this it is granted everything.
    pub(super) fn grants(self, grants: &'static str) -> Self {
        Self { grants, ..self }
    }

    /// Its effects are held back until its job is done.
    pub(super) fn atomic(self) -> Self {
        Self { effects: "atomic", ..self }
    }

    /// The job it is given, by a producer that means harm.
    pub(super) fn payload(self, payload: Vec<u8>) -> Self {
        Self { payload, ..self }
    }

    /// Settings of the host.
    pub(super) fn ceilings(self, ceilings: fn(&mut sandhog::config::settings::Settings)) -> Self {
        Self { ceilings, ..self }
    }

    /// What another client does before.
    pub(super) fn before(mut self, command: &str) -> Self {
        self.before.push(cmd(command));
        self
    }

    /// What another client does before, with bytes as its last argument.
    pub(super) fn before_with(mut self, command: &str, bytes: Vec<u8>) -> Self {
        let mut command = cmd(command);
        command.arg(bytes);
        self.before.push(command);
        self
    }

    /// A script that is run before.
    pub(super) fn before_script(mut self, script: &str) -> Self {
        let mut command = redis::cmd("EVAL");
        command.arg(script).arg(0);
        self.before.push(command);
        self
    }

    /// What another client is answered afterwards.
    pub(super) fn after(mut self, command: &str, answer: i64) -> Self {
        self.after.push((cmd(command), redis::Value::Int(answer)));
        self
    }

    /// Redis sends no more than this while the attack goes on.
    pub(super) fn sends_at_most(self, bytes: u64) -> Self {
        Self { sent_bytes_max: Some(bytes), ..self }
    }

    /// The component does harm whatever its job is.
    pub(super) fn always(self) -> Self {
        Self { is_repeated: false, ..self }
    }

    fn manifest(&self, profile: &str) -> String {
        let Self { consume, limits, grants, effects, .. } = self;
        format!(
            "kind = \"worker\"\neffects.mode = \"{effects}\"\nengine.profile = \"{profile}\"\n[[consume]]\nqueue = \"attack\"\nconcurrency = 1\n\
             max_attempts = 1\n{consume}\n[limits]\n{limits}\n[grants]\n{grants}\n"
        )
    }
}

/// A worker that does `body` when its job is an attack.
pub(super) fn attacker(imports: &str, items: &str, body: &str) -> Vec<u8> {
    worker(imports, items, &when_attacking(body))
}

/// The body of a handler that is harmless unless its payload is that of an attack. It has `$i` and `$j` to count with.
pub(super) fn when_attacking(body: &str) -> String {
    format!(
        "(local $i i32) (local $j i32)
        (if (i32.eqz (local.get $length)) (then (return (i32.const 0)))) {body}"
    )
}

/// A worker as no tool writes it: `start` is done when it starts, with `$exists` of `kv` in reach; `items` are parts of
/// the component.
pub(super) fn by_hand(start: &str, items: &str) -> Vec<u8> {
    let text = include_str!("by_hand.wat").replacen("START)", &format!("{start})"), 1);
    wat::parse_str(text.replacen("  ITEMS\n", items, 1)).unwrap()
}

/// Ends a handler whose call has answered at 1024 with an error at `at` (4, or 8 beside integers of 64 bits): the job
/// is buried with the error's text. Traps where the error is of another kind: 0 denied, 1 wrong type, 2 quota,
/// 3 unavailable. A call that was not refused ends the job well.
pub(super) fn told(at: usize, kind: usize) -> String {
    let (variant, text, length) = (1024 + at, 1024 + at + 4, 1024 + at + 8);
    format!(
        "(if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 1)) (then (return (i32.const 0))))
        (if (i32.ne (i32.load8_u (i32.const {variant})) (i32.const {kind})) (then unreachable))
        (i32.store8 (i32.const 0) (i32.const 1)) (i32.store8 (i32.const 8) (i32.const 1))
        (i32.store (i32.const 16) (i32.load (i32.const {text})))
        (i32.store (i32.const 20) (i32.load (i32.const {length}))) (i32.const 0)"
    )
}

/// A good worker. Traps unless the memory it grows into is as new, then pushes its payload to `receipts`.
pub(super) fn good() -> Vec<u8> {
    worker(
        r#"(import "sandhog:worker/queue@0.1.0" "push" (func $push (param i32 i32 i32 i32 i32)))"#,
        r#"(data (i32.const 2048) "receipts")"#,
        "(local $at i32)
        (local.set $at (i32.const 262144))
        (if (i32.eq (memory.grow (i32.const 12)) (i32.const -1)) (then unreachable))
        (loop $l
            (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then unreachable))
            (local.set $at (i32.add (local.get $at) (i32.const 64)))
            (br_if $l (i32.lt_u (local.get $at) (i32.const 1048576))))
        (call $push (i32.const 2048) (i32.const 8) (local.get $payload) (local.get $length) (i32.const 1024))
        (if (i32.load8_u (i32.const 1024)) (then unreachable))
        (i32.const 0)",
    )
}

pub(super) const GOOD: &str = r#"
kind = "worker"
[[consume]]
queue = "good"
[grants]
queue.push = ["receipts"]
[engine]
profile = "PROFILE"
"#;

/// The beginning of a reason.
pub(super) fn shown(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default();
    line.chars().take(SHOWN_CHARS_MAX).collect()
}

fn cmd(text: &str) -> Cmd {
    let mut words = text.split(' ');
    let mut cmd = redis::cmd(words.next().unwrap());
    for word in words {
        cmd.arg(word);
    }
    cmd
}

/// A host under attack.
struct Stage {
    host: Host,
    plugins: Plugins,
    plain: MultiplexedConnection,
    hosts: Vec<String>,
    redis: TestRedis,
}

/// Carries an attack out, once in each engine, and asserts what it comes to and that nothing else has happened.
pub(super) async fn run(pending: Pending, ends: Ends, attack: Attack) {
    let mut outcome = String::new();
    for profile in ["short", "compute"] {
        let mut stage = Stage::new(&attack, profile).await;
        outcome = stage.attack(&attack, &ends, profile).await;
        stage.is_unharmed(&attack, &ends).await;
        stage.end().await;
    }
    pending.report(outcome);
}

impl Stage {
    async fn new(attack: &Attack, profile: &str) -> Self {
        let redis = TestRedis::start();
        let mut plain = redis.plain().await;
        let plugins = Plugins::new().with("good", &good(), &GOOD.replace("PROFILE", profile));
        let mut settings = plugins.settings(&redis.url(), "h");
        settings.ceilings.instances = 1;
        (attack.ceilings)(&mut settings);
        let host = serve(settings).await;
        for command in &attack.before {
            let _: redis::Value = command.query_async(&mut plain).await.unwrap();
        }
        let hosts = plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
        Self { host, plugins, plain, hosts, redis }
    }

    async fn attack(&mut self, attack: &Attack, ends: &Ends, profile: &str) -> String {
        self.plugins.put("attack", &attack.component, &attack.manifest(profile));
        let loaded = self.host.reload().await;
        if let Ends::Refused(expected) = ends {
            let problems = loaded.expect_err("must be refused").to_string();
            assert!(problems.contains(expected), "{problems}");
            let why = problems.split_once(": ").map_or(&*problems, |(_file, why)| why);
            return format!("refused: {}", shown(why));
        }
        loaded.unwrap_or_else(|problems| panic!("refused: {problems}"));
        let before = self.bytes_sent().await;
        let _: u64 = self.plain.rpush("attack", &attack.payload).await.unwrap();
        self.until_ended().await;
        if let Some(most) = attack.sent_bytes_max {
            let sent = self.bytes_sent().await - before;
            assert!(sent <= most, "Redis has sent {sent} bytes");
        }
        let outcome = self.outcome(ends).await;
        for (command, answer) in &attack.after {
            let found: redis::Value = command.query_async(&mut self.plain).await.unwrap();
            assert_eq!(&found, answer, "{:?}", command.args_iter().collect::<Vec<_>>().len());
        }
        outcome
    }

    /// Waits for the end of the job.
    async fn until_ended(&self) {
        let host = &self.host;
        until("the attack has ended", async || {
            count(host, "attack", |c| &c.completed) + count(host, "attack", |c| &c.buried) == 1
        })
        .await;
    }

    /// How the job has ended.
    async fn outcome(&mut self, ends: &Ends) -> String {
        let dead: Vec<Vec<u8>> = self.plain.zrange("{attack}:sandhog:dead", 0, -1).await.unwrap();
        let reason = dead.first().map(|record| {
            let (header, _) = Header::decode(record).unwrap();
            header.note("!reason").unwrap().to_owned()
        });
        match (ends, reason) {
            (Ends::Done, None) => "done, without effect".to_owned(),
            (Ends::Dead(expected), Some(reason)) => {
                assert!(reason.contains(expected), "{reason}");
                format!("dead: {}", shown(&reason))
            }
            (_, found) => panic!("the job ended otherwise: {found:?}"),
        }
    }

    /// The host is the one it was, and runs jobs in the place where the attack was.
    async fn is_unharmed(&mut self, attack: &Attack, ends: &Ends) {
        if attack.is_repeated && !matches!(ends, Ends::Refused(_)) {
            let before = count(&self.host, "attack", |c| &c.completed);
            let _: u64 = self.plain.rpush("attack", "").await.unwrap();
            let host = &self.host;
            until("a job of the same plugin is done", async || {
                count(host, "attack", |c| &c.completed) == before + 1
            })
            .await;
        }
        let _: u64 = self.plain.rpush("good", "a good job").await.unwrap();
        let host = &self.host;
        until("a good job is done", async || count(host, "good", |c| &c.completed) == 1).await;
        let receipts: Vec<String> = self.plain.lrange("receipts", 0, -1).await.unwrap();
        assert_eq!(receipts, ["a good job"]);
        let hosts: Vec<String> = self.plain.zrange("sandhog:hosts", 0, -1).await.unwrap();
        assert_eq!(hosts, self.hosts, "the lease was lost, and the host goes on under another id");
        let states: BTreeMap<String, String> =
            self.host.plugins().into_iter().map(|plugin| (plugin.name, plugin.version)).collect();
        assert!(!states["good"].is_empty());
    }

    async fn end(self) {
        stop(self.host).await;
        drop(self.redis);
    }

    async fn bytes_sent(&mut self) -> u64 {
        let info: String = redis::cmd("INFO").arg("stats").query_async(&mut self.plain).await.unwrap();
        let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
        line.trim().parse().unwrap()
    }
}
