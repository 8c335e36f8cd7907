//! Plans as SQL: side by side in both dialects, and run on SQLite.

use proptest::prelude::*;

use super::super::catalog::Table;
use super::super::dialect::{PostgresqlDialect, SqliteDialect};
use super::super::fixture::*;
use super::super::plan::{Condition, Expression, Selector};
use super::super::request::{Fields, RecordsQuery, RelatedRequest};
use super::*;

/// Both texts and what is bound, for a snapshot.
fn both(statement: impl Fn(&dyn Dialect) -> Result<Statement>) -> String {
    let postgresql = statement(&PostgresqlDialect).unwrap();
    let sqlite = statement(&SqliteDialect).unwrap();
    for statement in [&postgresql, &sqlite] {
        assert_placeholders(statement);
    }
    let binds = |statement: &Statement| {
        let binds = statement.binds.iter().map(|bind| match bind {
            Bind::Value(value) => format!("{value:?}"),
            other => format!("{other:?}"),
        });
        binds.collect::<Vec<_>>().join(", ")
    };
    format!(
        "postgresql: {}\n            {}\nsqlite:     {}\n            {}\n",
        postgresql.sql,
        binds(&postgresql),
        sqlite.sql,
        binds(&sqlite),
    )
}

/// Every value has a placeholder and every placeholder a value.
fn assert_placeholders(statement: &Statement) {
    let sql = &statement.sql;
    let count = statement.binds.len();
    for position in 1..=count {
        let found = [format!("${position}"), format!("?{position}")]
            .iter()
            .any(|placeholder| {
                sql.match_indices(placeholder.as_str())
                    .any(|(start, text)| {
                        !sql[start + text.len()..].starts_with(|next: char| next.is_ascii_digit())
                    })
            });
        assert!(found, "no placeholder {position} in {sql}");
    }
    for beyond in [format!("${}", count + 1), format!("?{}", count + 1)] {
        assert!(!sql.contains(&beyond), "{beyond} in {sql}");
    }
}

fn read(shop: &Shop, table: &str, query: &RecordsQuery, selector: &Selector) -> Select {
    let plan = shop
        .planner()
        .read(&shop.table(table), &shop.grant(table), query, selector)
        .unwrap_or_else(|error| panic!("{error:?} {:?}", error.help()));
    plan.select
}

fn select(shop: &Shop, table: &str, query: &RecordsQuery, selector: &Selector) -> String {
    let select = read(shop, table, query, selector);
    both(|dialect| render_select(dialect, &select, false, RenderOptions::default()))
}

fn write(write: &Write) -> String {
    both(|dialect| render_write(dialect, write, RenderOptions::default()))
}

fn key(values: &[i64]) -> Vec<Scalar> {
    values.iter().copied().map(Scalar::Int).collect()
}

fn nested() -> RecordsQuery {
    RecordsQuery {
        fields: named(&["id"]),
        related: vec![RelatedRequest {
            fields: named(&["number", "issued_on", "note", "paid_at", "total"]),
            filter: Some(parsed("total > 0.1")),
            order: order(&["-total"]),
            limit: Some(2),
            offset: 1,
            related: vec![
                related("tag_by_invoice_tag"),
                RelatedRequest {
                    fields: named(&["position", "raw", "uid"]),
                    ..related("line_by_invoice_id")
                },
            ],
            ..related("invoice_by_customer_id")
        }],
        ..RecordsQuery::default()
    }
}

/// Every operator of the filter language.
const FILTERS: [&str; 22] = [
    "id = 1",
    "id != 1",
    "(id < 3) AND (id <= 3) AND (id > 0) AND (id >= 1)",
    "id IN (1, 2)",
    "id NOT IN (1, 2)",
    "credit BETWEEN 0.05 AND 12.50",
    "credit NOT BETWEEN 1 AND 2",
    "credit IS NULL",
    "full_name IS NOT NULL",
    "full_name LIKE 'A%'",
    "email NOT LIKE '%x%'",
    "full_name ILIKE 'a%'",
    "\"we\"\"ird\" CONTAINS '%_\\'",
    "email STARTS WITH 'a'",
    "email ENDS WITH 'org'",
    "id CONTAINS '1'",
    "is_active = true",
    "is_active IN (true, false)",
    "created_at > '2026-02-01T10:00:00Z'",
    "created_at < (NOW())",
    "NOT (id = 1 OR NOT (email = 'x' AND id = 2))",
    "id = 1 OR id = 2 AND full_name = 'Bo'",
];

