//! The greeting, checked. Pure: tested on any machine.

/// Longest greeting in bytes.
const BYTES_MAX: usize = 200;

/// The greeting of what `key` holds, or what is wrong with it: workers never see a bad one.
pub(crate) fn checked(key: &str, value: Option<Vec<u8>>) -> Result<String, String> {
    let Some(value) = value else { return Ok("hello".to_owned()) };
    if value.len() > BYTES_MAX {
        return Err(format!("`{key}` has {} bytes, not {BYTES_MAX} at the most", value.len()));
    }
    String::from_utf8(value).map_err(|_| format!("`{key}` is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_there_is_a_default() {
        assert_eq!(checked("k", None), Ok("hello".to_owned()));
        assert_eq!(checked("k", Some(b"salut".to_vec())), Ok("salut".to_owned()));
    }

    #[test]
    fn a_bad_value_names_its_key() {
        for (value, said) in [
            (vec![0xff], "`k` is not UTF-8 text"),
            (vec![b'x'; 201], "`k` has 201 bytes, not 200 at the most"),
        ] {
            assert_eq!(checked("k", Some(value)), Err(said.to_owned()));
        }
    }
}
