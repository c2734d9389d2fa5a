//! The imported half of the contract in `wit/`, as Rust traits and types. What guests export is bound in
//! `sandbox`.

#![expect(missing_docs, reason = "made from `wit/`, where every item is described")]

wasmtime::component::bindgen!({
    path: "wit",
    inline: r#"
        package sandhog:host;
        world offered {
            import sandhog:worker/kv@0.1.0;
            import sandhog:worker/queue@0.1.0;
            import sandhog:worker/status@0.1.0;
            import wasi:config/store@0.2.0-rc.1;
            import wasi:logging/logging@0.1.0-draft;
        }
    "#,
    imports: { default: async | trappable },
    trappable_error_type: { "sandhog:worker/types.error" => crate::capability::refusal::Refusal },
});
