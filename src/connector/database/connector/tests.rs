//! What the REST face promises of its database: how often it is asked, and what its failures become.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tokio::sync::Semaphore;

use super::*;
use crate::clock::{SystemClock, system};
use crate::connector::access::{Pattern, Rule, Verbs};
use crate::connector::database::backend::{DatabaseTransaction, Prepared};
use crate::connector::database::catalog::{Column, Type};
use crate::connector::database::operations::OPERATIONS;
use crate::connector::database::plan::{Children, Select, Write};
use crate::connector::database::rows::RowWriter;
use crate::connector::database::value::{Scalar, Value as Cell};
use crate::connector::operation::find;
use crate::exchange::{Body, RequestId};

/// A table `item` with one record, whose key is whatever is asked for.
#[derive(Default)]
struct Fake {
    /// Catalogs handed out; waits for a permit when there is a gate.
    catalogs: AtomicUsize,
    gate: Option<Semaphore>,
    prepared: AtomicUsize,
    is_down: AtomicBool,
    /// Savepoints are refused, as by a product without them.
    has_no_savepoints: bool,
    /// What the next read fails with.
    next_failure: Mutex<Option<ErrorKind>>,
    committed: AtomicUsize,
    rolled_back: Arc<AtomicUsize>,
    /// Changes of the tables made beside the gateway: each adds a table `later_1`, `later_2`, ….
    version: AtomicUsize,
    /// Times that the fingerprint was asked for.
    fingerprints: AtomicUsize,
}

/// A clock that stands until it is moved.
struct Moved {
    began: Instant,
    by: Mutex<Duration>,
}

impl Moved {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: SystemClock.instant(),
            by: Mutex::default(),
        })
    }

    fn on(&self, by: Duration) {
        *self.by.lock().unwrap() += by;
    }
}

impl Clock for Moved {
    fn instant(&self) -> Instant {
        self.began + *self.by.lock().unwrap()
    }
    fn now(&self) -> chrono::DateTime<chrono::Utc> {
        SystemClock.now()
    }
}

/// So that the test keeps a hand on what the connector owns.
struct Shared(Arc<Fake>);

fn table() -> Table {
    let column = |name: &str, kind: Type| Column {
        name: name.to_owned(),
        kind,
        db_type: String::new(),
        native: 0,
        is_nullable: name != "id",
        default: None,
        is_auto_increment: name == "id",
        is_generated: false,
        length: None,
        precision: None,
        scale: None,
        picklist: Vec::new(),
        description: None,
        settings: None,
    };
    Table {
        name: "item".to_owned(),
        native: "item".to_owned(),
        columns: vec![column("id", Type::Integer), column("name", Type::Text)],
        primary_key: vec![0],
        is_writable: true,
        ..Table::default()
    }
}

fn down() -> Error {
    Error::new(
        ErrorKind::BackendUnavailable,
        "the database can not be reached",
    )
}

fn one_row(mut rows: RowWriter, key: &[Scalar]) -> RowWriter {
    let names = rows.shape().names.clone();
    if rows.begin_row() {
        for name in names {
            match (name.as_str(), key) {
                ("id", [Scalar::Int(id)]) => rows.value(&Cell::Int(*id)),
                ("id", _) => rows.value(&Cell::Int(1)),
                _ => rows.value(&Cell::Text("n")),
            }
        }
        rows.end_row();
    }
    rows
}

