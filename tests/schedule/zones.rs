//! Zone files of machines: some lack zones that the program has.

use std::fs;

use crate::support::program::Program;
use crate::support::redis::TestRedis;

/// A zone file (RFC 9636) with one offset, named `UTC`.
fn zone_file(rule: &str) -> Vec<u8> {
    let mut part = b"TZif2".to_vec();
    part.extend([0; 15]);
    // No leap seconds and no transitions; one type of local time with a name of four bytes.
    part.extend([0_u32, 0, 0, 0, 1, 4].iter().flat_map(|count| count.to_be_bytes()));
    part.extend([0, 0, 0, 0, 0, 0]);
    part.extend(b"UTC\0");
    let mut file = part.repeat(2);
    file.extend(format!("\n{rule}\n").bytes());
    file
}

#[test]
fn a_zone_missing_on_the_machine_is_taken_from_the_program() {
    let redis = TestRedis::start();
    let program = Program::with(&redis);
    let zones = program.folder().join("zoneinfo");
    fs::create_dir_all(zones.join("Europe")).unwrap();
    fs::write(zones.join("Europe/Berlin"), zone_file("<+05>-5")).unwrap();
    fs::write(zones.join("broken"), "no zone file").unwrap();
    let add = |zone: &str| {
        let mut command = program.command(&["schedule", "add", "s", "--queue", "q", "--cron", "0 3 * 1 *"]);
        let output = command.args(["--timezone", zone]).env("TZDIR", &zones).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    for zone in ["US/Eastern", "America/New_York"] {
        let added = add(zone);
        assert!(added.contains(" 03:00:00 -05:00"), "{zone}: {added}");
    }
    let added = add("Europe/Berlin");
    assert!(added.contains(" 03:00:00 +05:00"), "the machine's own zone files come first: {added}");
    for other in ["broken", "localtime", "US/Nowhere"] {
        assert!(add(other).contains("`--timezone` is `"), "{other}");
    }
}
