//! The exported half of the contract in `wit/`: what the host calls in a worker, a batch worker and a config reader. What
//! it offers them is bound in `capability`.

pub(super) mod worker {
    //! A queue worker.
    wasmtime::component::bindgen!({
        path: "wit",
        inline: r#"
            package sandhog:host;
            world worker-exports { export sandhog:worker/handler@0.1.0; }
        "#,
        exports: { default: async },
        // A job is lowered from where it lies.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) mod batch {
    //! A batch worker.
    wasmtime::component::bindgen!({
        path: "wit",
        inline: r#"
            package sandhog:host;
            world batch-exports { export sandhog:worker/batch-handler@0.1.0; }
        "#,
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub(super) mod reader {
    //! A config reader.
    wasmtime::component::bindgen!({
        path: "wit",
        inline: r#"
            package sandhog:host;
            world reader-exports { export sandhog:worker/config-source@0.1.0; }
        "#,
        exports: { default: async },
    });
}
