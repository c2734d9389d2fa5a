//! `site-settings`: what it makes of the keys, and what it refuses.

use redis::AsyncCommands as _;
use sandhog::sandbox::ConfigReport;

use crate::support::example;
use crate::support::guest::context;
use crate::support::redis::TestRedis;

async fn read(redis: &TestRedis) -> ConfigReport {
    example::plugin("site-settings").version.read_config(&context(redis.link())).await
}

#[tokio::test]
async fn settings_come_from_keys_and_defaults() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    let defaults = [
        ("currency", "EUR"),
        ("greeting", "hello, world"),
        ("keyname", "world"),
        ("max_amount_cents", "1000000"),
    ];
    let settings = read(&redis).await.settings.unwrap();
    assert_eq!(settings, defaults.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    for (key, value) in [("keyname", "ada"), ("config:currency", "CHF"), ("config:theme", "dark")] {
        let _: () = plain.set(key, value).await.unwrap();
    }
    let settings = read(&redis).await.settings.unwrap();
    for (name, value) in [("greeting", "hello, ada"), ("currency", "CHF"), ("theme", "dark")] {
        assert_eq!(settings.get(name).map(String::as_str), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_bad_value_is_an_error_that_names_the_key() {
    let redis = TestRedis::start();
    let _: () = redis.plain().await.set("config:max_amount_cents", "many").await.unwrap();
    let reason = "`config:max_amount_cents` is `many`, not a whole number above zero";
    assert_eq!(read(&redis).await.settings, Err(reason.to_owned()));
}

#[tokio::test]
async fn a_thousand_keys_and_more_are_read() {
    let redis = TestRedis::start();
    let mut plain = redis.plain().await;
    for n in 0..2500 {
        let _: () = plain.set(format!("config:n{n}"), n).await.unwrap();
    }
    let settings = read(&redis).await.settings.unwrap();
    assert_eq!(settings.len(), 2500 + 4);
    assert_eq!(settings.get("n2499").map(String::as_str), Some("2499"));
}