#[async_trait]
impl Database for Shared {
    async fn catalog(&self) -> Result<Catalog> {
        self.0.catalogs.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.0.gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(down());
        }
        let mut tables = vec![table()];
        for number in 1..=self.0.version.load(Ordering::SeqCst) {
            tables.push(Table {
                name: format!("later_{number}"),
                native: format!("later_{number}"),
                ..table()
            });
        }
        Ok(Catalog::new(tables))
    }
    async fn fingerprint(&self) -> Result<String> {
        self.0.fingerprints.fetch_add(1, Ordering::SeqCst);
        Ok(self.0.version.load(Ordering::SeqCst).to_string())
    }
    fn prepare(&self, select: Select) -> Result<Prepared> {
        self.0.prepared.fetch_add(1, Ordering::SeqCst);
        Ok(Prepared {
            select,
            statement: None,
        })
    }
    async fn read(&self, _: &Prepared, key: &[Scalar], rows: RowWriter) -> Result<RowWriter> {
        if let Some(kind) = self.0.next_failure.lock().unwrap().take() {
            return Err(Error::new(kind, "the database refused the statement"));
        }
        Ok(one_row(rows, key))
    }
    fn embeds_related(&self) -> bool {
        true
    }
    async fn read_children(&self, _: &Children, _: RowWriter) -> Result<RowWriter> {
        Err(down())
    }
    async fn begin(&self) -> Result<Box<dyn DatabaseTransaction>> {
        if self.0.is_down.load(Ordering::SeqCst) {
            return Err(down());
        }
        Ok(Box::new(FakeTransaction {
            fake: Arc::clone(&self.0),
            is_committed: false,
        }))
    }
    async fn probe(&self) -> Result<()> {
        Ok(())
    }
}

struct FakeTransaction {
    fake: Arc<Fake>,
    is_committed: bool,
}

