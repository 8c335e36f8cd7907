//! What the database has × what the manifest says of it → what callers see. Pure.
//!
//! A manifest may name what the database does not have, because tables come and go without it. That is never an error:
//! the rest is served, and a notice says what was named in vain. Where two would be called the same, what the manifest
//! names is served, because roles were written for it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::super::convert;
use super::super::table_options::{
    ColumnOptions, Names, RelationAlias, RelationOptions, Setting, ShownType, TableOptions,
};
use super::super::validation::{self, Failure};
use super::{
    Catalog, Column, ColumnSettings, ForeignKey, Index, Junction, Relation, Supplied, Table,
    TableSettings, Type,
};
use crate::error::nearest;

/// A catalog as callers see it.
#[derive(Debug)]
pub struct Served {
    /// The tables.
    pub catalog: Catalog,
    /// What the manifest names in vain, in words for the operator. Empty when all of it was found.
    pub notices: Vec<String>,
}

/// One table on its way.
struct Draft<'a> {
    own: &'a Table,
    options: Option<&'a TableOptions>,
    /// What callers call it.
    name: String,
    /// New indexes of its columns.
    moved: Vec<usize>,
    /// How many of them callers see; those with higher indexes are hidden.
    visible: usize,
    table: Table,
}

impl Draft<'_> {
    /// New indexes of columns, if callers may see all of them.
    fn shown(&self, indexes: &[usize]) -> Option<Vec<usize>> {
        let moved = self.all(indexes)?;
        moved
            .iter()
            .all(|index| *index < self.visible)
            .then_some(moved)
    }

    /// New indexes of columns, hidden or not.
    fn all(&self, indexes: &[usize]) -> Option<Vec<usize>> {
        let moved = indexes.iter().map(|index| self.moved.get(*index).copied());
        moved.collect()
    }

    /// New indexes of columns by their names in the database, if callers may see all of them; or the name that fails.
    fn named<'n>(&self, names: &'n Names) -> Result<Vec<usize>, &'n str> {
        let index = |name: &'n String| {
            let index = find(&self.own.columns, name).ok_or(name.as_str())?;
            let moved = self.shown(&[index]).ok_or(name.as_str())?;
            moved.first().copied().ok_or(name.as_str())
        };
        names.0.iter().map(index).collect()
    }
}

/// A column by its name in the database: exact first, then without regard to ASCII case.
fn find(columns: &[Column], name: &str) -> Option<usize> {
    columns
        .iter()
        .position(|column| column.name == name)
        .or_else(|| {
            columns
                .iter()
                .position(|column| column.name.eq_ignore_ascii_case(name))
        })
}

impl Catalog {
    /// What callers see of these tables: with the names, the keys, the relations and the rules of a manifest, and
    /// without what it hides.
    pub fn with(self, options: &BTreeMap<String, TableOptions>) -> Served {
        let mut notices = Vec::new();
        if options.is_empty() {
            return Served {
                catalog: self,
                notices,
            };
        }
        let found = self.matched(options, &mut notices);
        let drafts = self.drafts(&found, &mut notices);
        let by_own: HashMap<&str, &Draft<'_>> = drafts
            .iter()
            .map(|draft| (draft.own.name.as_str(), draft))
            .collect();
        let tables = drafts
            .iter()
            .map(|draft| {
                let mut table = draft.table.clone();
                table.foreign_keys = foreign_keys(&self, draft, &by_own);
                table.relations = relations(draft, &by_own, &mut notices);
                table
            })
            .collect();
        Served {
            catalog: Self::of(tables).with_routines(self.routines),
            notices,
        }
    }

