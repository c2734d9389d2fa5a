//! Every call of `kv` and `queue` from a real guest: the wiring between the contract and the host.

use redis::AsyncCommands;
use sandhog::sandbox::{Outcome, Terms};

use crate::support::guest::{all_grants, context, job, sandbox, terms, worker};
use crate::support::redis::TestRedis;

/// One argument as the canonical ABI flattens it.
enum Arg {
    Text(&'static str),
    Texts(&'static [&'static str]),
    /// A list of pairs of texts.
    Pairs(&'static [(&'static str, &'static str)]),
    SomeText(&'static str),
    NoText,
    Int(i32),
    Long(i64),
}

/// A function, its arguments, and what must stand at which place (offset, width, value) of its result.
struct Call(&'static str, &'static str, Vec<Arg>, Vec<(usize, usize, u64)>);

const KV: &str = "sandhog:worker/kv@0.1.0";
const QUEUE: &str = "sandhog:worker/queue@0.1.0";
const RESULT_BYTES: usize = 32;

fn calls() -> Vec<Call> {
    use Arg::{Int, Long, NoText, Pairs, SomeText, Text, Texts};
    vec![
        Call(KV, "set", vec![Text("k"), Text("v")], vec![(0, 1, 0)]),
        Call(KV, "get", vec![Text("k")], vec![(0, 1, 0), (4, 1, 1), (12, 4, 1)]),
        Call(KV, "get", vec![Text("absent")], vec![(0, 1, 0), (4, 1, 0)]),
        Call(KV, "get", vec![Text("sandhog:hosts")], vec![(0, 1, 1), (4, 1, 0), (12, 4, 13)]),
        Call(
            KV,
            "set-with",
            vec![Text("k"), Text("w"), Int(1), Long(60_000), Int(1)],
            vec![(0, 1, 0), (4, 1, 0)],
        ),
        Call(KV, "set-with", vec![Text("k"), Text("w"), Int(0), Long(0), Int(2)], vec![(0, 1, 0), (4, 1, 1)]),
        Call(KV, "set-many", vec![Pairs(&[("p1", "1"), ("p2", "2")])], vec![(0, 1, 0)]),
        Call(KV, "get-many", vec![Texts(&["p1", "absent", "p2"])], vec![(0, 1, 0), (8, 4, 3)]),
        Call(KV, "delete", vec![Text("p1")], vec![(0, 1, 0), (4, 1, 1)]),
        Call(KV, "exists", vec![Text("p1")], vec![(0, 1, 0), (4, 1, 0)]),
        Call(KV, "add", vec![Text("n"), Long(-5)], vec![(0, 1, 0)]),
        Call(KV, "increment", vec![Text("n"), Long(7)], vec![(0, 1, 0), (8, 8, 2)]),
        Call(KV, "increment", vec![Text("k"), Long(7)], vec![(0, 1, 1), (8, 1, 1)]),
        Call(
            KV,
            "compare-and-swap",
            vec![Text("k"), SomeText("w"), SomeText("x")],
            vec![(0, 1, 0), (4, 1, 1)],
        ),
        Call(KV, "compare-and-swap", vec![Text("k"), NoText, SomeText("y")], vec![(0, 1, 0), (4, 1, 0)]),
        Call(KV, "expire", vec![Text("k"), Int(1), Long(60_000)], vec![(0, 1, 0), (4, 1, 1)]),
        Call(KV, "ttl", vec![Text("k")], vec![(0, 1, 0), (8, 1, 1)]),
        Call(KV, "list-keys", vec![Text("p"), NoText], vec![(0, 1, 0), (8, 4, 1), (12, 1, 0)]),
        Call(QUEUE, "push", vec![Text("q"), Text("b")], vec![(0, 1, 0), (8, 8, 1)]),
        Call(
            QUEUE,
            "push-with",
            vec![Text("q"), Text("a"), Int(0), Int(0), Long(0), Int(0), Int(0), Int(0), Long(0)],
            vec![(0, 1, 0), (8, 1, 0), (16, 8, 2)],
        ),
        Call(
            QUEUE,
            "push-with",
            vec![Text("q"), Text("later"), Int(1), Int(1), Long(60_000), SomeText("u"), Long(60_000)],
            vec![(0, 1, 0), (8, 1, 1)],
        ),
        Call(
            QUEUE,
            "push-with",
            vec![Text("q"), Text("later"), Int(1), Int(0), Long(0), SomeText("u"), Long(60_000)],
            vec![(0, 1, 0), (8, 1, 2)],
        ),
        Call(QUEUE, "push-many", vec![Text("q"), Texts(&["c", "d"])], vec![(0, 1, 0), (8, 8, 4)]),
        Call(QUEUE, "length", vec![Text("q")], vec![(0, 1, 0), (8, 8, 4)]),
        Call(QUEUE, "peek", vec![Text("q"), Int(3)], vec![(0, 1, 0), (8, 4, 3)]),
        Call(QUEUE, "pop", vec![Text("q"), Int(1)], vec![(0, 1, 0), (4, 1, 1), (12, 4, 1)]),
        Call(QUEUE, "pop", vec![Text("sandhog:x"), Int(1)], vec![(0, 1, 1), (4, 1, 0)]),
    ]
}

/// Texts and lists a guest passes, laid out in its memory.
struct Layout {
    at: usize,
    items: String,
}

impl Layout {
    fn text(&mut self, text: &str) -> (usize, usize) {
        let at = self.place(text.as_bytes());
        (at, text.len())
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        let at = self.at;
        let escaped: String = bytes.iter().map(|b| format!("\\{b:02x}")).collect();
        self.items.push_str(&format!("(data (i32.const {at}) \"{escaped}\")\n"));
        self.at = (at + bytes.len()).next_multiple_of(8);
        at
    }

    fn texts(&mut self, texts: impl Iterator<Item = &'static str>) -> usize {
        let words: Vec<u8> = texts
            .map(|text| self.text(text))
            .flat_map(|(at, length)| [at as u32, length as u32])
            .flat_map(u32::to_le_bytes)
            .collect();
        self.place(&words)
    }

    fn push(&mut self, arg: &Arg) -> Vec<String> {
        let int = |n: usize| format!("(i32.const {n})");
        match arg {
            Arg::Text(text) => {
                let (at, length) = self.text(text);
                vec![int(at), int(length)]
            }
            Arg::Texts(texts) => vec![int(self.texts(texts.iter().copied())), int(texts.len())],
            Arg::Pairs(pairs) => {
                vec![int(self.texts(pairs.iter().flat_map(|(a, b)| [*a, *b]))), int(pairs.len())]
            }
            Arg::SomeText(text) => {
                let (at, length) = self.text(text);
                vec![int(1), int(at), int(length)]
            }
            Arg::NoText => vec![int(0), int(0), int(0)],
            Arg::Int(n) => vec![format!("(i32.const {n})")],
            Arg::Long(n) => vec![format!("(i64.const {n})")],
        }
    }
}

/// A worker that makes all calls and pushes the bytes of each result to the queue `out`.
fn caller(calls: &[Call]) -> Vec<u8> {
    let mut layout = Layout { at: 4096, items: String::new() };
    let (mut imports, mut body) = (String::new(), String::new());
    let (out, out_length) = layout.text("out");
    for Call(interface, name, args, _) in calls {
        let args: Vec<String> = args.iter().flat_map(|arg| layout.push(arg)).collect();
        let types: String =
            args.iter().map(|arg| if arg.contains("i64") { " i64" } else { " i32" }).collect();
        let import = format!("(import \"{interface}\" \"{name}\" (func ${name} (param{types} i32)))\n");
        if !imports.contains(&import) {
            imports.push_str(&import);
        }
        body.push_str(&format!(
            "(memory.fill (i32.const 1024) (i32.const 0) (i32.const {RESULT_BYTES}))
            (call ${name} {} (i32.const 1024))
            (call $push (i32.const {out}) (i32.const {out_length}) (i32.const 1024) (i32.const {RESULT_BYTES})
                (i32.const 2048))\n",
            args.join(" ")
        ));
    }
    worker(&imports, &layout.items, &format!("{body} i32.const 0"))
}

#[tokio::test]
async fn every_call_reaches_its_function_and_its_answer_the_guest() {
    let redis = TestRedis::start();
    let calls = calls();
    let version = sandbox().load(Terms { grants: all_grants(), ..terms() }, &caller(&calls)).unwrap();
    let report = version.run_job(job(b""), &context(redis.link())).await;
    assert_eq!(report.outcome, Outcome::Done);
    assert_eq!((report.usage.calls, report.usage.denied), (2 * calls.len() as u64, 2));
    let results: Vec<Vec<u8>> = redis.plain().await.lrange("out", 0, -1).await.unwrap();
    assert_eq!(results.len(), calls.len());
    for (Call(_, name, _, expected), result) in calls.iter().zip(results) {
        for (offset, width, value) in expected {
            let mut word = [0; 8];
            word[..*width].copy_from_slice(&result[*offset..offset + width]);
            assert_eq!(u64::from_le_bytes(word), *value, "{name} at {offset}: {result:?}");
        }
    }
}
