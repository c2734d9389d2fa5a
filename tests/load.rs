//! What loading refuses, in the exact words an operator reads. When hosts load is in `watch`, where
//! a fleet loads from in `depot`, `orders` and `fetch`.

mod depot;
mod fetch;
mod orders;
mod watch;

use std::sync::Arc;
use std::time::Instant;

use sandhog::sandbox::{Kind, Limits, LoadError, Outcome, Terms};

use crate::support::guest::{component, load, reader, run, sandbox, terms, worker, worker_text};

fn refusal(bytes: &[u8]) -> LoadError {
    refusal_as(terms(), bytes)
}

fn refusal_as(terms: Terms, bytes: &[u8]) -> LoadError {
    sandbox().load(terms, bytes).expect_err("must be refused")
}

fn as_reader() -> Terms {
    Terms { kind: Kind::ConfigReader, ..terms() }
}

#[test]
fn a_worker_and_a_reader_load_and_know_themselves() {
    let bytes = worker("", "", "i32.const 0");
    let version = sandbox().load(terms(), &bytes).unwrap();
    assert_eq!((version.plugin(), version.kind()), ("test", Kind::Worker));
    assert_eq!(version.digest().len(), 64);
    assert!(version.digest().starts_with(version.short_digest()) && version.short_digest().len() == 12);
    let again = sandbox().load(terms(), &bytes).unwrap();
    assert_eq!(version.digest(), again.digest());
    let version = sandbox().load(as_reader(), &reader("", "", "i32.const 0")).unwrap();
    assert_eq!(version.kind(), Kind::ConfigReader);
}

#[tokio::test]
async fn loading_works_within_a_runtime_too() {
    let bytes = worker("", "", "i32.const 0");
    assert!(sandbox().load(terms(), &bytes).is_ok());
}

#[test]
fn what_is_no_component_is_called_by_its_name() {
    let module = wat::parse_str("(module)").unwrap();
    for (bytes, expected) in [
        (&b""[..], "is empty"),
        (b"(component)", "is a text file, not a WebAssembly component"),
        (b"(module (func))\n", "is a text file, not a WebAssembly component"),
        ("(; ключ ;)".as_bytes(), "is a text file, not a WebAssembly component"),
        (b"\x7fELF\x02\x01\x01\0", "is not a WebAssembly component"),
        (b"\0asm", "is a component or module in a format this host does not know"),
        (b"\0asm\x0e\0\x01\0", "is a component or module in a format this host does not know"),
        (&module, "is a core module, not a component"),
    ] {
        assert_eq!(refusal(bytes).to_string(), expected);
    }
    assert_eq!(
        refusal(&module).hint,
        Some("make a component of it: `sandhog componentize CORE.wasm -o COMPONENT.wasm`")
    );
    let large = vec![0; (64 << 20) + 1];
    assert_eq!(refusal(&large).to_string(), "has 67108865 bytes; at most 67108864 are allowed");
}

#[test]
fn a_damaged_component_is_refused() {
    let whole = worker("", "", "i32.const 0");
    for length in [8, 9, 20, whole.len() / 2, whole.len() - 1] {
        let text = refusal(&whole[..length]).to_string();
        assert!(text.starts_with("cannot be compiled: ") || text.starts_with("exports none of"), "{text}");
    }
    for place in (8..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0x55;
        // Whatever it is now, it is refused or loads; the host goes on.
        let _ = sandbox().load(terms(), &damaged);
    }
}

const EMPTY: &str = "(component)";

