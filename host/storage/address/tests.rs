//! What is read from a URL, what is refused with which error, and what is shown.

use super::*;

#[test]
fn an_address_prints_no_secret() {
    for (url, shown) in [
        ("redis://anna:s3cret@db.example:6380/4", "redis://db.example:6380/4"),
        ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("rediss://:s3cret@db.example", "rediss://db.example:6379/0"),
        ("unix:///run/redis.sock?db=2&user=anna&pass=s3cret", "unix:///run/redis.sock?db=2"),
        ("redis://[::1]:7111/1", "redis://[::1]:7111/1"),
        ("rediss://[2001:DB8::1]/?db=3", "rediss://[2001:db8::1]:6379/3"),
        ("unix:///run/my redis%25.sock", "unix:///run/my%20redis%25.sock?db=0"),
    ] {
        let address = Address::parse(url, TlsFiles::default()).unwrap();
        assert_eq!(address.to_string(), shown);
        assert!(!format!("{address:?}").contains("s3cret"));
        assert_eq!(address.has_password(), url.contains("s3cret"), "{url}");
    }
}

#[test]
fn what_is_no_url_is_refused_without_repeating_it() {
    for bad in ["", "localhost", "http://x", "redis:h", "http://h/#x"] {
        let error = Address::parse(bad, TlsFiles::default()).unwrap_err();
        assert_eq!(error, AddressError::Form, "{bad}");
    }
}

#[test]
fn the_part_of_a_url_that_is_wrong_is_named() {
    for (url, error) in [
        ("redis://", AddressError::Host),
        ("redis:///0", AddressError::Host),
        ("redis://:6379", AddressError::Host),
        ("redis://u:p@:6379", AddressError::Host),
        ("redis://::1:6379", AddressError::Brackets),
        ("redis://::1", AddressError::Brackets),
        ("redis://[::1", AddressError::Brackets),
        ("redis://h:port", AddressError::Port),
        ("redis://h:", AddressError::Port),
        ("redis://h:0", AddressError::Port),
        ("rediss://u:p@h:70000/1", AddressError::Port),
        ("redis://[::1]:70000", AddressError::Port),
        ("redis://anna@h", AddressError::UserOnly),
        ("unix:///s?user=anna", AddressError::UserOnly),
    ] {
        assert_eq!(parse(url).unwrap_err(), error, "{url}");
        assert!(!error.to_string().contains("anna"), "{error}");
    }
    assert!(parse("redis://[::1]").is_ok() && parse("redis://u:p@h:6379/1").is_ok());
}

fn parse(url: &str) -> Result<Address, AddressError> {
    Address::parse(url, TlsFiles::default())
}

#[test]
fn the_database_is_the_same_in_the_path_and_as_a_parameter() {
    for (url, database) in [
        ("redis://h", 0),
        ("redis://h/", 0),
        ("redis://h/4", 4),
        ("redis://h?db=4", 4),
        ("redis://h/?db=4", 4),
        ("redis://h/4?db=4", 4),
        ("rediss://h/?db=4", 4),
        ("valkey://h/?db=4", 4),
        ("unix:///s?db=4", 4),
        ("unix:///s", 0),
    ] {
        assert_eq!(parse(url).unwrap().database(), database, "{url}");
    }
    assert_eq!(parse("redis://h/3?db=4").unwrap_err(), AddressError::TwoDatabases(3, 4));
    assert_eq!(parse("unix:///s?db=3&db=4").unwrap_err(), AddressError::TwoDatabases(3, 4));
    for bad in
        ["redis://h/x", "redis://h/-1", "redis://h/+1", "redis://h?db=", "redis://h/1/2", "unix:///s?db=x"]
    {
        assert_eq!(parse(bad).unwrap_err(), AddressError::Database, "{bad}");
    }
}

#[test]
fn unknown_parameters_are_refused_by_name_unless_they_may_be_part_of_a_password() {
    for (url, said) in [
        ("redis://h?foo=bar", "has the unknown parameter `foo`; known: db"),
        ("redis://h/1?protocol=2", "has the unknown parameter `protocol`; known: db"),
        ("unix:///s?password=s3cret", "has the unknown parameter `password`; known: db, user, pass"),
    ] {
        assert_eq!(parse(url).unwrap_err().to_string(), said, "{url}");
    }
    for url in ["unix:///s?pass=a&s3cret=b", "unix:///s?pass=a&s3cret", "redis://h:1?s3cret"] {
        let said = parse(url).unwrap_err().to_string();
        assert!(said.starts_with("has an unknown parameter; if it is the end of a password"), "{said}");
    }
}

#[test]
fn a_password_that_is_not_percent_encoded_is_explained_and_not_repeated() {
    for (url, reserved) in [
        ("redis://anna:s3cret#x@h", '#'),
        ("redis://anna:1234?s3cret@h:6379", '?'),
        ("redis://anna:1234/s3cret@h:6379", '/'),
        ("rediss://:s3cret/x#y@h", '/'),
        ("redis://h/0#s3cret", '#'),
        ("unix:///s?pass=s3cret#x", '#'),
    ] {
        let error = parse(url).unwrap_err();
        assert_eq!(error, AddressError::Reserved(reserved), "{url}");
        let said = error.to_string();
        assert!(said.contains("percent-encoded") && !said.contains("s3cret"), "{said}");
    }
    let encoded = parse("redis://an%40na:a%23b%2Fc%3Fd%25@h").unwrap();
    let settings = encoded.info.redis_settings();
    assert_eq!((settings.username(), settings.password()), (Some("an@na"), Some("a#b/c?d%")));
}

#[test]
fn an_address_to_listen_on_is_refused_as_one() {
    for url in ["redis://0.0.0.0:6379", "rediss://[::]:6379"] {
        assert_eq!(parse(url).unwrap_err(), AddressError::AnyAddress, "{url}");
    }
}

proptest::proptest! {
    /// The URL that is shown leads to the same server and database.
    #[test]
    fn what_is_shown_reads_back(host in hosts(), port in 1..=65_535_u16, path in ".{1,40}", db in 0..1000) {
        let path: String = path.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for url in [
            format!("redis://{host}:{port}/{db}"),
            format!("rediss://u:p@{host}:{port}?db={db}"),
            format!("unix:///run/{path}?db={db}&user=u&pass=p"),
        ] {
            // Some generated hosts and paths are not valid in a URL.
            let Ok(address) = parse(&url) else { continue };
            let shown = address.to_string();
            let again = parse(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(again.info.addr(), address.info.addr(), "{shown}");
            assert_eq!((again.database(), address.database()), (i64::from(db), i64::from(db)), "{shown}");
        }
    }
}

fn hosts() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::strategy::Strategy as _;
    let six = proptest::arbitrary::any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]"));
    proptest::prop_oneof!["[a-zA-Z0-9._-]{1,20}", six, ".{1,10}"]
}
