//! The same scripts for a user that lacks one right: either the script refuses and changes nothing, or it does all of
//! its work. Jobs are not lost or duplicated.

use std::collections::BTreeSet;
use std::path::Path;

use redis::cmd;

use super::act::{self, ACTS, Act};
use super::{Dump, KEYS, changes, jobs};
use crate::jobs::{ROOMY, Scene};
use crate::support::redis::TestRedis;

/// Keys that some acts use besides `KEYS`.
const MORE_KEYS: [&str; 9] =
    [":parked:", ":parked:b", ":word:OTHER", ":rate:b", "sandhog:host:new*", "n", "l", "s", "k"];

/// Keys that a refused script may have written: counters, and the times when Redis was reached or searched.
const NOTES: [&str; 3] = ["{q}:sandhog:stats", "sandhog:contact", "sandhog:searched"];

impl Scene {
    /// Changes the rights of the user of all connections.
    async fn rights(&mut self, rules: &[String]) {
        let _: () =
            cmd("ACL").arg("SETUSER").arg("default").arg(rules).query_async(&mut self.plain).await.unwrap();
    }

    /// Every command that a script of jobs names.
    async fn commands_of_scripts(&mut self) -> BTreeSet<String> {
        let all: BTreeSet<String> = cmd("COMMAND").arg("LIST").query_async(&mut self.plain).await.unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/job/script");
        let mut found = BTreeSet::new();
        for folder in ["", "part", "producer"] {
            for entry in std::fs::read_dir(scripts.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "lua") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let words = text.split('\'').filter(|word| *word == word.to_uppercase());
                    found.extend(words.map(str::to_lowercase).filter(|word| all.contains(word)));
                }
            }
        }
        found
    }

    /// The rules that allow only these keys, without one of them.
    fn only_keys(&self, left_out: &str) -> Vec<String> {
        let keys = KEYS.iter().map(|(key, _)| *key).chain(MORE_KEYS).filter(|key| *key != left_out);
        let patterns = keys.map(|key| format!("~{}", self.full(&any_of_its_kind(key))));
        std::iter::once("resetkeys".to_owned()).chain(patterns).collect()
    }
}

/// The pattern of a key whose ending differs between jobs or schedules.
fn any_of_its_kind(key: &str) -> String {
    let ending = ["u8", "i8", "nightly"].into_iter().find_map(|ending| key.strip_suffix(ending));
    ending.map_or_else(|| key.to_owned(), |start| format!("{start}*"))
}

fn verdict(act: &Act, before: &Dump, after: &Dump) -> Option<String> {
    let (before_jobs, after_jobs) = (jobs(before), jobs(after));
    if let Some((job, times)) = after_jobs.iter().find(|(_, times)| **times != 1) {
        return Some(format!("{job} is there {times} times"));
    }
    let is_lost = |job: &&String| !after_jobs.contains_key(*job) && !act.ended.contains(&job.as_str());
    if let Some(job) = before_jobs.keys().find(is_lost) {
        return Some(format!("{job} is lost"));
    }
    let is_extra = |job: &&String| !before_jobs.contains_key(*job) && !act.added.contains(&job.as_str());
    if let Some(job) = after_jobs.keys().find(is_extra) {
        return Some(format!("{job} is new although the act was refused"));
    }
    let Some(error) = &act.refused else { return act.missing_effect(after) };
    let kept = |dump: &Dump| -> Dump {
        let kept = dump.iter().filter(|(key, _)| !NOTES.contains(&key.as_str()));
        kept.map(|(key, held)| (key.clone(), held.clone())).collect()
    };
    let (before, after) = (kept(before), kept(after));
    let is_whole = !act.ended.is_empty() || !act.added.is_empty() || before == after;
    (!is_whole)
        .then(|| format!("refused ({error}), and yet something was written: {}", changes(&before, &after)))
}

#[tokio::test]
async fn a_script_whose_user_lacks_a_right_writes_nothing_or_everything() {
    let mut scene = Scene::on(TestRedis::start(), ROOMY).await;
    let all = ["+@all".to_owned(), "allkeys".to_owned()];
    let commands = scene.commands_of_scripts().await;
    assert!(commands.len() > 40, "{commands:?}");
    let mut cases: Vec<Vec<String>> = commands.iter().map(|command| vec![format!("-{command}")]).collect();
    for (key, _) in KEYS {
        cases.push(scene.only_keys(key));
        let readable = format!("%R~{}", scene.full(&any_of_its_kind(key)));
        cases.push(scene.only_keys(key).into_iter().chain([readable]).collect());
    }
    // The first user has all rights, so nothing may be refused.
    cases.insert(0, scene.only_keys(""));
    let mut problems = Vec::new();
    for (nth, rules) in cases.iter().enumerate() {
        for (name, _) in ACTS {
            scene.seed_spoiled("unused", &["SET", "KEY", "x"]).await;
            let before = scene.dump_spoiled().await;
            scene.rights(rules).await;
            let act = act::act(&mut scene, name).await;
            scene.rights(&all).await;
            let after = scene.dump_spoiled().await;
            let refused = act.refused.as_ref().filter(|_| nth == 0).map(|error| format!("refused: {error}"));
            if let Some(problem) = refused.or_else(|| verdict(&act, &before, &after)) {
                let lacks = if rules.len() == 1 { rules[0].clone() } else { format!("case {nth} of keys") };
                problems.push(format!("{name}, {lacks}: {problem}"));
            }
        }
    }
    let shown = problems.iter().take(40).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(problems.is_empty(), "{} problems\n{shown}", problems.len());
}