impl Drop for FakeTransaction {
    fn drop(&mut self) {
        if !self.is_committed {
            self.fake.rolled_back.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl DatabaseTransaction for FakeTransaction {
    async fn select_children(&mut self, _: &Children, _: RowWriter) -> Result<RowWriter> {
        Err(down())
    }
    async fn select(&mut self, _: &Select, _: bool, rows: RowWriter) -> Result<RowWriter> {
        Ok(one_row(rows, &[]))
    }
    async fn write(&mut self, _: &Write, rows: RowWriter) -> Result<(RowWriter, u64)> {
        if let Some(kind) = self.fake.next_failure.lock().unwrap().take() {
            return Err(Error::new(kind, "the database refused the statement"));
        }
        if let Some(gate) = &self.fake.gate {
            gate.acquire().await.unwrap().forget();
        }
        Ok((one_row(rows, &[]), 1))
    }
    fn has_savepoints(&self) -> bool {
        !self.fake.has_no_savepoints
    }
    async fn savepoint(&mut self) -> Result<()> {
        if self.fake.has_no_savepoints {
            return Err(Error::new(
                ErrorKind::InvalidParameter,
                "there are no savepoints",
            ));
        }
        Ok(())
    }
    async fn rollback_to_savepoint(&mut self) -> Result<()> {
        Ok(())
    }
    async fn release_savepoint(&mut self) -> Result<()> {
        Ok(())
    }
    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.is_committed = true;
        self.fake.committed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn connector(fake: &Arc<Fake>) -> Arc<DatabaseConnector> {
    connector_with(fake, DatabaseOptions::default(), system())
}

fn connector_with(
    fake: &Arc<Fake>,
    options: DatabaseOptions,
    clock: Arc<dyn Clock>,
) -> Arc<DatabaseConnector> {
    let resources = Resources {
        service: "s".parse().unwrap(),
        data_directory: "/".into(),
        clock,
    };
    let database = Shared(Arc::clone(fake));
    Arc::new(DatabaseConnector::new(database, options, &resources))
}

/// Lets what runs in the background go on until it waits.
async fn settled() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn everything() -> Access {
    let rule = Rule {
        names_service: true,
        pattern: Pattern::Everything,
        verbs: Verbs::ALL,
        deny: false,
        filter: None,
        fields: None,
        position: Arc::from("roles.toml:1"),
    };
    Access::new("r", "s", vec![rule], Arc::default())
}

async fn call(
    connector: &Arc<DatabaseConnector>,
    access: &Access,
    method: Method,
    target: &str,
    body: &'static str,
) -> Result<Bytes> {
    let (path, _) = target.split_once('?').unwrap_or((target, ""));
    let segments = path.split('/').map(str::to_owned).collect();
    let component = Component::new(segments, false);
    let grant = access.of(component.as_str(), &method)?;
    let (operation, parameters) = find(OPERATIONS, "s", &method, &component)?;
    let operation = operation.name;
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let now = SystemClock.instant();
    let context = CallContext {
        id: RequestId::new(),
        received: now,
        deadline: now + Duration::from_mins(1),
        client,
    };
    let mut call = Call {
        operation,
        parameters,
        component,
        grant,
        access: access.clone(),
        head: RequestHead {
            method,
            uri: format!("/api/v2/s/{target}").parse().unwrap(),
            headers: HeaderMap::new(),
            client,
        },
        body: if body.is_empty() {
            Body::Empty
        } else {
            Body::Bytes(Bytes::from_static(body.as_bytes()))
        },
        limits: CallLimits {
            max_body_bytes: 1_000,
        },
        neighbours: Arc::new(crate::connector::NoNeighbours),
    };
    if target.contains("bulk=true") {
        let headers = &mut call.head.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/csv"));
    }
    let reply = Arc::clone(connector).call(context, call).await?;
    reply.body.collect(100_000).await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

#[test]
fn the_catalog_is_read_once_for_all_who_come_at_the_same_time() {
    let fake = Arc::new(Fake {
        gate: Some(Semaphore::new(0)),
        ..Fake::default()
    });
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        let calls =
            join_all((0..10).map(|_| call(&connector, &access, Method::GET, "_table/item/1", "")));
        let opened = async {
            tokio::task::yield_now().await;
            fake.gate.as_ref().unwrap().add_permits(1);
        };
        let (answers, ()) = tokio::join!(calls, opened);
        for answer in answers {
            assert_eq!(answer.unwrap(), r#"{"id":1,"name":"n"}"#);
        }
    });
    assert_eq!(fake.catalogs.load(Ordering::SeqCst), 1);
}

#[test]
fn those_who_wait_share_a_failure_and_the_next_one_heals() {
    let fake = Arc::new(Fake {
        gate: Some(Semaphore::new(0)),
        is_down: AtomicBool::new(true),
        ..Fake::default()
    });
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        let calls =
            join_all((0..10).map(|_| call(&connector, &access, Method::GET, "_table/item/1", "")));
        let opened = async {
            tokio::task::yield_now().await;
            fake.gate.as_ref().unwrap().add_permits(1);
        };
        let (answers, ()) = tokio::join!(calls, opened);
        for answer in answers {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::BackendUnavailable);
        }
        assert_eq!(fake.catalogs.load(Ordering::SeqCst), 1);

        fake.is_down.store(false, Ordering::SeqCst);
        fake.gate.as_ref().unwrap().add_permits(1);
        call(&connector, &access, Method::GET, "_table/item/1", "")
            .await
            .unwrap();
    });
}

#[test]
fn equal_requests_are_planned_once_whatever_their_key() {
    let fake = Arc::new(Fake::default());
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        for id in 1..=20 {
            let target = format!("_table/item/{id}?fields=id");
            let answer = call(&connector, &access, Method::GET, &target, "")
                .await
                .unwrap();
            assert_eq!(answer, format!("{{\"id\":{id}}}"));
        }
        assert_eq!(fake.prepared.load(Ordering::SeqCst), 1);
        call(
            &connector,
            &everything(),
            Method::GET,
            "_table/item/1?fields=id",
            "",
        )
        .await
        .unwrap();
        assert_eq!(
            fake.prepared.load(Ordering::SeqCst),
            2,
            "another role has a plan of its own"
        );
    });
}

