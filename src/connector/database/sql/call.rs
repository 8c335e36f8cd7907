//! Calls of routines → statements. Pure.
//!
//! Arguments are bound; what stands in the text are names from the catalog, quoted, and names of types as the database
//! itself spells them.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Statement;
use crate::connector::database::catalog::{Column, Parameter, Returns, Routine, RoutineKind, Type};
use crate::connector::database::dialect::Dialect;
use crate::connector::database::plan::{Bind, RoutineCall};
use crate::connector::database::value::Scalar;
use crate::error::{Error, ErrorKind, Result};

/// In which way a product calls its routines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallStyle {
    /// `CALL p(a => $1)`, whose row has the OUT parameters, and `SELECT … FROM f(a => $1)` (PostgreSQL manual, "CALL"
    /// and "Calling Functions").
    Postgresql,
    /// `CALL p(?, @variable)` and a query of the variables; `SELECT f(?)` (manual of `mysql`, "CALL Statement").
    Mysql,
    /// `EXECUTE p @a = @P1, @b = @variable OUTPUT` and a query of the variables in one batch; `SELECT … FROM f(@P1)`
    /// (Transact-SQL reference, "EXECUTE").
    SqlServer,
    /// An anonymous block that ends by putting variables into placeholders; `SELECT f(a => :1) FROM DUAL` and
    /// `TABLE(f(a => :1))` (Database PL/SQL Language Reference, "Block" and "Subprogram Parameters").
    Oracle,
}

/// What is run for a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Script {
    /// One query, whose rows are what a function returns.
    Query(Statement),
    /// Statements of a procedure.
    Call {
        /// Sets variables.
        before: Option<Statement>,
        /// Calls; every result that it gives is one of the procedure's, but for what [`OutValues`] says.
        call: Statement,
        /// Where the OUT parameters are.
        out: OutValues,
    },
}

/// Where the values of OUT parameters are found.
#[derive(Clone, Debug, PartialEq)]
pub enum OutValues {
    /// There are none.
    None,
    /// In the only row of the last result of the call.
    Last,
    /// In the only row of another query.
    Query(Box<Statement>),
}

/// Writes a call. Without a style, the product has no routines.
pub fn render_call(dialect: &dyn Dialect, call: &RoutineCall) -> Result<Script> {
    let writer = Writer {
        dialect,
        call,
        binds: Vec::new(),
    };
    match dialect.call_style() {
        None => Err(Error::internal("a call in a dialect without routines")),
        Some(CallStyle::Postgresql) => writer.postgresql(),
        Some(CallStyle::Mysql) => writer.mysql(),
        Some(CallStyle::SqlServer) => writer.sql_server(),
        Some(CallStyle::Oracle) => writer.oracle(),
    }
}

/// The columns of a query of what a function returns; none for one that returns nothing.
fn columns_of(routine: &Routine) -> Result<&[Column]> {
    match &routine.returns {
        Returns::Nothing => Ok(&[]),
        Returns::Value(column) => Ok(std::slice::from_ref(column)),
        Returns::Row(columns) | Returns::Table(columns) => Ok(columns),
        Returns::Cursors => Err(Error::internal("cursors were queried")),
        Returns::Unknown => Err(Error::new(
            ErrorKind::NotImplemented,
            format!(
                "function '{}' does not say which columns it returns",
                routine.name
            ),
        )
        .with_help("declare it with RETURNS TABLE (…) or with OUT parameters")),
    }
}

struct Writer<'a> {
    dialect: &'a dyn Dialect,
    call: &'a RoutineCall,
    binds: Vec<Bind>,
}