    /// What is said of each table, by the table's own name.
    fn matched<'o>(
        &self,
        options: &'o BTreeMap<String, TableOptions>,
        notices: &mut Vec<String>,
    ) -> HashMap<String, &'o TableOptions> {
        let mut found: HashMap<String, &TableOptions> = HashMap::new();
        for (name, options) in options {
            let folded = self.folded.get(&name.to_ascii_lowercase());
            let folded = folded.and_then(|index| self.tables.get_index(*index));
            let table = self.tables.get(name).or(folded.map(|(_, table)| table));
            let Some(table) = table else {
                let near = nearest(name, self.tables.keys().map(String::as_str));
                notices.push(unknown("table", name, "the database", near));
                continue;
            };
            if found.insert(table.name.clone(), options).is_some() {
                notices.push(format!(
                    "the table `{}` is named twice, in different case",
                    table.name
                ));
            }
        }
        found
    }

    /// The tables that are served, with their names and columns.
    fn drafts<'t>(
        &'t self,
        found: &HashMap<String, &'t TableOptions>,
        notices: &mut Vec<String>,
    ) -> Vec<Draft<'t>> {
        let aliases: HashSet<String> = found
            .values()
            .filter(|options| !options.hidden)
            .filter_map(|options| Some(options.alias.as_ref()?.to_ascii_lowercase()))
            .collect();
        let mut drafts = Vec::with_capacity(self.tables.len());
        for table in self.tables.values() {
            let options = found.get(&table.name).copied();
            if options.is_some_and(|options| options.hidden) {
                continue;
            }
            let alias = options.and_then(|options| options.alias.as_ref());
            if alias.is_none() && aliases.contains(&table.name.to_ascii_lowercase()) {
                notices.push(format!(
                    "the table `{}` is not served, because another one has its name as an alias",
                    table.name
                ));
                continue;
            }
            drafts.push(draft(table, options, notices));
        }
        drafts
    }
}

fn unknown(what: &str, name: &str, place: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("there is no {what} `{name}` in {place}; did you mean `{near}`?"),
        None => format!("there is no {what} `{name}` in {place}"),
    }
}