#[test]
fn a_statement_that_shows_a_changed_schema_makes_the_next_call_look_again() {
    let fake = Arc::new(Fake::default());
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        let read = || call(&connector, &access, Method::GET, "_table/item/1", "");
        read().await.unwrap();
        *fake.next_failure.lock().unwrap() = Some(ErrorKind::BackendFailure);
        assert_eq!(read().await.unwrap_err().kind(), ErrorKind::BackendFailure);
        assert_eq!(fake.catalogs.load(Ordering::SeqCst), 1);
        read().await.unwrap();
        read().await.unwrap();
        assert_eq!(fake.catalogs.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_failure_of_the_database_is_not_blamed_on_a_record_of_the_batch() {
    let fake = Arc::new(Fake::default());
    let connector = connector(&fake);
    let access = everything();
    let body = r#"{"resource":[{"name":"a"},{"name":"b"}]}"#;
    runtime().block_on(async {
        for (kind, target) in [
            (ErrorKind::SerializationFailure, "_table/item"),
            (ErrorKind::BackendTimeout, "_table/item?continue=true"),
        ] {
            *fake.next_failure.lock().unwrap() = Some(kind);
            let error = call(&connector, &access, Method::POST, target, body)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    });
    assert_eq!(fake.rolled_back.load(Ordering::SeqCst), 2);
    assert_eq!(fake.committed.load(Ordering::SeqCst), 0);
}

#[test]
fn a_write_that_is_dropped_half_way_is_rolled_back() {
    let fake = Arc::new(Fake {
        gate: Some(Semaphore::new(1)),
        ..Fake::default()
    });
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        let write = call(
            &connector,
            &access,
            Method::POST,
            "_table/item",
            r#"{"resource":[{"name":"a"}]}"#,
        );
        tokio::select! {
            biased;
            answer = write => panic!("the write was to wait: {answer:?}"),
            () = tokio::task::yield_now() => {}
        }
    });
    assert_eq!(fake.rolled_back.load(Ordering::SeqCst), 1);
    assert_eq!(fake.committed.load(Ordering::SeqCst), 0);
}

#[test]
fn a_database_that_is_down_answers_503() {
    let fake = Arc::new(Fake {
        is_down: AtomicBool::new(true),
        ..Fake::default()
    });
    let connector = connector(&fake);
    let access = everything();
    runtime().block_on(async {
        let error = call(&connector, &access, Method::GET, "_table", "")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable);
        assert!(connector.describe().await.is_err());
    });
}

/// Reads one record; the table is there from the beginning.
async fn read(connector: &Arc<DatabaseConnector>, access: &Access, table: &str) -> Result<Bytes> {
    let target = format!("_table/{table}/1");
    call(connector, access, Method::GET, &target, "").await
}

