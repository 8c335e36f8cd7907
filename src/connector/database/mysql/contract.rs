//! MySQL and MariaDB in the contract suite: every case gets a database of its own on one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use serde_json::json;

use super::{MariadbConfig, MysqlConfig, ServerConfig};
use crate::clock::system;
use crate::connector::database::contract::{Product, RoutineWords, Sample, Words};
use crate::connector::database::options::DatabaseOptions;
use crate::connector::{Connector, Resources, ServiceConfig};

/// How MySQL spells the tables of the suite.
pub const MYSQL: Words = Words {
    product: "mysql",
    auto_key: "int AUTO_INCREMENT PRIMARY KEY",
    integer: "int",
    big_integer: "bigint",
    money: "decimal(12,2)",
    decimal: "decimal(30,9)",
    double: "double",
    boolean: "boolean",
    // A text of any length can be no key. The default collation of the server takes texts for equal that differ.
    text: "varchar(255) COLLATE utf8mb4_0900_bin",
    long_text: "longtext",
    json: "json",
    uuid: "char(36)",
    binary: "blob",
    date: "date",
    time: "time(6)",
    date_time: "datetime(6)",
    timestamp: "timestamp(6) NULL",
    integer_array: None,
    truths: ["false", "true"],
    has_exact_decimals: true,
    has_uuids: false,
    // Names go no further than U+FFFF.
    strange_letter: "語",
    changes_schema: true,
    quote: |name| format!("`{}`", name.replace('`', "``")),
    routines: Some(ROUTINES),
};

const ROUTINES: RoutineWords = RoutineWords {
    statements: &[
        "CREATE PROCEDURE add_tag (p_label text) INSERT INTO tag (label) VALUES (p_label)",
        "CREATE PROCEDURE close_month (p_year int, OUT p_done int, INOUT p_note varchar(40)) \
         BEGIN SET p_done = p_year * 10; SET p_note = CONCAT(p_note, '!'); END",
        "CREATE PROCEDURE open_invoices (p_least decimal(12,2), OUT p_count int) BEGIN \
         SELECT number, total FROM invoice WHERE total >= p_least ORDER BY number; \
         SELECT count(*) INTO p_count FROM invoice WHERE total >= p_least; END",
        "CREATE PROCEDURE lists () BEGIN SELECT label FROM tag ORDER BY id; \
         SELECT number FROM invoice WHERE number LIKE '%-1' AND number < 'C' ORDER BY number; END",
        "CREATE PROCEDURE refuse (p_reason varchar(100)) \
         BEGIN INSERT INTO tag (label) VALUES ('lost'); SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = p_reason; END",
        "CREATE FUNCTION invoice_total (p_customer int) RETURNS decimal(12,2) READS SQL DATA \
         RETURN (SELECT sum(total) FROM invoice WHERE customer_id = p_customer)",
        "CREATE PROCEDURE become (p_name varchar(100)) SET @tidegate_name = p_name",
        "CREATE FUNCTION who () RETURNS varchar(100) READS SQL DATA RETURN @tidegate_name",
        "CREATE FUNCTION twice (p_number int) RETURNS int CONTAINS SQL RETURN 2 * p_number",
    ],
    table_function: None,
    defaults: None,
    overloads: &[],
};

/// How MariaDB spells the tables of the suite.
pub const MARIADB: Words = Words {
    product: "mariadb",
    text: "varchar(255) COLLATE utf8mb4_nopad_bin",
    uuid: "uuid",
    has_uuids: true,
    ..MYSQL
};

