//! The module that several become, and the one that brings it what comes late.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use wasm_encoder::reencode::Reencode as _;
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, ImportSection, MemorySection, NameMap,
    NameSection, RefType, TableSection, TableType, TagSection, TypeSection,
};
use wasmparser::{ComponentAlias, ExternalKind, Import, TypeRef};

use super::join::{Member, Part, Wire, exported};
use super::level::{Level, Section};
use super::module::kind;
use super::renumber::{Indices, Renumber, Space};

/// The table of functions that come late.
const LATE: &str = "late";

/// Something from outside that is imported once, however many members do: from where, by what name, and how the member at
/// a place imports it.
struct Foreign<'a> {
    from: u32,
    name: &'a str,
    place: usize,
    import: Import<'a>,
}

/// What is made of the first and of the last.
pub(super) fn merge(level: &Level<'_>, members: &[Member<'_, '_>]) -> Option<(Part, Option<Part>)> {
    let mut space = Space::default();
    let mut numbers: HashMap<(u32, &str), u32> = HashMap::new();
    let (mut imports, mut late) = (Vec::new(), Vec::new());
    for is_late in [false, true] {
        for (place, member) in members.iter().enumerate() {
            for (import, wire) in member.module.imports.iter().zip(&member.wires) {
                let (from, name) = match *wire {
                    Wire::Outside(from, name) if !is_late => (from, name),
                    Wire::Late(from, name) if is_late => (from, name),
                    _ => continue,
                };
                if numbers.contains_key(&(from, name)) {
                    continue;
                }
                numbers.insert((from, name), space.next(kind(import.ty)));
                let foreign = Foreign { from, name, place, import: *import };
                if is_late { late.push(foreign) } else { imports.push(foreign) }
            }
        }
    }
    let imported_globals = space.count(ExternalKind::Global);
    let mut all: Vec<Indices> = Vec::new();
    for member in members {
        let mut indices = space.begin(member.module)?;
        for (import, wire) in member.module.imports.iter().zip(&member.wires) {
            let kind = kind(import.ty);
            let index = match *wire {
                Wire::Outside(from, name) | Wire::Late(from, name) => *numbers.get(&(from, name))?,
                Wire::Inside(place, name) => {
                    let (of, index) = *members[place].module.exports.get(name)?;
                    if of != kind {
                        return None;
                    }
                    all[place].of(kind, index)?
                }
            };
            indices.push(kind, index);
        }
        space.define(member.module, &mut indices);
        all.push(indices);
    }
    let table = space.next(ExternalKind::Table);
    let mut renumber = Renumber::new(all, imported_globals);
    let whole = write(level, members, &imports, &late, table, &mut renumber)?;
    let filler = if late.is_empty() { None } else { Some(filler(members, &late, &mut renumber)?) };
    Some((whole, filler))
}

