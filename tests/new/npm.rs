//! Projects in JavaScript and TypeScript: packages of others, bundled with the program.

use std::fs;

use redis::AsyncCommands as _;
use sandhog::job::envelope::Header;

use super::project::Project;
use crate::support::host::{count, until};

/// Takes an order as JSON, checks it with zod and pushes a receipt with an id of nanoid.
const APP: &str = "import * as queue from 'sandhog:worker/queue@0.1.0';
import { customAlphabet } from 'nanoid/non-secure';
import { z } from 'zod';
import { Bury, worker } from './sandhog.js';

const Order = z.object({ id: z.string().min(1), amount: z.number().int().positive() });
const receipt = customAlphabet('abc', 12);

export const handler = worker(async (job) => {
  const order = await Order.safeParseAsync(JSON.parse(new TextDecoder().decode(job.payload)));
  if (!order.success) throw new Bury(z.prettifyError(order.error));
  queue.push('word-counts', new TextEncoder().encode(`${order.data.id} ${receipt()}`));
});
";

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_javascript_takes_packages_of_npm() {
    takes_packages("js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_in_typescript_takes_packages_of_npm() {
    takes_packages("ts").await;
}

async fn takes_packages(language: &str) {
    let project = Project::named(&format!("my-npm-{language}"), language, "worker");
    let file = |name: &str| project.folder().join(name);
    fs::write(file(&format!("app.{language}")), APP).unwrap();
    let about = fs::read_to_string(file("package.json")).unwrap();
    let with = "\"dependencies\": { \"nanoid\": \"5.1.6\", \"zod\": \"4.1.13\" },\n  \"devDependencies\"";
    fs::write(file("package.json"), about.replace("\"devDependencies\"", with)).unwrap();
    project.make("build");
    let served = project.serve(|manifest| manifest.replace("max_attempts = 5", "max_attempts = 1")).await;
    let (mut plain, name) = (served.redis.plain().await, project.name());
    let good = r#"{"id": "A-1", "amount": 5}"#;
    let payloads = [good, good, r#"{"id": "", "amount": 0.5}"#, "no JSON"];
    let _: u64 = plain.rpush(name, &payloads).await.unwrap();
    until("the jobs have ended", async || {
        let ended = count(&served.host, name, |c| &c.completed) + count(&served.host, name, |c| &c.buried);
        ended == payloads.len() as u64
    })
    .await;
    let receipts: Vec<String> = plain.lrange("word-counts", 0, -1).await.unwrap();
    assert!(
        receipts.iter().all(|receipt| receipt.starts_with("A-1 ") && receipt.len() == 16),
        "{receipts:?}"
    );
    assert!(receipts.len() == 2 && receipts[0] != receipts[1], "each run has its own numbers: {receipts:?}");
    let dead: Vec<Vec<u8>> = plain.zrange(format!("{{{name}}}:sandhog:dead"), 0, -1).await.unwrap();
    let reason = |record: &Vec<u8>| Header::decode(record).unwrap().0.note("!reason").unwrap().to_owned();
    let mut reasons: Vec<String> = dead.iter().map(reason).collect();
    reasons.sort();
    assert!(reasons[0].starts_with("SyntaxError: "), "{reasons:?}");
    assert!(reasons[0].ends_with(&format!("(app.{language}:10)")), "{reasons:?}");
    assert!(reasons[1].contains("Too small: expected string to have >=1 characters"), "{reasons:?}");
    served.stop().await;
}
