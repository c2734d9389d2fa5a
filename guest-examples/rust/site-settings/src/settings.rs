//! From what Redis holds to settings, or to the reason why not. Pure.

use std::collections::BTreeMap;

/// Longest name of a setting in bytes; the host allows no more.
const NAME_BYTES_MAX: usize = 256;

/// The settings by name; `config` holds keys that begin with `prefix`, and their values.
pub(crate) fn checked(
    keyname: Option<Vec<u8>>,
    config: Vec<(String, Vec<u8>)>,
    prefix: &str,
) -> Result<Vec<(String, String)>, String> {
    let keyname = text("keyname", keyname.unwrap_or_else(|| b"world".to_vec()))?;
    let mut settings = BTreeMap::from(
        [("greeting", "hello"), ("currency", "EUR"), ("max_amount_cents", "1000000")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for (key, value) in config {
        let value = text(&key, value)?;
        let name = key.strip_prefix(prefix).unwrap_or(&key);
        check(&key, name, &value)?;
        settings.insert(name.to_owned(), value);
    }
    if let Some(greeting) = settings.get_mut("greeting") {
        *greeting = format!("{greeting}, {keyname}");
    }
    settings.insert("keyname".into(), keyname);
    Ok(settings.into_iter().collect())
}

fn text(key: &str, value: Vec<u8>) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| format!("`{key}` is not UTF-8 text"))
}

fn check(key: &str, name: &str, value: &str) -> Result<(), String> {
    let good = match name {
        "keyname" => return Err(format!("`{key}` clashes with the key `keyname`; delete one of them")),
        "currency" => value.len() == 3 && value.bytes().all(|byte| byte.is_ascii_uppercase()),
        "max_amount_cents" => value.parse().is_ok_and(|cents: i64| cents > 0),
        _ if name.is_empty() || name.len() > NAME_BYTES_MAX => {
            return Err(format!("the name in `{key}` has {} bytes, not 1 to {NAME_BYTES_MAX}", name.len()));
        }
        _ => return Ok(()),
    };
    let wanted = if name == "currency" { "three capital letters" } else { "a whole number above zero" };
    let shown: String = value.chars().take(40).collect();
    if good { Ok(()) } else { Err(format!("`{key}` is `{shown}`, not {wanted}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keyname: Option<&str>, config: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        let config = config.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        checked(keyname.map(Into::into), config, "config:")
    }

    #[test]
    fn without_any_key_there_are_defaults() {
        let expected = [
            ("currency", "EUR"),
            ("greeting", "hello, world"),
            ("keyname", "world"),
            ("max_amount_cents", "1000000"),
        ];
        assert_eq!(read(None, &[]), Ok(expected.map(|(name, value)| (name.into(), value.into())).to_vec()));
    }

    #[test]
    fn keys_become_settings() {
        let settings = read(
            Some("ada"),
            &[
                ("config:currency", "CHF"),
                ("config:greeting", "dear"),
                ("config:theme", ""),
                ("config:max_amount_cents", "7"),
            ],
        )
        .unwrap();
        for (name, value) in [
            ("currency", "CHF"),
            ("greeting", "dear, ada"),
            ("theme", ""),
            ("max_amount_cents", "7"),
            ("keyname", "ada"),
        ] {
            assert!(settings.contains(&(name.into(), value.into())), "{name}: {settings:?}");
        }
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (key, value, said) in [
            (
                "config:max_amount_cents",
                "many",
                "`config:max_amount_cents` is `many`, not a whole number above zero",
            ),
            (
                "config:max_amount_cents",
                "0",
                "`config:max_amount_cents` is `0`, not a whole number above zero",
            ),
            ("config:currency", "euro", "`config:currency` is `euro`, not three capital letters"),
            ("config:keyname", "x", "`config:keyname` clashes with the key `keyname`; delete one of them"),
            ("config:", "x", "the name in `config:` has 0 bytes, not 1 to 256"),
        ] {
            assert_eq!(read(None, &[(key, value)]), Err(said.into()));
        }
        assert_eq!(checked(Some(vec![0xff]), vec![], "config:"), Err("`keyname` is not UTF-8 text".into()));
    }
}
