//! What `wit-bindgen` makes of the contract in `wit/`, world by world. The types and the imports are those of the worker's
//! world for all; hidden, because it changes with the generator.

pub mod worker {
    wit_bindgen::generate!({
        path: "wit",
        world: "queue-worker",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_worker",
        default_bindings_module: "sandhog_guest::bindings::worker",
    });
    pub use __export_worker as export;
}

pub mod batch {
    wit_bindgen::generate!({
        path: "wit",
        world: "batch-worker",
        with: {
            "sandhog:worker/types@0.1.0": crate::bindings::worker::sandhog::worker::types,
            "sandhog:worker/kv@0.1.0": crate::bindings::worker::sandhog::worker::kv,
            "sandhog:worker/queue@0.1.0": crate::bindings::worker::sandhog::worker::queue,
            "sandhog:worker/handler@0.1.0": crate::bindings::worker::exports::sandhog::worker::handler,
            "sandhog:worker/batch-handler@0.1.0": generate,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::worker::wasi::config::store,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::worker::wasi::logging::logging,
        },
        pub_export_macro: true,
        export_macro_name: "__export_batch",
        default_bindings_module: "sandhog_guest::bindings::batch",
    });
    pub use __export_batch as export;
}

pub mod reader {
    wit_bindgen::generate!({
        path: "wit",
        world: "config-reader",
        with: {
            "sandhog:worker/types@0.1.0": crate::bindings::worker::sandhog::worker::types,
            "sandhog:worker/kv@0.1.0": crate::bindings::worker::sandhog::worker::kv,
            "sandhog:worker/config-source@0.1.0": generate,
            "wasi:config/store@0.2.0-rc.1": crate::bindings::worker::wasi::config::store,
            "wasi:logging/logging@0.1.0-draft": crate::bindings::worker::wasi::logging::logging,
        },
        pub_export_macro: true,
        export_macro_name: "__export_reader",
        default_bindings_module: "sandhog_guest::bindings::reader",
    });
    pub use __export_reader as export;
}
