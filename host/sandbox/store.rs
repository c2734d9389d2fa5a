//! What lives in the store of one run. As little as it can be: a store is made for every job.

use wasmtime::component::HasData;
use wasmtime_wasi::{WasiCtxView, WasiView};

use super::limits::RunLimiter;
use super::wasi::Wasi;
use crate::capability::view::View;

/// The data of one store.
pub(super) struct RunState {
    pub(super) view: View,
    pub(super) limiter: RunLimiter,
    /// Made at the first call of WASI, which most runs never make: it costs more than the rest of the run.
    pub(super) wasi: Option<Box<Wasi>>,
}

impl WasiView for RunState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let log = self.view.log().expect("a component that imports WASI has a log");
        self.wasi.get_or_insert_with(|| Box::new(Wasi::new(log))).view()
    }
}

/// Tells the linker how the capabilities see a store.
pub(super) struct HasView;

impl HasData for HasView {
    type Data<'a> = &'a mut View;
}