#[test]
fn exports_must_be_those_of_one_kind() {
    let exporting = |names: &[&str]| {
        let exports: String = names.iter().map(|n| format!(r#"(export "{n}" (instance $i))"#)).collect();
        wat::parse_str(format!("(component (instance $i) {exports})")).unwrap()
    };
    let (handler, source) = ("sandhog:worker/handler@0.1.0", "sandhog:worker/config-source@0.1.0");
    let batch = "sandhog:worker/batch-handler@0.1.0";
    for (terms, bytes, expected) in [
        (
            terms(),
            wat::parse_str(EMPTY).unwrap(),
            format!("exports none of `{handler}`, `{batch}` and `{source}`"),
        ),
        (
            terms(),
            exporting(&[handler, source]),
            format!(
                "exports both `{handler}` and `{source}`; a plugin is a worker, a batch worker or a config reader"
            ),
        ),
        (
            terms(),
            exporting(&[batch]),
            format!(
                "is a batch worker (it exports `{batch}`), but the manifest has no `batch` in its `[[consume]]` tables"
            ),
        ),
        (
            Terms { kind: Kind::BatchWorker, ..terms() },
            worker("", "", "i32.const 0"),
            format!(
                "is a worker (it exports `{handler}`), but the manifest has `batch` in its `[[consume]]` tables"
            ),
        ),
        (
            terms(),
            exporting(&["sandhog:worker/handler@0.2.0"]),
            "exports `sandhog:worker/handler@0.2.0`, but this host calls version 0.1.0".into(),
        ),
        (
            as_reader(),
            worker("", "", "i32.const 0"),
            format!("is a worker (it exports `{handler}`), but the manifest says `kind = \"config-reader\"`"),
        ),
        (
            terms(),
            reader("", "", "i32.const 0"),
            format!("is a config reader (it exports `{source}`), but the manifest says `kind = \"worker\"`"),
        ),
    ] {
        assert_eq!(refusal_as(terms, &bytes).to_string(), expected);
    }
}

#[test]
fn everything_that_is_not_offered_is_listed_at_once() {
    let bytes = wat::parse_str(
        r#"(component
            (import "wasi:http/outgoing-handler@0.2.0" (instance (export "f" (func))))
            (import "wasi:config/store@0.2.0-draft" (instance (export "f" (func))))
            (import "sandhog:worker/kv@0.2.0" (instance (export "f" (func))))
            (import "sandhog:worker/queue@0.1.0" (instance (export "f" (func))))
            (import "wasi:clocks/wall-clock@0.3.0" (instance (export "f" (func))))
            (import "wasi:cli/stdout@0.2.6" (instance (export "f" (func))))
            (import "run" (func)))"#,
    )
    .unwrap();
    let shared = [
        "imports `wasi:http/outgoing-handler@0.2.0`, which is not offered",
        "imports `wasi:config/store@0.2.0-draft`, but this host offers `wasi:config/store@0.2.0-rc.1`",
        "imports `sandhog:worker/kv@0.2.0`, but this host offers `sandhog:worker/kv@0.1.0`",
    ];
    let rest = [
        "imports `wasi:clocks/wall-clock@0.3.0`, but this host offers version 0.2 of it",
        "imports `run`, which is not offered",
    ];
    let neither = "exports none of `sandhog:worker/handler@0.1.0`, `sandhog:worker/batch-handler@0.1.0` and \
                   `sandhog:worker/config-source@0.1.0`"
        .to_owned();
    let all = |queue: &[&str]| -> Vec<String> {
        let texts = shared.iter().chain(queue).chain(&rest).map(|text| (*text).to_owned());
        std::iter::once(neither.clone()).chain(texts).collect()
    };
    assert_eq!(refusal(&bytes).problems, all(&[]));
    let no_queue = "imports `sandhog:worker/queue@0.1.0`, which config readers are not offered";
    assert_eq!(refusal_as(as_reader(), &bytes).problems, all(&[no_queue]));
}

#[tokio::test]
async fn an_import_of_types_only_is_accepted() {
    let quote = r#"(func (export "sandhog:test/prices#quote") (result i64) i64.const 5)"#;
    let bytes = component("typed-worker", &worker_text("", quote, "i32.const 0"));
    assert!(bytes.windows(18).any(|some| some == b"sandhog:test/money"), "the import is there");
    assert_eq!(run(&load(&bytes)).await.outcome, Outcome::Done);
    // A resource is more than a type: the host would have to implement it.
    let resource =
        r#"(component (import "shop:goods/cart" (instance (export "cart" (type (sub resource))))))"#;
    let refused = refusal(&wat::parse_str(resource).unwrap());
    assert_eq!(refused.problems[1], "imports `shop:goods/cart`, which is not offered");
}

#[test]
fn every_interface_of_wasi_that_is_promised_is_linked() {
    let interfaces = [
        "cli/environment",
        "cli/exit",
        "cli/stderr",
        "cli/stdin",
        "cli/stdout",
        "cli/terminal-input",
        "cli/terminal-output",
        "cli/terminal-stderr",
        "cli/terminal-stdin",
        "cli/terminal-stdout",
        "clocks/monotonic-clock",
        "clocks/wall-clock",
        "filesystem/preopens",
        "filesystem/types",
        "io/error",
        "io/poll",
        "io/streams",
        "random/insecure",
        "random/insecure-seed",
        "random/random",
        "sockets/instance-network",
        "sockets/ip-name-lookup",
        "sockets/network",
        "sockets/tcp",
        "sockets/tcp-create-socket",
        "sockets/udp",
        "sockets/udp-create-socket",
    ];
    for version in ["0.2.0", "0.2.6"] {
        let import = |i| format!(r#"(import "wasi:{i}@{version}" (instance (export "f" (func))))"#);
        let imports: String = interfaces.iter().map(import).collect();
        let bytes = wat::parse_str(format!("(component {imports})")).unwrap();
        let problems = refusal(&bytes).problems;
        assert_eq!(problems.len(), 1, "only the missing export is a problem: {problems:?}");
    }
}

#[test]
fn another_text_of_the_contract_is_refused() {
    let bytes = wat::parse_str(
        r#"(component
            (import "sandhog:worker/kv@0.1.0" (instance (export "get" (func (param "key" u32)))))
            (instance $i) (export "sandhog:worker/handler@0.1.0" (instance $i)))"#,
    )
    .unwrap();
    let text = refusal(&bytes).to_string();
    assert!(text.starts_with("was made for another text of the contract: "), "{text}");
    let bytes =
        wat::parse_str(r#"(component (instance $i) (export "sandhog:worker/handler@0.1.0" (instance $i)))"#)
            .unwrap();
    let text = refusal(&bytes).to_string();
    assert!(text.starts_with("was made for another text of the contract: "), "{text}");
}

#[test]
fn a_trap_at_the_start_is_found_before_the_first_job() {
    let bytes = worker("", "(func $s unreachable) (start $s)", "i32.const 0");
    assert_eq!(refusal(&bytes).to_string(), "cannot start: trapped: wasm `unreachable` instruction executed");
}

#[test]
fn a_loop_at_the_start_is_cut_by_time() {
    let started = Instant::now();
    let bytes = worker("", "(func $s (loop $l (br $l))) (start $s)", "i32.const 0");
    assert_eq!(refusal(&bytes).to_string(), "does not start within 5 s");
    assert!(started.elapsed().as_secs() < 30);
}

#[test]
fn a_start_that_calls_the_host_reaches_nothing() {
    // Traps unless the call is answered with `unavailable`.
    let bytes = worker(
        r#"(import "sandhog:worker/kv@0.1.0" "exists" (func $exists (param i32 i32 i32)))"#,
        r#"(func (export "_initialize") (call $exists (i32.const 1000) (i32.const 1) (i32.const 2000))
            (if (i32.ne (i32.load8_u (i32.const 2004)) (i32.const 3)) (then unreachable)))"#,
        "i32.const 0",
    );
    let grants = crate::support::guest::all_grants();
    sandbox().load(Terms { grants, ..terms() }, &bytes).unwrap();
}

#[test]
fn memory_that_cannot_be_is_found_before_the_first_job() {
    let sized = |pages: u32| {
        let text = worker_text("", "", "i32.const 0").replace("(memory (export \"memory\") 4)", "");
        let text = text.replacen(
            "(module $guest",
            &format!("(module $guest (memory (export \"memory\") {pages})"),
            1,
        );
        component("queue-worker", &text)
    };
    let limits = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    assert!(sandbox().load(Terms { limits, ..terms() }, &sized(16)).is_ok());
    let error = refusal_as(Terms { limits, ..terms() }, &sized(17));
    assert_eq!(error.to_string(), "needs more memory to start than `limits.memory` allows (1048576 bytes)");
    assert_eq!(error.hint, Some("raise `limits.memory` in the manifest"));
    let text = refusal(&sized(60_000)).to_string();
    assert!(text.starts_with("cannot be compiled: "), "{text}");
    let limits = Limits { memory_bytes: 512 << 20, ..Limits::default() };
    assert_eq!(
        refusal_as(Terms { limits, ..terms() }, &sized(16)).to_string(),
        "may use 536870912 bytes of memory by `limits.memory`, but this host's runs have at most 268435456"
    );
}

#[test]
fn bombs_of_instances_and_memories_are_refused() {
    let instances: String = (0..3_000).map(|n| format!("(core instance $i{n} (instantiate $m))")).collect();
    let memories: String = (0..100).map(|n| format!("(core instance $i{n} (instantiate $m))")).collect();
    for (module, items) in [("(core module $m)", instances), ("(core module $m (memory 1))", memories)] {
        let bytes = wat::parse_str(format!("(component {module} {items})")).unwrap();
        let text = refusal(&bytes).to_string();
        assert!(text.starts_with("cannot be compiled: "), "{text}");
    }
}

#[test]
fn versions_of_one_component_are_independent() {
    let bytes = Arc::new(worker("", "", "i32.const 0"));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let bytes = bytes.clone();
            std::thread::spawn(move || sandbox().load(terms(), &bytes).unwrap().digest().to_owned())
        })
        .collect();
    let digests: Vec<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]));
}
