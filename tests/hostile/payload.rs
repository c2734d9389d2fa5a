//! Producers that mean harm: payloads larger than any run may have.

use super::attack::Ends::Dead;
use super::attack::{Attack, attacker, attacks};

attacks! {
    giant_payload: "`limits.value`", Dead("its payload has 8388608 bytes, and `limits.value` of the plugin is 65536"),
        Attack::of(attacker("", "", "unreachable")).limits("value = \"64KiB\"")
            .payload(vec![b'x'; 8 << 20]).sends_at_most(64 << 10);
}
