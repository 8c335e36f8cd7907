//! The SQL of a product as it is sent through ODBC, and what else is known of the product.
//!
//! ODBC has one placeholder, `?`, and values are bound in the order of the text; so a dialect's own placeholders, and
//! what needs them (arrays in one value, one value in two places), give way here.

use super::config::DialectName;
use crate::connector::database::catalog::{Column, Table, Type};
use crate::connector::database::dialect::{
    AnsiDialect, Computed, Db2Dialect, Dialect, FirebirdDialect, InsertLimits, InsertOutput,
    MysqlDialect, OracleDialect, PostgresqlDialect, Returning, SnowflakeDialect, SqlServerDialect,
    SqliteDialect,
};
use crate::connector::database::plan::Nulls;
use crate::connector::database::sql::RenderOptions;
use crate::connector::database::value::Scalar;
use crate::connector::filter::{Matching, Now};

/// The SQL of a product, with `?` for every placeholder.
pub(super) struct OdbcDialect {
    name: DialectName,
    inner: Box<dyn Dialect>,
}

impl OdbcDialect {
    /// The SQL of this product.
    pub(super) fn new(name: DialectName) -> Self {
        let inner: Box<dyn Dialect> = match name {
            DialectName::PostgreSql => Box::new(PostgresqlDialect),
            // What MariaDB has beyond it, drivers of MySQL do not tell.
            DialectName::MySql => Box::new(MysqlDialect::MYSQL),
            DialectName::Sqlite => Box::new(SqliteDialect),
            DialectName::Db2 => Box::new(Db2Dialect),
            DialectName::Snowflake => Box::new(SnowflakeDialect),
            DialectName::SqlServer => Box::new(SqlServerDialect),
            DialectName::Oracle => Box::new(OracleDialect),
            DialectName::Firebird => Box::new(FirebirdDialect),
            DialectName::Ansi => Box::new(AnsiDialect),
        };
        Self { name, inner }
    }
}

impl Dialect for OdbcDialect {
    fn quote(&self, identifier: &str) -> String {
        self.inner.quote(identifier)
    }

    fn literal(&self, text: &str) -> String {
        self.inner.literal(text)
    }

    fn placeholder(&self, _position: usize) -> String {
        "?".to_owned()
    }

    fn operand(&self, placeholder: &str, column: &Column) -> String {
        match (self.name, &column.kind) {
            // The native form has the placeholder twice, for values that are no timestamps. None is bound here.
            (DialectName::Sqlite, Type::DateTime | Type::TimestampTz) => {
                format!("strftime('%Y-%m-%d %H:%M:%f', {placeholder})")
            }
            _ => self.inner.operand(placeholder, column),
        }
    }

    fn number(&self, placeholder: &str) -> String {
        self.inner.number(placeholder)
    }

    fn count(&self, placeholder: &str) -> String {
        self.inner.count(placeholder)
    }

    fn shown(&self, sql: &str, column: &Column) -> String {
        match (self.name, &column.kind) {
            // Its driver reads doubles by way of a text of 15 digits; `quote` gives as many as it takes.
            (DialectName::Sqlite, Type::Double | Type::Float) => {
                format!("CASE typeof({sql}) WHEN 'real' THEN quote({sql}) ELSE {sql} END")
            }
            // Drivers give such a time without its zone, or in a form of their own; so it comes as text, in UTC.
            (DialectName::SqlServer, Type::TimestampTz) => {
                format!("CONVERT(nvarchar(40), SWITCHOFFSET({sql}, '+00:00'), 127)")
            }
            (DialectName::Oracle, Type::TimestampTz) => {
                format!("TO_CHAR(SYS_EXTRACT_UTC({sql}), 'YYYY-MM-DD\"T\"HH24:MI:SS.FF6') || 'Z'")
            }
            _ => self.inner.shown(sql, column),
        }
    }

    fn stored(&self, placeholder: &str, column: &Column) -> String {
        self.inner.stored(placeholder, column)
    }

