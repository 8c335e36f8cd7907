//! The contract suite against every database, one test for each product and area.
//!
//! A case that a product cannot pass, because it lacks what the case is about, is printed as skipped. Run it with
//! `cargo test --features testing --test contract`; a word after `--` picks tests: `-- postgresql::paging`.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "the harness reports on standard output, and ends when it cannot go on"
)]

#[expect(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../support/mysql.rs"]
mod mysql;
#[expect(dead_code, reason = "the driver's own tests use the rest")]
#[path = "../support/postgresql.rs"]
mod postgresql;
mod reference;

#[cfg(feature = "odbc")]
#[path = "../support/odbc.rs"]
mod odbc;

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use mysql::{Brand, MysqlServer};
use postgresql::PostgresqlServer;
use tidegate::connector::database::contract::{Case, Product, Words, suite};
use tidegate::connector::database::mysql::contract::MysqlProduct;
#[cfg(feature = "odbc")]
use tidegate::connector::database::odbc::contract::OdbcProduct;
use tidegate::connector::database::postgresql::contract::PostgresqlProduct;
use tidegate::connector::database::sqlite::contract::SqliteProduct;

/// A folder for one file of results for each product and area, from which `tests/run` makes its table.
const RESULTS: &str = "TIDEGATE_CONTRACT_RESULTS";

/// What the products need as long as the tests run. Started by the first test that needs it.
#[derive(Default)]
struct Backends {
    folder: OnceLock<tempfile::TempDir>,
    /// The server beside what talks to it, so that it is stopped when all tests have ended.
    server: Mutex<Option<(PostgresqlServer, [Arc<PostgresqlProduct>; 2])>>,
    postgresql_18: Mutex<Option<(PostgresqlServer, Arc<PostgresqlProduct>)>>,
    mysql: Mutex<Option<(MysqlServer, Arc<MysqlProduct>)>>,
    mariadb: Mutex<Option<(MysqlServer, Arc<MysqlProduct>)>>,
    #[cfg(feature = "odbc")]
    odbc_postgresql: OnceLock<Arc<OdbcProduct>>,
    #[cfg(feature = "odbc")]
    odbc_mariadb: OnceLock<Arc<OdbcProduct>>,
}

impl Backends {
    fn sqlite(&self) -> Arc<dyn Product> {
        Arc::new(self.sqlite_product())
    }

    fn sqlite_stitched(&self) -> Arc<dyn Product> {
        Arc::new(self.sqlite_product().stitching())
    }

    fn sqlite_product(&self) -> SqliteProduct {
        let folder = self
            .folder
            .get_or_init(|| tempfile::tempdir().expect("a temporary folder can be made"));
        let own = tempfile::tempdir_in(folder.path()).expect("the folder can be written");
        // It is removed with the folder around it.
        SqliteProduct::new(own.keep())
    }

    fn postgresql(&self) -> Arc<dyn Product> {
        let [product, _] = self.postgresql_products();
        product
    }

    fn postgresql_stitched(&self) -> Arc<dyn Product> {
        let [_, product] = self.postgresql_products();
        product
    }

    fn postgresql_18(&self) -> Arc<dyn Product> {
        let mut server = self
            .postgresql_18
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (_, product) = server.get_or_insert_with(|| {
            let server = PostgresqlServer::start_18();
            let product = PostgresqlProduct::new(
                server.port(),
                postgresql::DATABASE,
                postgresql::USER,
                postgresql::PASSWORD,
            );
            (server, Arc::new(product))
        });
        let product: Arc<PostgresqlProduct> = Arc::clone(product);
        product
    }

    fn postgresql_products(&self) -> [Arc<PostgresqlProduct>; 2] {
        let mut server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, products) = server.get_or_insert_with(|| {
            let server = PostgresqlServer::start();
            let product = || {
                PostgresqlProduct::new(
                    server.port(),
                    postgresql::DATABASE,
                    postgresql::USER,
                    postgresql::PASSWORD,
                )
            };
            let products = [product(), product().stitching()].map(Arc::new);
            (server, products)
        });
        products.clone()
    }

    fn mysql(&self) -> Arc<dyn Product> {
        mysql_product(&self.mysql, Brand::Mysql)
    }

    fn mariadb(&self) -> Arc<dyn Product> {
        mysql_product(&self.mariadb, Brand::Mariadb)
    }
}

