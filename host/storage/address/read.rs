//! Reads a Redis URL. The library ignores what it does not understand; here every part is read or refused, because a
//! host on another database than its producers would wait for ever. No error repeats text that may belong to a
//! password.

use std::borrow::Cow;

use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::AddressError;

/// Schemes of TCP addresses, with and without TLS.
const TCP: [&str; 4] = ["redis", "rediss", "valkey", "valkeys"];
/// Schemes of unix sockets.
const UNIX: [&str; 3] = ["unix", "redis+unix", "valkey+unix"];
/// Parameters that a TCP address may have.
const TCP_PARAMETERS: [&str; 1] = ["db"];
/// Parameters that a unix socket may have: its URL has no other place for user and password.
const UNIX_PARAMETERS: [&str; 3] = ["db", "user", "pass"];
/// Longest name of a parameter that an error repeats, in bytes.
const NAME_BYTES_MAX: usize = 32;

/// Reads server, user, password and database from a URL.
pub(super) fn connection_info(text: &str) -> Result<ConnectionInfo, AddressError> {
    let (scheme, rest) = text.split_once(':').ok_or(AddressError::Form)?;
    let scheme = scheme.to_ascii_lowercase();
    let is_tcp = TCP.contains(&scheme.as_str());
    if !is_tcp && !UNIX.contains(&scheme.as_str()) {
        return Err(AddressError::Form);
    }
    if let Some(reserved) = reserved(rest, is_tcp) {
        return Err(AddressError::Reserved(reserved));
    }
    if is_tcp {
        check_server(rest)?;
    }
    let url = redis::parse_redis_url(text).ok_or(AddressError::Form)?;
    let known: &[&str] = if is_tcp { &TCP_PARAMETERS } else { &UNIX_PARAMETERS };
    let in_query = database_of(url.query_pairs(), known)?;
    let in_path = match url.path().trim_matches('/') {
        path if is_tcp && !path.is_empty() => Some(number(path)?),
        _ => None,
    };
    let database = match (in_path, in_query) {
        (Some(path), Some(query)) if path != query => return Err(AddressError::TwoDatabases(path, query)),
        (path, query) => path.or(query).unwrap_or(0),
    };
    let is_any = matches!(url.host_str(), Some("0.0.0.0" | "[::]"));
    let form = |_| if is_any { AddressError::AnyAddress } else { AddressError::Form };
    let info = url.into_connection_info().map_err(form)?;
    let settings = info.redis_settings();
    // A missing name in `user:password@` is empty.
    if settings.password().is_none() && (settings.username().is_some() || has_user(rest, is_tcp)) {
        return Err(AddressError::UserOnly);
    }
    let redis = settings.clone().set_protocol(ProtocolVersion::RESP3).set_db(database);
    Ok(info.set_redis_settings(redis))
}

/// Finds the wrong part of `//user:password@host:port`, which the URL parser does not name.
fn check_server(rest: &str) -> Result<(), AddressError> {
    let Some(rest) = rest.strip_prefix("//") else { return Err(AddressError::Form) };
    let server = rest.split(['/', '?']).next().unwrap_or(rest);
    let server = server.rsplit_once('@').map_or(server, |(_, server)| server);
    let port = match server.strip_prefix('[') {
        Some(six) => six.split_once(']').ok_or(AddressError::Brackets)?.1.strip_prefix(':'),
        None => match server.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(AddressError::Brackets),
            Some(("", _)) => return Err(AddressError::Host),
            Some((_, port)) => Some(port),
            None if server.is_empty() => return Err(AddressError::Host),
            None => None,
        },
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|n| n > 0);
    if port.is_none_or(is_port) { Ok(()) } else { Err(AddressError::Port) }
}

/// Whether a URL names a user, in the part before `@` or as a parameter.
fn has_user(rest: &str, is_tcp: bool) -> bool {
    match is_tcp {
        true => rest.split_once('@').is_some_and(|(login, _)| !login.trim_start_matches('/').is_empty()),
        false => rest.split(['?', '&']).skip(1).any(|parameter| parameter.starts_with("user=")),
    }
}

/// The character that ended a user, a password or a path although it was meant as a part of it.
fn reserved(rest: &str, is_tcp: bool) -> Option<char> {
    let rest = rest.trim_start_matches('/');
    // A valid TCP address has no `@` after its first `/` or `?`.
    let is_cut = |at: &usize| is_tcp && rest[*at..].contains('@');
    let cut = rest.find(['/', '?', '#']).filter(is_cut);
    // No form of URL has a fragment.
    cut.or_else(|| rest.find('#')).and_then(|at| rest[at..].chars().next())
}

/// The database that the parameters name, if all parameters are known.
fn database_of<'u>(
    pairs: impl Iterator<Item = (Cow<'u, str>, Cow<'u, str>)>,
    known: &'static [&'static str],
) -> Result<Option<i64>, AddressError> {
    let mut database = None;
    let mut after_password = false;
    for (name, value) in pairs {
        if !known.contains(&name.as_ref()) {
            // A parameter after a password, or without a value, may be the end of a password.
            let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
            let is_shown = !after_password && !value.is_empty() && name.len() <= NAME_BYTES_MAX;
            let shown = (is_shown && name.bytes().all(is_name)).then(|| name.into_owned());
            return Err(AddressError::Parameter { name: shown, known });
        }
        after_password |= name == "pass";
        if name == "db" {
            let number = number(&value)?;
            match database.replace(number) {
                Some(before) if before != number => return Err(AddressError::TwoDatabases(before, number)),
                _ => {}
            }
        }
    }
    Ok(database)
}

fn number(text: &str) -> Result<i64, AddressError> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse::<u32>().ok().filter(|_| is_plain).map(i64::from).ok_or(AddressError::Database)
}
