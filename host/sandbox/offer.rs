//! What a component asks for and what it exports, against what this host offers and calls. Every mismatch is
//! named at once; the engine itself would stop at the first.

use wasmtime::component::types::{Component as ComponentType, ComponentItem};
use wasmtime::{Engine, component::Component};

use super::load::Kind;

/// What a queue worker exports.
pub(super) const HANDLER: &str = "sandhog:worker/handler@0.1.0";
/// What a config reader exports.
pub(super) const CONFIG_SOURCE: &str = "sandhog:worker/config-source@0.1.0";
/// What a batch worker exports. It imports the types of `HANDLER`, and calls nothing of it.
pub(super) const BATCH_HANDLER: &str = "sandhog:worker/batch-handler@0.1.0";
/// What the host calls, and what a component that exports it is.
const KINDS: [(&str, &str); 3] =
    [(HANDLER, "a worker"), (BATCH_HANDLER, "a batch worker"), (CONFIG_SOURCE, "a config reader")];
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
    for (name, import) in ty.imports(engine) {
        if is_types_only(engine, &import.ty) {
            continue;
        }
        logs |= name.starts_with("wasi:logging/") || WASI.contains(&split(name).0);
        problems.extend(import_problem(name, kind));
    }
    logs
}

/// Whether an import needs nothing from the host: an instance without functions and resources only names types, which
/// the component itself defines.
fn is_types_only(engine: &Engine, import: &ComponentItem) -> bool {
    let ComponentItem::ComponentInstance(instance) = import else { return false };
    instance.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
}

/// Whether its runs tell about their jobs.
pub(super) fn tells(engine: &Engine, component: &Component) -> bool {
    component.component_type().imports(engine).any(|(name, _)| matches(name, STATUS))
}

fn examine_exports(engine: &Engine, ty: &ComponentType, kind: Kind, problems: &mut Vec<String>) {
    let exports: Vec<&str> = ty.exports(engine).map(|(name, _)| name).collect();
    let has = |(wanted, _): &&(&str, &str)| exports.iter().any(|name| matches(name, wanted));
    let found: Vec<&(&str, &str)> = KINDS.iter().filter(has).collect();
    match &found[..] {
        [] => {
            let near =
                exports.iter().find(|name| KINDS.iter().any(|(wanted, _)| split(name).0 == split(wanted).0));
            problems.push(match near {
                Some(name) => format!("exports `{name}`, but this host calls version {}", split(HANDLER).1),
                None => format!("exports none of `{HANDLER}`, `{BATCH_HANDLER}` and `{CONFIG_SOURCE}`"),
            });
        }
        [(export, what)] => {
            let says = match kind {
                Kind::Worker if *export == CONFIG_SOURCE => "says `kind = \"worker\"`",
                Kind::Worker if *export == BATCH_HANDLER => "has no `batch` in its `[[consume]]` tables",
                Kind::BatchWorker if *export != BATCH_HANDLER => "has `batch` in its `[[consume]]` tables",
                Kind::ConfigReader if *export != CONFIG_SOURCE => "says `kind = \"config-reader\"`",
                _ => return,
            };
            problems.push(format!("is {what} (it exports `{export}`), but the manifest {says}"));
        }
        [(one, _), (other, _), ..] => problems.push(format!(
            "exports both `{one}` and `{other}`; a plugin is a worker, a batch worker or a config reader"
        )),
    }
}

/// What is wrong with the import `name`, if anything.
fn import_problem(name: &str, kind: Kind) -> Option<String> {
    if matches(name, QUEUE) || matches(name, STATUS) {
        let who = match kind {
            Kind::ConfigReader => "config readers",
            // It is about one job, and such a run has many.
            Kind::BatchWorker if matches(name, STATUS) => "batch workers",
            Kind::Worker | Kind::BatchWorker => return None,
        };
        return Some(format!("imports `{name}`, which {who} are not offered"));
    }
    if kind == Kind::BatchWorker && matches(name, HANDLER) {
        return None;
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
            ("sandhog:worker/handler@0.1.0", Kind::BatchWorker, None),
            (
                "sandhog:worker/handler@0.1.0",
                Kind::Worker,
                Some("imports `sandhog:worker/handler@0.1.0`, which is not offered"),
            ),
            ("sandhog:worker/status@0.1.0", Kind::Worker, None),
            (
                "sandhog:worker/status@0.1.0",
                Kind::BatchWorker,
                Some("imports `sandhog:worker/status@0.1.0`, which batch workers are not offered"),
            ),
            ("run", Kind::Worker, Some("imports `run`, which is not offered")),
        ] {
            assert_eq!(import_problem(name, kind).as_deref(), expected);
        }
    }
}