    fn named_column(&self, _column: &Column) -> String {
        // Kinds go beside the statement, not in the names of its columns.
        String::new()
    }

    fn named(&self, _computed: Computed) -> String {
        String::new()
    }

    fn comparable(&self, sql: &str, column: &Column) -> String {
        self.inner.comparable(sql, column)
    }

    fn any(&self, _sql: &str, _placeholder: &str, _column: &Column) -> Option<String> {
        None
    }

    fn position(&self, _sql: &str, _placeholder: &str, _column: &Column) -> Option<String> {
        None
    }

    fn pattern(&self, how: Matching, text: &str) -> Scalar {
        self.inner.pattern(how, text)
    }

    fn matching(&self, sql: &str, column: &Column, how: Matching, pattern: &str) -> String {
        self.inner.matching(sql, column, how, pattern)
    }

    fn now(&self, now: Now, column: &Column) -> String {
        self.inner.now(now, column)
    }

    fn summand(&self, sql: &str, column: &Column) -> String {
        self.inner.summand(sql, column)
    }

    fn json_value(&self, sql: &str, column: &Column, options: RenderOptions) -> String {
        self.inner.json_value(sql, column, options)
    }

    fn json_object(&self, rows: &str, names: &[&str]) -> String {
        self.inner.json_object(rows, names)
    }

    fn members_are_named(&self, names: &[&str]) -> bool {
        self.inner.members_are_named(names)
    }

    fn json_array(&self, object: &str) -> String {
        self.inner.json_array(object)
    }

    fn lock(&self) -> &'static str {
        self.inner.lock()
    }

    fn lock_hint(&self) -> &'static str {
        self.inner.lock_hint()
    }

    fn locks_pages(&self) -> bool {
        self.inner.locks_pages()
    }

    fn returning(&self) -> Returning {
        match self.name {
            // Its driver takes a write for something without rows, whatever RETURNING says.
            DialectName::Sqlite => Returning::Nothing,
            _ => self.inner.returning(),
        }
    }

    fn table_alias(&self) -> &'static str {
        self.inner.table_alias()
    }

    fn constant(&self, truth: bool) -> &'static str {
        self.inner.constant(truth)
    }

    fn truth(&self) -> [&'static str; 2] {
        self.inner.truth()
    }

    fn order_item(&self, sql: &str, descending: bool, nulls: Option<Nulls>) -> String {
        self.inner.order_item(sql, descending, nulls)
    }

    fn page(&self, limit: u64, offset: Option<&str>, is_ordered: bool) -> String {
        self.inner.page(limit, offset, is_ordered)
    }

    fn default_values(&self, table: &Table) -> String {
        self.inner.default_values(table)
    }

    fn insert_output(&self, columns: &[&Column]) -> Option<InsertOutput> {
        match self.name {
            // What RETURNING gives goes INTO variables, which are no rows to ODBC.
            DialectName::Oracle => None,
            // SCOPE_IDENTITY() asked afterwards is NULL, because a prepared statement is a scope of its own; so the
            // key comes from the same batch. Without NOCOUNT the count of the INSERT would be its first result, and the
            // rows of the SELECT its second ("SET NOCOUNT").
            DialectName::SqlServer => {
                self.inner
                    .insert_output(columns)
                    .map(|output| InsertOutput {
                        before: format!("SET NOCOUNT ON; {}", output.before),
                        after: format!("{}; SET NOCOUNT OFF", output.after),
                        ..output
                    })
            }
            _ => self.inner.insert_output(columns),
        }
    }

    fn insert_limits(&self) -> InsertLimits {
        let limits = self.inner.insert_limits();
        InsertLimits {
            values: limits.values.min(MOST_VALUES),
            ..limits
        }
    }

    fn most_values(&self) -> usize {
        self.inner.most_values().min(MOST_VALUES)
    }

    fn longest_list(&self) -> usize {
        // Values are bound one by one, and statements have a limit of them.
        self.inner.longest_list().min(LONGEST_LIST)
    }

    fn embeds_related(&self) -> bool {
        false
    }
}