/// A table with the names and the order of columns that callers see.
fn draft<'t>(
    own: &'t Table,
    options: Option<&'t TableOptions>,
    notices: &mut Vec<String>,
) -> Draft<'t> {
    let Some(said) = options else {
        return Draft {
            own,
            options,
            name: own.name.clone(),
            moved: (0..own.columns.len()).collect(),
            visible: own.columns.len(),
            table: own.clone(),
        };
    };
    let mut of_column: HashMap<usize, &ColumnOptions> = HashMap::new();
    for (name, options) in &said.column {
        match find(&own.columns, name) {
            Some(index) => {
                of_column.insert(index, options);
            }
            None => notices.push(unknown_column(own, name)),
        }
    }
    let aliases: HashSet<String> = of_column
        .values()
        .filter(|options| !options.hidden)
        .filter_map(|options| Some(options.alias.as_ref()?.to_ascii_lowercase()))
        .collect();
    let mut visible = Vec::new();
    let mut hidden = Vec::new();
    for (index, column) in own.columns.iter().enumerate() {
        let options = of_column.get(&index).copied();
        let alias = options.and_then(|options| options.alias.as_ref());
        let is_displaced = alias.is_none() && aliases.contains(&column.name.to_ascii_lowercase());
        if is_displaced {
            notices.push(format!(
                "the column `{}` of the table `{}` is not served, because another one has its name as an alias",
                column.name, own.name
            ));
        }
        let is_hidden = is_displaced || options.is_some_and(|options| options.hidden);
        let column = match options {
            Some(options) => served_column(own, column, options, notices),
            None => column.clone(),
        };
        if is_hidden {
            hidden.push((index, column));
        } else {
            visible.push((index, column));
        }
    }
    let count = visible.len();
    let mut moved = vec![0; own.columns.len()];
    for (new, (old, _)) in visible.iter().chain(&hidden).enumerate() {
        if let Some(slot) = moved.get_mut(*old) {
            *slot = new;
        }
    }
    let plain = |columns: Vec<(usize, Column)>| columns.into_iter().map(|(_, column)| column);
    let mut draft = Draft {
        own,
        options,
        name: said.alias.clone().unwrap_or_else(|| own.name.clone()),
        moved,
        visible: count,
        table: Table {
            name: said.alias.clone().unwrap_or_else(|| own.name.clone()),
            columns: plain(visible).collect(),
            description: said.description.clone().or_else(|| own.description.clone()),
            ..own.clone()
        },
    };
    let mut settings = TableSettings {
        own_name: said.alias.is_some().then(|| own.name.clone()),
        label: said.label.clone(),
        plural: said.plural.clone(),
        name_field: None,
        is_key_virtual: false,
        hidden: plain(hidden).collect(),
        set_by_gateway: Vec::new(),
    };
    settings.set_by_gateway = draft
        .table
        .columns
        .iter()
        .chain(&settings.hidden)
        .enumerate()
        .filter(|(_, column)| {
            let settings = column.settings.as_deref();
            settings.is_some_and(ColumnSettings::is_supplied)
        })
        .map(|(index, _)| index)
        .collect();
    if let Some(name) = &said.name_field {
        match draft.named(&Names(vec![name.clone()])) {
            Ok(indexes) => settings.name_field = indexes.first().copied(),
            Err(name) => notices.push(unknown_column(own, name)),
        }
    }
    let all = |keys: &[Vec<usize>]| keys.iter().filter_map(|key| draft.all(key)).collect();
    let mut unique_keys: Vec<Vec<usize>> = all(&own.unique_keys);
    let mut primary_key = draft.all(&own.primary_key).unwrap_or_default();
    let indexed = draft.all(&own.indexed).unwrap_or_default();
    if let Some(key) = &said.key {
        match draft.named(key) {
            Ok(key) if key == primary_key => {}
            Ok(key) => {
                settings.is_key_virtual = true;
                if !primary_key.is_empty() {
                    unique_keys.insert(0, primary_key);
                }
                primary_key = key;
            }
            Err(name) => notices.push(format!(
                "the table `{}` keeps its own key: {}",
                own.name,
                unknown_column(own, name)
            )),
        }
    }
    draft.table.primary_key = primary_key;
    draft.table.unique_keys = unique_keys;
    draft.table.indexed = indexed;
    let restated = own.restated.iter();
    draft.table.restated = restated
        .filter_map(|(index, restated)| Some((*draft.moved.get(*index)?, restated.clone())))
        .collect();
    draft.table.indexes = own
        .indexes
        .iter()
        .filter_map(|index| {
            Some(Index {
                columns: draft.all(&index.columns)?,
                ..index.clone()
            })
        })
        .collect();
    draft.table.settings = Some(Arc::new(settings));
    draft
}

fn unknown_column(table: &Table, name: &str) -> String {
    let near = nearest(
        name,
        table.columns.iter().map(|column| column.name.as_str()),
    );
    // A column that is there and hidden needs no other name.
    let near = near.filter(|near| !near.eq_ignore_ascii_case(name));
    unknown("column", name, &format!("the table `{}`", table.name), near)
}

/// A column with what the manifest says of it.
fn served_column(
    table: &Table,
    own: &Column,
    options: &ColumnOptions,
    notices: &mut Vec<String>,
) -> Column {
    let failure = |is_set: bool, text: Option<&String>| is_set.then(|| Failure::of(text));
    let mut at_moment = |key: &str, text: &Option<String>| {
        let setting = Setting::of_moment(text.as_deref()?)?;
        let found = supplied(own, setting);
        if found.is_none() {
            notices.push(no_fit(key, table, own));
        }
        found
    };
    let shown_as = options.r#type.and_then(|shown| shown_as(own, shown));
    let mut settings = ColumnSettings {
        own_name: options.alias.is_some().then(|| own.name.clone()),
        label: options.label.clone(),
        shown_as,
        read_only: failure(options.read_only, options.on_fail.read_only.as_ref()),
        create_only: failure(options.create_only, options.on_fail.create_only.as_ref()),
        default: None,
        on_create: at_moment("on_create", &options.on_create),
        on_update: at_moment("on_update", &options.on_update),
        picklist: options.picklist.clone().unwrap_or_default(),
        checks: validation::checks(options),
    };
    let described = options.description.clone();
    let mut column = Column {
        name: options.alias.clone().unwrap_or_else(|| own.name.clone()),
        description: described.or_else(|| own.description.clone()),
        settings: Some(Arc::new(settings.clone())),
        ..own.clone()
    };
    // A constant is one of the values that callers see.
    if let Some(value) = &options.default {
        settings.default = supplied(&column, Setting::of_default(value));
        if settings.default.is_none() {
            notices.push(no_fit("default", table, own));
        }
        column.settings = Some(Arc::new(settings));
    }
    if options.r#type.is_some() && column.shown_as().is_none() && !is_shown(own, options) {
        notices.push(no_fit("type", table, own));
    }
    column
}

