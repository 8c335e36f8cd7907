//! Reads tables, columns and keys from SQLite's own tables about them.

use std::collections::HashMap;

use rusqlite::{Connection, Row};

use super::declaration::checks_of;
use super::declared::declared;
use super::error::translate;
use crate::connector::database::catalog::{
    Catalog, Check, Column, DefaultValue, ForeignKey, Index as TableIndex, IndexOrigin, Table, Type,
};
use crate::error::Result;

/// Reads the whole catalog, as one moment saw it.
///
/// Left out are SQLite's own tables, the tables in which virtual tables keep their data, and foreign keys whose target
/// does not exist. Foreign keys have no names in SQLite. Virtual tables and views can only be read.
pub(super) fn read_catalog(connection: &Connection) -> Result<Catalog> {
    // One statement each, but in one transaction: a change of the schema lies before or after all of them.
    connection.execute_batch("BEGIN").map_err(translate)?;
    let tables = read_tables(connection);
    let ended = connection.execute_batch("ROLLBACK");
    let tables = tables.map_err(translate)?;
    ended.map_err(translate)?;
    Ok(Catalog::new(tables))
}

/// A table as the first query lists it.
struct Listed {
    name: String,
    is_view: bool,
    is_virtual: bool,
    without_rowid: bool,
}

fn read_tables(connection: &Connection) -> rusqlite::Result<Vec<Table>> {
    let listed = rows(
        connection,
        "SELECT name, type, wr FROM pragma_table_list \
         WHERE schema = 'main' AND type IN ('table', 'view', 'virtual') \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
        None,
        |row| {
            let kind: String = row.get(1)?;
            Ok(Listed {
                name: row.get(0)?,
                is_view: kind == "view",
                is_virtual: kind == "virtual",
                without_rowid: row.get(2)?,
            })
        },
    )?;
    let mut tables = Vec::with_capacity(listed.len());
    for entry in &listed {
        match read_table(connection, entry) {
            Ok(table) => tables.push(table),
            // A view whose tables are gone cannot be asked for its columns.
            Err(error) if entry.is_view || entry.is_virtual => {
                tracing::debug!(table = %entry.name, %error, "left out of the catalog");
            }
            Err(error) => return Err(error),
        }
    }
    let keys: Vec<Vec<ForeignKey>> = tables
        .iter()
        .map(|table| read_foreign_keys(connection, table, &tables))
        .collect::<rusqlite::Result<_>>()?;
    for (table, keys) in tables.iter_mut().zip(keys) {
        table.foreign_keys = keys;
    }
    Ok(tables)
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    table: Option<&str>,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    match table {
        Some(table) => statement.query_map([table], read)?.collect(),
        None => statement.query_map([], read)?.collect(),
    }
}

fn read_table(connection: &Connection, listed: &Listed) -> rusqlite::Result<Table> {
    // hidden: 0 ordinary, 1 hidden column of a virtual table, 2 and 3 generated.
    let found = rows(
        connection,
        "SELECT name, type, \"notnull\", dflt_value, pk, hidden FROM pragma_table_xinfo(?1) \
         WHERE hidden <> 1 ORDER BY cid",
        Some(&listed.name),
        |row| {
            let declared_type: Option<String> = row.get(1)?;
            let pk: i64 = row.get(4)?;
            let hidden: i64 = row.get(5)?;
            let not_null: bool = row.get(2)?;
            let default: Option<String> = row.get(3)?;
            let declared_type = declared_type.unwrap_or_default();
            let meaning = declared(&declared_type);
            let column = Column {
                name: row.get(0)?,
                default: default.and_then(|text| read_default(&text, &meaning.kind)),
                kind: meaning.kind,
                db_type: declared_type,
                native: 0,
                // SQLite lets NULL into a primary key unless told otherwise; a record could not be found by it.
                is_nullable: !not_null && pk == 0,
                is_auto_increment: false,
                is_generated: hidden > 1,
                length: meaning.length,
                precision: meaning.precision,
                scale: meaning.scale,
                picklist: Vec::new(),
                description: None,
                settings: None,
            };
            Ok((column, pk))
        },
    )?;
    let mut primary_key: Vec<(i64, usize)> = found
        .iter()
        .enumerate()
        .filter(|(_, (_, pk))| *pk > 0)
        .map(|(index, (_, pk))| (*pk, index))
        .collect();
    primary_key.sort_unstable();
    let primary_key: Vec<usize> = primary_key.into_iter().map(|(_, index)| index).collect();
    let mut columns: Vec<Column> = found.into_iter().map(|(column, _)| column).collect();

    let index_list = read_indexes(connection, &listed.name, &columns)?;
    let has_key_index = index_list.iter().any(|index| index.origin == "pk");
    // Only a lone column declared exactly INTEGER is another name for the rowid
    // (https://www.sqlite.org/lang_createtable.html#rowid); then the key needs no index.
    if let [only] = primary_key.as_slice()
        && let Some(column) = columns.get_mut(*only)
        && column.db_type.eq_ignore_ascii_case("integer")
        && !listed.without_rowid
        && !has_key_index
    {
        column.is_auto_increment = true;
    }
    let unique_keys = index_list
        .iter()
        .filter(|index| index.is_unique && !index.is_partial && index.origin != "pk")
        .filter_map(|index| index.columns.iter().copied().collect())
        .collect();
    let mut indexed: Vec<usize> = primary_key
        .first()
        .copied()
        .into_iter()
        .chain(
            index_list
                .iter()
                .filter(|index| !index.is_partial)
                .filter_map(|index| index.columns.first().copied().flatten()),
        )
        .collect();
    indexed.sort_unstable();
    indexed.dedup();
    let named = index_list.iter().filter_map(table_index).collect();
    Ok(Table {
        name: listed.name.clone(),
        schema: None,
        native: listed.name.clone(),
        is_view: listed.is_view,
        columns,
        primary_key,
        unique_keys,
        indexed,
        indexes: named,
        checks: read_checks(connection, listed)?,
        restated: HashMap::new(),
        foreign_keys: Vec::new(),
        relations: Vec::new(),
        description: None,
        is_writable: !listed.is_view && !listed.is_virtual,
        by_name: HashMap::new(),
        settings: None,
    })
}