#[test]
fn records_are_read_by_key_and_in_pages() {
    let shop = Shop::new(open());
    let query = RecordsQuery::default();
    insta::assert_snapshot!(
        [
            select(&shop, "tag", &query, &Selector::Key),
            select(
                &shop,
                "line",
                &RecordsQuery {
                    fields: named(&["product"]),
                    ..query.clone()
                },
                &Selector::Key
            ),
            select(
                &shop,
                "tag",
                &query,
                &Selector::Keys(vec![key(&[5]), key(&[4])])
            ),
            select(
                &shop,
                "invoice_tag",
                &query,
                &Selector::Keys(vec![key(&[10, 5]), key(&[10, 4])])
            ),
            select(&shop, "tag", &query, &Selector::Query),
            select(
                &shop,
                "invoice",
                &RecordsQuery {
                    fields: named(&["NUMBER"]),
                    order: order(&["-issued_on", "note", "paid_at"]),
                    limit: Some(7),
                    offset: 14,
                    ..query.clone()
                },
                &Selector::Query
            ),
            select(&shop, "report", &query, &Selector::Query),
        ]
        .join("\n")
    );
}

#[test]
fn filters_are_conditions_with_everything_bound() {
    let shop = Shop::new(open());
    let all: Vec<String> = FILTERS
        .iter()
        .map(|text| {
            let query = RecordsQuery {
                fields: named(&["id"]),
                ..filtered(text)
            };
            format!(
                "{text}\n{}",
                select(&shop, "customer", &query, &Selector::Query)
            )
        })
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn groups_and_aggregates_are_computed_by_the_database() {
    let shop = Shop::new(open());
    let grouped = RecordsQuery {
        fields: named(&["customer_id", "COUNT(*)", "SUM(total)", "MAX(paid_at)"]),
        group: vec!["customer_id".to_owned()],
        having: Some(parsed(
            "COUNT_ALL > 1 AND (SUM_total > 0.5 OR MAX_paid_at > '2026-01-01')",
        )),
        order: order(&["-SUM(total)", "customer_id"]),
        limit: Some(10),
        ..filtered("total > 0")
    };
    let whole = RecordsQuery {
        fields: named(&["COUNT(*)", "AVG(total)", "MIN(issued_on)", "COUNT(note)"]),
        ..RecordsQuery::default()
    };
    let by_json = RecordsQuery {
        group: vec!["note".to_owned(), "paid_at".to_owned()],
        ..RecordsQuery::default()
    };
    let count = shop
        .planner()
        .count(
            &shop.table("invoice"),
            &shop.grant("invoice"),
            &filtered("total > 1"),
            &Selector::Query,
        )
        .unwrap();
    insta::assert_snapshot!(
        [
            select(&shop, "invoice", &grouped, &Selector::Query),
            select(&shop, "invoice", &whole, &Selector::Query),
            select(&shop, "invoice", &by_json, &Selector::Query),
            both(|dialect| render_select(dialect, &count, true, RenderOptions::default())),
        ]
        .join("\n")
    );
}

#[test]
fn related_records_come_as_one_value() {
    let shop = Shop::new(open());
    let one = |table: &str, relation: &str| {
        let query = RecordsQuery {
            fields: named(&[]),
            related: vec![related(relation)],
            ..RecordsQuery::default()
        };
        select(&shop, table, &query, &Selector::Query)
    };
    insta::assert_snapshot!(
        [
            one("delivery", "line_by_invoice_id_position"),
            one("tag", "invoice_by_invoice_tag"),
            one("employee", "employee_by_manager_id"),
            one("employee", "employee_by_manager_id_children"),
            select(&shop, "customer", &nested(), &Selector::Key),
        ]
        .join("\n")
    );
}

/// What belongs to these parents by the first relation of a query, as a query of its own.
fn children(shop: &Shop, table: &str, query: &RecordsQuery, keys: &[Vec<Scalar>]) -> String {
    let select = read(shop, table, query, &Selector::Query);
    let related = select
        .output
        .iter()
        .find_map(|output| match &output.expression {
            Expression::Related(related) => Some(related),
            _ => None,
        });
    let related = related.unwrap();
    let columns: Vec<usize> = related.link.iter().map(|(there, _)| *there).collect();
    let listed = Condition::keys(&columns, keys);
    let mut children = Children {
        select: related.select.clone(),
        columns,
        junction: related.junction.clone(),
    };
    let condition = match &mut children.junction {
        Some(junction) => &mut junction.condition,
        None => &mut children.select.condition,
    };
    *condition = listed.and(condition.clone());
    both(|dialect| render_children(dialect, &children, RenderOptions::default()))
}

#[test]
fn what_belongs_to_many_parents_is_one_query_with_a_limit_for_each() {
    let shop = Shop::new(open());
    let one = |relation: &str| RecordsQuery {
        fields: named(&[]),
        related: vec![related(relation)],
        ..RecordsQuery::default()
    };
    insta::assert_snapshot!(
        [
            children(
                &shop,
                "delivery",
                &one("line_by_invoice_id_position"),
                &[key(&[10, 1]), key(&[10, 2])]
            ),
            children(
                &shop,
                "tag",
                &one("invoice_by_invoice_tag"),
                &[key(&[4]), key(&[5])]
            ),
            children(
                &shop,
                "employee",
                &one("employee_by_manager_id"),
                &[key(&[1])]
            ),
            children(
                &shop,
                "employee",
                &one("employee_by_manager_id_children"),
                &[key(&[1])]
            ),
            children(&shop, "customer", &nested(), &[key(&[1]), key(&[2])]),
        ]
        .join("\n")
    );
}

#[test]
fn the_style_of_numbers_and_dates_reaches_related_records() {
    let shop = Shop::new(open());
    let select = read(&shop, "customer", &nested(), &Selector::Key);
    let options = RenderOptions {
        numbers: NumberStyle::String,
        datetimes: DateTimeStyle::Sql,
    };
    insta::assert_snapshot!(both(|dialect| render_select(
        dialect, &select, false, options
    )));
}

#[test]
fn pages_continue_behind_a_cursor() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
    let mut texts = Vec::new();
    for (columns, kept) in [
        (vec![], vec![Scalar::Int(10)]),
        (
            vec!["-total"],
            vec![Scalar::Decimal("9.50".into()), Scalar::Int(10)],
        ),
        (
            vec!["issued_on"],
            vec![Scalar::Temporal("2026-02-01".into()), Scalar::Int(10)],
        ),
        (vec!["issued_on"], vec![Scalar::Null, Scalar::Int(10)]),
        (vec!["-issued_on"], vec![Scalar::Null, Scalar::Int(10)]),
        (
            vec!["-paid_at", "number"],
            vec![
                Scalar::Temporal("2026-02-01T00:00:00".into()),
                Scalar::Text("A".into()),
                Scalar::Int(10),
            ],
        ),
    ] {
        let mut query = RecordsQuery {
            fields: named(&["number"]),
            order: order(&columns),
            limit: Some(2),
            ..RecordsQuery::default()
        };
        let first = planner
            .read(&table, &grant, &query, &Selector::Query)
            .unwrap();
        query.cursor = first.next_cursor(&kept);
        assert!(query.cursor.is_some());
        texts.push(select(&shop, "invoice", &query, &Selector::Query));
    }
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn writes_return_what_was_written_and_whether_it_was_permitted() {
    let shop = Shop::new(access(vec![
        rule("_table/*", None, None),
        rule(
            "_table/invoice",
            Some("customer_id = {user.id} OR total < 1"),
            None,
        ),
    ]));
    let planner = shop.planner();
    let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
    let line = shop.table("line");
    let open = shop.grant("line");
    let query = RecordsQuery::default();
    let fields = RecordsQuery {
        fields: Fields::All,
        ..query.clone()
    };
    let sent = record(
        r#"{"Customer_ID":"{user.id}","number":"A'; DROP TABLE invoice; --","total":99999999999999.99,"note":{"a":[1]},"paid_at":{"expression":"NOW()"}}"#,
    );
    let change = record(r#"{"id":7,"total":1.10,"issued_on":null}"#);
    let part = record(r#"{"invoice_id":10,"position":1,"product":"pen"}"#);
    let only_key = record(r#"{"invoice_id":10,"position":1}"#);
    insta::assert_snapshot!(
        [
            write(&Write::Insert(
                planner.insert(&table, &grant, &sent, &query, None).unwrap()
            )),
            write(&Write::Insert(
                planner
                    .insert(
                        &shop.table("customer"),
                        &open,
                        &record(r#"{"email":"d@example.org"}"#),
                        &fields,
                        None
                    )
                    .unwrap()
            )),
            write(&Write::Insert(
                planner
                    .insert(
                        &shop.table("employee"),
                        &open,
                        &record(r#"{"name":"x"}"#),
                        &query,
                        None
                    )
                    .unwrap()
            )),
            write(&Write::Insert(
                planner
                    .insert(&line, &open, &part, &fields, Some(&open))
                    .unwrap()
            )),
            write(&Write::Insert(
                planner
                    .insert(&line, &open, &only_key, &query, Some(&open))
                    .unwrap()
            )),
            write(&Write::Insert(
                planner
                    .insert(
                        &table,
                        &grant,
                        &record(r#"{"id":10,"customer_id":1,"number":"x","total":1}"#),
                        &query,
                        Some(&grant)
                    )
                    .unwrap()
            )),
            write(&Write::Update(
                planner
                    .update(
                        &table,
                        &grant,
                        &change,
                        &query,
                        &Selector::Keys(vec![key(&[10])])
                    )
                    .unwrap()
            )),
            write(&Write::Update(
                planner
                    .update(
                        &table,
                        &grant,
                        &change,
                        &filtered("total > 5"),
                        &Selector::Query
                    )
                    .unwrap()
            )),
            write(&Write::Delete(
                planner
                    .delete(
                        &line,
                        &open,
                        &fields,
                        &Selector::Keys(vec![key(&[10, 1]), key(&[10, 2])])
                    )
                    .unwrap()
            )),
            write(&Write::Delete(
                planner
                    .delete(
                        &table,
                        &grant,
                        &RecordsQuery {
                            force: true,
                            ..query.clone()
                        },
                        &Selector::Query
                    )
                    .unwrap()
            )),
        ]
        .join("\n")
    );
}

#[test]
fn hostile_names_of_tables_and_columns_stay_names() {
    let mut table = Table {
        name: "a".to_owned(),
        schema: Some("s\"; DROP SCHEMA s; --".to_owned()),
        native: "t\"\"x".to_owned(),
        ..(*Shop::new(open()).table("tag")).clone()
    };
    table.columns[0].name = "id\" = 1 OR \"id".to_owned();
    let catalog = Catalog::new(vec![table]);
    let shop = Shop {
        catalog,
        ..Shop::new(open())
    };
    insta::assert_snapshot!(select(&shop, "a", &RecordsQuery::default(), &Selector::Key));
}

#[cfg(feature = "sqlite")]
#[test]
fn long_lists_make_a_shallow_tree() {
    use super::super::plan::{Condition, Expression};

    let conditions = (0..5_000).map(|_| Condition::IsNull(Expression::Column(0)));
    let shop = Shop::new(open());
    let mut select = read(&shop, "tag", &RecordsQuery::default(), &Selector::Query);
    select.condition = Condition::Or(conditions.collect());
    let statement =
        render_select(&SqliteDialect, &select, false, RenderOptions::default()).unwrap();
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch(SQLITE).unwrap();
    connection.prepare(&statement.sql).unwrap();
}

proptest! {
    #[test]
    fn no_value_of_a_caller_stands_in_the_text(text in "[a-zA-Z'\"$?;%_\\\\()-]{3,20}", number in 100_000_i64..) {
        let marked = format!("ZQ{text}");
        let filter = |value: &str| format!("full_name = '{}' OR full_name CONTAINS '{}'", value.replace('\'', "''"), value.replace('\'', "''"));
        let shop = Shop::new(open());
        let query = RecordsQuery {
            offset: u64::try_from(number).unwrap(),
            ..filtered(&format!("({}) AND id IN ({number}) AND credit > {number}.25", filter(&marked)))
        };
        let select = read(&shop, "customer", &query, &Selector::Query);
        for dialect in [&PostgresqlDialect as &dyn Dialect, &SqliteDialect] {
            let statement = render_select(dialect, &select, false, RenderOptions::default()).unwrap();
            assert_placeholders(&statement);
            prop_assert!(!statement.sql.contains("ZQ"));
            prop_assert!(!statement.sql.contains(&number.to_string()));
        }
    }
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use super::*;
    use crate::connector::Resources;
    use crate::connector::database::rows::{Frame, Shape};
    use crate::connector::database::sqlite::SqliteConfig;
    use crate::exchange::Format;

    struct Opened {
        shop: Shop,
        database: Box<dyn Database>,
        _directory: tempfile::TempDir,
    }

    impl Opened {
        async fn new(access: crate::connector::access::Access) -> Self {
            let directory = tempfile::tempdir().unwrap();
            rusqlite::Connection::open(directory.path().join("shop.db"))
                .unwrap()
                .execute_batch(SQLITE)
                .unwrap();
            let config: SqliteConfig =
                serde_json::from_value(serde_json::json!({ "database": "shop.db" })).unwrap();
            let resources = Resources {
                service: "shop".parse().unwrap(),
                data_directory: directory.path().to_owned(),
                clock: crate::clock::system(),
            };
            let database: Box<dyn Database> = Box::new(config.database(&resources));
            let catalog = database.catalog().await.unwrap();
            Self {
                shop: Shop {
                    catalog,
                    ..Shop::new(access)
                },
                database,
                _directory: directory,
            }
        }

        async fn read(
            &self,
            table: &str,
            query: &RecordsQuery,
            selector: &Selector,
            key: &[Scalar],
        ) -> String {
            let (text, _) = self.page(table, query, selector, key).await;
            text
        }

        async fn page(
            &self,
            table: &str,
            query: &RecordsQuery,
            selector: &Selector,
            key: &[Scalar],
        ) -> (String, Option<String>) {
            let plan = self
                .shop
                .planner()
                .read(
                    &self.shop.table(table),
                    &self.shop.grant(table),
                    query,
                    selector,
                )
                .unwrap();
            let shape: Shape = plan.shape(Frame::Bare, Format::Json, &self.shop.options);
            let prepared = self.database.prepare(plan.select.clone()).unwrap();
            let rows = RowWriter::new(Arc::new(shape), None);
            let rows = self
                .database
                .read(&prepared, key, rows)
                .await
                .unwrap_or_else(|error| panic!("{error:?}: {}", prepared.statement.unwrap().sql));
            let cursor = rows
                .has_more()
                .then(|| plan.next_cursor(rows.kept()).unwrap());
            (finish(rows), cursor)
        }

        async fn write(&self, write: Write) -> Result<(String, u64)> {
            let shape = write.shape(Frame::Bare, Format::Json, &self.shop.options);
            let rows = RowWriter::new(Arc::new(shape), None);
            let mut transaction = self.database.begin().await?;
            let (rows, touched) = transaction.write(&write, rows).await?;
            transaction.commit().await?;
            Ok((finish(rows), touched))
        }
    }

    fn finish(rows: RowWriter) -> String {
        String::from_utf8(rows.finish(&serde_json::Map::new()).to_vec()).unwrap()
    }

    #[tokio::test]
    async fn every_filter_finds_its_records() {
        let opened = Opened::new(open()).await;
        let mut found = Vec::new();
        for text in FILTERS {
            let query = RecordsQuery {
                fields: named(&["id"]),
                ..filtered(text)
            };
            let rows = opened.read("customer", &query, &Selector::Query, &[]).await;
            found.push(format!("{text}  →  {rows}"));
        }
        insta::assert_snapshot!(found.join("\n"));
    }

    #[tokio::test]
    async fn records_come_by_key_in_the_order_of_the_keys_and_with_what_is_related() {
        let opened = Opened::new(open()).await;
        let query = RecordsQuery::default();
        let keys = Selector::Keys(vec![key(&[5]), key(&[99]), key(&[4])]);
        let composite = Selector::Keys(vec![key(&[10, 5]), key(&[11, 4]), key(&[10, 4])]);
        let star = RecordsQuery {
            related: vec![related("*")],
            ..query.clone()
        };
        insta::assert_snapshot!(
            [
                opened.read("tag", &query, &Selector::Key, &key(&[4])).await,
                opened.read("tag", &query, &keys, &[]).await,
                opened.read("invoice_tag", &query, &composite, &[]).await,
                opened
                    .read("customer", &query, &Selector::Key, &key(&[2]))
                    .await,
                opened
                    .read("customer", &nested(), &Selector::Query, &[])
                    .await,
                opened
                    .read("invoice", &star, &Selector::Key, &key(&[10]))
                    .await,
                opened.read("employee", &star, &Selector::Query, &[]).await,
                opened.read("delivery", &star, &Selector::Query, &[]).await,
            ]
            .join("\n")
        );
    }

    #[tokio::test]
    async fn thousands_of_keys_are_read_at_once() {
        let mut opened = Opened::new(open()).await;
        opened.shop.options.max_records = 100_000;
        let keys = (0..5_000).map(|id| key(&[id])).collect();
        let rows = opened
            .read("tag", &RecordsQuery::default(), &Selector::Keys(keys), &[])
            .await;
        assert_eq!(rows.matches("label").count(), 2);
        let keys = (0..2_500).map(|id| key(&[10, id])).collect();
        let rows = opened
            .read(
                "invoice_tag",
                &RecordsQuery::default(),
                &Selector::Keys(keys),
                &[],
            )
            .await;
        assert_eq!(rows.matches("tag_id").count(), 2);
    }

    #[tokio::test]
    async fn groups_count_and_add_up() {
        let opened = Opened::new(open()).await;
        let grouped = RecordsQuery {
            fields: named(&[
                "customer_id",
                "COUNT(*)",
                "SUM(total)",
                "MAX(paid_at)",
                "AVG(total)",
            ]),
            group: vec!["customer_id".to_owned()],
            having: Some(parsed("COUNT_ALL >= 1 AND SUM_total > 20.5")),
            order: order(&["-SUM(total)"]),
            ..RecordsQuery::default()
        };
        let paid = RecordsQuery {
            fields: named(&["paid_at", "COUNT(*)"]),
            group: vec!["paid_at".to_owned()],
            order: order(&["paid_at"]),
            ..RecordsQuery::default()
        };
        assert_eq!(
            opened
                .read("invoice", &grouped, &Selector::Query, &[])
                .await,
            r#"{"customer_id":1,"COUNT_ALL":2,"SUM_total":100,"MAX_paid_at":"2026-02-02T00:00:00","AVG_total":50.0}"#
        );
        assert_eq!(
            opened.read("invoice", &paid, &Selector::Query, &[]).await,
            r#"{"paid_at":"2026-02-02T00:00:00","COUNT_ALL":2},{"paid_at":null,"COUNT_ALL":1}"#,
            "two spellings of one moment are one group"
        );
    }

    #[tokio::test]
    async fn cursors_visit_every_record_once_whatever_the_order() {
        let opened = Opened::new(open()).await;
        for columns in [
            vec![],
            vec!["-id"],
            vec!["issued_on"],
            vec!["-issued_on"],
            vec!["paid_at"],
            vec!["-paid_at", "-number"],
            vec!["total", "issued_on"],
            vec!["note"],
        ] {
            let mut query = RecordsQuery {
                fields: named(&["number"]),
                order: order(&columns),
                ..RecordsQuery::default()
            };
            let whole = opened.read("invoice", &query, &Selector::Query, &[]).await;
            query.limit = Some(1);
            let mut pages = Vec::new();
            loop {
                let (page, cursor) = opened.page("invoice", &query, &Selector::Query, &[]).await;
                pages.push(page);
                query.cursor = cursor;
                if query.cursor.is_none() {
                    break;
                }
                assert!(pages.len() < 10, "{columns:?} never ends");
            }
            assert_eq!(pages.join(","), whole, "{columns:?}");
        }
    }

    #[tokio::test]
    async fn what_is_written_is_answered_and_must_satisfy_the_role() {
        let opened = Opened::new(access(vec![
            rule("_table/*", None, None),
            rule("_table/invoice", Some("customer_id = {user.id}"), None),
        ]))
        .await;
        let shop = &opened.shop;
        let planner = shop.planner();
        let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
        let all = RecordsQuery {
            fields: Fields::All,
            ..RecordsQuery::default()
        };
        let insert = |json: &str| {
            Write::Insert(
                planner
                    .insert(&table, &grant, &record(json), &all, None)
                    .unwrap(),
            )
        };
        assert_eq!(
            opened
                .write(insert(r#"{"customer_id":1,"number":"N","total":10.50,"note":{"a":1},"paid_at":"2026-02-01T00:00:00Z"}"#))
                .await
                .unwrap(),
            (r#"{"id":13,"customer_id":1,"number":"N","total":10.5,"issued_on":null,"note":{"a":1},"paid_at":"2026-02-01T00:00:00"}"#.to_owned(), 1)
        );
        let refused = opened
            .write(insert(r#"{"customer_id":2,"number":"N","total":1}"#))
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::RowNotPermitted);
        let update = |id: i64, json: &str| {
            let selector = Selector::Keys(vec![key(&[id])]);
            let query = RecordsQuery::default();
            Write::Update(
                planner
                    .update(&table, &grant, &record(json), &query, &selector)
                    .unwrap(),
            )
        };
        assert_eq!(
            opened.write(update(10, r#"{"total":1}"#)).await.unwrap(),
            (r#"{"id":10}"#.to_owned(), 1)
        );
        assert_eq!(
            opened.write(update(12, r#"{"total":1}"#)).await.unwrap().1,
            0,
            "the record is another customer's"
        );
        let refused = opened
            .write(update(10, r#"{"customer_id":2}"#))
            .await
            .unwrap_err();
        assert_eq!(
            refused.kind(),
            ErrorKind::RowNotPermitted,
            "it would leave the role's rows"
        );
        let upsert = |json: &str| {
            Write::Insert(
                planner
                    .insert(&table, &grant, &record(json), &all, Some(&grant))
                    .unwrap(),
            )
        };
        let (text, touched) = opened
            .write(upsert(
                r#"{"id":11,"customer_id":1,"number":"U","total":2}"#,
            ))
            .await
            .unwrap();
        assert!(
            text.contains(r#""number":"U","total":2,"#) && touched == 1,
            "{text}"
        );
        assert_eq!(
            opened
                .write(upsert(
                    r#"{"id":12,"customer_id":1,"number":"U","total":2}"#
                ))
                .await
                .unwrap(),
            (String::new(), 0),
            "the existing record is another customer's"
        );
        let query = RecordsQuery {
            force: true,
            ..RecordsQuery::default()
        };
        let delete = planner.delete(
            &shop.table("delivery"),
            &shop.grant("delivery"),
            &query,
            &Selector::Query,
        );
        assert_eq!(
            opened.write(Write::Delete(delete.unwrap())).await.unwrap(),
            (r#"{"id":1}"#.to_owned(), 1)
        );
    }

    #[tokio::test]
    async fn an_upsert_that_changes_nothing_still_answers() {
        let opened = Opened::new(open()).await;
        let shop = &opened.shop;
        let table = shop.table("invoice_tag");
        let grant = shop.grant("invoice_tag");
        let insert = shop
            .planner()
            .insert(
                &table,
                &grant,
                &record(r#"{"invoice_id":10,"tag_id":4}"#),
                &RecordsQuery::default(),
                Some(&grant),
            )
            .unwrap();
        assert_eq!(
            opened.write(Write::Insert(insert)).await.unwrap(),
            (r#"{"invoice_id":10,"tag_id":4}"#.to_owned(), 1)
        );
    }

    #[tokio::test]
    async fn booleans_that_a_write_returns_are_booleans() {
        let opened = Opened::new(open()).await;
        let shop = &opened.shop;
        let query = RecordsQuery {
            fields: named(&["is_active", "created_at"]),
            ..RecordsQuery::default()
        };
        let insert = shop.planner().insert(
            &shop.table("customer"),
            &shop.grant("customer"),
            &record(r#"{"email":"d@example.org","created_at":"2026-02-01T01:00:00+01:00"}"#),
            &query,
            None,
        );
        assert_eq!(
            opened
                .write(Write::Insert(insert.unwrap()))
                .await
                .unwrap()
                .0,
            r#"{"is_active":true,"created_at":"2026-02-01T00:00:00Z"}"#
        );
    }
}
