//! The pool and all above it, over a scripted driver: no Oracle server was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::driver::{Bound, Cell, Done, Driver, Moment, Next, Session, Variable};
use super::error::{Cause, Fault};
use super::pool::{OraclePool, Settings};
use crate::clock::system;
use crate::connector::database::backend::Database;
use crate::connector::database::catalog::{
    Index, IndexOrigin, RelationKind, Returns, RoutineKind, Type,
};
use crate::connector::database::dialect::OracleDialect;
use crate::connector::database::options::DatabaseOptions;
use crate::connector::database::plan::{
    Bind, Condition, Expression, Insert, Output, RoutineCall, Update, Write,
};
use crate::connector::database::results::Results;
use crate::connector::database::rows::{Frame, RowWriter, Shape};
use crate::connector::database::sql::{RenderOptions, Sql, SqlPool, Statement};
use crate::connector::database::value::Scalar;
use crate::connector::filter::Comparison;
use crate::error::ErrorKind;
use crate::exchange::Format;

/// What the script says to a statement.
enum Answer {
    Rows(Vec<Vec<Cell>>),
    Done(Done),
    Fault(Option<u32>, Cause),
    /// Waits until the other side is dropped, as a call that hangs.
    Hang(Receiver<()>),
    Panic,
}

#[derive(Default)]
struct Script {
    /// Begin of the statement, and what is answered; each once, in this order for equal statements.
    answers: VecDeque<(&'static str, Answer)>,
    /// Everything that was asked.
    asked: Vec<(String, Vec<Bound>)>,
    refuses: bool,
}

/// A driver that answers from a script and counts its connections and threads.
#[derive(Default)]
struct Scripted {
    script: Arc<Mutex<Script>>,
    connections: AtomicUsize,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

struct ScriptedSession {
    script: Arc<Mutex<Script>>,
    open: Arc<AtomicUsize>,
    thread: std::thread::ThreadId,
}

impl Driver for Scripted {
    fn connect(&self) -> Result<Box<dyn Session>, Fault> {
        if self.script.lock().unwrap().refuses {
            return Err(fault(Some(12541), Cause::Answer));
        }
        self.connections.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        Ok(Box::new(ScriptedSession {
            script: Arc::clone(&self.script),
            open: Arc::clone(&self.open),
            thread: std::thread::current().id(),
        }))
    }
}

impl Drop for ScriptedSession {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn fault(code: Option<u32>, cause: Cause) -> Fault {
    Fault {
        code,
        cause,
        message: "ORA: the words of the server".to_owned(),
    }
}

impl ScriptedSession {
    fn answer(&self, sql: &str, values: &[Bound]) -> Answer {
        assert_eq!(self.thread, std::thread::current().id(), "one thread each");
        let mut script = self.script.lock().unwrap();
        script.asked.push((sql.to_owned(), values.to_vec()));
        let found = script
            .answers
            .iter()
            .position(|(begin, _)| sql.starts_with(begin));
        found.map_or_else(
            || Answer::Done(Done::default()),
            |index| script.answers.remove(index).unwrap().1,
        )
    }
}

impl Session for ScriptedSession {
    fn execute(&mut self, sql: &str, values: &[Bound]) -> Result<Done, Fault> {
        match self.answer(sql, values) {
            Answer::Done(done) => Ok(done),
            Answer::Fault(code, cause) => Err(fault(code, cause)),
            Answer::Rows(_) => panic!("rows for {sql}"),
            Answer::Hang(receiver) => {
                let _ = receiver.recv();
                Err(fault(None, Cause::TimedOut))
            }
            Answer::Panic => panic!("the driver panics"),
        }
    }

    fn query(
        &mut self,
        sql: &str,
        values: &[Bound],
        take: &mut dyn FnMut(Vec<Cell>) -> Next,
    ) -> Result<(), Fault> {
        match self.answer(sql, values) {
            Answer::Rows(rows) => {
                for row in rows {
                    if take(row) == Next::Stop {
                        break;
                    }
                }
                Ok(())
            }
            Answer::Done(_) => Ok(()),
            Answer::Fault(code, cause) => Err(fault(code, cause)),
            Answer::Hang(receiver) => {
                let _ = receiver.recv();
                Err(fault(None, Cause::TimedOut))
            }
            Answer::Panic => panic!("the driver panics"),
        }
    }

    fn commit(&mut self) -> Result<(), Fault> {
        self.execute("COMMIT", &[]).map(drop)
    }

