//! One level of a component: its sections in their order, its core modules and instances, and where each core item comes from.

use std::collections::HashMap;

use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentTypeRef,
    ExternalKind, Instance, Parser, Payload,
};

use super::each::Each;

/// Most core instances of a level, and most of these that one of them imports from: interpreters have some 70, and 10.
const INSTANCES_MAX: usize = 1_000;
/// Most names that an item is handed on by.
const STEPS_MAX: usize = 16;

/// A section.
pub(super) enum Section<'a> {
    /// A core module.
    Module(&'a [u8]),
    /// A component.
    Component(&'a [u8]),
    /// Core instances, each with its index.
    Instances(Vec<(u32, Instance<'a>)>),
    /// Aliases.
    Aliases(Vec<ComponentAlias<'a>>),
    /// Any other, by its number.
    Other(u8, &'a [u8]),
}

/// Where a core item comes from.
pub(super) enum Origin<'a> {
    /// An export of a core instance.
    Export(u32, &'a str),
    /// The component itself, as functions of its imports do.
    Own,
}

/// What core instances are.
pub(super) enum Made<'a> {
    /// Of a module, with what it imports: names, and instances.
    Of(u32, Vec<(&'a str, u32)>),
    /// Of single items: kinds and indices, by their names.
    Items(HashMap<&'a str, (ExternalKind, u32)>),
}

/// A level.
#[derive(Default)]
pub(super) struct Level<'a> {
    pub(super) sections: Vec<Section<'a>>,
    pub(super) modules: Vec<&'a [u8]>,
    pub(super) instances: Vec<Made<'a>>,
    /// How many core instances there were whenever components within this one were instantiated.
    pub(super) interludes: Vec<usize>,
    /// Core items.
    origins: Each<Vec<Origin<'a>>>,
}

impl<'a> Level<'a> {
    /// Reads it; none where it has what is not understood: modules that are handed on.
    pub(super) fn read(component: &'a [u8]) -> Option<Self> {
        let mut level = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            let payload = payload.ok()?;
            if hands_on_modules(&payload)? {
                return None;
            }
            if depth == 0 && !matches!(payload, Payload::End(_) | Payload::Version { .. }) {
                level.take(component, &payload)?;
            }
            match payload {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        let is_small = |made: &Made<'_>| !matches!(made, Made::Of(_, args) if args.len() > INSTANCES_MAX);
        (level.instances.len() <= INSTANCES_MAX && level.instances.iter().all(is_small)).then_some(level)
    }

    fn take(&mut self, component: &'a [u8], payload: &Payload<'a>) -> Option<()> {
        let (id, range) = payload.as_section()?;
        let bytes = component.get(range)?;
        let section = match payload {
            Payload::ModuleSection { .. } => {
                self.modules.push(bytes);
                Section::Module(bytes)
            }
            Payload::ComponentSection { .. } => Section::Component(bytes),
            Payload::InstanceSection(reader) => {
                let mut instances = Vec::new();
                for instance in reader.clone() {
                    let instance = instance.ok()?;
                    instances.push((u32::try_from(self.instances.len()).ok()?, instance.clone()));
                    self.instances.push(Made::from(instance));
                }
                Section::Instances(instances)
            }
            Payload::ComponentAliasSection(reader) => {
                let aliases: Vec<_> = reader.clone().into_iter().collect::<Result<_, _>>().ok()?;
                for alias in &aliases {
                    if let ComponentAlias::CoreInstanceExport { kind, instance_index, name } = *alias {
                        self.origins.of_mut(kind).push(Origin::Export(instance_index, name));
                    }
                }
                Section::Aliases(aliases)
            }
            Payload::ComponentCanonicalSection(reader) => {
                for function in reader.clone() {
                    if !matches!(function.ok()?, CanonicalFunction::Lift { .. }) {
                        self.origins.of_mut(ExternalKind::Func).push(Origin::Own);
                    }
                }
                Section::Other(id, bytes)
            }
            Payload::ComponentInstanceSection(_) => {
                self.interludes.push(self.instances.len());
                Section::Other(id, bytes)
            }
            _ => Section::Other(id, bytes),
        };
        self.sections.push(section);
        Some(())
    }

    /// The instance of a module that really exports what `instance` exports by this name, and by what name; none if no
    /// module does.
    pub(super) fn source(&self, instance: u32, name: &'a str) -> Option<(u32, &'a str)> {
        let (mut instance, mut name) = (instance, name);
        for _ in 0..STEPS_MAX {
            match self.instances.get(instance as usize)? {
                Made::Of(..) => return Some((instance, name)),
                Made::Items(items) => {
                    let (kind, index) = items.get(name)?;
                    match self.origins.of(*kind).get(*index as usize)? {
                        Origin::Export(from, by) => (instance, name) = (*from, *by),
                        Origin::Own => return None,
                    }
                }
            }
        }
        None
    }
}

impl<'a> From<Instance<'a>> for Made<'a> {
    fn from(instance: Instance<'a>) -> Self {
        match instance {
            Instance::Instantiate { module_index, args } => {
                Self::Of(module_index, args.iter().map(|arg| (arg.name, arg.index)).collect())
            }
            Instance::FromExports(items) => {
                Self::Items(items.iter().map(|item| (item.name, (item.kind, item.index))).collect())
            }
        }
    }
}

/// Whether modules come from outside or go there, or start functions of components; at any depth.
fn hands_on_modules(payload: &Payload<'_>) -> Option<bool> {
    Some(match payload {
        Payload::ComponentImportSection(reader) => {
            let imports: Vec<_> = reader.clone().into_iter().collect::<Result<_, _>>().ok()?;
            imports.iter().any(|import| matches!(import.ty, ComponentTypeRef::Module(_)))
        }
        Payload::ComponentExportSection(reader) => {
            let exports: Vec<_> = reader.clone().into_iter().collect::<Result<_, _>>().ok()?;
            exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
        }
        Payload::ComponentAliasSection(reader) => {
            let aliases: Vec<_> = reader.clone().into_iter().collect::<Result<_, _>>().ok()?;
            aliases.iter().any(|alias| match alias {
                ComponentAlias::InstanceExport { kind, .. } => *kind == ComponentExternalKind::Module,
                ComponentAlias::Outer { kind, .. } => *kind == ComponentOuterAliasKind::CoreModule,
                ComponentAlias::CoreInstanceExport { .. } => false,
            })
        }
        Payload::ComponentInstanceSection(reader) => {
            let instances: Vec<_> = reader.clone().into_iter().collect::<Result<_, _>>().ok()?;
            instances.iter().any(|instance| match instance {
                wasmparser::ComponentInstance::Instantiate { args, .. } => {
                    args.iter().any(|arg| arg.kind == ComponentExternalKind::Module)
                }
                wasmparser::ComponentInstance::FromExports(items) => {
                    items.iter().any(|item| item.kind == ComponentExternalKind::Module)
                }
            })
        }
        Payload::ComponentStartSection { .. } => true,
        _ => false,
    })
}