fn no_fit(key: &str, table: &Table, column: &Column) -> String {
    format!(
        "`{key}` of the column `{}` of the table `{}` does not fit its type ({}), and is not used",
        column.name, table.name, column.db_type
    )
}

/// What a column is shown as, if its values can be that and are not already.
fn shown_as(column: &Column, shown: ShownType) -> Option<Type> {
    match (shown, &column.kind) {
        (ShownType::Json, Type::String | Type::Text) => Some(Type::Json),
        (ShownType::Boolean, Type::SmallInt | Type::Integer | Type::BigInt | Type::Decimal) => {
            Some(Type::Boolean)
        }
        _ => None,
    }
}

/// Whether the database itself holds what the manifest says that a column holds.
fn is_shown(column: &Column, options: &ColumnOptions) -> bool {
    match options.r#type {
        Some(ShownType::Json) => column.kind == Type::Json,
        Some(ShownType::Boolean) => column.kind == Type::Boolean,
        None => true,
    }
}

/// What a column is set to, if it can hold that.
fn supplied(column: &Column, setting: Setting<'_>) -> Option<Supplied> {
    if column.is_generated {
        return None;
    }
    match setting {
        Setting::Lookup(name) => Some(Supplied::Lookup(name.to_owned())),
        Setting::Now => column.kind.is_temporal().then_some(Supplied::Now),
        Setting::Constant(value) => {
            let text = RawValue::from_string(value.to_string()).ok()?;
            let value = convert::from_json(column, &text).ok()?;
            Some(Supplied::Constant(value))
        }
    }
}

/// The foreign keys that callers may know of.
fn foreign_keys(
    catalog: &Catalog,
    draft: &Draft<'_>,
    by_own: &HashMap<&str, &Draft<'_>>,
) -> Vec<ForeignKey> {
    let keys = draft.own.foreign_keys.iter();
    keys.filter_map(|key| {
        let columns = draft.shown(&key.columns)?;
        let Some(target) = by_own.get(key.target.as_str()) else {
            // What the driver did not list is no secret of the manifest.
            let is_hidden = catalog.tables.contains_key(&key.target);
            return (!is_hidden).then(|| ForeignKey {
                columns,
                ..key.clone()
            });
        };
        let indexes = key
            .target_columns
            .iter()
            .map(|name| find(&target.own.columns, name))
            .collect::<Option<Vec<usize>>>()?;
        let names = target.shown(&indexes)?.into_iter().map(|index| {
            let column = target.table.columns.get(index)?;
            Some(column.name.clone())
        });
        Some(ForeignKey {
            columns,
            target: target.name.clone(),
            target_columns: names.collect::<Option<_>>()?,
            ..key.clone()
        })
    })
    .collect()
}

