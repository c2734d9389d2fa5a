//! How the claim reads the key of a payload: what all parsers agree on, what lenient ones accept, and how many steps.

use proptest::prelude::*;
use redis::aio::MultiplexedConnection;

use crate::support::redis::TestRedis;

const PARTS: &str = concat!(
    include_str!("../../host/job/script/part/utf8.lua"),
    include_str!("../../host/job/script/part/pointer.lua")
);
const READ: &str = "
local found = value_at(ARGV[1], 1, pointer(ARGV[2]))
if found == UNREADABLE then return {'unreadable', '', math.ceil(read_steps())} end
return {found and 'found' or 'none', found or '', math.ceil(read_steps())}";

/// The value at a pointer, and the number of steps.
async fn read(
    plain: &mut MultiplexedConnection,
    payload: &[u8],
    pointer: &str,
) -> (Option<Option<Vec<u8>>>, u64) {
    let script = redis::Script::new(&format!("{PARTS}{READ}"));
    let (what, found, steps): (String, Vec<u8>, u64) =
        script.arg(payload).arg(pointer).invoke_async(plain).await.unwrap();
    let found = match &*what {
        "unreadable" => None,
        "none" => Some(None),
        _ => Some(Some(found)),
    };
    (found, steps)
}

fn is(text: &str) -> Option<Option<Vec<u8>>> {
    Some(Some(text.as_bytes().to_vec()))
}

