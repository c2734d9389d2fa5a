//! Any text as a manifest: read or refused, never a panic; what is read makes rules that Redis can read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandhog::capability::acl;
use sandhog::capability::grant::Patterns;
use sandhog::config::settings::Ceilings;
use sandhog::plugin::manifest::Manifest;

fuzz_target!(|text: &str| match Manifest::parse("fuzz.toml", text, &Ceilings::default()) {
    Ok(manifest) => {
        let grants = &manifest.grants;
        for patterns in [&grants.kv_read, &grants.kv_write, &grants.queue_push, &grants.queue_pop] {
            patterns.iter().for_each(|pattern| Patterns::check(pattern).expect("it was checked"));
        }
        let rules = acl::rules(grants, manifest.is_atomic(), 0);
        for rule in &rules {
            assert!(!rule.contains(['\n', '\0']), "{rule:?}");
            assert_eq!(rule.starts_with('('), rule.ends_with(')'), "{rule:?}");
        }
        assert!(!acl::line("u", &rules).contains(['\n', '\0']));
        acl::notes(grants);
    }
    Err(problems) => assert!(!problems.is_empty()),
});
