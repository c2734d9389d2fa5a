//! The words for values of the wrong type, and good values of every type.

use super::*;

/// The problems that `read` finds in a text, as `line: text`.
fn found(text: &str, read: impl Fn(Table<'_>)) -> Vec<String> {
    let document = Document::parse("f", text).expect("the text is TOML");
    read(document.root());
    let problems = document.finish().err().unwrap_or_default();
    problems.list.iter().map(|p| format!("{}: {}", p.line.unwrap_or(0), p.text)).collect()
}

#[test]
fn each_type_says_what_was_found_and_what_to_write() {
    let read = |mut table: Table<'_>| {
        table.string("a", "text");
        table.integer("b", 1..=9_u32, 5);
        table.number("c", 0.0..=1.0, 0.5);
        table.size("d", 10..=100, "64B");
        table.strings("e", "x");
        table.choice("f", &[("on", true), ("off", false)]);
        table.table("g").finish();
        assert!(table.tables("h").is_empty());
        table.finish();
    };
    let text = "a = 1979-05-27\nb = [1]\nc = {}\nd = false\ne = [1, \"x\"]\nf = 2.5\ng = \"\"\nh = [1]\n";
    assert_eq!(
        found(text, read),
        [
            "1: `a` must be a string such as \"text\"; found the date 1979-05-27",
            "2: `b` must be a whole number such as 5; found a list",
            "3: `c` must be a number such as 0.5; found a table",
            "4: `d` must be a size such as \"64B\"; found `false`",
            "5: `e` must be a list of strings such as [\"x\"]; found the number 1",
            "6: `f` must be \"on\" or \"off\"; found the number 2.5",
            "7: `g` must be a table: `[g]`; found the string \"\"",
            "8: `h` must be a list of tables: `[[h]]`; found the number 1",
        ]
    );
}

#[test]
fn good_values_come_through() {
    let text = "a = \"x\"\nb = 0xff\nc = 1\nd = \"1KiB\"\ne = [\n\"p\",\n\"q\"]\nf = \"on\"\ng.i = \"1s\"\n[[h]]\n[[h]]\n";
    let problems = found(text, |mut table| {
        assert_eq!(table.string("a", ""), Some("x".to_owned()));
        assert_eq!(table.integer("b", 0..=255_u64, 1), Some(255));
        assert_eq!(table.number("c", 0.0..=1.0, 0.5), Some(1.0));
        assert_eq!(table.size("d", 0..=1024, ""), Some(1024));
        let items = table.strings("e", "").unwrap();
        assert_eq!((items[0].line, items[1].line, items[1].text.as_str()), (6, 7, "q"));
        assert_eq!(table.choice("f", &[("on", 1), ("off", 2)]), Some(1));
        let second = Duration::from_secs(1);
        assert_eq!(table.table("g").duration("i", second..=second, "1s"), Some(second));
        let lines: Vec<usize> = table.tables("h").iter().map(Table::line).collect();
        assert_eq!(lines, [10, 11]);
        table.finish();
    });
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn long_and_odd_values_are_cut_and_escaped() {
    let text = format!("a = \"{}\"\nb = \"x\\ny\"\n", "z".repeat(100));
    let problems = found(&text, |mut table| {
        table.size("a", 0..=1, "1B");
        table.choice("b", &[("on", 1)]);
    });
    assert!(problems[0].contains(&format!("\"{}…\"", "z".repeat(60))), "{}", problems[0]);
    assert_eq!(problems[1], "2: `b` is \"x\\ny\"; it must be \"on\"");
}