/// The relations of a table: those that follow from foreign keys, and those of the manifest.
fn relations(
    draft: &Draft<'_>,
    by_own: &HashMap<&str, &Draft<'_>>,
    notices: &mut Vec<String>,
) -> Vec<Relation> {
    let table = &draft.own.name;
    let none = (BTreeMap::new(), Vec::new());
    let (aliases, declared) = draft.options.map_or((&none.0, &none.1), |options| {
        (&options.relation_alias, &options.relation)
    });
    for name in aliases.keys() {
        if draft.own.relation(name).is_none() {
            let near = nearest(
                name,
                draft
                    .own
                    .relations
                    .iter()
                    .map(|relation| relation.name.as_str()),
            );
            let place = format!("the table `{table}`");
            notices.push(unknown("relation", name, &place, near));
        }
    }
    let named: Vec<&str> = declared
        .iter()
        .map(|relation| relation.name.as_str())
        .chain(aliases.values().filter_map(|alias| alias.alias.as_deref()))
        .collect();
    let derived = draft.own.relations.iter().filter_map(|relation| {
        let alias = aliases
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&relation.name))
            .map(|(_, alias)| alias);
        let relation = derived_relation(draft, relation, alias, by_own)?;
        let is_displaced = relation.own_name.is_none()
            && named
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&relation.name));
        if is_displaced {
            return Some(Err(format!(
                "the relation `{}` of the table `{table}` is not served, because another one is called so",
                relation.name
            )));
        }
        Some(Ok(relation))
    });
    let declared = declared.iter().map(|options| {
        virtual_relation(draft, options, by_own).map_err(|reason| {
            format!(
                "the relation `{}` of the table `{table}` is not served: {reason}",
                options.name
            )
        })
    });
    let mut relations = Vec::new();
    for relation in derived.chain(declared) {
        match relation {
            Ok(relation) if find(&draft.table.columns, &relation.name).is_some() => {
                notices.push(format!(
                    "the relation `{}` of the table `{table}` is not served, because a column is called so",
                    relation.name
                ));
            }
            Ok(relation) => relations.push(relation),
            Err(notice) => notices.push(notice),
        }
    }
    relations
}

/// A relation that follows from a foreign key, unless it is hidden or leads through what is.
fn derived_relation(
    draft: &Draft<'_>,
    own: &Relation,
    alias: Option<&RelationAlias>,
    by_own: &HashMap<&str, &Draft<'_>>,
) -> Option<Relation> {
    if alias.is_some_and(|alias| alias.hidden) {
        return None;
    }
    let target = by_own.get(own.target.as_str())?;
    let junction = match &own.junction {
        None => None,
        Some(junction) => {
            let between = by_own.get(junction.table.as_str())?;
            Some(Junction {
                table: between.name.clone(),
                near: between.shown(&junction.near)?,
                far: between.shown(&junction.far)?,
            })
        }
    };
    let name = alias.and_then(|alias| alias.alias.clone());
    Some(Relation {
        own_name: name.is_some().then(|| own.name.clone()),
        name: name.unwrap_or_else(|| own.name.clone()),
        columns: draft.shown(&own.columns)?,
        target: target.name.clone(),
        target_columns: target.shown(&own.target_columns)?,
        junction,
        is_always: alias.is_some_and(|alias| alias.always),
        label: alias.and_then(|alias| alias.label.clone()),
        description: alias.and_then(|alias| alias.description.clone()),
        ..own.clone()
    })
}