/// The types that both have (<https://dev.mysql.com/doc/refman/9.7/en/data-types.html>,
/// <https://mariadb.com/kb/en/data-types/>).
macro_rules! samples {
    ($($own:expr),* $(,)?) => {
        &[
            Sample::of("tinyint(1)", &[("true", "true"), ("false", "false")]),
            Sample::of("tinyint", &[("7", "7"), ("-128", "-128"), ("127", "127")]),
            Sample::of("tinyint unsigned", &[("7", "7"), ("255", "255")]),
            Sample::of("smallint", &[("7", "7"), ("-32768", "-32768"), ("32767", "32767")]),
            Sample::of("smallint unsigned", &[("7", "7"), ("65535", "65535")]),
            Sample::of("mediumint", &[("7", "7"), ("-8388608", "-8388608"), ("8388607", "8388607")]),
            Sample::of("int", &[("7", "7"), ("-2147483648", "-2147483648"), ("2147483647", "2147483647")]),
            Sample::of("int unsigned", &[("7", "7"), ("4294967295", "4294967295")]),
            Sample::of(
                "bigint",
                &[
                    ("7", "7"),
                    ("-9223372036854775808", "-9223372036854775808"),
                    ("9223372036854775807", "9223372036854775807"),
                ],
            ),
            Sample::of("bigint unsigned", &[("7", "7"), ("18446744073709551615", "18446744073709551615")]),
            Sample::of("decimal(12,2)", &[("12.50", "12.50"), ("-9999999999.99", "-9999999999.99")]),
            Sample::of(
                "decimal(65,30)",
                &[
                    ("12.5", "12.500000000000000000000000000000"),
                    (
                        "-99999999999999999999999999999999999.999999999999999999999999999999",
                        "-99999999999999999999999999999999999.999999999999999999999999999999",
                    ),
                ],
            ),
            Sample::of("float", &[("1.5", "1.5"), ("0.1", "0.1"), ("3.4e38", "3.4e38")]),
            Sample::of("double", &[("1.5", "1.5"), ("0.1", "0.1"), ("1e308", "1e308")]),
            Sample::of("bit(1)", &[("true", "true"), ("false", "false")]),
            Sample::of("bit(8)", &[("7", "7"), ("255", "255"), ("0", "0")]),
            Sample::of("bit(64)", &[("7", "7"), ("18446744073709551615", "18446744073709551615")]),
            Sample::of("year", &[("2026", "2026"), ("1901", "1901"), ("2155", "2155")]),
            Sample::of("char(4)", &[("\"ab\"", "\"ab\""), ("\"\"", "\"\"")]),
            Sample::of("varchar(40)", &[("\"naïve 𝄞\"", "\"naïve 𝄞\""), ("\"a \"", "\"a \"")]),
            Sample::of(
                "text",
                &[
                    ("\"a \\\"quoted\\\" word\"", "\"a \\\"quoted\\\" word\""),
                    ("\"\\\\ \\n %_'\"", "\"\\\\ \\n %_'\""),
                ],
            ),
            Sample::of("text CHARACTER SET latin1", &[("\"naïve\"", "\"naïve\"")]),
            Sample::of("enum('sad','gl''ad')", &[("\"sad\"", "\"sad\""), ("\"gl'ad\"", "\"gl'ad\"")]),
            Sample::of("set('a','b')", &[("\"a,b\"", "\"a,b\""), ("\"\"", "\"\"")]),
            Sample::of("binary(2)", &[("\"AP8=\"", "\"AP8=\"")]),
            Sample::of("varbinary(8)", &[("\"AP8=\"", "\"AP8=\""), ("\"\"", "\"\"")]),
            Sample::of("blob", &[("\"AP8=\"", "\"AP8=\""), ("\"\"", "\"\"")]),
            Sample::of(
                "date",
                &[
                    ("\"2026-02-01\"", "\"2026-02-01\""),
                    ("\"0001-01-01\"", "\"0001-01-01\""),
                    ("\"9999-12-31\"", "\"9999-12-31\""),
                ],
            ),
            Sample::of(
                "time(6)",
                &[
                    ("\"10:00:00.5\"", "\"10:00:00.5\""),
                    ("\"23:59:59.999999\"", "\"23:59:59.999999\""),
                ],
            ),
            Sample::of(
                "datetime(6)",
                &[
                    ("\"2026-02-01T10:00:00\"", "\"2026-02-01T10:00:00\""),
                    ("\"0001-01-01T00:00:00.000001\"", "\"0001-01-01T00:00:00.000001\""),
                    ("\"9999-12-31T23:59:59.999999\"", "\"9999-12-31T23:59:59.999999\""),
                ],
            ),
            Sample::of(
                "timestamp(6) NULL",
                &[
                    ("\"2026-02-01T10:00:00+02:00\"", "\"2026-02-01T08:00:00Z\""),
                    ("\"1970-01-01T00:00:01Z\"", "\"1970-01-01T00:00:01Z\""),
                    ("\"2038-01-19T03:14:07.999999Z\"", "\"2038-01-19T03:14:07.999999Z\""),
                ],
            ),
            Sample::of("point", &[("\"POINT(1 2)\"", "\"POINT(1 2)\"")]),
            $($own),*
        ]
    };
}