fn mysql_product(
    server: &Mutex<Option<(MysqlServer, Arc<MysqlProduct>)>>,
    brand: Brand,
) -> Arc<dyn Product> {
    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, product) = server.get_or_insert_with(|| {
        let server = MysqlServer::start(brand);
        let product = MysqlProduct::new(
            brand == Brand::Mariadb,
            server.port(),
            mysql::USER,
            mysql::PASSWORD,
        );
        (server, Arc::new(product))
    });
    let product: Arc<MysqlProduct> = Arc::clone(product);
    product
}

/// How to get the product's server, if it is not there and need not be.
fn left_out(product: &str) -> Option<&'static str> {
    let product = product.strip_prefix("odbc-").unwrap_or(product);
    let is_required = std::env::var("TIDEGATE_TEST_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|name| name.trim() == product));
    let brand = match product {
        "postgresql-18" => {
            let missing = "run `tests/backends/postgresql18`";
            return (!is_required && postgresql::programs_18().is_none()).then_some(missing);
        }
        "mysql" => Brand::Mysql,
        "mariadb" => Brand::Mariadb,
        _ => return None,
    };
    brand.missing().filter(|_| !is_required)
}

#[cfg(feature = "odbc")]
impl Backends {
    fn odbc_postgresql(&self) -> Arc<dyn Product> {
        let [server, _] = self.postgresql_products();
        let product = self.odbc_postgresql.get_or_init(|| {
            Arc::new(OdbcProduct::postgresql(
                odbc::driver("psqlodbcw.so"),
                server.port(),
                postgresql::DATABASE,
                postgresql::USER,
                postgresql::PASSWORD,
            ))
        });
        let product: Arc<OdbcProduct> = Arc::clone(product);
        product
    }

    fn odbc_mariadb(&self) -> Arc<dyn Product> {
        // It starts the server.
        self.mariadb();
        let server = self.mariadb.lock().unwrap_or_else(PoisonError::into_inner);
        let (server, _) = server.as_ref().expect("the server was started");
        let product = self.odbc_mariadb.get_or_init(|| {
            let driver = odbc::driver("libmaodbc.so");
            Arc::new(OdbcProduct::mariadb(
                driver,
                server.port(),
                mysql::USER,
                mysql::PASSWORD,
            ))
        });
        let product: Arc<OdbcProduct> = Arc::clone(product);
        product
    }

    fn odbc_sqlite(&self) -> Arc<dyn Product> {
        let folder = self
            .folder
            .get_or_init(|| tempfile::tempdir().expect("a temporary folder can be made"));
        let own = tempfile::tempdir_in(folder.path()).expect("the folder can be written");
        let driver = odbc::driver("libsqlite3odbc.so");
        Arc::new(OdbcProduct::sqlite(driver, own.keep()))
    }
}

/// Gives a product, which may have to be started first.
type Start = fn(&Backends) -> Arc<dyn Product>;

/// Every product: its name in the tests, how it spells tables, and what gives it.
const PRODUCTS: &[(&str, &Words, Start)] = &[
    (
        "sqlite",
        &tidegate::connector::database::sqlite::contract::WORDS,
        Backends::sqlite,
    ),
    (
        "postgresql",
        &tidegate::connector::database::postgresql::contract::WORDS,
        Backends::postgresql,
    ),
    (
        "postgresql-18",
        &tidegate::connector::database::postgresql::contract::WORDS,
        Backends::postgresql_18,
    ),
    #[cfg(feature = "odbc")]
    (
        "odbc-postgresql",
        &tidegate::connector::database::odbc::contract::POSTGRESQL,
        Backends::odbc_postgresql,
    ),
    #[cfg(feature = "odbc")]
    (
        "odbc-mariadb",
        &tidegate::connector::database::odbc::contract::MARIADB,
        Backends::odbc_mariadb,
    ),
    #[cfg(feature = "odbc")]
    (
        "odbc-sqlite",
        &tidegate::connector::database::odbc::contract::SQLITE,
        Backends::odbc_sqlite,
    ),
    (
        "mysql",
        &tidegate::connector::database::mysql::contract::MYSQL,
        Backends::mysql,
    ),
    (
        "mariadb",
        &tidegate::connector::database::mysql::contract::MARIADB,
        Backends::mariadb,
    ),
];

/// The same with related records put into place by the gateway, as it does where a database cannot.
const STITCHED: &[(&str, Start)] = &[
    ("sqlite_stitched", Backends::sqlite_stitched),
    ("postgresql_stitched", Backends::postgresql_stitched),
];