/// An index as the catalog has it; none for one of a part of the records or of expressions.
fn table_index(index: &Index) -> Option<TableIndex> {
    if index.is_partial {
        return None;
    }
    Some(TableIndex {
        name: match index.origin.as_str() {
            "c" => index.name.clone(),
            // SQLite numbers the indexes of constraints and gives nobody their names to use.
            _ => String::new(),
        },
        columns: index.columns.iter().copied().collect::<Option<_>>()?,
        is_unique: index.is_unique,
        origin: match index.origin.as_str() {
            "c" => IndexOrigin::Index,
            "pk" => IndexOrigin::PrimaryKey,
            _ => IndexOrigin::Unique,
        },
    })
}

/// The checks of a table, which SQLite tells in the table's own text alone.
fn read_checks(connection: &Connection, listed: &Listed) -> rusqlite::Result<Vec<Check>> {
    if listed.is_view || listed.is_virtual {
        return Ok(Vec::new());
    }
    let texts = rows(
        connection,
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        Some(&listed.name),
        |row| row.get::<_, Option<String>>(0),
    )?;
    let text = texts.into_iter().flatten().next();
    Ok(text.map(|text| checks_of(&text)).unwrap_or_default())
}

struct Index {
    name: String,
    /// `c` by CREATE INDEX, `u` by UNIQUE, `pk` by PRIMARY KEY.
    origin: String,
    is_unique: bool,
    is_partial: bool,
    /// Its columns; none for an expression.
    columns: Vec<Option<usize>>,
}

fn read_indexes(
    connection: &Connection,
    table: &str,
    columns: &[Column],
) -> rusqlite::Result<Vec<Index>> {
    let listed = rows(
        connection,
        "SELECT name, origin, \"unique\", partial FROM pragma_index_list(?1) ORDER BY seq DESC",
        Some(table),
        |row| {
            let name: String = row.get(0)?;
            let index = Index {
                name: name.clone(),
                origin: row.get(1)?,
                is_unique: row.get(2)?,
                is_partial: row.get(3)?,
                columns: Vec::new(),
            };
            Ok((name, index))
        },
    )?;
    listed
        .into_iter()
        .map(|(name, index)| {
            let columns = rows(
                connection,
                "SELECT name FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno",
                Some(&name),
                |row| {
                    let column: Option<String> = row.get(0)?;
                    Ok(column.and_then(|name| find(columns, &name)))
                },
            )?;
            Ok(Index { columns, ..index })
        })
        .collect()
}

fn find(columns: &[Column], name: &str) -> Option<usize> {
    columns
        .iter()
        .position(|column| column.name.eq_ignore_ascii_case(name))
}

/// One column of one foreign key.
struct KeyPart {
    id: i64,
    target: String,
    from: String,
    to: Option<String>,
    on_update: String,
    on_delete: String,
}