impl<'a> Writer<'a> {
    fn routine(&self) -> &'a Routine {
        &self.call.routine
    }

    /// Parameters, each with what is sent for it.
    fn parameters(&self) -> impl Iterator<Item = (&'a Parameter, Option<&'a Scalar>)> + use<'a> {
        let call = self.call;
        call.routine
            .parameters
            .iter()
            .zip(call.arguments.iter().map(Option::as_ref))
    }

    fn name(&self) -> String {
        let routine = self.routine();
        let native = self.dialect.quote(&routine.native);
        match &routine.schema {
            Some(schema) => format!("{}.{native}", self.dialect.quote(schema)),
            None => native,
        }
    }

    /// A placeholder for a value.
    fn bind(&mut self, value: &Scalar) -> String {
        self.binds.push(Bind::Value(value.clone()));
        self.dialect.placeholder(self.binds.len())
    }

    fn statement(&mut self, sql: String) -> Statement {
        Statement {
            sql: Arc::from(sql),
            binds: std::mem::take(&mut self.binds).into(),
            expected_rows: None,
            json_columns: Arc::default(),
            kinds: Arc::default(),
            returned: Arc::default(),
            returned_names: Arc::default(),
        }
    }

    /// `c0`, `c1`, … of `r`, as the driver wants to read them.
    fn shown(&self, columns: &[Column]) -> String {
        let list: Vec<String> = columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let sql = self.dialect.shown(&format!("r.c{index}"), column);
                format!("{sql}{}", self.dialect.named_column(column))
            })
            .collect();
        list.join(", ")
    }

    /// The columns of `r` under their own names.
    fn shown_by_name(&self, columns: &[Column]) -> String {
        let list: Vec<String> = columns
            .iter()
            .map(|column| {
                let sql = format!("r.{}", self.dialect.quote(&column.name));
                let shown = self.dialect.shown(&sql, column);
                format!("{shown}{}", self.dialect.named_column(column))
            })
            .collect();
        list.join(", ")
    }

    fn postgresql(mut self) -> Result<Script> {
        let arguments = self.named_or_positional()?;
        let call = format!("{}({arguments})", self.name());
        if self.routine().kind == RoutineKind::Procedure {
            let has_out = self.routine().outputs().next().is_some();
            return Ok(Script::Call {
                before: None,
                call: self.statement(format!("CALL {call}")),
                out: if has_out {
                    OutValues::Last
                } else {
                    OutValues::None
                },
            });
        }
        if self.routine().returns == Returns::Cursors {
            return Ok(Script::Call {
                before: None,
                call: self.statement(format!("SELECT r.c0 FROM {call} AS r(c0)")),
                out: OutValues::None,
            });
        }
        let columns = columns_of(self.routine())?;
        let sql = if columns.is_empty() {
            // The value of type `void` is an empty text.
            format!("SELECT r.c0::text FROM {call} AS r(c0)")
        } else {
            let names: Vec<String> = (0..columns.len())
                .map(|index| format!("c{index}"))
                .collect();
            format!(
                "SELECT {} FROM {call} AS r({})",
                self.shown(columns),
                names.join(", ")
            )
        };
        Ok(Script::Query(self.statement(sql)))
    }

    /// `a => $1::integer`, or `$1::integer` for routines whose parameters have no names. The cast chooses among
    /// overloads; parameters of procedures that only come back are NULL (PostgreSQL manual, "CALL").
    fn named_or_positional(&mut self) -> Result<String> {
        let routine = self.routine();
        let is_procedure = routine.kind == RoutineKind::Procedure;
        let mut by_position = routine
            .inputs()
            .any(|parameter| parameter.column.name.is_empty());
        let mut list = Vec::new();
        for (parameter, argument) in self.parameters() {
            let kind = &parameter.column.db_type;
            let value = match argument {
                Some(value) => format!("{}::{kind}", self.bind(value)),
                None if !parameter.direction.is_input() => {
                    if !is_procedure {
                        continue;
                    }
                    format!("NULL::{kind}")
                }
                None => {
                    by_position = false;
                    continue;
                }
            };
            let variadic = if parameter.is_variadic {
                "VARIADIC "
            } else {
                ""
            };
            let name = &parameter.column.name;
            if by_position {
                list.push(format!("{variadic}{value}"));
            } else if name.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidParameter,
                    "a parameter without a name is given, but not all before it",
                )
                .with_help(format!("call {}", routine.signature())));
            } else {
                list.push(format!("{variadic}{} => {value}", self.dialect.quote(name)));
            }
        }
        Ok(list.join(", "))
    }

    fn mysql(mut self) -> Result<Script> {
        let name = self.name();
        if self.routine().kind == RoutineKind::Function {
            let mut list = Vec::new();
            for (_, argument) in self.parameters() {
                list.push(self.bind(argument.unwrap_or(&Scalar::Null)));
            }
            let value = format!("{name}({})", list.join(", "));
            let sql = match columns_of(self.routine())? {
                [column] => format!(
                    "SELECT {}{}",
                    self.dialect.shown(&value, column),
                    self.dialect.named_column(column)
                ),
                _ => return Err(Error::internal("a function without a value")),
            };
            return Ok(Script::Query(self.statement(sql)));
        }
        let variable = |index: usize| format!("@tidegate_{index}");
        let mut set = Vec::new();
        let mut out = Vec::new();
        for (index, (parameter, argument)) in self.parameters().enumerate() {
            if parameter.direction.is_output() {
                let value = argument.map_or_else(|| "NULL".to_owned(), |value| self.bind(value));
                set.push(format!("{} = {value}", variable(index)));
                let named = self.dialect.named_column(&parameter.column);
                out.push(format!("{}{named}", variable(index)));
            }
        }
        let before = (!set.is_empty()).then(|| self.statement(format!("SET {}", set.join(", "))));
        let mut list = Vec::new();
        for (index, (parameter, argument)) in self.parameters().enumerate() {
            list.push(if parameter.direction.is_output() {
                variable(index)
            } else {
                self.bind(argument.unwrap_or(&Scalar::Null))
            });
        }
        let call = self.statement(format!("CALL {name}({})", list.join(", ")));
        let out = if out.is_empty() {
            OutValues::None
        } else {
            OutValues::Query(Box::new(
                self.statement(format!("SELECT {}", out.join(", "))),
            ))
        };
        Ok(Script::Call { before, call, out })
    }

    fn sql_server(mut self) -> Result<Script> {
        let name = self.name();
        if self.routine().kind == RoutineKind::Function {
            let mut list = Vec::new();
            for (parameter, argument) in self.parameters() {
                // Functions want a word where procedures want nothing.
                list.push(argument.map_or_else(
                    || "DEFAULT".to_owned(),
                    |value| self.stored(value, &parameter.column),
                ));
            }
            let call = format!("{name}({})", list.join(", "));
            let columns = columns_of(self.routine())?;
            let sql = match (&self.routine().returns, columns) {
                (Returns::Value(_), [column]) => format!(
                    "SELECT {}{}",
                    self.dialect.shown(&call, column),
                    self.dialect.named_column(column)
                ),
                (_, columns) => {
                    let list = self.shown_by_name(columns);
                    format!("SELECT {list} FROM {call} AS r")
                }
            };
            return Ok(Script::Query(self.query(sql, columns)));
        }
        let (mut declared, mut arguments, mut out) = (String::new(), Vec::new(), Vec::new());
        for (index, (parameter, argument)) in self.parameters().enumerate() {
            let column = &parameter.column;
            let kind = declared_type(&column.db_type);
            if parameter.direction.is_output() {
                let value = argument.map(|value| self.stored(value, column));
                let value = value.map_or_else(String::new, |value| format!(" = {value}"));
                let _ = write!(declared, "DECLARE @out_{index} {kind}{value}; ");
                arguments.push(format!("@{} = @out_{index} OUTPUT", column.name));
                out.push(format!(
                    "{} AS {}",
                    self.dialect.shown(&format!("@out_{index}"), column),
                    self.dialect.quote(&column.name)
                ));
            } else if let Some(value) = argument {
                let value = self.bind(value);
                let stored = self.dialect.stored(&value, column);
                // EXECUTE takes values and variables, but no expressions.
                if stored == value {
                    arguments.push(format!("@{} = {value}", column.name));
                } else {
                    let _ = write!(declared, "DECLARE @in_{index} {kind} = {stored}; ");
                    arguments.push(format!("@{} = @in_{index}", column.name));
                }
            }
        }
        let arguments = if arguments.is_empty() {
            String::new()
        } else {
            format!(" {}", arguments.join(", "))
        };
        // Counts of rows would be results of their own.
        let mut sql = format!("SET NOCOUNT ON; {declared}EXECUTE {name}{arguments};");
        let has_out = !out.is_empty();
        if has_out {
            let _ = write!(sql, " SELECT {};", out.join(", "));
        }
        Ok(Script::Call {
            before: None,
            call: self.statement(sql),
            out: if has_out {
                OutValues::Last
            } else {
                OutValues::None
            },
        })
    }

    /// The driver takes placeholders in the order in which they stand in the text, whatever their numbers.
    fn oracle(mut self) -> Result<Script> {
        let name = self.name();
        let routine = self.routine();
        let has_cursor = routine
            .parameters
            .iter()
            .any(|parameter| parameter.is_cursor);
        if has_cursor || routine.returns == Returns::Cursors {
            return Err(Error::new(
                ErrorKind::NotImplemented,
                format!(
                    "{} '{}' gives cursors, which the database's driver cannot read",
                    routine.kind.noun(),
                    routine.name
                ),
            )
            .with_help("make a function that returns a table, or a view"));
        }
        if routine.kind == RoutineKind::Function {
            let mut list = Vec::new();
            for (parameter, argument) in self.parameters() {
                if let Some(value) = argument {
                    let value = self.stored(value, &parameter.column);
                    list.push(format!(
                        "{} => {value}",
                        self.dialect.quote(&parameter.column.name)
                    ));
                }
            }
            let call = format!("{name}({})", list.join(", "));
            let columns = columns_of(routine)?;
            let sql = match (&routine.returns, columns) {
                (Returns::Value(_), [column]) => format!(
                    "SELECT {}{} FROM DUAL",
                    self.dialect.shown(&call, column),
                    self.dialect.named_column(column)
                ),
                (_, columns) => {
                    let list = self.shown_by_name(columns);
                    format!("SELECT {list} FROM TABLE({call}) r")
                }
            };
            return Ok(Script::Query(self.query(sql, columns)));
        }
        let mut declared = String::new();
        let mut returned = Vec::new();
        for (index, (parameter, argument)) in self.parameters().enumerate() {
            if parameter.direction.is_output() {
                let value = argument.map(|value| self.given(value, &parameter.column));
                let value = value.map_or_else(String::new, |value| format!(" := {value}"));
                let kind = variable_type(&parameter.column.db_type);
                let _ = write!(declared, "v{index} {kind}{value}; ");
                returned.push((index, parameter));
            }
        }
        let mut arguments = Vec::new();
        for (index, (parameter, argument)) in self.parameters().enumerate() {
            let quoted = self.dialect.quote(&parameter.column.name);
            if parameter.direction.is_output() {
                arguments.push(format!("{quoted} => v{index}"));
            } else if let Some(value) = argument {
                let value = self.given(value, &parameter.column);
                arguments.push(format!("{quoted} => {value}"));
            }
        }
        let mut after = String::new();
        for (position, (index, parameter)) in (self.binds.len() + 1..).zip(&returned) {
            let placeholder = self.dialect.placeholder(position);
            let variable = format!("v{index}");
            let value = if is_truth(&parameter.column) {
                format!("CASE {variable} WHEN TRUE THEN 1 WHEN FALSE THEN 0 END")
            } else {
                variable
            };
            let _ = write!(after, " {placeholder} := {value};");
        }
        let declare = if declared.is_empty() { "" } else { "DECLARE " };
        let list = if arguments.is_empty() {
            String::new()
        } else {
            format!("({})", arguments.join(", "))
        };
        let returned_names: Arc<[String]> = returned
            .iter()
            .map(|(_, parameter)| parameter.column.name.clone())
            .collect();
        let returned: Arc<[Type]> = returned
            .into_iter()
            .map(|(_, parameter)| parameter.column.kind.clone())
            .collect();
        let out = if returned.is_empty() {
            OutValues::None
        } else {
            OutValues::Last
        };
        let statement = self.statement(format!(
            "{declare}{declared}BEGIN {name}{list};{after} END;"
        ));
        Ok(Script::Call {
            before: None,
            call: Statement {
                returned,
                returned_names,
                ..statement
            },
            out,
        })
    }

    /// A placeholder for a value, as a column of this type takes it.
    fn stored(&mut self, value: &Scalar, column: &Column) -> String {
        let placeholder = self.bind(value);
        self.dialect.stored(&placeholder, column)
    }

    /// The same for a parameter of PL/SQL, whose truth values are no numbers.
    fn given(&mut self, value: &Scalar, column: &Column) -> String {
        if is_truth(column) {
            format!("({} = 1)", self.bind(value))
        } else {
            self.stored(value, column)
        }
    }

    /// A query of these columns.
    fn query(&mut self, sql: String, columns: &[Column]) -> Statement {
        Statement {
            kinds: columns
                .iter()
                .map(|column| Some(column.kind.clone()))
                .collect(),
            ..self.statement(sql)
        }
    }
}