#[tokio::test]
async fn the_scan_accepts_what_lenient_parsers_accept() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let deep = format!(r#"{{"x":{}{},"t":"a"}}"#, "[".repeat(4000), "]".repeat(4000));
    let long = format!(r#"{{"x":"{}","t":"a"}}"#, "x\\\"".repeat(3000));
    for (payload, expected) in [
        ("\u{feff} {\"t\":\"a\"}", is("a")),
        (&deep, is("a")),
        (&long, is("a")),
        (r#"{"x":"\ud800","t":"a"}"#, is("a")),
        (r#"{"t":"a"} and more"#, is("a")),
        (r#"{"t":"a"}{"t":"b"}"#, is("a")),
        (r#"{"\u0074":"\u0061"}"#, is("a")),
        (r#"{"t":"a\ud83d\ude00\n\/"}"#, is("a\u{1f600}\n/")),
        (r#"{"t":"\ud800"}"#, is("\u{fffd}")),
        (r#"{"t":"\udc00\ud800"}"#, is("\u{fffd}\u{fffd}")),
        (r#"{"t":"b","t":"a"}"#, is("a")),
        (r#"{"t":"b","\u0074":"a"}"#, is("a")),
        (r#"{"t":"b","t":null}"#, Some(None)),
        (r#"{"t":"b","t":{}}"#, Some(None)),
        (r#"{"t":9007199254740993}"#, is("9007199254740993")),
        (r#"{"t":9007199254740992}"#, is("9007199254740992")),
        (r#"{"t":-1.5e+300}"#, is("-1.5e+300")),
        (r#"{"t":false}"#, is("false")),
        (r#"{"x":NaN,"t":"a"}"#, is("a")),
        (r#"{"x":"]}","y":"\\","t":"a"}"#, is("a")),
        ("{}", Some(None)),
        ("[1,2]", Some(None)),
        ("17", Some(None)),
        ("\"text\"", Some(None)),
        (r#"{"T":"a"}"#, Some(None)),
    ] {
        assert_eq!(read(&mut plain, payload.as_bytes(), "/t").await.0, expected, "{payload:.60}");
    }
}

#[tokio::test]
async fn ambiguous_texts_are_unreadable() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for payload in [
        "",
        " ",
        "no JSON",
        "{",
        r#"{"t":"a""#,
        r#"{"t":"a"#,
        r#"{"t":"a\"#,
        r#"{"t":}"#,
        r#"{"t" "a"}"#,
        r#"{"t":"a",}"#,
        r#"{t:"a"}"#,
        r#"{'t':"a"}"#,
        r#"{"t":"\x"}"#,
        r#"{"t":"\u00"}"#,
        r#"{"t":a}"#,
        r#"{"t":"a","x":[/*],"t":"b","y":[*/1]}"#,
        "{\"t\":\"a\",\"x\":[#],\"t\":\"b\",\"y\":[\n1]}",
        r#"{"t":"a","x":[']','t']}"#,
    ] {
        assert_eq!(read(&mut plain, payload.as_bytes(), "/t").await.0, None, "{payload}");
    }
    let long = format!(r#"{{"t":"{}"}}"#, "a".repeat(5000));
    assert_eq!(read(&mut plain, long.as_bytes(), "/t").await.0, None, "a key of 5,000 bytes");
}

#[tokio::test]
async fn no_payload_takes_more_than_its_steps() {
    const MIB: usize = 1 << 20;
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let around = |rows: String| format!(r#"{{"t":"a","rows":[{rows}]}}"#);
    let text = format!(r#"{{"t":"a","x":"{}"}}"#, "x".repeat(MIB));
    assert_eq!(
        read(&mut plain, text.as_bytes(), "/t").await,
        (is("a"), 8),
        "a string costs the same, however long"
    );
    let (found, steps) = read(&mut plain, around(vec![r#"{"a":1}"#; 3000].join(",")).as_bytes(), "/t").await;
    assert!(found == is("a") && (9_000..16_384).contains(&steps), "{steps}");
    for payload in [
        around(vec![r#"{"a":1}"#; MIB / 8].join(",")),
        around(vec!["[1,2]"; MIB / 6].join(",")),
        around("[".repeat(MIB)),
        around(" ".repeat(MIB)),
        around("\"\",".repeat(MIB / 3)),
        around("1,".repeat(MIB / 2)),
        format!(r#"{{"t":"{}"#, "\\\"".repeat(MIB / 2)),
        format!(r#"{{"t":"{}"#, "\\\\".repeat(MIB / 2)),
        format!("{{{}", r#""t":"\u0061","#.repeat(MIB / 13)),
        " ".repeat(MIB),
    ] {
        let (found, steps) = read(&mut plain, payload.as_bytes(), "/t").await;
        assert!(found.is_none() && steps < 17_000, "{payload:.40}: {found:?} in {steps} steps");
    }
}

/// A JSON text with few different names, so that pointers often match.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|truth| truth.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        "[ab\\[\\]{}:,/#'\"\\\\\u{e9}\u{1f600}\n]{0,6}"
            .prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 64, 5, |inner| {
        let blank = || proptest::sample::select(vec!["", "", " ", "\n\t"]);
        let name = proptest::sample::select(vec![
            "\"a\"",
            "\"b\"",
            "\"\\u0061\"",
            "\"\"",
            "\"0\"",
            "\"b\\\"\"",
            "\"~/\"",
        ]);
        let list = proptest::collection::vec((blank(), inner.clone(), blank()), 0..4);
        let list = list.prop_map(|items| {
            let items: Vec<String> =
                items.iter().map(|(before, item, after)| format!("{before}{item}{after}")).collect();
            format!("[{}]", items.join(","))
        });
        let members = proptest::collection::vec((blank(), name, blank(), inner), 0..6);
        let object = members.prop_map(|members| {
            let member = |(before, name, after, value): &(&str, &str, &str, String)| {
                format!("{before}{name}{after}:{value}")
            };
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        });
        prop_oneof![list, object]
    })
}

#[test]
fn any_json_is_read_as_another_parser_reads_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let redis = TestRedis::start();
    let plain = tokio::sync::Mutex::new(runtime.block_on(redis.plain()));
    let words = proptest::collection::vec(
        proptest::sample::select(vec!["a", "b", "0", "1", "", "b\"", "~0~1"]),
        1..4,
    );
    let config = ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(text in json(), words in words)| {
        let pointer: String = words.iter().map(|word| format!("/{word}")).collect();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let expected = match value.pointer(&pointer) {
            Some(serde_json::Value::String(text)) => is(text),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => is(&value.to_string()),
            _ => Some(None),
        };
        let (found, _) = runtime.block_on(async { read(&mut *plain.lock().await, text.as_bytes(), &pointer).await });
        prop_assert_eq!(found, expected, "{} in {}", pointer, text);
    });
}
