//! How a product spells changes of its schema.

use super::{
    Alteration, ColumnType, NewColumn, NewDefault, NewForeignKey, NewIndex, NewTable, Rule,
    SchemaChange, TableName,
};
use crate::connector::database::catalog::{Column, Index, IndexOrigin, Table};
use crate::error::{Error, ErrorKind, Result};

/// The longest name that a product takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameLimit {
    /// So many bytes of UTF-8.
    Bytes(usize),
    /// So many characters.
    Characters(usize),
    /// So many units of UTF-16.
    Units(usize),
}

impl NameLimit {
    /// How long a name is in what counts.
    fn measure(self, name: &str) -> usize {
        match self {
            Self::Bytes(_) => name.len(),
            Self::Characters(_) => name.chars().count(),
            Self::Units(_) => name.encode_utf16().count(),
        }
    }

    fn most(self) -> usize {
        match self {
            Self::Bytes(most) | Self::Characters(most) | Self::Units(most) => most,
        }
    }

    /// Whether a name is not too long.
    pub fn admits(self, name: &str) -> bool {
        self.measure(name) <= self.most()
    }

    /// As many characters of a name as leave room for so many more ASCII letters.
    pub fn cut(self, name: &str, room: usize) -> &str {
        let most = self.most().saturating_sub(room);
        let ends = name
            .char_indices()
            .map(|(at, character)| at + character.len_utf8());
        let longest = ends
            .filter_map(|end| name.get(..end))
            .take_while(|head| self.measure(head) <= most)
            .last();
        longest.unwrap_or_default()
    }
}

/// For messages: `63 bytes`.
impl std::fmt::Display for NameLimit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bytes(most) => write!(formatter, "{most} bytes"),
            Self::Characters(most) | Self::Units(most) => write!(formatter, "{most} characters"),
        }
    }
}