/// Whether a type is that of PL/SQL's own truth values, which cannot be bound.
fn is_truth(column: &Column) -> bool {
    column.db_type == "BOOLEAN"
}

/// The type of a variable of Transact-SQL: the old large types have none (`DECLARE @local_variable`).
fn declared_type(db_type: &str) -> &str {
    match db_type {
        "text" => "varchar(max)",
        "ntext" => "nvarchar(max)",
        "image" => "varbinary(max)",
        other => other,
    }
}

/// The type of a PL/SQL variable: parameters have no length, variables must (largest: 32767 bytes).
fn variable_type(db_type: &str) -> String {
    let upper = db_type.to_ascii_uppercase();
    match upper.as_str() {
        "VARCHAR2" | "NVARCHAR2" | "CHAR" | "NCHAR" | "VARCHAR" | "RAW" => {
            let most = if upper.starts_with('N') {
                16_383
            } else {
                32_767
            };
            let kind = match upper.as_str() {
                "CHAR" | "VARCHAR" => "VARCHAR2",
                "NCHAR" => "NVARCHAR2",
                kind => kind,
            };
            format!("{kind}({most})")
        }
        _ => db_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::catalog::Direction;
    use crate::connector::database::dialect::PostgresqlDialect;

    fn parameter(name: &str, db_type: &str, direction: Direction) -> Parameter {
        Parameter {
            direction,
            has_default: false,
            is_variadic: false,
            is_cursor: false,
            column: Column::plain(name, Type::Integer, db_type),
        }
    }

    fn routine(kind: RoutineKind, parameters: Vec<Parameter>, returns: Returns) -> Routine {
        Routine {
            name: "sales.close \"month\"".to_owned(),
            schema: Some("sales".to_owned()),
            native: "close \"month\"".to_owned(),
            kind,
            parameters,
            returns,
            is_read_only: false,
            description: None,
        }
    }

    fn procedure() -> Routine {
        routine(
            RoutineKind::Procedure,
            vec![
                parameter("p_year", "integer", Direction::In),
                parameter("p_done", "integer", Direction::Out),
                parameter("p_note", "VARCHAR2", Direction::InOut),
                parameter("p_more", "integer", Direction::In),
            ],
            Returns::Nothing,
        )
    }

    fn scalar() -> Routine {
        let value = Column::plain("f", Type::Decimal, "numeric");
        routine(
            RoutineKind::Function,
            vec![
                parameter("a", "integer", Direction::In),
                parameter("b", "integer", Direction::In),
            ],
            Returns::Value(Box::new(value)),
        )
    }

    fn table() -> Routine {
        let columns = vec![
            Column::plain("number", Type::Text, "text"),
            Column::plain("place", Type::Other, "point"),
        ];
        routine(
            RoutineKind::Function,
            vec![parameter("a", "integer", Direction::In)],
            Returns::Table(columns),
        )
    }

    /// The statements of a call, each with its values.
    fn script(dialect: &dyn Dialect, routine: Routine, arguments: &[Option<i64>]) -> Vec<String> {
        let call = RoutineCall {
            routine: Arc::new(routine),
            arguments: arguments
                .iter()
                .map(|argument| argument.map(Scalar::Int))
                .collect(),
        };
        let shown = |statement: &Statement| {
            let values: Vec<String> = statement
                .binds
                .iter()
                .map(|bind| match bind {
                    Bind::Value(Scalar::Int(value)) => value.to_string(),
                    other => format!("{other:?}"),
                })
                .collect();
            let text = format!("{} <- {}", statement.sql, values.join(" "));
            if statement.returned.is_empty() {
                text
            } else {
                format!("{text} -> {:?}", statement.returned)
            }
        };
        match render_call(dialect, &call).unwrap() {
            Script::Query(statement) => vec![shown(&statement)],
            Script::Call { before, call, out } => {
                let mut list: Vec<String> = before.iter().map(shown).collect();
                list.push(shown(&call));
                list.push(match &out {
                    OutValues::None => "nothing".to_owned(),
                    OutValues::Last => "last".to_owned(),
                    OutValues::Query(statement) => shown(statement),
                });
                list
            }
        }
    }

    #[test]
    fn postgresql_calls_by_name_with_casts() {
        let calls =
            |routine, arguments: &[Option<i64>]| script(&PostgresqlDialect, routine, arguments);
        assert_eq!(
            calls(procedure(), &[Some(2026), None, Some(1), None]),
            [
                "CALL \"sales\".\"close \"\"month\"\"\"(\"p_year\" => $1::integer, \"p_done\" => NULL::integer, \
                 \"p_note\" => $2::VARCHAR2) <- 2026 1",
                "last",
            ]
        );
        assert_eq!(
            calls(scalar(), &[Some(1), None]),
            [
                "SELECT r.c0 FROM \"sales\".\"close \"\"month\"\"\"(\"a\" => $1::integer) AS r(c0) <- 1"
            ]
        );
        assert_eq!(
            calls(table(), &[Some(1)]),
            [
                "SELECT r.c0, r.c1::text FROM \"sales\".\"close \"\"month\"\"\"(\"a\" => $1::integer) AS r(c0, c1) <- 1"
            ]
        );
        let mut unnamed = scalar();
        unnamed.parameters[0].column.name.clear();
        unnamed.parameters[1].is_variadic = true;
        unnamed.returns = Returns::Nothing;
        assert_eq!(
            calls(unnamed, &[Some(1), Some(2)]),
            [
                "SELECT r.c0::text FROM \"sales\".\"close \"\"month\"\"\"($1::integer, VARIADIC $2::integer) AS r(c0) <- 1 2"
            ]
        );
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn mysql_calls_by_position_with_variables() {
        use crate::connector::database::dialect::MysqlDialect;
        let calls =
            |routine, arguments: &[Option<i64>]| script(&MysqlDialect::MYSQL, routine, arguments);
        assert_eq!(
            calls(procedure(), &[Some(2026), None, Some(1), None]),
            [
                "SET @tidegate_1 = NULL, @tidegate_2 = ? <- 1",
                "CALL `sales`.`close \"month\"`(?, @tidegate_1, @tidegate_2, ?) <- 2026 Value(Null)",
                "SELECT @tidegate_1 AS `plain`, @tidegate_2 AS `plain` <- ",
            ]
        );
        assert_eq!(
            calls(scalar(), &[Some(1), Some(2)]),
            ["SELECT `sales`.`close \"month\"`(?, ?) AS `plain` <- 1 2"]
        );
    }

    #[cfg(feature = "sqlserver")]
    #[test]
    fn sql_server_calls_by_name_in_one_batch() {
        use crate::connector::database::dialect::SqlServerDialect;
        let calls =
            |routine, arguments: &[Option<i64>]| script(&SqlServerDialect, routine, arguments);
        assert_eq!(
            calls(procedure(), &[Some(2026), None, Some(1), None]),
            [
                "SET NOCOUNT ON; DECLARE @out_1 integer; DECLARE @out_2 VARCHAR2 = @P2; EXECUTE \
                 [sales].[close \"month\"] @p_year = @P1, @p_done = @out_1 OUTPUT, @p_note = @out_2 OUTPUT; \
                 SELECT @out_1 AS [p_done], @out_2 AS [p_note]; <- 2026 1",
                "last",
            ]
        );
        let mut money = procedure();
        money.parameters = vec![
            Parameter {
                column: Column::plain("p_file", Type::Binary, "image"),
                ..parameter("", "", Direction::In)
            },
            Parameter {
                column: Column::plain("p_sum", Type::Money, "money"),
                ..parameter("", "", Direction::Out)
            },
        ];
        assert_eq!(
            calls(money, &[Some(1), None]),
            [
                "SET NOCOUNT ON; DECLARE @in_0 varbinary(max) = CONVERT(varbinary(max), @P1); \
                 DECLARE @out_1 money; EXECUTE [sales].[close \"month\"] @p_file = @in_0, @p_sum = @out_1 OUTPUT; \
                 SELECT CAST(@out_1 AS decimal(19, 4)) AS [p_sum]; <- 1",
                "last",
            ]
        );
        assert_eq!(
            calls(scalar(), &[Some(1), None]),
            ["SELECT [sales].[close \"month\"](@P1, DEFAULT) <- 1"]
        );
        assert_eq!(
            calls(table(), &[None]),
            [
                "SELECT r.[number], r.[place].ToString() FROM [sales].[close \"month\"](DEFAULT) AS r <- "
            ]
        );
    }

    #[cfg(feature = "oracle")]
    #[test]
    fn oracle_calls_in_a_block_whose_placeholders_stand_in_their_order() {
        use crate::connector::database::dialect::OracleDialect;
        let calls = |routine, arguments: &[Option<i64>]| script(&OracleDialect, routine, arguments);
        let mut close = procedure();
        close.parameters.push(Parameter {
            column: Column::plain("p_is_done", Type::Boolean, "BOOLEAN"),
            ..parameter("", "", Direction::InOut)
        });
        close.parameters.push(Parameter {
            column: Column::plain("p_day", Type::DateTime, "DATE"),
            ..parameter("", "", Direction::In)
        });
        assert_eq!(
            calls(close, &[Some(2026), None, Some(1), None, Some(0), Some(7)]),
            [
                "DECLARE v1 integer; v2 VARCHAR2(32767) := :1; v4 BOOLEAN := (:2 = 1); BEGIN \
                 \"sales\".\"close \"\"month\"\"\"(\"p_year\" => :3, \"p_done\" => v1, \"p_note\" => v2, \
                 \"p_is_done\" => v4, \"p_day\" => CAST(TO_TIMESTAMP(:4, 'YYYY-MM-DD\"T\"HH24:MI:SS.FF') AS DATE)); \
                 :5 := v1; :6 := v2; :7 := CASE v4 WHEN TRUE THEN 1 WHEN FALSE THEN 0 END; END; \
                 <- 1 0 2026 7 -> [Integer, Integer, Boolean]",
                "last",
            ]
        );
        assert_eq!(
            calls(scalar(), &[Some(1), None]),
            ["SELECT \"sales\".\"close \"\"month\"\"\"(\"a\" => :1) FROM DUAL <- 1"]
        );
        assert_eq!(
            calls(table(), &[Some(1)]),
            [
                "SELECT r.\"number\", r.\"place\" FROM TABLE(\"sales\".\"close \"\"month\"\"\"(\"a\" => :1)) r <- 1"
            ]
        );
    }

    #[cfg(feature = "oracle")]
    #[test]
    fn cursors_of_oracle_are_refused() {
        use crate::connector::database::dialect::OracleDialect;
        let mut by_value = scalar();
        by_value.returns = Returns::Cursors;
        let mut by_parameter = procedure();
        by_parameter.parameters[1].is_cursor = true;
        for routine in [by_value, by_parameter] {
            let call = RoutineCall {
                arguments: routine.parameters.iter().map(|_| None).collect(),
                routine: Arc::new(routine),
            };
            let error = render_call(&OracleDialect, &call).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotImplemented);
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let refused = |routine, arguments: &[Option<i64>]| {
            let call = RoutineCall {
                routine: Arc::new(routine),
                arguments: arguments
                    .iter()
                    .map(|value| value.map(Scalar::Int))
                    .collect(),
            };
            render_call(&PostgresqlDialect, &call).unwrap_err().kind()
        };
        let mut gap = scalar();
        gap.parameters[1].column.name.clear();
        assert_eq!(refused(gap, &[None, Some(1)]), ErrorKind::InvalidParameter);
        let mut unknown = table();
        unknown.returns = Returns::Unknown;
        assert_eq!(refused(unknown, &[Some(1)]), ErrorKind::NotImplemented);
    }

    #[test]
    fn variables_of_oracle_have_room_for_any_text() {
        for (declared, variable) in [
            ("VARCHAR2", "VARCHAR2(32767)"),
            ("NCHAR", "NVARCHAR2(16383)"),
            ("NUMBER", "NUMBER"),
        ] {
            assert_eq!(variable_type(declared), variable);
        }
    }
}