/// A relation of the manifest, or why there is none.
fn virtual_relation(
    draft: &Draft<'_>,
    options: &RelationOptions,
    by_own: &HashMap<&str, &Draft<'_>>,
) -> Result<Relation, String> {
    let served = |name: &str| {
        let exact = by_own.get(name).copied();
        let folded = || {
            let mut same = by_own
                .values()
                .copied()
                .filter(|draft| draft.own.name.eq_ignore_ascii_case(name));
            same.next().filter(|_| same.next().is_none())
        };
        exact
            .or_else(folded)
            .ok_or_else(|| unknown("table", name, "what is served", None))
    };
    let named = |draft: &Draft<'_>, names: &Names| {
        draft.named(names).map_err(|name| {
            let near = unknown_column(draft.own, name);
            if find(&draft.own.columns, name).is_some() {
                format!(
                    "the column `{name}` of the table `{}` is hidden",
                    draft.own.name
                )
            } else {
                near
            }
        })
    };
    let equal = |left: &Draft<'_>, here: &[usize], right: &Draft<'_>, there: &[usize]| {
        for (here, there) in here.iter().zip(there) {
            let pair = (
                left.table.columns.get(*here),
                right.table.columns.get(*there),
            );
            if let (Some(here), Some(there)) = pair
                && !are_comparable(&here.kind, &there.kind)
            {
                return Err(format!(
                    "the columns `{}` ({}) and `{}` ({}) can not be compared",
                    here.own_name(),
                    here.db_type,
                    there.own_name(),
                    there.db_type
                ));
            }
        }
        Ok(())
    };
    let columns = named(draft, &options.column)?;
    let target = match &options.service {
        Some(_) => None,
        None => Some(served(&options.table)?),
    };
    let target_columns = match target {
        Some(target) => named(target, &options.ref_column)?,
        None => Vec::new(),
    };
    let junction = match &options.junction {
        None => {
            if let Some(target) = target {
                equal(draft, &columns, target, &target_columns)?;
            }
            None
        }
        Some(junction) => {
            let between = served(&junction.table)?;
            let near = named(between, &junction.column)?;
            let far = named(between, &junction.ref_column)?;
            equal(draft, &columns, between, &near)?;
            if let Some(target) = target {
                equal(between, &far, target, &target_columns)?;
            }
            Some(Junction {
                table: between.name.clone(),
                near,
                far,
            })
        }
    };
    Ok(Relation {
        name: options.name.clone(),
        kind: options.kind,
        columns,
        target: target.map_or_else(|| options.table.clone(), |target| target.name.clone()),
        target_columns,
        junction,
        service: options.service.clone(),
        service_columns: match &options.service {
            Some(_) => options.ref_column.0.clone(),
            None => Vec::new(),
        },
        is_virtual: true,
        is_always: options.always,
        own_name: None,
        label: options.label.clone(),
        description: options.description.clone(),
    })
}