fn read_foreign_keys(
    connection: &Connection,
    table: &Table,
    tables: &[Table],
) -> rusqlite::Result<Vec<ForeignKey>> {
    if table.is_view {
        return Ok(Vec::new());
    }
    // The last one in the text has the lowest number.
    let parts = rows(
        connection,
        "SELECT id, \"table\", \"from\", \"to\", on_update, on_delete \
         FROM pragma_foreign_key_list(?1) ORDER BY id DESC, seq",
        Some(&table.native),
        |row| {
            Ok(KeyPart {
                id: row.get(0)?,
                target: row.get(1)?,
                from: row.get(2)?,
                to: row.get(3)?,
                on_update: row.get(4)?,
                on_delete: row.get(5)?,
            })
        },
    )?;
    Ok(parts
        .chunk_by(|left, right| left.id == right.id)
        .filter_map(|parts| foreign_key(parts, table, tables))
        .collect())
}

/// Puts the parts together; none if the target or one of the columns does not exist.
fn foreign_key(parts: &[KeyPart], table: &Table, tables: &[Table]) -> Option<ForeignKey> {
    let first = parts.first()?;
    let target = tables.iter().find(|candidate| {
        !candidate.is_view && candidate.native.eq_ignore_ascii_case(&first.target)
    })?;
    let columns = parts
        .iter()
        .map(|part| find(&table.columns, &part.from))
        .collect::<Option<Vec<usize>>>()?;
    let named: Vec<Option<usize>> = parts
        .iter()
        .map(|part| find(&target.columns, part.to.as_deref()?))
        .collect();
    let target_indexes = if parts.iter().all(|part| part.to.is_none()) {
        target.primary_key.clone()
    } else {
        named.into_iter().collect::<Option<Vec<usize>>>()?
    };
    if target_indexes.len() != columns.len() {
        return None;
    }
    Some(ForeignKey {
        name: String::new(),
        columns,
        target: target.name.clone(),
        target_columns: target_indexes
            .into_iter()
            .map(|index| Some(target.columns.get(index)?.name.clone()))
            .collect::<Option<_>>()?,
        on_update: first.on_update.clone(),
        on_delete: first.on_delete.clone(),
    })
}

/// A default as the text after DEFAULT says it; none for NULL, which is what a column has without one.
fn read_default(text: &str, kind: &Type) -> Option<DefaultValue> {
    use serde_json::Value;
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let literal = match upper.as_str() {
        "NULL" => return None,
        "TRUE" => Some(Value::Bool(true)),
        "FALSE" => Some(Value::Bool(false)),
        "0" | "1" if *kind == Type::Boolean => Some(Value::Bool(upper == "1")),
        _ => quoted(text, '\'')
            .or_else(|| quoted(text, '"'))
            .map(Value::String)
            .or_else(|| number(text)),
    };
    Some(literal.map_or_else(
        || DefaultValue::Expression(text.to_owned()),
        DefaultValue::Literal,
    ))
}

/// The inside of a quoted text whose quotes are doubled; none if it is not one.
fn quoted(text: &str, quote: char) -> Option<String> {
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let doubled = format!("{quote}{quote}");
    let plain = inside.replace(&doubled, "");
    (!plain.contains(quote)).then(|| inside.replace(&doubled, &quote.to_string()))
}