#[test]
fn a_service_that_is_used_sees_new_tables_after_the_period_and_one_that_is_not_asks_nothing() {
    let fake = Arc::new(Fake::default());
    let clock = Moved::new();
    let connector = connector_with(
        &fake,
        DatabaseOptions::default(),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let access = everything();
    runtime().block_on(async {
        read(&connector, &access, "item").await.unwrap();
        let asked = || fake.fingerprints.load(Ordering::SeqCst);
        assert_eq!(asked(), 1, "with the first reading");
        fake.version.store(1, Ordering::SeqCst);
        clock.on(Duration::from_secs(20));
        read(&connector, &access, "item").await.unwrap();
        settled().await;
        assert_eq!(asked(), 1, "it is not yet time");

        clock.on(Duration::from_hours(1));
        settled().await;
        assert_eq!(asked(), 1, "nobody called");
        read(&connector, &access, "item").await.unwrap();
        settled().await;
        assert_eq!(asked(), 2);
        assert_eq!(fake.catalogs.load(Ordering::SeqCst), 2);
        read(&connector, &access, "later_1").await.unwrap();
        let schema = connector.schema().unwrap();
        assert_eq!((schema.changes, schema.age), (1, Duration::ZERO));

        clock.on(Duration::from_secs(40));
        read(&connector, &access, "item").await.unwrap();
        settled().await;
        assert_eq!(asked(), 3);
        let catalogs = fake.catalogs.load(Ordering::SeqCst);
        assert_eq!(catalogs, 2, "nothing had changed, so nothing was read");
        assert_eq!(connector.schema().unwrap().changes, 1);
    });
}

#[test]
fn nobody_waits_for_a_new_catalog() {
    let fake = Arc::new(Fake {
        gate: Some(Semaphore::new(1)),
        ..Fake::default()
    });
    let clock = Moved::new();
    let connector = connector_with(
        &fake,
        DatabaseOptions::default(),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let access = everything();
    runtime().block_on(async {
        read(&connector, &access, "item").await.unwrap();
        fake.version.store(1, Ordering::SeqCst);
        clock.on(Duration::from_mins(1));
        for _ in 0..5 {
            read(&connector, &access, "item").await.unwrap();
            settled().await;
        }
        let catalogs = fake.catalogs.load(Ordering::SeqCst);
        assert_eq!(catalogs, 2, "one reading, which waits at the gate");
        let error = read(&connector, &access, "later_1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnknownTable);
        fake.gate.as_ref().unwrap().add_permits(1);
        settled().await;
        read(&connector, &access, "later_1").await.unwrap();
    });
}

#[test]
fn who_misses_a_table_finds_it_the_next_time_without_asking_the_database_for_each_try() {
    let fake = Arc::new(Fake::default());
    let clock = Moved::new();
    let connector = connector_with(
        &fake,
        DatabaseOptions::default(),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let access = everything();
    runtime().block_on(async {
        read(&connector, &access, "item").await.unwrap();
        fake.version.store(1, Ordering::SeqCst);
        clock.on(Duration::from_secs(2));
        read(&connector, &access, "later_1").await.unwrap_err();
        settled().await;
        read(&connector, &access, "later_1").await.unwrap();
        let asked = fake.fingerprints.load(Ordering::SeqCst);
        for _ in 0..10 {
            read(&connector, &access, "never").await.unwrap_err();
            settled().await;
        }
        assert_eq!(fake.fingerprints.load(Ordering::SeqCst), asked);
    });
}

#[test]
fn without_a_period_the_database_is_asked_only_when_a_caller_says_so() {
    let fake = Arc::new(Fake::default());
    let clock = Moved::new();
    let options = DatabaseOptions {
        schema_check_seconds: 0,
        ..DatabaseOptions::default()
    };
    let connector = connector_with(&fake, options, Arc::clone(&clock) as Arc<dyn Clock>);
    let access = everything();
    runtime().block_on(async {
        read(&connector, &access, "item").await.unwrap();
        fake.version.store(1, Ordering::SeqCst);
        clock.on(Duration::from_hours(1));
        for _ in 0..2 {
            read(&connector, &access, "later_1").await.unwrap_err();
            settled().await;
        }
        assert_eq!(fake.fingerprints.load(Ordering::SeqCst), 0);
        call(&connector, &access, Method::GET, "_table?refresh=true", "")
            .await
            .unwrap();
        read(&connector, &access, "later_1").await.unwrap();
    });
}

#[test]
fn a_check_ends_with_its_connector() {
    let fake = Arc::new(Fake {
        gate: Some(Semaphore::new(1)),
        ..Fake::default()
    });
    let clock = Moved::new();
    let connector = connector_with(
        &fake,
        DatabaseOptions::default(),
        Arc::clone(&clock) as Arc<dyn Clock>,
    );
    let access = everything();
    runtime().block_on(async {
        read(&connector, &access, "item").await.unwrap();
        fake.version.store(1, Ordering::SeqCst);
        clock.on(Duration::from_mins(1));
        read(&connector, &access, "item").await.unwrap();
        settled().await;
        assert_eq!(fake.catalogs.load(Ordering::SeqCst), 2, "it waits");
        drop(connector);
        settled().await;
        assert_eq!(Arc::strong_count(&fake), 1, "nothing holds the database");
    });
}

#[test]
fn a_product_without_savepoints_takes_bulk_imports_whole_or_not_at_all() {
    let fake = Arc::new(Fake {
        has_no_savepoints: true,
        ..Fake::default()
    });
    runtime().block_on(async {
        let connector = connector(&fake);
        let import = async |options: &str| {
            let target = format!("_table/item?bulk=true{options}");
            let body = "name\na\nb\n";
            call(&connector, &everything(), Method::POST, &target, body).await
        };
        let answer = import("").await.unwrap();
        assert_eq!(answer, r#"{"resource":[],"meta":{"count":2}}"#);
        assert_eq!(fake.committed.load(Ordering::SeqCst), 1);

        *fake.next_failure.lock().unwrap() = Some(ErrorKind::UniqueViolation);
        let error = import("").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BatchFailed);
        assert!(
            error.message().contains("All changes rolled back"),
            "{error:?}"
        );
        assert_eq!(fake.committed.load(Ordering::SeqCst), 1);
        assert_eq!(fake.rolled_back.load(Ordering::SeqCst), 1);

        // What needs them is refused.
        let error = import("&continue=true").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidParameter);
        assert_eq!(fake.committed.load(Ordering::SeqCst), 1);
    });
}