/// The spelling of changes. Defaults are standard SQL where there is a standard.
pub trait SchemaDialect: Send + Sync + 'static {
    /// An identifier.
    fn quote(&self, identifier: &str) -> String {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    /// A text constant, whatever the server's settings say of backslashes. NUL never gets here.
    fn text(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    /// The longest name of a table, a column or an index.
    fn longest_name(&self) -> NameLimit;

    /// Why the product does not take a name that is neither empty nor too long.
    fn refuses_name(&self, name: &str) -> Option<&'static str> {
        let _ = name;
        None
    }

    /// Whether a list of changes is all or nothing.
    fn is_transactional(&self) -> bool;

    /// Whether tables lie in schemas that callers can name.
    fn has_schemas(&self) -> bool {
        true
    }

    /// Whether foreign keys are a part of the table from its beginning, and never come or go by themselves.
    fn keys_are_inline(&self) -> bool {
        false
    }

    /// Whether tables and columns carry comments.
    fn has_comments(&self) -> bool;

    /// Whether a column can follow updates with the time by itself.
    fn has_update_time(&self) -> bool {
        false
    }

    /// The name of a type.
    fn type_name(&self, kind: &ColumnType) -> Result<String>;

    /// A default, for a column of this type.
    fn default(&self, default: &NewDefault, kind: &ColumnType) -> Result<String>;

    /// What stands behind the name of a column that the database numbers.
    fn numbered(&self, kind: &ColumnType) -> Result<String>;

    /// A rule as it stands behind ON UPDATE or ON DELETE; `None` where it is what happens without one.
    fn rule(&self, rule: Rule, is_update: bool) -> Result<Option<&'static str>> {
        let _ = is_update;
        Ok((rule != Rule::NoAction).then_some(rule.words()))
    }

    /// A table in a statement.
    fn table(&self, table: &TableName) -> String {
        match &table.schema {
            Some(schema) => format!("{}.{}", self.quote(schema), self.quote(&table.native)),
            None => self.quote(&table.native),
        }
    }

    /// A column's name and all that is said of it.
    fn column(&self, table: &TableName, column: &NewColumn) -> Result<String> {
        let _ = table;
        let name = self.quote(&column.name);
        if column.is_numbered {
            return Ok(format!("{name} {}", self.numbered(&column.kind)?));
        }
        let mut sql = format!("{name} {}", self.type_name(&column.kind)?);
        if let Some(default) = &column.default {
            sql.push_str(" DEFAULT ");
            sql.push_str(&self.default(default, &column.kind)?);
        }
        if !column.allows_null {
            sql.push_str(" NOT NULL");
        }
        Ok(sql)
    }

    /// A foreign key as a constraint of a table.
    fn foreign_key(&self, key: &NewForeignKey) -> Result<String> {
        Ok(format!(
            "CONSTRAINT {} FOREIGN KEY ({}) {}",
            self.quote(&key.name),
            self.names(&key.columns),
            self.references(key)?
        ))
    }

    /// Where a foreign key points and what it does.
    fn references(&self, key: &NewForeignKey) -> Result<String> {
        let mut sql = format!(
            "REFERENCES {} ({})",
            self.table(&key.target),
            self.names(&key.target_columns)
        );
        for (words, rule, is_update) in [
            (" ON UPDATE ", key.on_update, true),
            (" ON DELETE ", key.on_delete, false),
        ] {
            if let Some(rule) = rule
                && let Some(rule) = self.rule(rule, is_update)?
            {
                sql.push_str(words);
                sql.push_str(rule);
            }
        }
        Ok(sql)
    }

    /// Names with commas between them.
    fn names(&self, names: &[String]) -> String {
        let names: Vec<String> = names.iter().map(|name| self.quote(name)).collect();
        names.join(", ")
    }

    /// The statements that make a table.
    fn create_table(&self, table: &NewTable) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        for column in &table.columns {
            parts.push(self.column(&table.name, column)?);
        }
        if !table.primary_key.is_empty() {
            parts.push(format!("PRIMARY KEY ({})", self.names(&table.primary_key)));
        }
        for key in &table.foreign_keys {
            parts.push(self.foreign_key(key)?);
        }
        Ok(vec![format!(
            "CREATE TABLE {} ({})",
            self.table(&table.name),
            parts.join(", ")
        )])
    }

    /// The statements that give a table another name.
    fn rename_table(&self, table: &TableName, to: &str) -> Vec<String> {
        vec![format!(
            "ALTER TABLE {} RENAME TO {}",
            self.table(table),
            self.quote(to)
        )]
    }

    /// What stands before the column that is added.
    fn add_column_words(&self) -> &'static str {
        "ADD COLUMN "
    }

    /// The statements that add a column.
    fn add_column(
        &self,
        table: &TableName,
        column: &NewColumn,
        key: Option<&NewForeignKey>,
    ) -> Result<Vec<String>> {
        let mut statements = vec![format!(
            "ALTER TABLE {} {}{}",
            self.table(table),
            self.add_column_words(),
            self.column(table, column)?
        )];
        if let Some(key) = key {
            statements.push(self.add_foreign_key(table, key)?);
        }
        Ok(statements)
    }

    /// The statements that change a column.
    fn alter_column(
        &self,
        table: &Table,
        column: &Column,
        alteration: &Alteration,
    ) -> Result<Vec<String>>;

    /// The statements that give a column another name.
    fn rename_column(&self, table: &TableName, from: &str, to: &str) -> Vec<String> {
        vec![format!(
            "ALTER TABLE {} RENAME COLUMN {} TO {}",
            self.table(table),
            self.quote(from),
            self.quote(to)
        )]
    }

    /// The statements that remove a column.
    fn drop_column(&self, table: &Table, column: &str) -> Result<Vec<String>> {
        Ok(vec![format!(
            "ALTER TABLE {} DROP COLUMN {}",
            self.table(&table.into()),
            self.quote(column)
        )])
    }

    /// The statement that makes an index.
    fn create_index(&self, table: &TableName, index: &NewIndex) -> String {
        let unique = if index.is_unique { "UNIQUE " } else { "" };
        format!(
            "CREATE {unique}INDEX {} ON {} ({})",
            self.quote(&index.name),
            self.table(table),
            self.names(&index.columns)
        )
    }

    /// The statement that removes an index, or the UNIQUE constraint that it was made for.
    fn drop_index(&self, table: &TableName, index: &Index) -> Result<String> {
        if index.origin == IndexOrigin::Index {
            let name = TableName {
                schema: table.schema.clone(),
                native: index.name.clone(),
            };
            return Ok(format!("DROP INDEX {}", self.table(&name)));
        }
        Ok(self.drop_constraint(table, &index.name))
    }

    /// The statement that removes a constraint.
    fn drop_constraint(&self, table: &TableName, name: &str) -> String {
        format!(
            "ALTER TABLE {} DROP CONSTRAINT {}",
            self.table(table),
            self.quote(name)
        )
    }

    /// The statement that adds a foreign key.
    fn add_foreign_key(&self, table: &TableName, key: &NewForeignKey) -> Result<String> {
        Ok(format!(
            "ALTER TABLE {} ADD {}",
            self.table(table),
            self.foreign_key(key)?
        ))
    }

    /// The statement that removes a foreign key.
    fn drop_foreign_key(&self, table: &TableName, name: &str) -> Result<String> {
        Ok(self.drop_constraint(table, name))
    }

    /// The statements that set a comment.
    fn describe(&self, table: &Table, column: Option<&Column>, text: &str) -> Result<Vec<String>> {
        let name = self.table(&table.into());
        Ok(vec![match column {
            None => format!("COMMENT ON TABLE {name} IS {}", self.text(text)),
            Some(column) => format!(
                "COMMENT ON COLUMN {name}.{} IS {}",
                self.quote(&column.name),
                self.text(text)
            ),
        }])
    }

    /// The statements of the comments of a new table or new columns, where they do not stand in the statement that makes
    /// them.
    fn comments(
        &self,
        table: &TableName,
        description: Option<&str>,
        columns: &[NewColumn],
    ) -> Vec<String> {
        let name = self.table(table);
        let of_table =
            description.map(|text| format!("COMMENT ON TABLE {name} IS {}", self.text(text)));
        let of_columns = columns.iter().filter_map(|column| {
            let text = self.text(column.description.as_deref()?);
            let column = self.quote(&column.name);
            Some(format!("COMMENT ON COLUMN {name}.{column} IS {text}"))
        });
        of_table.into_iter().chain(of_columns).collect()
    }
}

