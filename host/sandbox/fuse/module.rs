//! A core module, read as far as joining needs it. It may be anybody's, and not valid: what is counted is what is there,
//! not what a length says.

use std::collections::HashMap;

use wasmparser::{
    CompositeInnerType, Data, DataKind, Element, ElementKind, ExternalKind, FunctionBody, Global, Import,
    KnownCustom, MemoryType, Name, Parser, Payload, SubType, Table, TagType, TypeRef, TypeSectionReader,
};

/// A module.
#[derive(Default)]
pub(super) struct Module<'a> {
    pub(super) types: Option<TypeSectionReader<'a>>,
    /// Parameters of each type that is a function's.
    pub(super) params: Vec<Option<u32>>,
    pub(super) imports: Vec<Import<'a>>,
    /// Types of the functions it defines.
    pub(super) functions: Vec<u32>,
    pub(super) tables: Vec<Table<'a>>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) globals: Vec<Global<'a>>,
    pub(super) tags: Vec<TagType>,
    pub(super) exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub(super) elements: Vec<Element<'a>>,
    pub(super) data: Vec<Data<'a>>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    /// Functions by their names, for backtraces.
    pub(super) names: Vec<(u32, &'a str)>,
    pub(super) has_start: bool,
}

impl<'a> Module<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut module = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.take(payload.ok()?)?;
        }
        Some(module)
    }

    fn take(&mut self, payload: Payload<'a>) -> Option<()> {
        match payload {
            Payload::TypeSection(reader) => {
                for group in reader.clone() {
                    self.params.extend(group.ok()?.types().map(params));
                }
                self.types = Some(reader);
            }
            Payload::ImportSection(reader) => self.imports = all(reader.into_imports())?,
            Payload::FunctionSection(reader) => self.functions = all(reader)?,
            Payload::TableSection(reader) => self.tables = all(reader)?,
            Payload::MemorySection(reader) => self.memories = all(reader)?,
            Payload::TagSection(reader) => self.tags = all(reader)?,
            Payload::GlobalSection(reader) => self.globals = all(reader)?,
            Payload::ExportSection(reader) => {
                let exports = all(reader)?.into_iter();
                self.exports = exports.map(|export| (export.name, (export.kind, export.index))).collect();
            }
            Payload::StartSection { .. } => self.has_start = true,
            Payload::ElementSection(reader) => self.elements = all(reader)?,
            Payload::DataSection(reader) => self.data = all(reader)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(reader) => {
                if let KnownCustom::Name(names) = reader.as_known() {
                    // Broken names are nobody's problem.
                    for names in names.into_iter().filter_map(Result::ok) {
                        if let Name::Function(names) = names {
                            let names = names.into_iter().filter_map(Result::ok);
                            self.names.extend(names.map(|naming| (naming.index, naming.name)));
                        }
                    }
                }
            }
            _ => {}
        }
        Some(())
    }

    /// Whether it has a memory and a table that others may share.
    pub(super) fn has_memory_and_table(&self) -> bool {
        !self.memories.is_empty() && !self.tables.is_empty()
    }

    /// Whether it puts functions into a table that it imports, as it starts.
    pub(super) fn fills_imported_table(&self) -> bool {
        let is_active = |element: &Element<'_>| matches!(element.kind, ElementKind::Active { .. });
        self.imports.iter().any(|import| kind(import.ty) == ExternalKind::Table)
            && self.elements.iter().any(is_active)
    }

    /// Whether it writes to a memory as it starts.
    pub(super) fn writes_data(&self) -> bool {
        self.data.iter().any(|data| !matches!(data.kind, DataKind::Passive))
    }
}

fn all<T>(items: impl IntoIterator<Item = wasmparser::Result<T>>) -> Option<Vec<T>> {
    items.into_iter().collect::<Result<_, _>>().ok()
}

/// What kind an import is of.
pub(super) fn kind(ty: TypeRef) -> ExternalKind {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => ExternalKind::Func,
        TypeRef::Table(_) => ExternalKind::Table,
        TypeRef::Memory(_) => ExternalKind::Memory,
        TypeRef::Global(_) => ExternalKind::Global,
        TypeRef::Tag(_) => ExternalKind::Tag,
    }
}

fn params(ty: &SubType) -> Option<u32> {
    match &ty.composite_type.inner {
        CompositeInnerType::Func(function) => u32::try_from(function.params().len()).ok(),
        _ => None,
    }
}
