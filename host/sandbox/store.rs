//! What lives in the store of a run. As little as it can be: most stores are made for one job.

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

impl RunState {
    /// Makes an instance that was kept ready for its next run: nothing of the last one is in reach any more.
    pub(super) fn renew(&mut self, view: View) {
        self.view = view;
        self.limiter.renew();
        if let (Some(wasi), Some(log)) = (&mut self.wasi, self.view.log()) {
            wasi.log_to(log);
        }
    }

    /// Ends what a run has begun to say, before its instance waits for the next one.
    pub(super) fn rest(&mut self) {
        if let Some(wasi) = &mut self.wasi {
            wasi.flush();
        }
    }
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