fn number(text: &str) -> Option<serde_json::Value> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = digits.parse::<i64>() {
        return Some(integer.into());
    }
    let is_plain = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    let number = digits.parse::<f64>().ok().filter(|_| is_plain)?;
    serde_json::Number::from_f64(number).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(sql: &str) -> Catalog {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        read_catalog(&connection).unwrap()
    }

    fn names(table: &Table, indexes: &[usize]) -> Vec<String> {
        indexes
            .iter()
            .map(|index| table.columns[*index].name.clone())
            .collect()
    }

    #[test]
    fn a_schema_full_of_hostile_names_is_read_as_it_is() {
        let catalog = catalog(
            r#"
            CREATE TABLE "order" ("select" INTEGER PRIMARY KEY, "a b" TEXT, "quo""te" TEXT, "emoji 🐘" TEXT,
                "per%cent" INT, "semi;colon" INT, "apo'strophe" INT);
            CREATE TABLE "ta'ble""; DROP TABLE x; --" ("x" INT REFERENCES "ORDER" ("SELECT"));
            CREATE TABLE sqlitex (a);
            CREATE TABLE "100%" (a, PRIMARY KEY (a)) WITHOUT ROWID;
            CREATE TABLE with_sequence (id INTEGER PRIMARY KEY AUTOINCREMENT);
            "#,
        );
        let found: Vec<&str> = catalog.tables().map(|table| table.name.as_str()).collect();
        assert_eq!(
            found,
            [
                "100%",
                "order",
                "sqlitex",
                "ta'ble\"; DROP TABLE x; --",
                "with_sequence"
            ]
        );
        let order = catalog.table("order", |_| true).unwrap();
        assert_eq!(
            names(order, &[0, 1, 2, 3, 4, 5, 6]),
            [
                "select",
                "a b",
                "quo\"te",
                "emoji 🐘",
                "per%cent",
                "semi;colon",
                "apo'strophe"
            ]
        );
        let hostile = catalog
            .table("ta'ble\"; DROP TABLE x; --", |_| true)
            .unwrap();
        assert_eq!(hostile.foreign_keys[0].target, "order");
        assert_eq!(hostile.foreign_keys[0].target_columns, ["select"]);
    }

    #[test]
    fn keys_and_defaults_are_those_of_the_text() {
        let catalog = catalog(
            "CREATE TABLE parent (a INT, b INT, code TEXT UNIQUE, PRIMARY KEY (b, a));
             CREATE TABLE child (
                id INTEGER PRIMARY KEY,
                pa INT NOT NULL, pb INT, code TEXT REFERENCES parent (code) ON DELETE CASCADE,
                gone INT REFERENCES nowhere (id),
                total DECIMAL(12,2) DEFAULT 0.50,
                note VARCHAR(40) DEFAULT 'it''s',
                active BOOLEAN DEFAULT 1,
                made DATETIME DEFAULT CURRENT_TIMESTAMP,
                negative INT DEFAULT -5,
                empty INT DEFAULT NULL,
                doubled INT GENERATED ALWAYS AS (pa * 2),
                FOREIGN KEY (pb, pa) REFERENCES parent ON UPDATE SET NULL);
             CREATE UNIQUE INDEX two ON child (pa, pb);
             CREATE UNIQUE INDEX part ON child (note) WHERE note IS NOT NULL;
             CREATE UNIQUE INDEX expression ON child (lower(note));
             CREATE TABLE backwards (id INTEGER PRIMARY KEY DESC);
             CREATE TABLE worded (id INT PRIMARY KEY);
             CREATE TABLE strict_one (id INTEGER PRIMARY KEY, any_value ANY, t TEXT NOT NULL) STRICT;
             CREATE VIEW seen AS SELECT id, total AS price FROM child;
             CREATE VIEW broken AS SELECT * FROM vanished;",
        );
        let parent = catalog.table("parent", |_| true).unwrap();
        assert_eq!(names(parent, &parent.primary_key), ["b", "a"]);
        assert_eq!(parent.unique_keys, [vec![2]]);
        let child = catalog.table("child", |_| true).unwrap();
        assert!(child.columns[0].is_auto_increment && !child.columns[0].is_nullable);
        assert_eq!(child.unique_keys, [vec![1, 2]]);
        let keys: Vec<_> = child
            .foreign_keys
            .iter()
            .map(|key| {
                (
                    names(child, &key.columns).join(","),
                    key.target_columns.join(","),
                    key.on_delete.as_str(),
                    key.on_update.as_str(),
                )
            })
            .collect();
        assert_eq!(
            keys,
            [
                ("code".to_owned(), "code".to_owned(), "CASCADE", "NO ACTION"),
                (
                    "pb,pa".to_owned(),
                    "b,a".to_owned(),
                    "NO ACTION",
                    "SET NULL"
                ),
            ]
        );
        let column = |name: &str| &child.columns[child.column_index(name).unwrap()];
        let literal = |value: serde_json::Value| Some(DefaultValue::Literal(value));
        assert_eq!(column("total").default, literal(0.5.into()));
        assert_eq!(
            (column("total").precision, column("total").scale),
            (Some(12), Some(2))
        );
        assert_eq!(column("note").default, literal("it's".into()));
        assert_eq!(column("note").length, Some(40));
        assert_eq!(column("active").default, literal(true.into()));
        assert_eq!(
            column("made").default,
            Some(DefaultValue::Expression("CURRENT_TIMESTAMP".to_owned()))
        );
        assert_eq!(column("negative").default, literal((-5).into()));
        assert_eq!(column("empty").default, None);
        assert!(column("doubled").is_generated);
        for name in ["backwards", "worded"] {
            assert!(!catalog.table(name, |_| true).unwrap().columns[0].is_auto_increment);
        }
        let strict = catalog.table("strict_one", |_| true).unwrap();
        assert!(strict.columns[0].is_auto_increment && !strict.columns[2].is_nullable);
        let view = catalog.table("seen", |_| true).unwrap();
        assert!(view.is_view && !view.is_writable);
        assert_eq!(view.columns[1].kind, Type::Decimal);
        assert!(catalog.table("broken", |_| true).is_err());
    }
}