/// Most values in one `IN (…)`.
const LONGEST_LIST: usize = 10_000;
/// Most values in one write; ODBC counts them in 16 bits.
const MOST_VALUES: usize = 30_000;

/// How a product spells savepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Savepoints {
    /// Sets one.
    pub(super) set: &'static str,
    /// Undoes all since.
    pub(super) rollback: &'static str,
    /// Forgets it; empty where that is not needed.
    pub(super) release: &'static str,
}

/// Accounts that come with Oracle ("Database Security Guide", predefined administrative accounts).
const ORACLE_SCHEMAS: [&str; 20] = [
    "APPQOSSYS",
    "AUDSYS",
    "CTXSYS",
    "DBSFWUSER",
    "DBSNMP",
    "DVF",
    "DVSYS",
    "FLOWS_FILES",
    "GSMADMIN_INTERNAL",
    "LBACSYS",
    "MDSYS",
    "OJVMSYS",
    "OLAPSYS",
    "ORDDATA",
    "ORDSYS",
    "OUTLN",
    "SYS",
    "SYSTEM",
    "WMSYS",
    "XDB",
];

/// SQL:1999.
const STANDARD_SAVEPOINTS: Savepoints = Savepoints {
    set: "SAVEPOINT tidegate",
    rollback: "ROLLBACK TO SAVEPOINT tidegate",
    release: "RELEASE SAVEPOINT tidegate",
};