fn args_of(foreign: &[Foreign<'_>]) -> Vec<(String, u32)> {
    let instances: BTreeSet<u32> = foreign.iter().map(|foreign| foreign.from).collect();
    instances.into_iter().map(|from| (from.to_string(), from)).collect()
}

fn table_type(late: &[Foreign<'_>]) -> Option<TableType> {
    let minimum = u64::try_from(late.len()).ok()?;
    Some(TableType {
        element_type: RefType::FUNCREF,
        minimum,
        maximum: Some(minimum),
        table64: false,
        shared: false,
    })
}

fn write(
    level: &Level<'_>,
    members: &[Member<'_, '_>],
    imports: &[Foreign<'_>],
    late: &[Foreign<'_>],
    table: u32,
    renumber: &mut Renumber,
) -> Option<Part> {
    let (mut import_section, mut functions) = (ImportSection::new(), FunctionSection::new());
    let (mut tables, mut memories, mut tags) = (TableSection::new(), MemorySection::new(), TagSection::new());
    let (mut globals, mut elements) = (GlobalSection::new(), ElementSection::new());
    let (mut code, mut data) = (CodeSection::new(), DataSection::new());
    for Foreign { from, name, place, import } in imports {
        renumber.turn_to(*place);
        import_section.import(&from.to_string(), name, renumber.entity_type(import.ty).ok()?);
    }
    for (nth, Foreign { place, import, .. }) in late.iter().enumerate() {
        renumber.turn_to(*place);
        let TypeRef::Func(ty) = import.ty else { return None };
        let params = (*members[*place].module.params.get(ty as usize)?)?;
        let ty = renumber.type_index(ty).ok()?;
        functions.function(ty);
        code.function(&through(table, u32::try_from(nth).ok()?, ty, params));
    }
    for (place, Member { module, .. }) in members.iter().enumerate() {
        renumber.turn_to(place);
        for ty in &module.functions {
            functions.function(renumber.type_index(*ty).ok()?);
        }
        for table in &module.tables {
            renumber.parse_table(&mut tables, table.clone()).ok()?;
        }
        for memory in &module.memories {
            memories.memory(renumber.memory_type(*memory).ok()?);
        }
        for tag in &module.tags {
            tags.tag(renumber.tag_type(*tag).ok()?);
        }
        for global in &module.globals {
            renumber.parse_global(&mut globals, global.clone()).ok()?;
        }
        for element in &module.elements {
            renumber.parse_element(&mut elements, element.clone()).ok()?;
        }
        for body in &module.bodies {
            renumber.parse_function_body(&mut code, body.clone()).ok()?;
        }
        for one in &module.data {
            renumber.parse_data(&mut data, one.clone()).ok()?;
        }
    }
    tables.table(table_type(late)?);
    let mut exports = exports(level, members, renumber)?;
    exports.export(LATE, ExportKind::Table, table);
    let mut merged = wasm_encoder::Module::new();
    merged.section(&types(members, renumber)?).section(&import_section).section(&functions).section(&tables);
    merged.section(&memories);
    if !tags.is_empty() {
        // Even an empty section of them is for engines that know exceptions.
        merged.section(&tags);
    }
    merged.section(&globals).section(&exports).section(&elements);
    merged.section(&DataCountSection { count: data.len() }).section(&code).section(&data);
    merged.section(&names(members, renumber));
    Some(Part { bytes: merged.finish(), args: args_of(imports) })
}

/// What functions are called, for backtraces.
fn names(members: &[Member<'_, '_>], renumber: &mut Renumber) -> NameSection {
    let mut by_number: BTreeMap<u32, &str> = BTreeMap::new();
    for (place, Member { module, .. }) in members.iter().enumerate() {
        renumber.turn_to(place);
        let defined = module.imports.iter().filter(|import| kind(import.ty) == ExternalKind::Func).count();
        let of_its_own = module.names.iter().filter(|(index, _)| *index as usize >= defined);
        by_number.extend(
            of_its_own.filter_map(|(index, name)| Some((renumber.function_index(*index).ok()?, *name))),
        );
    }
    let (mut map, mut section) = (NameMap::new(), NameSection::new());
    by_number.iter().for_each(|(number, name)| map.append(*number, name));
    section.functions(&map);
    section
}

/// The types of all members.
fn types(members: &[Member<'_, '_>], renumber: &mut Renumber) -> Option<TypeSection> {
    let mut types = TypeSection::new();
    for (place, Member { module, .. }) in members.iter().enumerate() {
        renumber.turn_to(place);
        if let Some(reader) = module.types.clone() {
            renumber.parse_type_section(&mut types, reader).ok()?;
        }
    }
    Some(types)
}

/// A function that calls the one in this place of the table.
fn through(table: u32, place: u32, ty: u32, params: u32) -> Function {
    let mut function = Function::new([]);
    let mut instructions = function.instructions();
    for param in 0..params {
        instructions.local_get(param);
    }
    instructions.i32_const(place.cast_signed()).call_indirect(table, ty).end();
    function
}

/// What puts functions that came late into their places of the table.
fn filler(members: &[Member<'_, '_>], late: &[Foreign<'_>], renumber: &mut Renumber) -> Option<Part> {
    let (mut imports, mut elements) = (ImportSection::new(), ElementSection::new());
    imports.import(LATE, LATE, table_type(late)?);
    for Foreign { from, name, place, import } in late {
        renumber.turn_to(*place);
        imports.import(&from.to_string(), name, renumber.entity_type(import.ty).ok()?);
    }
    let all: Vec<u32> = (0..u32::try_from(late.len()).ok()?).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
    let mut module = wasm_encoder::Module::new();
    module.section(&types(members, renumber)?).section(&imports).section(&elements);
    let mut args = args_of(late);
    args.push((LATE.to_owned(), members.first()?.instance));
    Some(Part { bytes: module.finish(), args })
}

/// Whatever anybody has of a member.
fn exports(level: &Level<'_>, members: &[Member<'_, '_>], renumber: &mut Renumber) -> Option<ExportSection> {
    let mut section = ExportSection::new();
    let mut done = HashSet::new();
    for aliases in &level.sections {
        let Section::Aliases(aliases) = aliases else { continue };
        for alias in aliases {
            let ComponentAlias::CoreInstanceExport { instance_index, name, .. } = *alias else { continue };
            let Some(place) = members.iter().position(|member| member.instance == instance_index) else {
                continue;
            };
            if done.insert((place, name)) {
                let (kind, index) = *members[place].module.exports.get(name)?;
                renumber.turn_to(place);
                let index = renumber.external_index(kind, index).ok()?;
                section.export(&exported(instance_index, name), kind.into(), index);
            }
        }
    }
    Some(section)
}
