//! Something for each kind of item that modules import and export.

use wasmparser::ExternalKind;

/// One `T` for each kind.
#[derive(Default)]
pub(super) struct Each<T>([T; 5]);

impl<T> Each<T> {
    pub(super) fn of(&self, kind: ExternalKind) -> &T {
        &self.0[place(kind)]
    }

    pub(super) fn of_mut(&mut self, kind: ExternalKind) -> &mut T {
        &mut self.0[place(kind)]
    }
}

fn place(kind: ExternalKind) -> usize {
    match kind {
        ExternalKind::Func | ExternalKind::FuncExact => 0,
        ExternalKind::Table => 1,
        ExternalKind::Memory => 2,
        ExternalKind::Global => 3,
        ExternalKind::Tag => 4,
    }
}