impl DialectName {
    /// What is run on each new connection, before the manifest's own statements.
    pub(super) fn session(self) -> &'static [&'static str] {
        match self {
            Self::PostgreSql => &["SET TIME ZONE 'UTC'"],
            Self::MySql => &[
                "SET time_zone = '+00:00'",
                // As the drivers of MySQL and MariaDB have it: values that do not fit are refused, zero is a key like
                // others, and what is not named, such as ANSI_QUOTES and NO_BACKSLASH_ESCAPES, is off.
                "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,STRICT_TRANS_TABLES,\
                 STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,ONLY_FULL_GROUP_BY'",
            ],
            Self::Snowflake => &["ALTER SESSION SET TIMEZONE = 'UTC'"],
            // As the service type `sqlsrv` has it ("SET options that affect results"); transactions are the driver's.
            Self::SqlServer => &[
                "SET LANGUAGE us_english; SET DATEFORMAT ymd; SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; \
                 SET ANSI_PADDING ON; SET ANSI_WARNINGS ON; SET ARITHABORT ON; SET CONCAT_NULL_YIELDS_NULL ON; \
                 SET NUMERIC_ROUNDABORT OFF; SET XACT_ABORT OFF; SET NOCOUNT OFF; SET TEXTSIZE 2147483647",
            ],
            // As the service type `oracle` has it ("Globalization Support Guide").
            Self::Oracle => &[
                "ALTER SESSION SET TIME_ZONE = '+00:00' NLS_NUMERIC_CHARACTERS = '.,' \
                 NLS_DATE_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS' NLS_TIMESTAMP_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS.FF' \
                 NLS_TIMESTAMP_TZ_FORMAT = 'YYYY-MM-DD\"T\"HH24:MI:SS.FFTZH:TZM' NLS_SORT = BINARY NLS_COMP = BINARY",
            ],
            Self::Sqlite => &["PRAGMA foreign_keys = ON"],
            Self::Db2 | Self::Firebird | Self::Ansi => &[],
        }
    }

    /// Whether the session is in UTC, so that a timestamp that the driver gives without its zone is.
    pub(super) fn session_is_utc(self) -> bool {
        matches!(self, Self::PostgreSql | Self::MySql | Self::Snowflake)
    }

    /// A statement that costs nothing and fails where the connection is gone; none where the product has no such.
    pub(super) fn probe(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql | Self::MySql | Self::Sqlite | Self::Snowflake | Self::SqlServer => {
                Some("SELECT 1")
            }
            Self::Oracle => Some("SELECT 1 FROM DUAL"),
            Self::Db2 => Some("SELECT 1 FROM SYSIBM.SYSDUMMY1"),
            Self::Firebird => Some("SELECT 1 FROM RDB$DATABASE"),
            Self::Ansi => None,
        }
    }

    /// A query that gives a text back.
    pub(super) fn echo(self, text: &str) -> String {
        let from = match self {
            // Without its N the text would go through the code page of the database.
            Self::SqlServer => return format!("SELECT N'{text}'"),
            Self::Oracle => " FROM DUAL",
            Self::Db2 => " FROM SYSIBM.SYSDUMMY1",
            Self::Firebird => " FROM RDB$DATABASE",
            Self::PostgreSql | Self::MySql | Self::Sqlite | Self::Snowflake | Self::Ansi => "",
        };
        format!("SELECT '{text}'{from}")
    }

    /// How savepoints are spelled; none where there are none.
    pub(super) fn savepoints(self) -> Option<Savepoints> {
        match self {
            Self::PostgreSql | Self::MySql | Self::Sqlite | Self::Firebird => {
                Some(STANDARD_SAVEPOINTS)
            }
            Self::Db2 => Some(Savepoints {
                // The clause is not optional ("SAVEPOINT statement").
                set: "SAVEPOINT tidegate ON ROLLBACK RETAIN CURSORS",
                ..STANDARD_SAVEPOINTS
            }),
            // A savepoint does not begin a transaction, and in the driver's implicit ones only what reads or writes a
            // table does ("SET IMPLICIT_TRANSACTIONS"). A second one of the same name replaces the first.
            Self::SqlServer => Some(Savepoints {
                set: "SET NOCOUNT ON; IF @@TRANCOUNT = 0 BEGIN DECLARE @begun int; \
                      SELECT @begun = COUNT(*) FROM sys.schemas; END; SAVE TRANSACTION tidegate; SET NOCOUNT OFF",
                rollback: "ROLLBACK TRANSACTION tidegate",
                release: "",
            }),
            // There is no RELEASE; a second one of the same name replaces the first ("SAVEPOINT").
            Self::Oracle => Some(Savepoints {
                release: "",
                ..STANDARD_SAVEPOINTS
            }),
            // "Transactions": Snowflake has no savepoints.
            Self::Snowflake | Self::Ansi => None,
        }
    }

    /// A query for the number that the last INSERT of the session gave, for products of [`Returning::Nothing`] whose
    /// INSERT cannot say it itself.
    pub(super) fn last_key(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some("SELECT last_insert_rowid()"),
            Self::MySql => Some("SELECT LAST_INSERT_ID()"),
            _ => None,
        }
    }

    /// A query whose only text changes when tables or columns change; none where the catalogue is read instead.
    pub(super) fn fingerprint(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql => Some(
                "SELECT concat_ws('-', \
                 (SELECT concat_ws('.', count(*), sum(hashtextextended(concat_ws(' ', c.oid, c.relname, c.relnamespace, \
                 c.relkind, c.relacl::text), 0))) FROM pg_catalog.pg_class c), \
                 (SELECT concat_ws('.', count(*), sum(hashtextextended(concat_ws(' ', a.attrelid, a.attnum, a.xmin), 0))) \
                 FROM pg_catalog.pg_attribute a WHERE a.attnum > 0), \
                 (SELECT concat_ws('.', count(*), sum(hashtextextended(concat_ws(' ', k.oid, k.xmin), 0))) \
                 FROM pg_catalog.pg_constraint k))",
            ),
            Self::MySql => Some(
                "SELECT CONCAT_WS('-', \
                 (SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CRC32(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION, \
                 COLUMN_NAME, COLUMN_TYPE, COALESCE(COLUMN_DEFAULT, '-'), IS_NULLABLE, EXTRA)))) \
                 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE()), \
                 (SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CRC32(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, \
                 SEQ_IN_INDEX, NON_UNIQUE, COALESCE(COLUMN_NAME, '-'))))) \
                 FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE()), \
                 (SELECT CONCAT_WS('.', COUNT(*), BIT_XOR(CRC32(CONCAT_WS('/', TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, \
                 COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME)))) \
                 FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = DATABASE()))",
            ),
            Self::Sqlite => Some("PRAGMA schema_version"),
            Self::Db2 => Some(
                "SELECT VARCHAR(COUNT(*)) || '-' || VARCHAR(MAX(ALTER_TIME)) FROM SYSCAT.TABLES",
            ),
            Self::Snowflake => Some(
                "SELECT COUNT(*)::VARCHAR || '-' || MAX(LAST_DDL)::VARCHAR FROM INFORMATION_SCHEMA.TABLES",
            ),
            // A table counts as modified when an index of it is made, too ("sys.objects").
            Self::SqlServer => Some(
                "SELECT CONCAT(COUNT(*), '-', CHECKSUM_AGG(CHECKSUM(object_id, schema_id, name, modify_date)), '-', \
                 CONVERT(varchar(40), MAX(modify_date), 126)) FROM sys.objects WHERE is_ms_shipped = 0",
            ),
            Self::Oracle => Some(
                "SELECT COUNT(*) || '-' || MAX(o.OBJECT_ID) || '-' || \
                 TO_CHAR(MAX(o.LAST_DDL_TIME), 'YYYYMMDDHH24MISS') || '-' || \
                 SUM(ORA_HASH(o.OWNER || '.' || o.OBJECT_NAME || TO_CHAR(o.LAST_DDL_TIME, 'YYYYMMDDHH24MISS'))) \
                 FROM ALL_OBJECTS o WHERE o.ORACLE_MAINTAINED = 'N' AND o.OBJECT_TYPE IN ('TABLE', 'VIEW', 'INDEX')",
            ),
            // Each change of a table raises its format.
            Self::Firebird => Some(
                "SELECT COUNT(*) || '-' || SUM(RDB$FORMAT) || '-' || MAX(RDB$RELATION_ID) || '-' || \
                 (SELECT COUNT(*) FROM RDB$RELATION_CONSTRAINTS) || '-' || (SELECT COUNT(*) FROM RDB$INDICES) \
                 FROM RDB$RELATIONS",
            ),
            Self::Ansi => None,
        }
    }

    /// A query for unique keys beside the primary one: schema (may be NULL), table, key, column, in the order of the
    /// columns. `SQLStatistics` would tell them everywhere, but the safe interface of ODBC has no such function.
    pub(super) fn unique_keys(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql => Some(
                "SELECT n.nspname::text, c.relname::text, i.indexrelid::text, a.attname::text \
                 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place) \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
                 WHERE i.indisunique AND NOT i.indisprimary AND i.indimmediate AND i.indisvalid \
                 AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts \
                 ORDER BY i.indexrelid, k.place",
            ),
            Self::MySql => Some(
                "SELECT NULL, s.TABLE_NAME, s.INDEX_NAME, s.COLUMN_NAME FROM information_schema.STATISTICS s \
                 WHERE s.TABLE_SCHEMA = DATABASE() AND s.NON_UNIQUE = 0 AND s.INDEX_NAME <> 'PRIMARY' \
                 AND NOT EXISTS (SELECT 1 FROM information_schema.STATISTICS x WHERE x.TABLE_SCHEMA = s.TABLE_SCHEMA \
                 AND x.TABLE_NAME = s.TABLE_NAME AND x.INDEX_NAME = s.INDEX_NAME \
                 AND (x.SUB_PART IS NOT NULL OR x.COLUMN_NAME IS NULL)) \
                 ORDER BY s.TABLE_NAME, s.INDEX_NAME, s.SEQ_IN_INDEX",
            ),
            Self::Sqlite => Some(
                "SELECT NULL, m.name, l.name, i.name FROM sqlite_schema m \
                 JOIN pragma_index_list(m.name) l JOIN pragma_index_info(l.name) i \
                 WHERE m.type = 'table' AND l.\"unique\" = 1 AND l.partial = 0 AND l.origin <> 'pk' \
                 AND NOT EXISTS (SELECT 1 FROM pragma_index_info(l.name) x WHERE x.name IS NULL) \
                 ORDER BY m.name, l.name, i.seqno",
            ),
            Self::Db2 => Some(
                "SELECT k.TABSCHEMA, k.TABNAME, k.CONSTNAME, k.COLNAME FROM SYSCAT.KEYCOLUSE k \
                 JOIN SYSCAT.TABCONST c ON c.CONSTNAME = k.CONSTNAME AND c.TABSCHEMA = k.TABSCHEMA \
                 AND c.TABNAME = k.TABNAME WHERE c.TYPE = 'U' \
                 ORDER BY k.TABSCHEMA, k.TABNAME, k.CONSTNAME, k.COLSEQ",
            ),
            Self::Firebird => Some(
                "SELECT NULL, TRIM(c.RDB$RELATION_NAME), TRIM(c.RDB$CONSTRAINT_NAME), TRIM(s.RDB$FIELD_NAME) \
                 FROM RDB$RELATION_CONSTRAINTS c JOIN RDB$INDEX_SEGMENTS s ON s.RDB$INDEX_NAME = c.RDB$INDEX_NAME \
                 WHERE c.RDB$CONSTRAINT_TYPE = 'UNIQUE' \
                 ORDER BY c.RDB$RELATION_NAME, c.RDB$CONSTRAINT_NAME, s.RDB$FIELD_POSITION",
            ),
            Self::SqlServer => Some(
                "SELECT SCHEMA_NAME(o.schema_id), o.name, i.name, c.name FROM sys.indexes i \
                 JOIN sys.objects o ON o.object_id = i.object_id \
                 JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id \
                 JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id \
                 WHERE o.type = 'U' AND o.is_ms_shipped = 0 AND i.is_unique = 1 AND i.is_primary_key = 0 \
                 AND i.is_disabled = 0 AND i.has_filter = 0 AND k.key_ordinal > 0 \
                 ORDER BY o.object_id, i.index_id, k.key_ordinal",
            ),
            Self::Oracle => Some(
                "SELECT c.OWNER, c.TABLE_NAME, c.CONSTRAINT_NAME, k.COLUMN_NAME FROM ALL_CONSTRAINTS c \
                 JOIN ALL_CONS_COLUMNS k ON k.OWNER = c.OWNER AND k.CONSTRAINT_NAME = c.CONSTRAINT_NAME \
                 AND k.TABLE_NAME = c.TABLE_NAME WHERE c.CONSTRAINT_TYPE = 'U' AND c.STATUS = 'ENABLED' \
                 AND c.VALIDATED = 'VALIDATED' AND c.DEFERRABLE = 'NOT DEFERRABLE' \
                 ORDER BY c.OWNER, c.TABLE_NAME, c.CONSTRAINT_NAME, k.POSITION",
            ),
            // Declared, but not enforced: two records may agree.
            Self::Snowflake => None,
            // SQL:1992 part 21.
            Self::Ansi => Some(
                "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME \
                 FROM INFORMATION_SCHEMA.KEY_COLUMN_USAGE k JOIN INFORMATION_SCHEMA.TABLE_CONSTRAINTS c \
                 ON c.CONSTRAINT_NAME = k.CONSTRAINT_NAME AND c.TABLE_SCHEMA = k.TABLE_SCHEMA \
                 AND c.TABLE_NAME = k.TABLE_NAME WHERE c.CONSTRAINT_TYPE = 'UNIQUE' \
                 ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION",
            ),
        }
    }

    /// A query for columns that the database numbers (`1`) or computes (`2`), or whose kind drivers do not tell (its
    /// word): schema (may be NULL), table, column, and which. `SQLColumns` tells none of it, and `SQLSpecialColumns` is not in the safe interface of ODBC.
    pub(super) fn numbered_columns(self) -> &'static str {
        match self {
            Self::PostgreSql => {
                "SELECT n.nspname::text, c.relname::text, a.attname::text, \
                 CASE WHEN a.attgenerated <> '' THEN '2' ELSE '1' END \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p') \
                 AND (a.attgenerated <> '' OR a.attidentity <> '' \
                 OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%')"
            }
            // A JSON column of MariaDB is a text with a check.
            Self::MySql => {
                "SELECT NULL, c.TABLE_NAME, c.COLUMN_NAME, CASE \
                 WHEN c.EXTRA LIKE '%auto_increment%' THEN '1' \
                 WHEN c.EXTRA LIKE '%GENERATED%' AND c.EXTRA NOT LIKE '%DEFAULT_GENERATED%' THEN '2' \
                 WHEN c.COLUMN_TYPE IN ('tinyint(1)', 'bit(1)') THEN 'boolean' \
                 WHEN c.DATA_TYPE = 'uuid' THEN 'uuid' ELSE 'json' END \
                 FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE() \
                 AND (c.EXTRA LIKE '%auto_increment%' OR c.EXTRA LIKE '%GENERATED%' \
                 OR c.COLUMN_TYPE IN ('tinyint(1)', 'bit(1)') OR c.DATA_TYPE IN ('uuid', 'json') OR EXISTS (SELECT 1 \
                 FROM information_schema.CHECK_CONSTRAINTS k WHERE k.CONSTRAINT_SCHEMA = c.TABLE_SCHEMA \
                 AND c.DATA_TYPE = 'longtext' AND k.CONSTRAINT_NAME = c.COLUMN_NAME \
                 AND k.CHECK_CLAUSE LIKE CONCAT('json_valid(`', c.COLUMN_NAME, '`)')))"
            }
            Self::Sqlite => {
                "SELECT NULL, m.name, x.name, CASE WHEN x.hidden IN (2, 3) THEN '2' ELSE '1' END \
                 FROM sqlite_schema m JOIN pragma_table_xinfo(m.name) x WHERE m.type = 'table' \
                 AND (x.hidden IN (2, 3) OR (x.pk = 1 AND UPPER(x.type) = 'INTEGER' \
                 AND (SELECT COUNT(*) FROM pragma_table_xinfo(m.name) y WHERE y.pk > 0) = 1))"
            }
            Self::Db2 => {
                "SELECT TABSCHEMA, TABNAME, COLNAME, CASE WHEN IDENTITY = 'Y' THEN '1' ELSE '2' END \
                 FROM SYSCAT.COLUMNS WHERE IDENTITY = 'Y' OR GENERATED <> ''"
            }
            Self::Firebird => {
                "SELECT NULL, TRIM(f.RDB$RELATION_NAME), TRIM(f.RDB$FIELD_NAME), \
                 CASE WHEN f.RDB$IDENTITY_TYPE IS NOT NULL THEN '1' ELSE '2' END \
                 FROM RDB$RELATION_FIELDS f JOIN RDB$FIELDS d ON d.RDB$FIELD_NAME = f.RDB$FIELD_SOURCE \
                 WHERE f.RDB$IDENTITY_TYPE IS NOT NULL OR d.RDB$COMPUTED_BLR IS NOT NULL"
            }
            Self::Snowflake => {
                "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, '1' FROM INFORMATION_SCHEMA.COLUMNS \
                 WHERE IS_IDENTITY = 'YES'"
            }
            // A rowversion (189) numbers itself, too.
            Self::SqlServer => {
                "SELECT SCHEMA_NAME(o.schema_id), o.name, c.name, CASE WHEN c.is_identity = 1 THEN '1' ELSE '2' END \
                 FROM sys.columns c JOIN sys.objects o ON o.object_id = c.object_id WHERE o.type = 'U' \
                 AND (c.is_identity = 1 OR c.is_computed = 1 OR c.generated_always_type <> 0 OR c.system_type_id = 189)"
            }
            Self::Oracle => {
                "SELECT OWNER, TABLE_NAME, COLUMN_NAME, CASE WHEN IDENTITY_COLUMN = 'YES' THEN '1' ELSE '2' END \
                 FROM ALL_TAB_COLS WHERE HIDDEN_COLUMN = 'NO' AND (IDENTITY_COLUMN = 'YES' OR VIRTUAL_COLUMN = 'YES')"
            }
            // SQL:2003.
            Self::Ansi => {
                "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, CASE WHEN IS_IDENTITY = 'YES' THEN '1' ELSE '2' END \
                 FROM INFORMATION_SCHEMA.COLUMNS WHERE IS_IDENTITY = 'YES' OR IS_GENERATED = 'ALWAYS'"
            }
        }
    }

    /// A query for the schema that the account's own names stand for; none where there are no schemas.
    pub(super) fn default_schema(self) -> Option<&'static str> {
        match self {
            Self::PostgreSql => Some("SELECT current_schema()::text"),
            Self::Db2 => Some("SELECT TRIM(CURRENT SCHEMA) FROM SYSIBM.SYSDUMMY1"),
            Self::Snowflake => Some("SELECT CURRENT_SCHEMA()"),
            Self::SqlServer => Some("SELECT SCHEMA_NAME()"),
            Self::Oracle => Some("SELECT SYS_CONTEXT('USERENV', 'CURRENT_SCHEMA') FROM DUAL"),
            Self::MySql | Self::Sqlite | Self::Firebird | Self::Ansi => None,
        }
    }

    /// A query for the catalogue of the connection, for products whose drivers tell the tables of all catalogues.
    pub(super) fn current_catalog(self) -> Option<&'static str> {
        match self {
            Self::MySql => Some("SELECT DATABASE()"),
            Self::Snowflake => Some("SELECT CURRENT_DATABASE()"),
            Self::SqlServer => Some("SELECT DB_NAME()"),
            Self::PostgreSql
            | Self::Sqlite
            | Self::Db2
            | Self::Oracle
            | Self::Firebird
            | Self::Ansi => None,
        }
    }

    /// Whether tables belong to schemas.
    pub(super) fn has_schemas(self) -> bool {
        !matches!(self, Self::MySql | Self::Sqlite | Self::Firebird)
    }

    /// Whether a table is the product's own.
    pub(super) fn is_own_table(self, name: &str) -> bool {
        match self {
            Self::Sqlite => name.starts_with("sqlite_"),
            Self::Firebird => ["RDB$", "MON$", "SEC$"]
                .iter()
                .any(|prefix| name.starts_with(prefix)),
            _ => false,
        }
    }

    /// Whether a schema is the product's own, whose tables are never served.
    pub(super) fn is_own_schema(self, schema: &str) -> bool {
        match self {
            Self::PostgreSql => schema.starts_with("pg_") || schema == "information_schema",
            Self::Db2 => schema.starts_with("SYS") || schema == "NULLID",
            Self::Snowflake | Self::Ansi => {
                schema.eq_ignore_ascii_case("information_schema")
                    || schema.eq_ignore_ascii_case("definition_schema")
            }
            Self::SqlServer => matches!(schema, "sys" | "INFORMATION_SCHEMA"),
            Self::Oracle => schema.starts_with("APEX_") || ORACLE_SCHEMAS.contains(&schema),
            Self::MySql | Self::Sqlite | Self::Firebird => false,
        }
    }
}
