//! The scripts that change a job's place, each one file in `script/` that begins with its contract. The parts that
//! they share precede them. Their callers are in `store`, `settle`, `commit`, `take`, `lease`, `lost`, `popped`,
//! `heal`, `push`, `import`, `inspect`, `edit`, `walk`, `schedule`.

use std::sync::LazyLock;

use crate::storage::script::Script;

/// `script!(NAME, "flags", "part" …, "file")`: a script made of its parts and its file. The first line says
/// that Redis may run it at its memory limit: nothing that hosts do may be refused there.
macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $head:literal, $($file:literal),+) => {
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!("#!lua", $head, "\n", $(include_str!(concat!("script/", $file, ".lua"))),+))
        });
    };
}

script!(
    TURN,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/count",
    "part/record",
    "part/envelope",
    "part/unique",
    "part/place",
    "part/result",
    "part/portion",
    "part/dead",
    "part/unlimited",
    "turn"
);
script!(
    /// The same for a queue with limits.
    TURN_LIMITED,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/count",
    "part/record",
    "part/envelope",
    "part/fields",
    "part/unique",
    "part/place",
    "part/result",
    "part/portion",
    "part/dead",
    "part/utf8",
    "part/pointer",
    "part/limits",
    "turn"
);
script!(
    COMPLETE,
    " flags=allow-oom",
    "part/wrong_type",
    "part/count",
    "part/unique",
    "part/place",
    "part/fence",
    "part/result",
    "complete"
);
script!(
    /// Without the flag: a job whose effects need memory waits at the memory limit, and nothing is written.
    COMMIT, "", "part/now", "part/refusal", "part/wrong_type", "part/count", "part/record", "part/put_job", "part/unique",
    "part/place", "part/key_page", "part/integer", "part/stream", "part/gather", "part/assume", "part/write",
    "part/popped", "commit");
script!(
    /// The same for jobs whose effects, if they have any, only free memory.
    COMMIT_FREEING, " flags=allow-oom", "part/now", "part/refusal", "part/wrong_type", "part/count", "part/record", "part/put_job",
    "part/unique", "part/place", "part/key_page", "part/integer", "part/stream", "part/gather", "part/assume",
    "part/write", "part/popped", "commit");
script!(
    RETRY,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/place",
    "part/fence",
    "part/envelope",
    "retry"
);
script!(
    BURY,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/unique",
    "part/place",
    "part/fence",
    "part/envelope",
    "part/result",
    "part/portion",
    "part/dead",
    "bury"
);
script!(
    RELEASE,
    " flags=allow-oom",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/place",
    "part/fence",
    "part/envelope",
    "release"
);
script!(
    HEAL,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/fields",
    "part/place",
    "part/portion",
    "heal"
);
script!(TAKE, " flags=allow-oom", "part/now", "part/refusal", "part/wrong_type", "take");
script!(PUT_BACK, " flags=allow-oom", "part/wrong_type", "part/popped", "part/put_back", "put_back");
script!(
    REAP,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/fields",
    "part/popped",
    "part/put_back",
    "part/envelope",
    "part/unique",
    "part/place",
    "part/result",
    "part/portion",
    "part/dead",
    "reap"
);
script!(
    /// Without the flag: what producers add is refused at the memory limit, before anything is written.
    PUSH, "", "part/now", "part/refusal", "part/wrong_type", "part/record", "part/put_job", "push");
script!(
    REGISTER,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/contact",
    "register"
);
script!(RENEW, " flags=allow-oom", "part/now", "part/refusal", "part/contact", "renew");
script!(READMIT, " flags=allow-oom", "part/now", "part/refusal", "part/wrong_type", "readmit");
script!(SEAT, " flags=no-writes,allow-oom", "part/now", "seat");
script!(DESCRIBE, " flags=allow-oom", "part/refusal", "part/wrong_type", "describe");
script!(FORGET, " flags=allow-oom", "part/now", "part/refusal", "forget");
script!(FIELD_NAMES, " flags=no-writes,allow-oom", "field_names");
script!(SEARCH, " flags=no-writes,allow-oom", "part/key_page", "search");
script!(POPPED, " flags=allow-oom", "popped");
script!(EXPIRED, " flags=allow-oom", "part/now", "part/refusal", "part/contact", "expired");
script!(HOSTS, " flags=no-writes,allow-oom", "part/now", "part/wrong_type", "hosts");
script!(
    TRIM,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/portion",
    "part/dead",
    "trim"
);
script!(COUNTS, " flags=no-writes,allow-oom", "part/wrong_type", "part/fields", "counts");
script!(
    PAGE,
    " flags=no-writes,allow-oom",
    "part/wrong_type",
    "part/fields",
    "part/envelope",
    "part/portion",
    "page"
);
script!(
    REQUEUE,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/envelope",
    "part/unique",
    "part/live_again",
    "part/portion",
    "part/dead",
    "requeue"
);
script!(
    DISCARD,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/envelope",
    "part/unique",
    "part/place",
    "part/result",
    "part/portion",
    "part/dead",
    "discard"
);
script!(
    REMOVE,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/envelope",
    "part/unique",
    "part/place",
    "part/result",
    "part/portion",
    "part/dead",
    "remove"
);
script!(
    REVIVE,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/record",
    "part/envelope",
    "part/unique",
    "part/live_again",
    "part/portion",
    "part/dead",
    "revive"
);
script!(
    CANCEL,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/count",
    "part/unique",
    "part/place",
    "part/result",
    "cancel"
);
script!(
    /// Without the flag: what is added is refused at the memory limit, before anything is written.
    IMPORT, "", "part/now", "part/refusal", "part/wrong_type", "part/count", "part/record", "part/envelope", "part/unique",
    "part/live_again", "part/portion", "part/dead", "import");
script!(
    SCHEDULE_DUE,
    " flags=no-writes,allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/short",
    "part/schedule",
    "schedule_due"
);
script!(
    /// Without the flag: a firing is a push, which waits at the memory limit.
    SCHEDULE_FIRE, "", "part/now", "part/refusal", "part/wrong_type", "part/schedule", "schedule_fire");
script!(
    SCHEDULE_RESET,
    " flags=allow-oom",
    "part/refusal",
    "part/wrong_type",
    "part/schedule",
    "schedule_reset"
);
script!(SCHEDULE_PUT, "", "part/refusal", "part/wrong_type", "part/schedule", "schedule_put");
script!(
    SCHEDULE_DECLARE,
    "",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/schedule",
    "schedule_declare"
);
script!(
    SCHEDULE_EDIT,
    " flags=allow-oom",
    "part/now",
    "part/refusal",
    "part/wrong_type",
    "part/schedule",
    "schedule_edit"
);
script!(SCHEDULE_LIST, " flags=no-writes,allow-oom", "part/wrong_type", "part/short", "schedule_list");
script!(
    /// For producers without our library: `producer` tells of it.
    PRODUCER_PUSH, "", "part/now", "part/refusal", "part/wrong_type", "part/record", "part/put_job", "part/companions", "part/utf8",
    "producer/push");
script!(
    PRODUCER_RESULT,
    " flags=no-writes,allow-oom",
    "part/wrong_type",
    "part/companions",
    "producer/result"
);
script!(HOLD, " flags=allow-oom", "part/now", "part/wrong_type", "hold");