/// Whether every product can compare values of two kinds without a word on how.
fn are_comparable(left: &Type, right: &Type) -> bool {
    let is_text = |kind: &Type| matches!(kind, Type::String | Type::Text);
    left == right || (left.is_numeric() && right.is_numeric()) || (is_text(left) && is_text(right))
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture::catalog;
    use super::super::RelationKind;
    use super::*;
    use serde_json::{Value, json};

    fn served(said: Value) -> Served {
        let options: BTreeMap<String, TableOptions> = serde_json::from_value(said).unwrap();
        catalog().with(&options)
    }

    fn table(served: &Served, name: &str) -> Arc<Table> {
        Arc::clone(served.catalog.get(name).unwrap())
    }

    #[test]
    fn nothing_said_is_nothing_changed() {
        let served = served(json!({}));
        assert!(served.notices.is_empty());
        for (before, after) in catalog().tables().zip(served.catalog.tables()) {
            assert_eq!(before, after);
        }
    }

    #[test]
    fn hidden_columns_go_behind_the_others_and_keys_follow_them() {
        let own = catalog();
        let own = own.get("line").unwrap();
        let served = served(json!({"line": {"column": {"position": {"hidden": true}}}}));
        let line = table(&served, "line");
        assert_eq!(line.columns.len(), own.columns.len() - 1);
        assert_eq!(line.column_index("position"), None);
        assert_eq!(line.hidden().len(), 1);
        let key = |table: &Table| -> Vec<String> {
            let columns = table.primary_key.iter();
            columns
                .map(|index| table.column(*index).unwrap().name.clone())
                .collect()
        };
        assert_eq!(key(&line), key(own));
        assert!(line.columns.get(line.primary_key[1]).is_none());
        assert!(line.is_unique(&line.primary_key));
        for (index, column) in line.columns.iter().enumerate() {
            assert_eq!(line.column_index(&column.name), Some(index));
        }
    }

    #[test]
    fn names_of_the_database_stay_known() {
        let served =
            served(json!({"customer": {"alias": "client", "column": {"id": {"alias": "number"}}}}));
        let client = table(&served, "client");
        assert_eq!(client.own_name(), "customer");
        assert_eq!(client.native, "customer");
        assert_eq!(client.columns[0].name, "number");
        assert_eq!(client.columns[0].own_name(), "id");
        let invoice = table(&served, "invoice");
        let key = invoice
            .foreign_keys
            .iter()
            .find(|key| key.target == "client")
            .unwrap();
        assert_eq!(key.target_columns, ["number"]);
        let relation = invoice.relation("customer_by_customer_id").unwrap();
        assert_eq!(relation.target, "client");
        assert!(served.catalog.get("customer").is_err());
        assert!(served.catalog.described("Customer", |_| true).is_ok());
        assert!(served.catalog.described("client", |_| true).is_err());
        assert!(served.notices.is_empty(), "{:?}", served.notices);
    }

    #[test]
    fn a_key_of_the_manifest_is_no_promise_of_the_database() {
        let served = served(json!({"customer": {"key": ["full_name"]}}));
        let customer = table(&served, "customer");
        let name = customer.column_index("full_name").unwrap();
        let id = customer.column_index("id").unwrap();
        assert_eq!(customer.primary_key, [name]);
        assert!(customer.is_key_virtual());
        assert!(!customer.is_unique(&[name]));
        assert!(customer.is_unique(&[id]));
    }

    #[test]
    fn a_relation_to_another_service_has_the_names_of_that_service() {
        let served = served(json!({"customer": {"relation": [
            {"name": "tickets", "kind": "has_many", "column": "id", "service": "desk", "table": "ticket",
             "ref_column": "requester", "always": true},
            {"name": "badges", "kind": "many_many", "column": "id", "service": "desk", "table": "badge",
             "ref_column": "number",
             "junction": {"table": "invoice", "column": "customer_id", "ref_column": "id"}},
        ]}}));
        let customer = table(&served, "customer");
        let tickets = customer.relation("tickets").unwrap();
        assert_eq!(tickets.service.as_ref().unwrap().as_str(), "desk");
        assert_eq!(
            (tickets.kind, tickets.target.as_str()),
            (RelationKind::HasMany, "ticket")
        );
        assert_eq!(tickets.columns, [customer.column_index("id").unwrap()]);
        assert!(tickets.target_columns.is_empty());
        assert_eq!(tickets.service_columns, ["requester"]);
        assert!(tickets.is_virtual && tickets.is_always && served.catalog.has_always());
        let badges = customer.relation("badges").unwrap();
        assert_eq!(badges.junction.as_ref().unwrap().table, "invoice");
        assert!(served.notices.is_empty(), "{:?}", served.notices);
    }

    #[test]
    fn what_is_named_in_vain_is_told_and_the_rest_is_served() {
        let served = served(json!({
            "custmer": {},
            "tag": {"alias": "invoice"},
            "customer": {
                "key": "ident",
                "name_field": "nam",
                "column": {
                    "emial": {"hidden": true},
                    "full_name": {"alias": "email"},
                    "credit": {"default": "many", "on_update": "now", "type": "json"},
                },
                "relation": [
                    {"name": "a", "kind": "has_many", "column": "id", "table": "nowhere", "ref_column": "x"},
                    {"name": "b", "kind": "has_many", "column": "id", "table": "line", "ref_column": "product"},
                    {"name": "id", "kind": "has_many", "column": "id", "table": "line", "ref_column": "position"},
                ],
                "relation_alias": {"invoice_by_customer": {"alias": "invoices"}},
            },
        }));
        let customer = table(&served, "customer");
        assert!(customer.relation("a").is_none() && customer.relation("b").is_none());
        assert_eq!(
            customer.columns[customer.column_index("email").unwrap()].own_name(),
            "full_name"
        );
        assert_eq!(table(&served, "invoice").own_name(), "tag");
        insta::assert_snapshot!(served.notices.join("\n"));
    }
}
