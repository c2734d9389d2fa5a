//! Going back: by itself where what lies in the folder cannot be used, and by an operator's word.

use sandhog::plugin::release::Digest;

use super::{Stage, manifest, stamp, stamped};
use crate::support::host::{stop, until};
use crate::support::program::Program;

fn version(n: u32) -> String {
    Digest::of(&stamped(&stamp(n))).as_str().to_owned()
}

/// Runs jobs and tells which version they ran on.
async fn runs(stage: &mut Stage) -> u32 {
    let before = stage.ran().await.len();
    stage.push(10).await;
    stage.completed(10).await;
    let ran = stage.ran().await.split_off(before);
    assert!(ran.iter().all(|n| *n == ran[0]), "{ran:?}");
    ran[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_a_broken_file_serves_the_last_good_version() {
    let mut stage = Stage::new().await;
    stage.put(1, "");
    stage.host.reload().await.unwrap();
    for broken in [&b"no component"[..], b"", &stamped(&stamp(2))[..5000]] {
        stage.plugins.put("edition", broken, &manifest(2, ""));
        stage = stage.restart().await;
        assert_eq!(stage.report().version, version(1));
        assert!(stage.report().refusal.unwrap().contains("edition.wasm"));
        assert_eq!(runs(&mut stage).await, 1);
    }
    // A manifest that cannot be read, too; and the good file after it is taken.
    stage.plugins.put("edition", &stamped(&stamp(2)), "kind = 1\n");
    stage = stage.restart().await;
    assert_eq!(runs(&mut stage).await, 1);
    stage.put(2, "");
    stage.host.reload().await.unwrap();
    assert_eq!((stage.report().version, stage.report().refusal), (version(2), None));
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_was_rolled_back_stays_so_through_a_restart() {
    let mut stage = Stage::new().await;
    stage.put(1, "fails = \"always\"\n[canary]\nshare = 0.5\nfor = \"1h\"\n");
    stage.host.reload().await.unwrap();
    stage.push(200).await;
    until("it is rolled back", async || stage.report().refusal.is_some()).await;
    stage.completed(None).await;
    stage = stage.restart().await;
    assert_eq!(stage.report().version, version(0));
    assert!(stage.report().refusal.unwrap().contains("was rolled back"));
    assert_eq!(runs(&mut stage).await, 0);
    // Nor does reading the folder again help.
    let refused = stage.host.reload().await.unwrap_err().to_string();
    assert!(refused.contains("was rolled back"), "{refused}");
    stop(stage.host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_goes_back_to_any_kept_version() {
    let mut stage = Stage::new().await;
    for n in 1..=3 {
        stage.put(n, "");
        stage.host.reload().await.unwrap();
    }
    let folder = stage.plugins.path().display().to_string();
    let rollback = |more: &[&str]| {
        let program = Program::alone();
        let mut command = program.command(&[&["rollback", "edition", "--plugins", &folder], more].concat());
        let output = command.env("SANDHOG_STATE_DIR", stage.plugins.path().join(".state")).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let short = |n: u32| version(n)[..12].to_owned();
    let (code, told) = rollback(&[]);
    assert_eq!(told, format!("edition {} is back in `{folder}` instead of {}\n", short(2), short(3)));
    assert_eq!(code, Some(0));
    let (code, told) = rollback(&["--to", &short(0)]);
    assert!(code == Some(0) && told.contains(&short(0)), "{told}");
    let (code, told) = rollback(&["--to", "ffffffff"]);
    assert_eq!(code, Some(2));
    assert!(told.starts_with("sandhog: no kept version begins with `ffffffff`\n"), "{told}");
    assert!(told.contains(&format!("version {}, release ", short(3))), "{told}");
    stage.host.reload().await.unwrap();
    assert_eq!(stage.report().version, version(0));
    assert_eq!(runs(&mut stage).await, 0, "the manifest came back with the component");
    // After a restart it is still so.
    stage = stage.restart().await;
    assert_eq!(runs(&mut stage).await, 0);
    stop(stage.host).await;
}
