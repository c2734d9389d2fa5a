//! `sandhog bench`: what it measures is measured, and nothing of it stays. How fast it is, no test asks.

use redis::Commands as _;
use serde_json::json;

use crate::support::example;
use crate::support::guest;
use crate::support::program::Program;
use crate::support::redis::TestRedis;

#[test]
fn bench_measures_a_real_host() {
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let noop = program.json(&["bench", "--jobs", "2000", "--component", &component]);
    assert!(noop["jobs_per_s"].as_f64().unwrap() > 100.0, "{noop}");
    assert!(noop["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{noop}");
    assert!(noop["commands_per_job"].as_f64().unwrap() < 4.0, "{noop}");
    let latency =
        program.json(&["bench", "--workload", "idle-latency", "--jobs", "20", "--component", &component]);
    assert!(latency["latency_ms"]["p50"].as_f64().unwrap() < 250.0, "{latency}");
    let idle = program.json(&[
        "bench",
        "--workload",
        "idle",
        "--queues",
        "20",
        "--plugins",
        "5",
        "--time",
        "1s",
        "--component",
        &component,
    ]);
    assert!(idle["commands_per_queue_per_s"].as_f64().unwrap() < 2.0, "{idle}");
    assert_eq!((&idle["queues"], &idle["plugins"]), (&json!(20), &json!(5)));
    assert!(idle["memory_kib"].as_u64() > idle["memory_kib_before_start"].as_u64(), "{idle}");
    assert!(idle["host_cpu_percent"].as_f64().unwrap() < 200.0, "{idle}");
}

#[test]
fn bench_boots_a_host_of_its_own_with_what_was_compiled_before() {
    let redis = TestRedis::start();
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let boot = ["bench", "--workload", "boot", "--component", &component];
    let told =
        program.json(&[&boot[..], &["--jobs", "3", "--plugins", "2", "--redis", &redis.url()]].concat());
    assert_eq!((&told["plugins"], &told["starts"]), (&json!(2), &json!(3)));
    let ms = |field: &str| told[field]["p50"].as_f64().unwrap();
    assert!(ms("claimed_ms") > 0.0 && ms("claimed_ms") <= ms("completed_ms"), "{told}");
    assert!(told["cold_claimed_ms"].as_f64().unwrap() > 0.0, "{told}");
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let left: Vec<String> = connection.keys("*").unwrap();
    assert_eq!(left, Vec::<String>::new());
    program.file("noop.wasm", "no component");
    let refused = program.transcript(&boot);
    assert!(refused.contains("the host did not complete the job") && refused.contains("noop"), "{refused}");
}

#[test]
fn bench_tells_what_a_component_costs() {
    let program = Program::alone();
    let manifest = "kind = \"worker\"\n[[consume]]\nqueue = \"q\"\n";
    program.file("noop.toml", manifest);
    let noop = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    program.file("picky.toml", manifest);
    let text = "(if (i32.ne (local.get $length) (i32.const 3)) (then unreachable)) (i32.const 0)";
    let picky = program.file("picky.wasm", guest::worker("", "", text)).display().to_string();
    let start = ["bench", "--workload", "start", "--jobs", "50", "--component", &noop, "--component", &picky];
    let told = program.json(&[&start[..], &["--job", "abc"]].concat());
    assert_eq!(
        (&told["components"][0]["component"], &told["components"][1]["component"]),
        (&json!("noop"), &json!("picky"))
    );
    for component in told["components"].as_array().unwrap() {
        assert_eq!(component["memory_bytes"], 4 * 65_536);
        for field in ["compile_ms", "load_ms", "first_run_ms"] {
            assert!(component[field].as_f64().unwrap() > 0.0, "{field}: {told}");
        }
        assert!(
            component["kept_run_ms"]["p50"].as_f64() <= component["fresh_run_ms"]["max"].as_f64(),
            "{told}"
        );
    }
    let said = program.transcript(&start);
    assert!(
        said.contains("`picky` does not complete the job: trapped") && said.contains("--job PAYLOAD"),
        "{said}"
    );
}

#[test]
fn bench_measures_jobs_that_a_component_completes() {
    let program = Program::alone();
    let text = "(if (i32.ne (local.get $length) (i32.const 3)) (then unreachable)) (i32.const 0)";
    let picky = program.file("picky.wasm", guest::worker("", "", text)).display().to_string();
    let bench = ["bench", "--jobs", "300", "--component", &picky];
    let told = program.json(&[&bench[..], &["--job", "abc"]].concat());
    assert_eq!((&told["jobs"], &told["payload_bytes"]), (&json!(300), &json!(3)));
    let output = program.output(&bench);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("0 of 300 runs completed their job") && error.contains("--job BYTES"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn bench_of_a_ledger_is_about_books_that_are_right() {
    let program = Program::alone();
    let ledger = example::path("ledger").display().to_string();
    for effects in ["atomic", "immediate"] {
        let bench = ["bench", "--workload", "ledger", "--jobs", "1500", "--effects", effects, "--component"];
        let told = program.json(&[&bench[..], &[&ledger]].concat());
        assert_eq!((&told["workload"], &told["effects"]), (&json!("ledger"), &json!(effects)));
        assert_eq!(told["balance"], 3 * 1500 * 1499 / 2);
    }
    let noop = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let idle = program.output(&["bench", "--workload", "ledger", "--jobs", "10", "--component", &noop]);
    let said = String::from_utf8_lossy(&idle.stderr).into_owned();
    assert!(said.contains("the books are wrong: 10 jobs were worth 135, but 0 was booked"), "{said}");
    assert_eq!(idle.status.code(), Some(1));
}

#[test]
fn bench_cleans_up_on_a_redis_that_is_not_its_own() {
    let redis = TestRedis::start();
    let program = Program::alone();
    let noop = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let ledger = example::path("ledger").display().to_string();
    for (workload, component) in [("noop", &noop), ("ledger", &ledger)] {
        let bench = ["bench", "--jobs", "500", "--workload", workload, "--component", component];
        program.json(&[&bench[..], &["--redis", &redis.url()]].concat());
        let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
        let left: Vec<String> = connection.keys("*").unwrap();
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn bench_repeats_a_workload_and_tells_the_median() {
    let program = Program::alone();
    let component = |name: &str| example::path(name).display().to_string();
    for (workload, payload, queues) in [("cpu", 100, 1), ("echo-1m", 1 << 20, 1), ("mixed", 100, 100)] {
        let component = component(match workload {
            "cpu" => "cpu",
            "echo-1m" => "echo",
            _ => "noop",
        });
        let bench =
            ["bench", "--workload", workload, "--jobs", "150", "--runs", "3", "--component", &component];
        let told = program.json(&bench);
        assert_eq!(
            (&told["workload"], &told["jobs"], &told["payload_bytes"], &told["queues"], &told["runs"]),
            (&json!(workload), &json!(150), &json!(payload), &json!(queues), &json!(3))
        );
        let rate = |value: &serde_json::Value| value.as_f64().unwrap();
        let spread = &told["jobs_per_s_spread"];
        assert!(
            rate(&spread[0]) <= rate(&told["jobs_per_s"]) && rate(&told["jobs_per_s"]) <= rate(&spread[1]),
            "{told}"
        );
        assert!(rate(&told["host_cpu_us_per_job"]) > 0.0 && rate(&told["memory_kib"]) > 1000.0, "{told}");
    }
}

#[test]
fn bench_of_growth_holds_each_depth() {
    let redis = TestRedis::start();
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let growth = ["bench", "--workload", "growth", "--jobs", "20000", "--time", "300ms"];
    let told = program.json(&[&growth[..], &["--component", &component, "--redis", &redis.url()]].concat());
    let rows = told["rows"].as_array().unwrap();
    let sizes: Vec<_> = rows.iter().map(|row| [&row["waiting"], &row["dead"], &row["delayed"]]).collect();
    let [none, some] = [json!(0), json!(20_000)];
    assert_eq!(
        sizes,
        [[&json!(1000), &none, &none], [&json!(1000), &some, &none], [&json!(1000), &none, &some]]
    );
    for row in rows {
        let of = |name: &str| row[name].as_f64().unwrap();
        assert!(of("jobs_per_s") > 0.0 && of("redis_cpu_us_per_job") > 0.0, "{told}");
        assert!(of("dead_at_the_end") == of("dead") && of("delayed_at_the_end") == of("delayed"), "{told}");
    }
    assert_eq!((&rows[0]["of_first"], &rows[0]["redis_cpu_of_first"]), (&json!(1.0), &json!(1.0)));
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let left: Vec<String> = connection.keys("*").unwrap();
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn bench_of_a_long_time_tells_each_tenth() {
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let told = program.json(&["bench", "--workload", "soak", "--time", "2s", "--component", &component]);
    let parts = told["parts"].as_array().unwrap();
    assert_eq!((parts.len(), &told["memory_kib"]["last"]), (10, &parts[9]["memory_kib"]));
    assert!(parts.iter().all(|part| part["memory_kib"].as_u64().unwrap() > 0), "{told}");
    assert!(told["jobs"].as_u64().unwrap() > 0, "{told}");
}

#[test]
fn bench_of_rates_counts_the_jobs_that_were_due_and_draws_them() {
    let program = Program::alone();
    let component = program.file("noop.wasm", guest::worker("", "", "(i32.const 0)")).display().to_string();
    let picture = program.folder().join("load.svg");
    let load = ["bench", "--workload", "load", "--jobs", "1000", "--component", &component, "--plot"];
    let told = program.json(&[&load[..], &[picture.to_str().unwrap(), "--time", "500ms"]].concat());
    let rates = told["rates"].as_array().unwrap();
    let parts: Vec<_> = rates.iter().map(|rate| rate["part"].as_f64().unwrap()).collect();
    assert_eq!(parts, [0.1, 0.25, 0.5, 0.75, 0.9]);
    for rate in rates {
        let of = |name: &str| rate[name].as_f64().unwrap();
        assert!((of("jobs") - of("offered_per_s") / 2.0).abs() <= 2.0, "{told}");
        assert!((of("offered_per_s") - of("part") * told["most_jobs_per_s"].as_f64().unwrap()).abs() <= 1.0);
        assert!(of("reached_per_s") > 0.0 && of("host_cpu_us_per_job") > 0.0, "{told}");
        assert!(rate["latency_ms"]["p50"].as_f64().unwrap() > 0.0, "{told}");
    }
    let svg = std::fs::read_to_string(picture).unwrap();
    for text in
        ["<svg ", "noop: atomic effects", "offered, jobs/s", "reached, jobs/s", "start, ms", "p50", "p99"]
    {
        assert!(svg.contains(text), "{text}");
    }
    let nowhere = program.output(&[&load[..], &["no/such/folder/load.svg"]].concat());
    let error = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(nowhere.status.code() == Some(2) && error.contains("cannot write `no/such/folder"), "{error}");
}

#[test]
fn a_baseline_runs_no_guest() {
    let program = Program::alone();
    // Whoever runs it fails every job.
    let broken = program.file("broken.wasm", guest::worker("", "", "unreachable")).display().to_string();
    let told = program.json(&["bench", "--jobs", "500", "--baseline", "native", "--component", &broken]);
    assert_eq!((&told["baseline"], &told["jobs"]), (&json!("native"), &json!(500)));
    let redis = TestRedis::start();
    let scripts = ["bench", "--jobs", "3000", "--baseline", "scripts", "--component", &broken];
    let told = program.json(&[&scripts[..], &["--redis", &redis.url()]].concat());
    assert_eq!((&told["baseline"], &told["jobs"]), (&json!("scripts"), &json!(3000)));
    // Turns of 512 jobs at a time, one of each of four hosts that finds nothing, and their registrations.
    let calls = told["script_calls_per_job"].as_f64().unwrap() * 3000.0;
    assert!((6.0..40.0).contains(&calls), "{told}");
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let left: Vec<String> = connection.keys("*").unwrap();
    assert_eq!(left, Vec::<String>::new());
    for (wrong, said) in [
        (["--workload", "idle", "--runs", "2"], "`idle` knows no `--runs`"),
        (["--workload", "noop", "--plot", "a.svg"], "`noop` draws no picture"),
        (["--workload", "noop", "--plugins", "2"], "`noop` knows no `--plugins`"),
        (["--workload", "ledger", "--job", "abc"], "`ledger` knows no `--job`"),
        (["--workload", "cpu", "--baseline", "scripts"], "`cpu` has no baseline `scripts`"),
        (["--workload", "swap", "--reuse", "2"], "`swap` knows no `--reuse`"),
        (["--workload", "ledger", "--baseline", "native"], "`ledger` has no baseline"),
    ] {
        let output = program.output(&[&["bench", "--component", &broken], &wrong[..]].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && error.contains(said), "{wrong:?}: {error}");
    }
}