/// The areas in which records are related.
const RELATED_AREAS: &[&str] = &[
    "relations",
    "across",
    "paging",
    "writing",
    "nested",
    "roles",
    "formats",
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let backends = Arc::new(Backends::default());
    let mut areas: Vec<&'static str> = suite().iter().map(Case::area).collect();
    areas.dedup();
    let everywhere = PRODUCTS
        .iter()
        .map(|(name, _, product)| (*name, *product, areas.as_slice()));
    let stitched = STITCHED
        .iter()
        .map(|(name, product)| (*name, *product, RELATED_AREAS));
    let mut trials: Vec<Trial> = everywhere
        .chain(stitched)
        .flat_map(|(name, product, areas)| areas.iter().map(move |area| (name, product, *area)))
        .map(|(name, product, area)| {
            let backends = Arc::clone(&backends);
            Trial::test(format!("{name}::{area}"), move || match left_out(name) {
                Some(how) => not_run(name, area, how),
                None => run(name, area, &product(&backends)),
            })
        })
        .collect();
    // What goes through a driver has the types of its product, and is no part of the default features.
    let documented = || {
        PRODUCTS
            .iter()
            .filter(|(name, ..)| !name.starts_with("odbc-"))
    };
    let typed = documented().filter(|(name, ..)| *name != "postgresql-18");
    trials.extend(typed.map(|(name, _, product)| {
        let backends = Arc::clone(&backends);
        Trial::test(
            format!("{name}::reference_of_types"),
            move || match left_out(name) {
                Some(_) => Ok(()),
                None => reference::types(name, &product(&backends)),
            },
        )
    }));
    // Products that no server can be had of: their types come from the code.
    trials.push(Trial::test("sqlserver::reference_of_types", || {
        let rows = tidegate::connector::database::sqlserver::contract::types();
        reference::types_of_code("sqlserver", &rows)
    }));
    trials.push(Trial::test("oracle::reference_of_types", || {
        let rows = tidegate::connector::database::oracle::contract::types();
        reference::types_of_code("oracle", &rows)
    }));
    trials.push(Trial::test("table_in_the_readme", || {
        reference::table(PRODUCTS)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Notes that the cases of one area could not be run.
fn not_run(name: &str, area: &'static str, how: &str) -> Result<(), Failed> {
    println!("not run: {name}: there is no server; {how}");
    if let Some(folder) = std::env::var_os(RESULTS) {
        let mut results = String::new();
        for case in suite().iter().filter(|case| case.area() == area) {
            let _ = writeln!(
                results,
                "{area}\t{}\t{name}\tnot run\tthere is no server",
                case.name
            );
        }
        std::fs::write(Path::new(&folder).join(format!("{name}-{area}")), results)?;
    }
    Ok(())
}

/// Runs the cases of one area one after another; each says how it went.
fn run(name: &str, area: &'static str, product: &Arc<dyn Product>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut failed = String::new();
    let mut results = String::new();
    for case in suite().into_iter().filter(|case| case.area() == area) {
        if !(case.applies)(product.words()) {
            println!("cannot: {name}: {}: {}", case.name, case.otherwise);
            let _ = writeln!(
                results,
                "{area}\t{}\t{name}\tcannot\t{}",
                case.name, case.otherwise
            );
            continue;
        }
        let outcome = runtime.block_on(outcome(case, Arc::clone(product)));
        let word = if outcome.is_ok() { "passed" } else { "FAILED" };
        let _ = writeln!(results, "{area}\t{}\t{name}\t{word}\t", case.name);
        if let Err(reason) = outcome {
            println!("FAILED: {name}: {}: {reason}", case.name);
            let _ = write!(failed, "\n  {}: {reason}", case.name);
        }
    }
    if let Some(folder) = std::env::var_os(RESULTS) {
        std::fs::write(Path::new(&folder).join(format!("{name}-{area}")), results)?;
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("cases failed:{failed}").into())
    }
}

/// Runs a case in a task of its own, so that a failed expectation ends it alone.
async fn outcome(case: Case, product: Arc<dyn Product>) -> Result<(), String> {
    let Err(error) = tokio::spawn(async move { case.run(product).await }).await else {
        return Ok(());
    };
    let panic = error.into_panic();
    Err(panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned()))
}
