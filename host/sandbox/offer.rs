//! What a component asks for and what it exports, against what this host offers and calls. Every mismatch is
//! named at once; the engine itself would stop at the first.

use wasmtime::component::types::Component as ComponentType;
use wasmtime::{Engine, component::Component};

use super::load::Kind;

/// What a queue worker exports.
pub(super) const HANDLER: &str = "sandhog:worker/handler@0.1.0";
/// What a config reader exports.
pub(super) const CONFIG_SOURCE: &str = "sandhog:worker/config-source@0.1.0";
/// Part of the contract, called by no host yet.
const BATCH_HANDLER: &str = "sandhog:worker/batch-handler@0.1.0";
/// What only workers are offered.
const QUEUE: &str = "sandhog:worker/queue@0.1.0";
const STATUS: &str = "sandhog:worker/status@0.1.0";
/// What every kind is offered. Versions with a `-` match to the letter only.
const OFFERED: &[&str] = &[
    "sandhog:worker/types@0.1.0",
    "sandhog:worker/kv@0.1.0",
    "wasi:config/store@0.2.0-rc.1",
    "wasi:logging/logging@0.1.0-draft",
];
/// The interfaces of WASI that are linked, with nothing granted, in version 0.2.
const WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Looks at all imports and exports; appends whatever does not fit to `problems`. Answers whether the component
/// can say something (through WASI or `wasi:logging`), so that its runs need a log.
pub(super) fn examine(
    engine: &Engine,
    component: &Component,
    kind: Kind,
    problems: &mut Vec<String>,
) -> bool {
    let ty = component.component_type();
    examine_exports(engine, &ty, kind, problems);
    let mut logs = false;
    for (name, _) in ty.imports(engine) {
        logs |= name.starts_with("wasi:logging/") || WASI.contains(&split(name).0);
        problems.extend(import_problem(name, kind));
    }
    logs
}

/// Whether its runs tell about their jobs.
pub(super) fn tells(engine: &Engine, component: &Component) -> bool {
    component.component_type().imports(engine).any(|(name, _)| matches(name, STATUS))
}

fn examine_exports(engine: &Engine, ty: &ComponentType, kind: Kind, problems: &mut Vec<String>) {
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let has = |wanted: &str| exports.iter().any(|name| matches(name, wanted));
    match (has(HANDLER), has(CONFIG_SOURCE)) {
        (true, true) => problems.push(format!(
            "exports both `{HANDLER}` and `{CONFIG_SOURCE}`; a plugin is either a worker or a config reader"
        )),
        (false, false) if has(BATCH_HANDLER) => {
            problems
                .push(format!("exports `{BATCH_HANDLER}`, which this version of the host does not call yet"));
        }
        (false, false) => {
            let near = exports
                .iter()
                .find(|name| [HANDLER, CONFIG_SOURCE].iter().any(|wanted| split(name).0 == split(wanted).0));
            problems.push(match near {
                Some(name) => format!("exports `{name}`, but this host calls version {}", split(HANDLER).1),
                None => format!("exports neither `{HANDLER}` nor `{CONFIG_SOURCE}`"),
            });
        }
        (true, false) if kind == Kind::ConfigReader => problems.push(format!(
            "is a worker (it exports `{HANDLER}`), but the manifest says `kind = \"config-reader\"`"
        )),
        (false, true) if kind == Kind::Worker => problems.push(format!(
            "is a config reader (it exports `{CONFIG_SOURCE}`), but the manifest says `kind = \"worker\"`"
        )),
        _ => {}
    }
}

/// What is wrong with the import `name`, if anything.
fn import_problem(name: &str, kind: Kind) -> Option<String> {
    if matches(name, QUEUE) || matches(name, STATUS) {
        let reader = kind == Kind::ConfigReader;
        return reader.then(|| format!("imports `{name}`, which config readers are not offered"));
    }
    let (interface, version) = split(name);
    if WASI.contains(&interface) {
        let fits = version.starts_with("0.2.") && !version.contains('-');
        return (!fits).then(|| format!("imports `{name}`, but this host offers version 0.2 of it"));
    }
    let same = OFFERED.iter().chain([&QUEUE, &STATUS]).find(|offered| split(offered).0 == interface);
    match same {
        Some(offered) if matches(name, offered) => None,
        Some(offered) => Some(format!("imports `{name}`, but this host offers `{offered}`")),
        None => Some(format!("imports `{name}`, which is not offered")),
    }
}

/// Whether the engine would take `offered` for `name`: versions 0.x with the same x match; those with a
/// pre-release part match themselves only.
fn matches(name: &str, offered: &str) -> bool {
    if name == offered {
        return true;
    }
    let ((interface, version), (offered_interface, offered_version)) = (split(name), split(offered));
    let family = |version: &str| version.rsplit_once('.').map(|(family, _)| family.to_owned());
    interface == offered_interface
        && !version.contains('-')
        && !offered_version.contains('-')
        && family(version).is_some_and(|f| Some(f) == family(offered_version))
}

fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_that_does_not_fit_is_named() {
        for (name, kind, expected) in [
            ("sandhog:worker/kv@0.1.0", Kind::Worker, None),
            ("sandhog:worker/kv@0.1.7", Kind::Worker, None),
            ("sandhog:worker/queue@0.1.0", Kind::Worker, None),
            ("wasi:cli/stdout@0.2.3", Kind::ConfigReader, None),
            ("wasi:config/store@0.2.0-rc.1", Kind::Worker, None),
            (
                "sandhog:worker/queue@0.1.0",
                Kind::ConfigReader,
                Some("imports `sandhog:worker/queue@0.1.0`, which config readers are not offered"),
            ),
            (
                "wasi:config/store@0.2.0-draft",
                Kind::Worker,
                Some(
                    "imports `wasi:config/store@0.2.0-draft`, but this host offers `wasi:config/store@0.2.0-rc.1`",
                ),
            ),
            (
                "wasi:config/store@0.2.0",
                Kind::Worker,
                Some(
                    "imports `wasi:config/store@0.2.0`, but this host offers `wasi:config/store@0.2.0-rc.1`",
                ),
            ),
            (
                "sandhog:worker/kv@0.2.0",
                Kind::Worker,
                Some("imports `sandhog:worker/kv@0.2.0`, but this host offers `sandhog:worker/kv@0.1.0`"),
            ),
            (
                "wasi:clocks/wall-clock@0.3.0",
                Kind::Worker,
                Some("imports `wasi:clocks/wall-clock@0.3.0`, but this host offers version 0.2 of it"),
            ),
            (
                "wasi:http/outgoing-handler@0.2.0",
                Kind::Worker,
                Some("imports `wasi:http/outgoing-handler@0.2.0`, which is not offered"),
            ),
            ("run", Kind::Worker, Some("imports `run`, which is not offered")),
        ] {
            assert_eq!(import_problem(name, kind).as_deref(), expected);
        }
    }
}