const MYSQL_SAMPLES: &[Sample] = samples![
    Sample::of(
        "json",
        &[
            ("{\"a\":[1,null]}", "{\"a\": [1, null]}"),
            ("\"text\"", "\"text\""),
        ],
    ),
    Sample::of(
        "geometry SRID 4326",
        &[("\"LINESTRING(1 2,3 4)\"", "\"LINESTRING(1 2,3 4)\"")],
    ),
];

const MARIADB_SAMPLES: &[Sample] = samples![
    Sample::of(
        "json",
        &[
            ("{\"a\":[1,null]}", "{\"a\":[1,null]}"),
            ("\"text\"", "\"text\""),
        ],
    ),
    Sample::of(
        "uuid",
        &[(
            "\"6F1C9D1E-6C1F-4F0E-8D8E-0F6F2F9A7A10\"",
            "\"6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10\"",
        )],
    ),
    Sample::of("inet6", &[("\"::1\"", "\"::1\"")]),
    Sample::of(
        "geometry",
        &[("\"LINESTRING(1 2,3 4)\"", "\"LINESTRING(1 2,3 4)\"")]
    ),
];

/// A MySQL or MariaDB server on 127.0.0.1, for the suite.
#[derive(Debug)]
pub struct MysqlProduct {
    is_mariadb: bool,
    port: u16,
    username: String,
    password: String,
    databases: AtomicU64,
}

impl MysqlProduct {
    /// A server on this port, with an account that may make databases.
    pub fn new(is_mariadb: bool, port: u16, username: &str, password: &str) -> Self {
        Self {
            is_mariadb,
            port,
            username: username.to_owned(),
            password: password.to_owned(),
            databases: AtomicU64::new(0),
        }
    }

    async fn set_up(&self, database: &str, statements: &[String]) -> mysql_async::Result<()> {
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.port)
            .user(Some(&self.username))
            .pass(Some(&self.password))
            .prefer_socket(false);
        let mut native = Conn::new(options).await?;
        native
            .query_drop(format!("CREATE DATABASE {database} CHARACTER SET utf8mb4"))
            .await?;
        native.query_drop(format!("USE {database}")).await?;
        for statement in statements {
            native.query_drop(statement.as_str()).await?;
        }
        native.disconnect().await
    }
}

#[async_trait]
impl Product for MysqlProduct {
    fn words(&self) -> &Words {
        if self.is_mariadb { &MARIADB } else { &MYSQL }
    }

    fn samples(&self) -> &'static [Sample] {
        if self.is_mariadb {
            MARIADB_SAMPLES
        } else {
            MYSQL_SAMPLES
        }
    }

    #[expect(
        clippy::unwrap_used,
        reason = "this is for tests; a database that cannot be set up ends them"
    )]
    async fn open(&self, statements: &[String], options: DatabaseOptions) -> Arc<dyn Connector> {
        let database = format!("case{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.set_up(&database, statements).await.unwrap();
        let mut config: ServerConfig = serde_json::from_value(json!({
            "host": "127.0.0.1",
            "port": self.port,
            "database": database,
            "username": self.username,
            "password": self.password,
            "max_connections": 2,
        }))
        .unwrap();
        config.options = options;
        let resources = Resources {
            service: "s".parse().unwrap(),
            data_directory: "/".into(),
            clock: system(),
        };
        if self.is_mariadb {
            MariadbConfig(config).open(&resources).await.unwrap()
        } else {
            MysqlConfig(config).open(&resources).await.unwrap()
        }
    }
}