    fn rollback(&mut self) -> Result<(), Fault> {
        self.execute("ROLLBACK", &[]).map(drop)
    }

    fn ping(&mut self) -> Result<(), Fault> {
        self.execute("PING", &[]).map(drop)
    }
}

struct Stage {
    driver: Arc<Scripted>,
    pool: OraclePool,
}

impl Stage {
    fn new(max_connections: usize, answers: Vec<(&'static str, Answer)>) -> Self {
        let driver = Arc::new(Scripted::default());
        driver.script.lock().unwrap().answers = answers.into();
        let pool = OraclePool::new(
            Arc::clone(&driver) as Arc<dyn Driver>,
            settings(max_connections),
        );
        Self { driver, pool }
    }

    fn asked(&self) -> Vec<String> {
        let script = self.driver.script.lock().unwrap();
        script.asked.iter().map(|(sql, _)| sql.clone()).collect()
    }

    fn values(&self, index: usize) -> Vec<Bound> {
        self.driver.script.lock().unwrap().asked[index].1.clone()
    }

    /// Waits until what the threads have left to do is done.
    async fn settled(&self, begin: &str) {
        for _ in 0..1_000 {
            if self.asked().iter().any(|sql| sql.starts_with(begin)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{begin} was not asked: {:?}", self.asked());
    }
}

fn settings(max_connections: usize) -> Settings {
    Settings {
        service: "s".to_owned(),
        schema: String::new(),
        treat_number_as_decimal: false,
        max_connections,
        connect_timeout: Duration::ZERO,
        call_timeout: Duration::ZERO,
        clock: system(),
    }
}

fn text(text: &str) -> Cell {
    Cell::Text(text.to_owned())
}

fn number(number: i64) -> Cell {
    Cell::Number(number.to_string(), None)
}

fn statement(sql: &str, values: Vec<Scalar>, kinds: &[Type]) -> Statement {
    Statement {
        sql: sql.into(),
        binds: values.into_iter().map(Bind::Value).collect(),
        expected_rows: None,
        json_columns: Arc::default(),
        kinds: kinds.iter().cloned().map(Some).collect(),
        returned: Arc::default(),
        returned_names: Arc::default(),
    }
}

fn writer(names: &[&str]) -> RowWriter {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    RowWriter::new(Arc::new(Shape::new(names, Frame::List, Format::Json)), None)
}

fn answer(rows: RowWriter) -> serde_json::Value {
    serde_json::from_slice(&rows.finish(&serde_json::Map::new())).unwrap()
}

#[tokio::test]
async fn values_are_bound_and_rows_become_an_answer() {
    let moment = Moment {
        year: 2026,
        month: 2,
        day: 1,
        second: 36_000,
        nanosecond: 0,
        is_utc: true,
    };
    let stage = Stage::new(
        1,
        vec![(
            "SELECT",
            Answer::Rows(vec![
                vec![
                    number(1),
                    text("Ana"),
                    number(1),
                    Cell::Moment(moment),
                    text("{\"a\":1}"),
                ],
                vec![number(2), Cell::Null, number(0), Cell::Null, Cell::Null],
            ]),
        )],
    );
    let statement = statement(
        "SELECT 1",
        vec![
            Scalar::Int(5),
            Scalar::Text(String::new()),
            Scalar::Temporal("2026-02-01T10:00:00Z".to_owned()),
        ],
        &[
            Type::Integer,
            Type::String,
            Type::Boolean,
            Type::TimestampTz,
            Type::Json,
        ],
    );
    let rows = writer(&["id", "name", "is_live", "at", "note"]);
    let rows = stage.pool.read(&statement, &[], rows).await.unwrap();
    assert_eq!(
        answer(rows),
        json!({"resource": [
            {"id": 1, "name": "Ana", "is_live": true, "at": "2026-02-01T10:00:00Z", "note": {"a": 1}},
            {"id": 2, "name": null, "is_live": false, "at": null, "note": null},
        ]})
    );
    assert_eq!(
        stage.values(0),
        [
            Bound::Whole(5),
            Bound::Null,
            Bound::Text("2026-02-01T10:00:00.0+00:00".to_owned()),
        ]
    );
}

#[tokio::test]
async fn an_insert_gives_its_key_in_a_variable_and_is_read_again() {
    let stage = Stage::new(
        1,
        vec![
            ("SELECT SYS_CONTEXT", home()),
            (
                "SELECT o.owner",
                Answer::Rows(vec![vec![
                    text("SHOP"),
                    text("ALBUM"),
                    number(0),
                    number(1),
                    Cell::Null,
                ]]),
            ),
            ("SELECT c.owner", Answer::Rows(columns("ALBUM"))),
            (
                "SELECT k.owner",
                Answer::Rows(vec![constraint("ALBUM_PK", "P", "ALBUM", "ID", None)]),
            ),
            (
                "INSERT",
                Answer::Done(Done {
                    touched: 1,
                    returned: vec![vec![number(7)]],
                }),
            ),
            (
                "SELECT t0.",
                Answer::Rows(vec![vec![number(7), text("First")]]),
            ),
        ],
    );
    let database = Sql::new(OracleDialect, stage.pool, RenderOptions::default());
    let catalog = database.catalog().await.unwrap();
    let album = Arc::clone(catalog.table("album", |_| true).unwrap());
    assert_eq!(album.name, "ALBUM");
    let mut transaction = database.begin().await.unwrap();
    let output = |index: usize| Output {
        name: album.columns[index].name.clone(),
        expression: Expression::Column(index),
    };
    let write = Write::Insert(Insert {
        table: Arc::clone(&album),
        values: vec![(1, Bind::Value(Scalar::Text("First".to_owned())))],
        more: Vec::new(),
        upsert: None,
        check: Condition::True,
        returning: vec![output(0), output(1)],
    });
    let (rows, touched) = transaction
        .write(&write, writer(&["ID", "TITLE"]))
        .await
        .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(touched, 1);
    assert_eq!(
        answer(rows),
        json!({"resource": [{"ID": 7, "TITLE": "First"}]})
    );
    let script = stage.driver.script.lock().unwrap();
    let insert = script
        .asked
        .iter()
        .find(|(sql, _)| sql.starts_with("INSERT"))
        .unwrap();
    assert_eq!(
        insert.0,
        "INSERT INTO \"SHOP\".\"ALBUM\" (\"TITLE\") VALUES (:1) RETURNING \"ID\" INTO :r1"
    );
    assert_eq!(
        insert.1,
        [
            Bound::Text("First".to_owned()),
            Bound::Variable(Variable::Number)
        ]
    );
    assert_eq!(script.asked.last().unwrap().0, "COMMIT");
}

#[tokio::test]
async fn rows_are_locked_before_they_are_changed() {
    let stage = Stage::new(
        1,
        vec![
            ("SELECT SYS_CONTEXT", home()),
            (
                "SELECT o.owner",
                Answer::Rows(vec![vec![
                    text("SHOP"),
                    text("ALBUM"),
                    number(0),
                    number(1),
                    Cell::Null,
                ]]),
            ),
            ("SELECT c.owner", Answer::Rows(columns("ALBUM"))),
            (
                "SELECT k.owner",
                Answer::Rows(vec![constraint("ALBUM_PK", "P", "ALBUM", "ID", None)]),
            ),
            (
                "SELECT t0.",
                Answer::Rows(vec![vec![number(1)], vec![number(2)]]),
            ),
            (
                "UPDATE",
                Answer::Done(Done {
                    touched: 2,
                    ..Done::default()
                }),
            ),
        ],
    );
    let database = Sql::new(OracleDialect, stage.pool, RenderOptions::default());
    let catalog = database.catalog().await.unwrap();
    let mut transaction = database.begin().await.unwrap();
    let write = Write::Update(Update {
        table: Arc::clone(catalog.get("ALBUM").unwrap()),
        set: vec![(1, Bind::Value(Scalar::Text("x".to_owned())))],
        condition: Condition::Compare(
            Expression::Column(0),
            Comparison::Less,
            Bind::Value(Scalar::Int(3)),
        ),
        check: Condition::True,
        returning: Vec::new(),
    });
    let (_, touched) = transaction.write(&write, writer(&[])).await.unwrap();
    assert_eq!(touched, 2);
    transaction.commit().await.unwrap();
    let script = stage.driver.script.lock().unwrap();
    let asked: Vec<&str> = script
        .asked
        .iter()
        .rev()
        .take(3)
        .map(|(sql, _)| sql.as_str())
        .collect();
    assert_eq!(
        asked,
        [
            "COMMIT",
            "UPDATE \"SHOP\".\"ALBUM\" SET \"TITLE\" = :1 WHERE \"ALBUM\".\"ID\" IN (:2, :3)",
            "SELECT t0.\"ID\" FROM \"SHOP\".\"ALBUM\" t0 WHERE t0.\"ID\" < :1 FOR UPDATE",
        ]
    );
}

fn home() -> Answer {
    Answer::Rows(vec![vec![text("SHOP")]])
}

fn column(
    table: &str,
    name: &str,
    data_type: &str,
    precision: Option<i64>,
    nullable: bool,
) -> Vec<Cell> {
    let digits = |number: Option<i64>| number.map_or(Cell::Null, super::tests::number);
    vec![
        text("SHOP"),
        text(table),
        text(name),
        text(data_type),
        Cell::Null,
        number(80),
        number(20),
        digits(precision),
        digits(precision.map(|_| 0)),
        text(if nullable { "Y" } else { "N" }),
        text("NO"),
        text("NO"),
        Cell::Null,
        Cell::Null,
    ]
}

fn columns(table: &str) -> Vec<Vec<Cell>> {
    vec![
        column(table, "ID", "NUMBER", Some(9), false),
        column(table, "TITLE", "VARCHAR2", None, true),
    ]
}

fn constraint(
    name: &str,
    kind: &str,
    table: &str,
    column: &str,
    target: Option<&str>,
) -> Vec<Cell> {
    let target_cell = |text_of: Option<&str>| text_of.map_or(Cell::Null, text);
    vec![
        text("SHOP"),
        text(name),
        text(kind),
        text(table),
        text(column),
        target_cell(target.map(|_| "SHOP")),
        target_cell(target),
        target_cell(target.map(|_| "CASCADE")),
    ]
}

#[tokio::test]
async fn the_catalogue_has_keys_relations_and_numbered_columns() {
    let table = |name: &str| vec![text("SHOP"), text(name), number(0), number(1), Cell::Null];
    let mut all = columns("ALBUM");
    all.push(column("ALBUM", "ARTIST_ID", "NUMBER", Some(9), true));
    all.push(column("ALBUM", "IS_LIVE", "NUMBER", Some(1), true));
    all.extend(columns("ARTIST"));
    let mut other = table("SECRET");
    other[0] = text("HR");
    let stage = Stage::new(
        1,
        vec![
            ("SELECT SYS_CONTEXT", home()),
            (
                "SELECT o.owner",
                Answer::Rows(vec![other, table("ALBUM"), table("ARTIST")]),
            ),
            ("SELECT c.owner", Answer::Rows(all)),
            (
                "SELECT k.owner",
                Answer::Rows(vec![
                    constraint("ALBUM_FK", "R", "ALBUM", "ARTIST_ID", Some("ARTIST_PK")),
                    constraint("ALBUM_PK", "P", "ALBUM", "ID", None),
                    constraint("ARTIST_PK", "P", "ARTIST", "ID", None),
                ]),
            ),
            (
                "SELECT i.table_owner",
                Answer::Rows(vec![vec![
                    text("SHOP"),
                    text("ALBUM"),
                    text("SHOP"),
                    text("U"),
                    text("UNIQUE"),
                    text("TITLE"),
                    text("U"),
                    text("TITLE_ONCE"),
                ]]),
            ),
            (
                "SELECT q.owner",
                Answer::Rows(
                    [
                        ("SYS_C1", "\"ID\" IS NOT NULL"),
                        ("A_CK", "TITLE <> 'x' OR \"ID\" IS NOT NULL"),
                    ]
                    .map(|(name, sql)| vec![text("SHOP"), text("ALBUM"), text(name), text(sql)])
                    .to_vec(),
                ),
            ),
            (
                "SELECT u.username",
                Answer::Rows(vec![vec![text("HR")], vec![text("SHOP")]]),
            ),
            (
                "SELECT DISTINCT t.table_owner",
                Answer::Rows(vec![vec![text("SHOP"), text("ALBUM")]]),
            ),
        ],
    );
    let catalog = stage.pool.catalog().await.unwrap();
    let names: Vec<&str> = catalog.tables().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["HR.SECRET", "ALBUM", "ARTIST"]);
    let album = catalog.get("ALBUM").unwrap();
    assert_eq!(album.primary_key, [0]);
    assert_eq!(album.unique_keys, [vec![1]]);
    assert_eq!(
        album.indexes,
        [Index {
            name: "TITLE_ONCE".to_owned(),
            columns: vec![1],
            is_unique: true,
            origin: IndexOrigin::Unique,
        }]
    );
    assert_eq!(album.checks.len(), 1);
    assert_eq!(album.checks[0].name, "A_CK");
    assert_eq!(catalog.schemas().home.as_deref(), Some("SHOP"));
    assert_eq!(catalog.schemas().names, ["HR", "SHOP"]);
    assert!(album.columns[0].is_auto_increment);
    assert_eq!(album.columns[3].kind, Type::Boolean);
    assert_eq!(album.foreign_keys[0].on_delete, "CASCADE");
    assert_eq!(album.relations[0].kind, RelationKind::BelongsTo);
    let artist = catalog.get("ARTIST").unwrap();
    assert!(!artist.columns[0].is_auto_increment);
    assert_eq!(artist.relations[0].name, "ALBUM_by_ARTIST_ID");
}

/// A routine's line, and the lines of its parameters: name, type, direction and type of a collection.
fn routine_rows(
    name: &str,
    kind: &str,
    parameters: &[(Option<&str>, &str, &str, Option<&str>)],
) -> (Vec<Cell>, Vec<Vec<Cell>>) {
    let or_null = |name: Option<&str>| name.map_or(Cell::Null, text);
    let first = i64::from(kind == "PROCEDURE");
    let rows = (first..)
        .zip(parameters)
        .map(
            |(position, (parameter, data_type, direction, collection))| {
                vec![
                    text("SHOP"),
                    text(name),
                    number(position),
                    or_null(*parameter),
                    text(data_type),
                    text(direction),
                    text("N"),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    or_null(collection.map(|_| "SHOP")),
                    or_null(*collection),
                ]
            },
        )
        .collect();
    let line = vec![text("SHOP"), text(name), text(kind), text("NO")];
    (line, rows)
}

/// The answers to what the catalogue asks about routines.
fn routine_answers() -> Vec<(&'static str, Answer)> {
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for (line, parameters) in [
        routine_rows(
            "CLOSE_MONTH",
            "PROCEDURE",
            &[
                (Some("P_YEAR"), "NUMBER", "IN", None),
                (Some("P_NOTE"), "VARCHAR2", "IN/OUT", None),
                (Some("P_DONE"), "PL/SQL BOOLEAN", "OUT", None),
            ],
        ),
        routine_rows(
            "TWICE",
            "FUNCTION",
            &[
                (None, "BINARY_INTEGER", "OUT", None),
                (Some("P_N"), "NUMBER", "IN", None),
            ],
        ),
        routine_rows(
            "LINES",
            "FUNCTION",
            &[(None, "TABLE", "OUT", Some("LINES_T"))],
        ),
        routine_rows(
            "OPEN_ROWS",
            "FUNCTION",
            &[(None, "REF CURSOR", "OUT", None)],
        ),
        routine_rows(
            "WITH_OBJECT",
            "PROCEDURE",
            &[(Some("P"), "OBJECT", "IN", None)],
        ),
        routine_rows(
            "IS_DONE",
            "FUNCTION",
            &[(None, "PL/SQL BOOLEAN", "OUT", None)],
        ),
    ] {
        lines.push(line);
        rows.extend(parameters);
    }
    let column = |name: &str, data_type: &str, length: Option<i64>| {
        let length = length.map_or(Cell::Null, number);
        vec![
            text("SHOP"),
            text("LINES_T"),
            text(name),
            text(data_type),
            Cell::Null,
            length.clone(),
            length,
            Cell::Null,
            Cell::Null,
        ]
    };
    vec![
        ("SELECT SYS_CONTEXT", home()),
        ("SELECT p.owner", Answer::Rows(lines)),
        ("SELECT a.owner", Answer::Rows(rows)),
        (
            "SELECT y.owner",
            Answer::Rows(vec![
                column("TITLE", "VARCHAR2", Some(20)),
                column("TOTAL", "NUMBER", None),
            ]),
        ),
    ]
}

#[tokio::test]
async fn the_catalogue_has_the_routines_that_can_be_called() {
    let stage = Stage::new(1, routine_answers());
    let catalog = stage.pool.catalog().await.unwrap();
    let names = |kind| -> Vec<String> {
        let all = catalog.routines().of(kind);
        all.map(|(_, overloads)| overloads[0].signature()).collect()
    };
    assert_eq!(
        names(RoutineKind::Procedure),
        ["CLOSE_MONTH(P_YEAR NUMBER, P_NOTE INOUT VARCHAR2, P_DONE OUT BOOLEAN)"]
    );
    assert_eq!(
        names(RoutineKind::Function),
        ["TWICE(P_N NUMBER)", "LINES()", "OPEN_ROWS()"]
    );
    let returns = |name| {
        let found = catalog
            .routines()
            .find(RoutineKind::Function, name, |_| true);
        found.unwrap().1[0].returns.clone()
    };
    assert!(matches!(returns("twice"), Returns::Value(value) if value.kind == Type::Integer));
    assert!(matches!(returns("lines"), Returns::Table(columns) if columns.len() == 2));
    assert_eq!(returns("open_rows"), Returns::Cursors);
}

#[tokio::test]
async fn a_procedure_answers_its_out_parameters() {
    let mut answers = routine_answers();
    answers.push((
        "DECLARE",
        Answer::Done(Done {
            touched: 0,
            returned: vec![vec![text("closed"), number(1)]],
        }),
    ));
    let stage = Stage::new(1, answers);
    let asked = Arc::clone(&stage.driver);
    let database = Sql::new(OracleDialect, stage.pool, RenderOptions::default());
    let catalog = database.catalog().await.unwrap();
    let found = catalog
        .routines()
        .find(RoutineKind::Procedure, "close_month", |_| true);
    let call = RoutineCall {
        routine: Arc::clone(&found.unwrap().1[0]),
        arguments: vec![
            Some(Scalar::Int(2026)),
            Some(Scalar::Text("open".to_owned())),
            None,
        ],
    };
    let mut transaction = database.begin().await.unwrap();
    let results = Results::new(&DatabaseOptions::default(), Vec::new(), None);
    let outcome = transaction.call_routine(&call, results).await.unwrap();
    transaction.commit().await.unwrap();
    assert!(outcome.sets.is_empty());
    assert_eq!(outcome.out.unwrap(), r#"{"P_NOTE":"closed","P_DONE":true}"#);
    let script = asked.script.lock().unwrap();
    let (sql, values) = script
        .asked
        .iter()
        .find(|(sql, _)| sql.starts_with("DECLARE"))
        .unwrap();
    assert_eq!(
        sql,
        "DECLARE v1 VARCHAR2(32767) := :1; v2 BOOLEAN; BEGIN \"SHOP\".\"CLOSE_MONTH\"(\"P_YEAR\" => :2, \
         \"P_NOTE\" => v1, \"P_DONE\" => v2); :3 := v1; :4 := CASE v2 WHEN TRUE THEN 1 WHEN FALSE THEN 0 END; END;"
    );
    assert_eq!(
        *values,
        [
            Bound::Text("open".to_owned()),
            Bound::Whole(2026),
            Bound::Variable(Variable::Text),
            Bound::Variable(Variable::Number),
        ]
    );
}

#[tokio::test]
async fn a_function_answers_its_value_by_a_query() {
    let mut answers = routine_answers();
    answers.push((
        "SELECT \"SHOP\".\"TWICE\"",
        Answer::Rows(vec![vec![number(14)]]),
    ));
    let stage = Stage::new(1, answers);
    let asked = Arc::clone(&stage.driver);
    let database = Sql::new(OracleDialect, stage.pool, RenderOptions::default());
    let catalog = database.catalog().await.unwrap();
    let found = catalog
        .routines()
        .find(RoutineKind::Function, "twice", |_| true);
    let call = RoutineCall {
        routine: Arc::clone(&found.unwrap().1[0]),
        arguments: vec![Some(Scalar::Int(7))],
    };
    let mut transaction = database.begin().await.unwrap();
    let rows = transaction
        .query_routine(&call, writer(&["TWICE"]))
        .await
        .unwrap();
    assert_eq!(answer(rows), json!({"resource": [{"TWICE": 14}]}));
    let script = asked.script.lock().unwrap();
    let (sql, values) = script.asked.last().unwrap();
    assert_eq!(sql, "SELECT \"SHOP\".\"TWICE\"(\"P_N\" => :1) FROM DUAL");
    assert_eq!(*values, [Bound::Whole(7)]);
}

#[tokio::test]
async fn changes_of_the_schema_that_were_made_are_counted() {
    let stage = Stage::new(
        1,
        vec![("ALTER TABLE b", Answer::Fault(Some(955), Cause::Answer))],
    );
    let statements = ["ALTER TABLE a", "ALTER TABLE b", "ALTER TABLE c"].map(str::to_owned);
    let interrupted = stage.pool.change_schema(&statements).await.unwrap_err();
    assert_eq!(interrupted.kept, 1);
    assert_eq!(interrupted.error.kind(), ErrorKind::SchemaConflict);
    assert_eq!(stage.asked()[..2], ["ALTER TABLE a", "ALTER TABLE b"]);
}

#[test]
fn the_questions_to_the_dictionary_are_these() {
    use super::catalog::routines::{ARGUMENTS, COLLECTIONS, ROUTINES};
    use super::catalog::{
        CHECKS, COLUMNS, CONSTRAINTS, FINGERPRINT, HOME, INDEXES, NUMBERED, SCHEMAS, TABLES,
    };
    let all = [
        HOME,
        SCHEMAS,
        TABLES,
        COLUMNS,
        CONSTRAINTS,
        CHECKS,
        INDEXES,
        NUMBERED,
        ROUTINES,
        ARGUMENTS,
        COLLECTIONS,
        FINGERPRINT,
    ];
    for sql in all {
        // Placeholders are bound by position.
        assert!(sql.matches(":1").count() <= 1, "{sql}");
    }
    insta::assert_snapshot!(all.join("\n\n"));
}

#[tokio::test]
async fn errors_have_kinds_and_keep_or_close_the_connection() {
    for (code, cause, kind, connections) in [
        (Some(1), Cause::Answer, ErrorKind::UniqueViolation, 1),
        (Some(942), Cause::Answer, ErrorKind::UnknownTable, 1),
        (
            Some(8177),
            Cause::Answer,
            ErrorKind::SerializationFailure,
            1,
        ),
        (Some(1013), Cause::Answer, ErrorKind::BackendTimeout, 2),
        (Some(16000), Cause::Answer, ErrorKind::BackendUnavailable, 2),
        (None, Cause::TimedOut, ErrorKind::BackendTimeout, 2),
        (None, Cause::Driver, ErrorKind::BackendFailure, 2),
    ] {
        let stage = Stage::new(1, vec![("SELECT 1", Answer::Fault(code, cause))]);
        let first = statement("SELECT 1", vec![], &[]);
        let error = stage
            .pool
            .read(&first, &[], writer(&[]))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), kind);
        assert!(!error.to_string().contains("the words"));
        stage.pool.read(&first, &[], writer(&[])).await.unwrap();
        assert_eq!(
            stage.driver.connections.load(Ordering::SeqCst),
            connections,
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_died_at_rest_is_replaced_once() {
    let stage = Stage::new(
        1,
        vec![
            ("SELECT 1", Answer::Rows(vec![])),
            ("SELECT 1", Answer::Fault(Some(3113), Cause::Answer)),
            ("SELECT 1", Answer::Rows(vec![vec![number(1)]])),
            ("SELECT 1", Answer::Fault(None, Cause::Lost)),
            ("SELECT 1", Answer::Fault(None, Cause::Lost)),
        ],
    );
    let one = statement("SELECT 1", vec![], &[Type::Integer]);
    stage.pool.read(&one, &[], writer(&["a"])).await.unwrap();
    let rows = stage.pool.read(&one, &[], writer(&["a"])).await.unwrap();
    assert_eq!(answer(rows), json!({"resource": [{"a": 1}]}));
    assert_eq!(stage.driver.connections.load(Ordering::SeqCst), 2);
    let error = stage
        .pool
        .read(&one, &[], writer(&["a"]))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert_eq!(stage.driver.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_server_that_refuses_is_not_asked_again_at_once() {
    let stage = Stage::new(1, vec![]);
    stage.driver.script.lock().unwrap().refuses = true;
    let one = statement("SELECT 1", vec![], &[]);
    for _ in 0..2 {
        let error = stage.pool.read(&one, &[], writer(&[])).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    }
    stage.driver.script.lock().unwrap().refuses = false;
    let error = stage.pool.probe().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    assert_eq!(stage.driver.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_transaction_that_is_dropped_is_rolled_back_before_the_next() {
    let stage = Stage::new(1, vec![]);
    let change = statement("UPDATE a", vec![], &[]);
    let mut transaction = stage.pool.begin().await.unwrap();
    transaction.savepoint().await.unwrap();
    transaction.run(&change, &[], writer(&[])).await.unwrap();
    transaction.rollback_to_savepoint().await.unwrap();
    drop(transaction);
    stage
        .pool
        .read(&statement("SELECT 1", vec![], &[]), &[], writer(&[]))
        .await
        .unwrap();
    assert_eq!(
        stage.asked(),
        [
            "SAVEPOINT tidegate",
            "UPDATE a",
            "ROLLBACK TO SAVEPOINT tidegate",
            "ROLLBACK",
            "SELECT 1",
        ]
    );
    assert_eq!(stage.driver.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_runs_in_a_transaction_whose_connection_is_gone() {
    let stage = Stage::new(1, vec![("UPDATE a", Answer::Fault(None, Cause::Lost))]);
    let mut transaction = stage.pool.begin().await.unwrap();
    let change = statement("UPDATE a", vec![], &[]);
    let error = transaction
        .run(&change, &[], writer(&[]))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
    let error = transaction
        .run(&change, &[], writer(&[]))
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::SerializationFailure);
    let error = transaction.commit().await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::SerializationFailure);
    assert_eq!(stage.asked(), ["UPDATE a"]);
}

fn hanging() -> (Sender<()>, Answer) {
    let (sender, receiver) = channel();
    (sender, Answer::Hang(receiver))
}

#[tokio::test]
async fn a_call_that_hangs_is_given_up_and_keeps_its_place() {
    let (release, hang) = hanging();
    let stage = Stage::new(1, vec![("SELECT 1", hang)]);
    let one = statement("SELECT 1", vec![], &[]);
    let error = stage.pool.read(&one, &[], writer(&[])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BackendTimeout);
    // There is one thread, and the driver still has it: the next caller waits for its place.
    let waiting = stage.pool.read(&one, &[], writer(&[]));
    let waited = tokio::time::timeout(Duration::from_millis(50), waiting).await;
    assert!(waited.is_err());
    drop(release);
    stage.pool.read(&one, &[], writer(&[])).await.unwrap();
    assert_eq!(stage.driver.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn there_are_never_more_threads_than_connections_allowed() {
    let mut releases = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (release, hang) = hanging();
        releases.push(release);
        answers.push(("SELECT 1", hang));
    }
    let stage = Arc::new(Stage::new(3, answers));
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                let one = statement("SELECT 1", vec![], &[]);
                let _ = stage.pool.read(&one, &[], writer(&[])).await;
            })
        })
        .collect();
    while stage.asked().len() < 3 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(releases);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(stage.asked().len(), 20);
    assert!(stage.driver.most.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn a_caller_who_leaves_stops_the_rows_and_the_thread_serves_the_next() {
    let (release, hang) = hanging();
    let stage = Stage::new(
        1,
        vec![
            ("SELECT 1", hang),
            ("SELECT 2", Answer::Rows(vec![vec![number(2)]])),
        ],
    );
    let one = statement("SELECT 1", vec![], &[]);
    let reading = stage.pool.read(&one, &[], writer(&[]));
    let given_up = tokio::time::timeout(Duration::from_millis(20), reading).await;
    assert!(given_up.is_err());
    drop(release);
    let two = statement("SELECT 2", vec![], &[Type::Integer]);
    let rows = stage.pool.read(&two, &[], writer(&["a"])).await.unwrap();
    assert_eq!(answer(rows), json!({"resource": [{"a": 2}]}));
}

#[tokio::test]
async fn a_panic_of_the_driver_is_an_error_and_costs_the_connection() {
    let stage = Stage::new(1, vec![("SELECT 1", Answer::Panic)]);
    let one = statement("SELECT 1", vec![], &[]);
    let error = stage.pool.read(&one, &[], writer(&[])).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Internal);
    stage.pool.read(&one, &[], writer(&[])).await.unwrap();
    assert_eq!(stage.driver.connections.load(Ordering::SeqCst), 2);
    assert_eq!(stage.driver.open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_service_that_nobody_calls_keeps_no_connection() {
    let stage = Stage::new(2, vec![]);
    stage.pool.probe().await.unwrap();
    stage.settled("PING").await;
    for _ in 0..1_000 {
        if stage.driver.open.load(Ordering::SeqCst) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(stage.driver.open.load(Ordering::SeqCst), 0);
}

/// Selects are what the pool is asked most; a page that is full stops the driver.
#[tokio::test]
async fn no_more_rows_are_taken_than_the_page_holds() {
    let rows = (0..100).map(|index| vec![number(index)]).collect();
    let stage = Stage::new(1, vec![("SELECT 1", Answer::Rows(rows))]);
    let mut shape = Shape::new(vec!["a".to_owned()], Frame::List, Format::Json);
    shape.page = Some(2);
    let one = statement("SELECT 1", vec![], &[Type::Integer]);
    let rows = stage
        .pool
        .read(&one, &[], RowWriter::new(Arc::new(shape), None))
        .await
        .unwrap();
    assert!(rows.has_more());
    assert_eq!(answer(rows), json!({"resource": [{"a": 0}, {"a": 1}]}));
}
