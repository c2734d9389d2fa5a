//! Core modules of a component that share a table become one. Toolchains of interpreters link shared libraries (CPython,
//! QuickJS): each is a module that puts its functions into the table of another one, by the thousand, whenever an instance
//! starts. In a module that has the table itself, the engine fills a place of it when it is first called. What the component
//! does stays the same.
//!
//! Only what is seen to be safe is done, and nothing where in doubt: no module that runs something as it starts is moved. What
//! lies in a component is read in `level`; `join` says which instances become one, `merge` makes their module.

mod each;
mod join;
mod level;
mod merge;
mod module;
mod renumber;

use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ComponentSectionId, ExportKind, InstanceSection, ModuleArg,
    RawSection,
};
use wasmparser::{ComponentAlias, Instance, Validator};

use join::Became;
use level::{Level, Section};

/// Most nesting of components that is looked into.
const DEPTH_MAX: usize = 4;
/// A module that nothing is left of.
const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

/// The component with modules joined; none where there is nothing to join, or it is not valid.
pub(super) fn fuse(component: &[u8]) -> Option<Vec<u8>> {
    Validator::new().validate_all(component).ok()?;
    within(component, 0)
}

/// The same of a component within a component.
fn within(component: &[u8], depth: usize) -> Option<Vec<u8>> {
    let level = Level::read(component)?;
    let joined = join::join(&level);
    let mut has_changed = joined.is_some();
    let mut encoder = Component::new();
    let mut modules = 0;
    for section in &level.sections {
        match section {
            Section::Module(bytes) => {
                let here = joined.as_ref().and_then(|joined| joined.module(modules));
                modules += 1;
                raw(&mut encoder, ComponentSectionId::CoreModule, here.unwrap_or(bytes));
            }
            Section::Component(bytes) => {
                let inner = if depth < DEPTH_MAX { within(bytes, depth + 1) } else { None };
                has_changed |= inner.is_some();
                raw(&mut encoder, ComponentSectionId::Component, inner.as_deref().unwrap_or(bytes));
            }
            Section::Instances(instances) => {
                encoder.section(&instances_of(instances, joined.as_ref()));
            }
            Section::Aliases(aliases) => {
                encoder.section(&aliases_of(aliases, joined.as_ref()));
            }
            Section::Other(id, data) => {
                encoder.section(&RawSection { id: *id, data });
            }
        }
    }
    has_changed.then(|| encoder.finish())
}

fn raw(encoder: &mut Component, id: ComponentSectionId, data: &[u8]) {
    encoder.section(&RawSection { id: id as u8, data });
}

/// Instances keep their places: the first of those that were joined is all of them, the others are next to nothing.
fn instances_of(instances: &[(u32, Instance<'_>)], joined: Option<&join::Joined>) -> InstanceSection {
    let mut section = InstanceSection::new();
    for (index, instance) in instances {
        let became = joined.and_then(|joined| joined.instance(*index));
        match (instance, became) {
            (Instance::Instantiate { module_index, .. }, Some(Became::Part(part))) => {
                let of = |(name, from): &(String, u32)| (name.clone(), ModuleArg::Instance(*from));
                section.instantiate(*module_index, part.args.iter().map(of));
            }
            (_, Some(_)) => {
                section.export_items(std::iter::empty::<(&str, ExportKind, u32)>());
            }
            (Instance::Instantiate { module_index, args }, None) => {
                section.instantiate(
                    *module_index,
                    args.iter().map(|arg| (arg.name, ModuleArg::Instance(arg.index))),
                );
            }
            (Instance::FromExports(items), None) => {
                section.export_items(items.iter().map(|item| (item.name, item.kind.into(), item.index)));
            }
        }
    }
    section
}

/// What was exported by one that was joined is exported by all.
fn aliases_of(aliases: &[ComponentAlias<'_>], joined: Option<&join::Joined>) -> ComponentAliasSection {
    let mut section = ComponentAliasSection::new();
    for alias in aliases {
        match *alias {
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } => {
                let kind = kind.into();
                match joined.filter(|joined| joined.instance(instance_index).is_some()) {
                    Some(joined) => {
                        let name = join::exported(instance_index, name);
                        section.alias(Alias::CoreInstanceExport {
                            instance: joined.first,
                            kind,
                            name: &name,
                        });
                    }
                    None => {
                        section.alias(Alias::CoreInstanceExport { instance: instance_index, kind, name });
                    }
                }
            }
            ComponentAlias::InstanceExport { kind, instance_index, name } => {
                section.alias(Alias::InstanceExport { instance: instance_index, kind: kind.into(), name });
            }
            ComponentAlias::Outer { kind, count, index } => {
                section.alias(Alias::Outer { kind: kind.into(), count, index });
            }
        }
    }
    section
}

#[cfg(test)]
mod tests;