/// The statements that carry out one change, in their order.
pub fn statements(dialect: &dyn SchemaDialect, change: &SchemaChange) -> Result<Vec<String>> {
    Ok(match change {
        SchemaChange::CreateTable(table) => {
            let mut statements = dialect.create_table(table)?;
            if dialect.has_comments() {
                let text = table.description.as_deref();
                statements.extend(dialect.comments(&table.name, text, &table.columns));
            }
            statements
        }
        SchemaChange::DropTable(table) => vec![format!("DROP TABLE {}", dialect.table(table))],
        SchemaChange::RenameTable(table, to) => dialect.rename_table(table, to),
        SchemaChange::AddColumn(table, column, key) => {
            let mut statements = dialect.add_column(table, column, key.as_ref())?;
            if dialect.has_comments() {
                statements.extend(dialect.comments(table, None, std::slice::from_ref(column)));
            }
            statements
        }
        SchemaChange::AlterColumn(table, column, alteration) => {
            dialect.alter_column(table, column, alteration)?
        }
        SchemaChange::RenameColumn(table, from, to) => dialect.rename_column(table, from, to),
        SchemaChange::DropColumn(table, column) => dialect.drop_column(table, column)?,
        SchemaChange::CreateIndex(table, index) => vec![dialect.create_index(table, index)],
        SchemaChange::DropIndex(table, index) => vec![dialect.drop_index(table, index)?],
        SchemaChange::AddForeignKey(table, key) => vec![dialect.add_foreign_key(table, key)?],
        SchemaChange::DropForeignKey(table, name) => vec![dialect.drop_foreign_key(table, name)?],
        SchemaChange::Describe(table, column, text) => {
            dialect.describe(table, column.as_ref(), text)?
        }
    })
}

/// What a product cannot hold or do; `help` says what to write instead.
pub(super) fn cannot(what: impl Into<String>, help: &'static str) -> Error {
    Error::new(ErrorKind::InvalidBody, what.into()).with_help(help)
}

/// A default that its column cannot have.
pub(super) fn unfit_default(default: &NewDefault) -> Error {
    let what = match default {
        NewDefault::NewUuid => "this database makes no UUIDs by itself",
        NewDefault::Bool(_) | NewDefault::Number(_) | NewDefault::Text(_) | NewDefault::Now(_) => {
            "a field of this type cannot have that default"
        }
    };
    cannot(
        what,
        "write a constant of the field's type, or leave `default` out",
    )
}
