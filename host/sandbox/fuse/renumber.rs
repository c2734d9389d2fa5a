//! The numbers that the items of several modules have in the one they become.

use std::collections::HashMap;

use wasm_encoder::reencode::{self, Error, Reencode};
use wasm_encoder::{ConstExpr, Encode as _, GlobalSection, Instruction};
use wasmparser::ExternalKind;

use super::each::Each;
use super::module::Module;

/// How many items there are of each kind.
#[derive(Default)]
pub(super) struct Space {
    items: Each<u32>,
    types: u32,
    elements: u32,
    data: u32,
}

/// The numbers of one module's items.
#[derive(Default)]
pub(super) struct Indices {
    items: Each<Vec<u32>>,
    /// Of the first type, segment of elements and of data.
    types: u32,
    elements: u32,
    data: u32,
}

impl Space {
    /// How many items of a kind there are.
    pub(super) fn count(&self, kind: ExternalKind) -> u32 {
        *self.items.of(kind)
    }

    /// The number of the next item of a kind.
    pub(super) fn next(&mut self, kind: ExternalKind) -> u32 {
        let count = self.items.of_mut(kind);
        *count += 1;
        *count - 1
    }

    /// Numbers for a module's types and segments.
    pub(super) fn begin(&mut self, module: &Module<'_>) -> Option<Indices> {
        let count = |count: usize| u32::try_from(count).ok();
        let indices =
            Indices { types: self.types, elements: self.elements, data: self.data, ..Indices::default() };
        self.types = self.types.checked_add(count(module.params.len())?)?;
        self.elements = self.elements.checked_add(count(module.elements.len())?)?;
        self.data = self.data.checked_add(count(module.data.len())?)?;
        Some(indices)
    }

    /// Numbers for what a module defines, after those of its imports.
    pub(super) fn define(&mut self, module: &Module<'_>, indices: &mut Indices) {
        for (kind, count) in [
            (ExternalKind::Func, module.functions.len()),
            (ExternalKind::Table, module.tables.len()),
            (ExternalKind::Memory, module.memories.len()),
            (ExternalKind::Global, module.globals.len()),
            (ExternalKind::Tag, module.tags.len()),
        ] {
            for _ in 0..count {
                let next = self.next(kind);
                indices.push(kind, next);
            }
        }
    }
}

impl Indices {
    /// The next item of a kind has this number.
    pub(super) fn push(&mut self, kind: ExternalKind, index: u32) {
        self.items.of_mut(kind).push(index);
    }

    /// The number of an item.
    pub(super) fn of(&self, kind: ExternalKind, index: u32) -> Option<u32> {
        self.items.of(kind).get(index as usize).copied()
    }
}

/// Something that has no number, or no value before it runs.
#[derive(Debug)]
pub(super) struct Unknown;

/// Writes one module after the other with new numbers.
pub(super) struct Renumber {
    all: Vec<Indices>,
    place: usize,
    imported_globals: u32,
    /// Values of globals that do not change: only those of imports may be named where a value is wanted.
    constants: HashMap<u32, Instruction<'static>>,
}

impl Renumber {
    pub(super) fn new(all: Vec<Indices>, imported_globals: u32) -> Self {
        Self { all, place: 0, imported_globals, constants: HashMap::new() }
    }

    /// What follows is of the module at this place.
    pub(super) fn turn_to(&mut self, place: usize) {
        self.place = place;
    }

    fn number(&self, kind: ExternalKind, index: u32) -> Result<u32, Error<Unknown>> {
        self.all[self.place].of(kind, index).ok_or(Error::UserError(Unknown))
    }
}

impl Reencode for Renumber {
    type Error = Unknown;

    fn type_index(&mut self, ty: u32) -> Result<u32, Error<Unknown>> {
        Ok(self.all[self.place].types.saturating_add(ty))
    }

    fn element_index(&mut self, element: u32) -> Result<u32, Error<Unknown>> {
        Ok(self.all[self.place].elements.saturating_add(element))
    }

    fn data_index(&mut self, data: u32) -> Result<u32, Error<Unknown>> {
        Ok(self.all[self.place].data.saturating_add(data))
    }

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Unknown>> {
        self.number(ExternalKind::Func, function)
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Error<Unknown>> {
        self.number(ExternalKind::Table, table)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error<Unknown>> {
        self.number(ExternalKind::Memory, memory)
    }

    fn global_index(&mut self, global: u32) -> Result<u32, Error<Unknown>> {
        self.number(ExternalKind::Global, global)
    }

    fn tag_index(&mut self, tag: u32) -> Result<u32, Error<Unknown>> {
        self.number(ExternalKind::Tag, tag)
    }

    fn const_expr(&mut self, expression: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, Error<Unknown>> {
        let (mut operators, mut bytes) = (expression.get_operators_reader(), Vec::new());
        while !operators.is_end_then_eof() {
            let instruction = match self.parse_instruction(&mut operators)? {
                Instruction::GlobalGet(global) if global >= self.imported_globals => {
                    self.constants.get(&global).cloned().ok_or(Error::UserError(Unknown))?
                }
                other => other,
            };
            instruction.encode(&mut bytes);
        }
        Ok(ConstExpr::raw(bytes))
    }

    fn parse_global(
        &mut self,
        globals: &mut GlobalSection,
        global: wasmparser::Global<'_>,
    ) -> Result<(), Error<Unknown>> {
        let mut operators = global.init_expr.get_operators_reader();
        let value = self.parse_instruction(&mut operators)?;
        if !global.ty.mutable && operators.is_end_then_eof() {
            let value = match value {
                Instruction::I32Const(_) | Instruction::I64Const(_) => Some(value),
                Instruction::GlobalGet(other) => self.constants.get(&other).cloned(),
                _ => None,
            };
            // Those that are defined come after the imported ones.
            let number = self.imported_globals.saturating_add(globals.len());
            self.constants.extend(value.and_then(lasting).map(|value| (number, value)));
        }
        reencode::utils::parse_global(self, globals, global)
    }
}

/// A constant, without what it was read from.
fn lasting(value: Instruction<'_>) -> Option<Instruction<'static>> {
    match value {
        Instruction::I32Const(value) => Some(Instruction::I32Const(value)),
        Instruction::I64Const(value) => Some(Instruction::I64Const(value)),
        _ => None,
    }
}
