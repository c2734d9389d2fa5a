//! Which instances become one, and the module they become. The first has the memory and the table; the others begin where it
//! does, so that they can only have what was there before it, or what they have of each other.

use wasmparser::{ExternalKind, Import, TypeRef};

use super::EMPTY;
use super::level::{Level, Made};
use super::merge;
use super::module::{Module, kind};

/// Instances that became one.
pub(super) struct Joined {
    /// The first of them, which stands for all.
    pub(super) first: u32,
    members: Vec<u32>,
    /// The module of each.
    modules: Vec<u32>,
    /// What became of the first.
    whole: Part,
    /// What became of the last, if what comes late must be put in its place.
    late: Option<Part>,
}

/// A module that was made.
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// What it imports from: names and instances.
    pub(super) args: Vec<(String, u32)>,
}

/// What has become of an instance that was joined.
pub(super) enum Became<'j> {
    /// An instance of a module that was made.
    Part(&'j Part),
    /// Nothing: it is in the first.
    Nothing,
}

impl Joined {
    /// What has become of an instance; none if it was not joined.
    pub(super) fn instance(&self, index: u32) -> Option<Became<'_>> {
        self.at(self.members.iter().position(|member| *member == index)?)
    }

    /// What a module has become, if it was joined.
    pub(super) fn module(&self, index: u32) -> Option<&[u8]> {
        match self.at(self.modules.iter().position(|module| *module == index)?)? {
            Became::Part(part) => Some(&part.bytes),
            Became::Nothing => Some(EMPTY),
        }
    }

    fn at(&self, place: usize) -> Option<Became<'_>> {
        Some(match &self.late {
            _ if place == 0 => Became::Part(&self.whole),
            Some(late) if place + 1 == self.members.len() => Became::Part(late),
            _ => Became::Nothing,
        })
    }
}

/// The name of what an instance exported by `name`.
pub(super) fn exported(instance: u32, name: &str) -> String {
    format!("{instance}:{name}")
}

/// What an import is.
#[derive(Clone, Copy)]
pub(super) enum Wire<'a> {
    /// An export of the member at this place.
    Inside(usize, &'a str),
    /// An export of an instance that was there before.
    Outside(u32, &'a str),
    /// A function of an instance that is there only when the last member was: it is called through a table.
    Late(u32, &'a str),
}

/// An instance that is joined.
pub(super) struct Member<'l, 'a> {
    pub(super) instance: u32,
    module_index: u32,
    pub(super) module: &'l Module<'a>,
    pub(super) wires: Vec<Wire<'a>>,
}

/// Joins what can be joined; none if that is nothing, or would gain nothing.
pub(super) fn join(level: &Level<'_>) -> Option<Joined> {
    let modules: Vec<Module<'_>> =
        level.modules.iter().map(|bytes| Module::read(bytes)).collect::<Option<_>>()?;
    let members = members(level, &modules)?;
    if !members.iter().any(|member| member.module.fills_imported_table()) {
        return None;
    }
    let (whole, late) = merge::merge(level, &members)?;
    Some(Joined {
        first: members.first()?.instance,
        members: members.iter().map(|member| member.instance).collect(),
        modules: members.iter().map(|member| member.module_index).collect(),
        whole,
        late,
    })
}

fn members<'l, 'a>(level: &Level<'a>, modules: &'l [Module<'a>]) -> Option<Vec<Member<'l, 'a>>> {
    let mut members: Vec<Member<'l, 'a>> = Vec::new();
    let uses = |index: u32| {
        level.instances.iter().filter(|made| matches!(made, Made::Of(module, _) if *module == index)).count()
    };
    for (instance, made) in level.instances.iter().enumerate() {
        let Made::Of(module_index, args) = made else { continue };
        let module = modules.get(*module_index as usize)?;
        if module.has_start
            || uses(*module_index) != 1
            || (members.is_empty() && !module.has_memory_and_table())
        {
            continue;
        }
        let instance = u32::try_from(instance).ok()?;
        let wires = module.imports.iter().map(|import| wire(level, &members, instance, args, import));
        let Some(wires) = wires.collect::<Option<Vec<_>>>() else { continue };
        if members.is_empty() || module.imports.is_empty() || shares_table(module, &wires) {
            members.push(Member { instance, module_index: *module_index, module, wires });
        }
    }
    let is_member = |index: u32| members.iter().any(|member| member.instance == index);
    let (first, last) = (members.first()?.instance, members.last()?.instance);
    for (instance, made) in level.instances.iter().enumerate() {
        let instance = u32::try_from(instance).ok()?;
        let Made::Of(module, args) = made else { continue };
        if is_member(instance) {
            continue;
        }
        let module = modules.get(*module as usize)?;
        let has_whole = args.iter().any(|(_, arg)| is_member(*arg));
        // What is written or run between two of them would be written or run after both.
        let fills = || fills_table_of(level, module, args, &is_member);
        let is_between = first < instance && instance < last;
        if has_whole || (is_between && (module.has_start || module.writes_data() || fills())) {
            return None;
        }
    }
    // The same goes for components: what they run may call what is only half there.
    let is_between = |instances: &usize| (first as usize + 1..=last as usize).contains(instances);
    let is_whole = members.len() > 1 && !level.interludes.iter().any(is_between);
    is_whole.then_some(members)
}

/// Whether it imports a table of a member.
fn shares_table(module: &Module<'_>, wires: &[Wire<'_>]) -> bool {
    let is_table = |import: &Import<'_>| kind(import.ty) == ExternalKind::Table;
    module
        .imports
        .iter()
        .zip(wires)
        .any(|(import, wire)| is_table(import) && matches!(wire, Wire::Inside(..)))
}

/// Whether one that is no member puts something into a table of a member as it starts.
fn fills_table_of(
    level: &Level<'_>,
    module: &Module<'_>,
    args: &[(&str, u32)],
    is_member: &impl Fn(u32) -> bool,
) -> bool {
    let is_of_member = |import: &Import<'_>| {
        let from = args.iter().find(|(name, _)| *name == import.module).map(|(_, from)| *from);
        from.and_then(|from| level.source(from, import.name)).is_none_or(|(source, _)| is_member(source))
    };
    let is_table = |import: &&Import<'_>| kind(import.ty) == ExternalKind::Table;
    module.fills_imported_table() && module.imports.iter().filter(is_table).any(is_of_member)
}

/// Where an import of `instance` leads; none if that is nothing it could have.
fn wire<'a>(
    level: &Level<'a>,
    members: &[Member<'_, 'a>],
    instance: u32,
    args: &[(&'a str, u32)],
    import: &Import<'a>,
) -> Option<Wire<'a>> {
    let first = members.first().map_or(instance, |member| member.instance);
    let (_, from) = args.iter().find(|(name, _)| *name == import.module)?;
    match level.source(*from, import.name) {
        Some((source, name)) if source < first => Some(Wire::Outside(source, name)),
        _ if *from < first => Some(Wire::Outside(*from, import.name)),
        Some((source, name)) if members.iter().any(|member| member.instance == source) => {
            let place = members.iter().position(|member| member.instance == source)?;
            Some(Wire::Inside(place, name))
        }
        _ => matches!(import.ty, TypeRef::Func(_)).then_some(Wire::Late(*from, import.name)),
    }
}
