//! What is planned and what is refused.

use super::super::dialect::{PostgresqlDialect, SqliteDialect};
use super::super::fixture::*;
use super::super::plan::Bind;
use super::super::request::{MAX_RELATED_DEPTH, RelatedRequest};
use super::super::sql::{RenderOptions, render_select, render_write};
use super::*;
use crate::connector::access::Rule;
use crate::connector::database::catalog::RelationKind;

fn fails<T>(outcome: Result<T>) -> (ErrorKind, String, String) {
    let Err(error) = outcome else {
        panic!("it was not refused");
    };
    let help = error.help().unwrap_or_default().to_owned();
    (error.kind(), error.message().to_owned(), help)
}

fn read(shop: &Shop, table: &str, query: &RecordsQuery) -> Result<ReadPlan> {
    let planner = shop.planner();
    planner.read(
        &shop.table(table),
        &shop.grant(table),
        query,
        &Selector::Query,
    )
}

fn sql(plan: &ReadPlan) -> String {
    let options = RenderOptions::default();
    let statement = render_select(&PostgresqlDialect, &plan.select, false, options).unwrap();
    statement.sql.to_string()
}

fn names(outputs: &[Output]) -> Vec<&str> {
    outputs.iter().map(|output| output.name.as_str()).collect()
}

/// A role that sees two columns of `customer`.
fn narrow() -> Shop {
    Shop::new(access(vec![
        rule("_table/*", None, None),
        rule("_table/customer", None, Some(&["id", "email"])),
    ]))
}

fn query_with(change: impl FnOnce(&mut RecordsQuery)) -> RecordsQuery {
    let mut query = RecordsQuery::default();
    change(&mut query);
    query
}

#[test]
fn a_hidden_column_and_a_missing_one_are_refused_alike_wherever_they_stand() {
    let shop = narrow();
    let planner = shop.planner();
    let (table, grant) = (shop.table("customer"), shop.grant("customer"));
    let hidden = "credit";
    for name in [hidden, "nonsense"] {
        let condition = format!("{name} = 1");
        let record = record(&format!(r#"{{"email":"x","{name}":1}}"#));
        let none = RecordsQuery::default();
        let refusals = [
            fails(read(
                &shop,
                "customer",
                &query_with(|query| query.fields = named(&[name])),
            )),
            fails(read(
                &shop,
                "customer",
                &query_with(|query| {
                    query.fields = Fields::Named(vec![item(&format!("SUM({name})"))]);
                }),
            )),
            fails(read(
                &shop,
                "customer",
                &query_with(|query| query.order = order(&[name])),
            )),
            fails(read(&shop, "customer", &filtered(&condition))),
            fails(read(
                &shop,
                "customer",
                &filtered(&format!("NOT ({name} IS NULL)")),
            )),
            fails(read(
                &shop,
                "customer",
                &query_with(|query| query.group = vec![name.to_owned()]),
            )),
            fails(read(
                &shop,
                "customer",
                &query_with(|query| {
                    query.group = vec!["id".to_owned()];
                    query.having = Some(parsed(&condition));
                }),
            )),
            fails(read(
                &shop,
                "invoice",
                &query_with(|query| {
                    query.related = vec![RelatedRequest {
                        fields: named(&[name]),
                        ..related("customer_by_customer_id")
                    }];
                }),
            )),
            fails(read(
                &shop,
                "invoice",
                &query_with(|query| {
                    query.related = vec![RelatedRequest {
                        filter: Some(parsed(&condition)),
                        ..related("customer_by_customer_id")
                    }];
                }),
            )),
            fails(read(
                &shop,
                "invoice",
                &query_with(|query| {
                    query.related = vec![RelatedRequest {
                        order: order(&[name]),
                        ..related("customer_by_customer_id")
                    }];
                }),
            )),
            fails(planner.insert(&table, &grant, &record, &none, None)),
            fails(planner.update(
                &table,
                &grant,
                &record,
                &none,
                &Selector::Keys(vec![vec![Scalar::Int(1)]]),
            )),
            fails(planner.delete(&table, &grant, &filtered(&condition), &Selector::Query)),
            fails(planner.key(
                &table,
                &grant,
                &Identifier::Single("1".to_owned()),
                &[name.to_owned()],
            )),
        ];
        for (kind, message, help) in refusals {
            assert_eq!(kind, ErrorKind::UnknownField, "{message}");
            assert_eq!(
                message,
                format!("field '{name}' does not exist in table 'customer'")
            );
            assert!(
                !help.contains("credit") && !help.contains("full_name"),
                "{help}"
            );
        }
    }
    let plan = read(
        &shop,
        "customer",
        &query_with(|query| query.fields = Fields::All),
    )
    .unwrap();
    assert_eq!(names(&plan.select.output), ["id", "email"]);
}

#[test]
fn help_names_the_nearest_or_all_columns() {
    let shop = narrow();
    let ask = |name: &str| {
        fails(read(
            &shop,
            "customer",
            &query_with(|query| query.fields = named(&[name])),
        ))
        .2
    };
    assert_eq!(ask("emial"), "did you mean 'email'?");
    assert_eq!(ask("zzz"), "there are: id, email");
}

#[test]
fn names_are_looked_up_and_never_reach_the_text() {
    let shop = Shop::new(open());
    for hostile in [
        "id\"; DROP TABLE customer; --",
        "id, (SELECT value FROM secret)",
        "1=1) OR (id",
        "COUNT(*)) FROM secret --",
        "",
    ] {
        let kinds = [
            fails(read(
                &shop,
                "customer",
                &query_with(|query| {
                    query.fields = Fields::Named(vec![FieldItem::Column(hostile.to_owned())]);
                }),
            ))
            .0,
            fails(read(
                &shop,
                "customer",
                &query_with(|query| {
                    query.order = vec![OrderItem {
                        item: FieldItem::Column(hostile.to_owned()),
                        descending: false,
                        nulls: None,
                    }];
                }),
            ))
            .0,
            fails(read(
                &shop,
                "customer",
                &query_with(|query| query.group = vec![hostile.to_owned()]),
            ))
            .0,
            fails(shop.planner().key(
                &shop.table("customer"),
                &shop.grant("customer"),
                &Identifier::Single("1".to_owned()),
                &[hostile.to_owned()],
            ))
            .0,
        ];
        assert!(
            kinds.iter().all(|kind| *kind == ErrorKind::UnknownField),
            "{hostile}: {kinds:?}"
        );
        let relation = query_with(|query| query.related = vec![related(hostile)]);
        assert_eq!(
            fails(read(&shop, "customer", &relation)).0,
            ErrorKind::UnknownRelation
        );
        assert_eq!(
            fails(shop.planner().table(hostile)).0,
            ErrorKind::UnknownTable
        );
    }
}

#[test]
fn a_table_is_found_whatever_its_case_and_a_typo_names_only_what_the_role_may_see() {
    let shop = Shop::new(open());
    assert_eq!(shop.planner().table("CUSTOMER").unwrap().name, "customer");
    assert_eq!(
        fails(shop.planner().table("custommer")).2,
        "did you mean 'customer'?"
    );
    assert_eq!(
        fails(shop.planner().table("secrett")).2,
        "",
        "the role may not know of it"
    );
}

#[test]
fn the_roles_condition_stays_whole_whatever_the_caller_asks() {
    let shop = Shop::new(access(vec![rule(
        "_table/*",
        Some("customer_id = {user.id} OR total < 1"),
        None,
    )]));
    let query = filtered("id > 0 OR id < 0");
    let plan = read(&shop, "invoice", &query).unwrap();
    let role = r#"(t0."customer_id" = $1 OR t0."total" < $2)"#;
    assert!(
        sql(&plan).contains(&format!(
            r#"WHERE ({role} AND (t0."id" > $3 OR t0."id" < $4))"#
        )),
        "{}",
        sql(&plan)
    );
    let planner = shop.planner();
    let (table, grant) = (shop.table("invoice"), shop.grant("invoice"));
    let by_key = planner
        .read(&table, &grant, &RecordsQuery::default(), &Selector::Key)
        .unwrap();
    assert!(
        sql(&by_key)
            .ends_with(r#"WHERE (t0."id" = $1 AND (t0."customer_id" = $2 OR t0."total" < $3))"#)
    );
    let all = query_with(|query| query.force = true);
    let delete = planner
        .delete(&table, &grant, &all, &Selector::Query)
        .unwrap();
    let statement = render_write(
        &SqliteDialect,
        &Write::Delete(delete),
        RenderOptions::default(),
    )
    .unwrap();
    assert!(
        statement
            .sql
            .contains(r#"WHERE (t0."customer_id" = ?1 OR t0."total" < ?2) RETURNING"#)
    );
    let count = planner
        .count(&table, &grant, &query, &Selector::Query)
        .unwrap();
    let statement = render_select(&SqliteDialect, &count, false, RenderOptions::default()).unwrap();
    assert!(
        statement
            .sql
            .contains(r#"(t0."customer_id" = ?1 OR t0."total" < ?2) AND ("#)
    );
}

#[test]
fn a_role_may_filter_by_columns_that_it_hides_and_by_values_that_are_bound() {
    let shop = Shop::new(access(vec![rule(
        "_table/*",
        Some("full_name = {user.email}"),
        Some(&["id"]),
    )]));
    let plan = read(&shop, "customer", &RecordsQuery::default()).unwrap();
    let Condition::Compare(_, _, Bind::Value(value)) = &plan.select.condition else {
        panic!("{:?}", plan.select.condition);
    };
    assert_eq!(*value, Scalar::Text("x') OR ('1'='1".to_owned()));
    assert!(!sql(&plan).contains("'1'"));
}

#[test]
fn a_role_filter_without_a_value_lets_nothing_through_and_a_wrong_one_refuses() {
    for filter in [
        "full_name = {user.nothing}",
        "NOT (full_name = {user.nothing})",
        "full_name != {user.name}",
        "id = 1 OR full_name = {user.nothing}",
        "id = {user.email}",
        "NOT (id IN ({user.email}, 1))",
        "full_name NOT LIKE {user.nothing}",
    ] {
        let shop = Shop::new(access(vec![rule("_table/*", Some(filter), None)]));
        let plan = read(&shop, "customer", &RecordsQuery::default()).unwrap();
        assert!(
            matches!(plan.select.condition, Condition::False),
            "{filter}"
        );
        let planner = shop.planner();
        let (table, grant) = (shop.table("customer"), shop.grant("customer"));
        let insert = planner.insert(
            &table,
            &grant,
            &record(r#"{"email":"x"}"#),
            &RecordsQuery::default(),
            None,
        );
        assert!(
            matches!(insert.unwrap().check, Condition::False),
            "{filter}"
        );
    }
    for filter in ["owner = 1", "id = 'x'", "credit > (NOW())"] {
        let shop = Shop::new(access(vec![rule("_table/*", Some(filter), None)]));
        let error = read(&shop, "customer", &RecordsQuery::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Forbidden, "{filter}");
        assert!(!error.message().contains("owner") && error.help().is_none());
        assert!(
            error
                .facts()
                .iter()
                .any(|(name, value)| *name == "rule" && value == "roles.toml:1")
        );
    }
}

#[test]
fn values_are_typed_by_their_columns() {
    let shop = Shop::new(open());
    for (filter, message) in [
        ("id = 'abc'", "field 'id' must be a valid integer"),
        (
            "id = 99999999999999999999",
            "field 'id' must be a valid integer",
        ),
        (
            "credit > 'much'",
            "field 'credit' must be a valid decimal number",
        ),
        ("is_active = 7", "field 'is_active' must be true or false"),
        (
            "created_at > 'yesterday'",
            "field 'created_at' must be a valid date and time",
        ),
        ("id = (NOW())", "field 'id' must be a valid integer"),
    ] {
        let (kind, told, _) = fails(read(&shop, "customer", &filtered(filter)));
        assert_eq!((kind, told.as_str()), (ErrorKind::InvalidValue, message));
    }
    let (kind, _, help) = fails(read(&shop, "customer", &filtered("email LIKE 'x\\'")));
    assert_eq!(kind, ErrorKind::InvalidFilter);
    assert!(help.contains("\\\\"));
    // What fits is kept as it is.
    let plan = read(
        &shop,
        "customer",
        &filtered("credit = 12345678901234567890.10"),
    )
    .unwrap();
    assert!(
        format!("{:?}", plan.select.condition).contains("Decimal(\"12345678901234567890.10\")")
    );
}

#[test]
fn keys_are_typed_and_composite_ones_are_named() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let grant = shop.grant("customer");
    let (customer, line, report) = (
        shop.table("customer"),
        shop.table("line"),
        shop.table("report"),
    );
    let single = |text: &str| Identifier::Single(text.to_owned());
    let composite = |pairs: &[(&str, &str)]| {
        Identifier::Composite(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    };
    let by = |name: &str| vec![name.to_owned()];
    assert_eq!(
        planner.key(&customer, &grant, &single("7"), &[]).unwrap(),
        [Scalar::Int(7)]
    );
    assert_eq!(
        planner
            .key(&customer, &grant, &composite(&[("ID", "7")]), &[])
            .unwrap(),
        [Scalar::Int(7)]
    );
    assert_eq!(
        planner
            .key(
                &customer,
                &grant,
                &composite(&[("a", "1"), ("b", "2")]),
                &by("EMAIL")
            )
            .unwrap(),
        [Scalar::Text("a=1,b=2".to_owned())],
        "the text of a single key may look like a composite one"
    );
    assert_eq!(
        planner
            .key(
                &line,
                &grant,
                &composite(&[("position", "2"), ("invoice_id", "10")]),
                &[]
            )
            .unwrap(),
        [Scalar::Int(10), Scalar::Int(2)]
    );
    let (kind, message, _) = fails(planner.key(&customer, &grant, &single("7 OR 1=1"), &[]));
    assert_eq!(
        (kind, message.as_str()),
        (
            ErrorKind::InvalidValue,
            "field 'id' must be a valid integer"
        )
    );
    for wrong in [
        single("7"),
        composite(&[("invoice_id", "1")]),
        composite(&[("invoice_id", "1"), ("id", "2")]),
    ] {
        let (kind, _, help) = fails(planner.key(&line, &grant, &wrong, &[]));
        assert_eq!(kind, ErrorKind::InvalidRequest);
        assert_eq!(help, "write the key as invoice_id=…,position=…");
    }
    assert!(
        fails(planner.key(&report, &grant, &single("7"), &[]))
            .2
            .contains("id_field")
    );
    let sent = record(r#"{"Invoice_ID":10,"position":"2","product":"x"}"#);
    assert_eq!(
        planner.key_of_record(&line, &grant, &sent, &[]).unwrap(),
        [Scalar::Int(10), Scalar::Int(2)]
    );
    for missing in [
        r#"{"invoice_id":10}"#,
        r#"{"invoice_id":10,"position":null}"#,
    ] {
        assert_eq!(
            fails(planner.key_of_record(&line, &grant, &record(missing), &[])).0,
            ErrorKind::InvalidBody
        );
    }
    let whole = planner
        .with_key(
            &line,
            &grant,
            &record(r#"{"POSITION":9,"product":"x"}"#),
            &[Scalar::Int(10), Scalar::Int(2)],
            &[],
        )
        .unwrap();
    assert_eq!(
        serde_json::to_string(&whole).unwrap(),
        r#"{"invoice_id":10,"position":2,"product":"x"}"#
    );
}

#[test]
fn a_page_is_clipped_and_reads_one_row_more() {
    let shop = Shop::new(open());
    for (asked, page) in [
        (None, 100),
        (Some(0), 100),
        (Some(7), 7),
        (Some(100_000), 100),
        (Some(u64::MAX), 100),
    ] {
        let plan = read(
            &shop,
            "tag",
            &query_with(|query| {
                query.limit = asked;
                query.offset = 5;
            }),
        )
        .unwrap();
        assert_eq!((plan.page, plan.select.limit), (Some(page), Some(page + 1)));
        assert_eq!(plan.next_offset(), Some(5 + page));
    }
    let far = read(&shop, "tag", &query_with(|query| query.offset = u64::MAX)).unwrap();
    assert_eq!(far.next_offset(), Some(u64::MAX), "nothing overflows");
}

#[test]
fn an_order_is_completed_by_a_key_where_there_is_one() {
    let shop = Shop::new(open());
    let ordered = |table: &str, names: &[&str]| {
        let plan = read(
            &shop,
            table,
            &query_with(|query| query.order = order(names)),
        )
        .unwrap();
        let text = sql(&plan);
        text.split_once(" ORDER BY ")
            .map_or(String::new(), |(_, order)| {
                order.split(" LIMIT").next().unwrap().to_owned()
            })
    };
    assert_eq!(ordered("tag", &[]), r#"t0."id""#);
    assert_eq!(ordered("tag", &["-LABEL"]), r#"t0."label" DESC, t0."id""#);
    assert_eq!(
        ordered("customer", &["email"]),
        r#"t0."email""#,
        "a unique key is enough"
    );
    assert_eq!(
        ordered("line", &["-position"]),
        r#"t0."position" DESC, t0."invoice_id""#
    );
    assert_eq!(ordered("report", &["total"]), r#"t0."total" NULLS LAST"#);
    assert_eq!(ordered("report", &[]), "");
}

#[test]
fn what_is_hidden_behind_a_page_is_the_cursor_and_behind_a_key_the_row() {
    let shop = Shop::new(open());
    let query = query_with(|query| {
        query.fields = named(&["full_name"]);
        query.order = order(&["-email"]);
    });
    let page = read(&shop, "customer", &query).unwrap();
    assert_eq!(names(&page.select.output), ["full_name", "email"]);
    assert_eq!(
        (page.select.visible, page.keep.as_slice()),
        (1, [1].as_slice())
    );
    let by_key = shop
        .planner()
        .read(
            &shop.table("customer"),
            &shop.grant("customer"),
            &query,
            &Selector::Key,
        )
        .unwrap();
    assert_eq!(by_key.select.visible, 1);
    assert_eq!(
        by_key.select.output.len(),
        7,
        "a digest covers the whole row"
    );
    let shape = by_key.shape(Frame::Single, Format::Json, &shop.options);
    assert_eq!((shape.names.len(), shape.visible, shape.page), (7, 1, None));
    let narrow = narrow();
    let by_key = narrow
        .planner()
        .read(
            &narrow.table("customer"),
            &narrow.grant("customer"),
            &query_with(|query| query.fields = named(&["id"])),
            &Selector::Key,
        )
        .unwrap();
    assert_eq!(
        names(&by_key.select.output),
        ["id", "email"],
        "of what the role may see"
    );
}

#[test]
fn a_cursor_belongs_to_its_query() {
    let shop = Shop::new(open());
    let first = query_with(|query| query.order = order(&["-email"]));
    let cursor = read(&shop, "customer", &first)
        .unwrap()
        .next_cursor(&[Scalar::Text("x".to_owned())])
        .unwrap();
    let with = |query: RecordsQuery| RecordsQuery {
        cursor: Some(cursor.clone()),
        ..query
    };
    let next = read(&shop, "customer", &with(first.clone())).unwrap();
    assert_eq!(next.next_offset(), None);
    assert!(next.cursor.is_some());
    let others = [
        (
            "customer",
            query_with(|query| query.order = order(&["email"])),
        ),
        ("customer", RecordsQuery::default()),
        (
            "customer",
            RecordsQuery {
                order: order(&["-email"]),
                ..filtered("id = 1")
            },
        ),
        ("tag", query_with(|query| query.order = order(&["-label"]))),
    ];
    for (table, query) in others {
        assert_eq!(
            fails(read(&shop, table, &with(query))).0,
            ErrorKind::InvalidCursor
        );
    }
    let broken = RecordsQuery {
        cursor: Some("x".to_owned()),
        ..first.clone()
    };
    assert_eq!(
        fails(read(&shop, "customer", &broken)).0,
        ErrorKind::InvalidCursor
    );
    let both = RecordsQuery {
        offset: 1,
        ..with(first)
    };
    assert_eq!(
        fails(read(&shop, "customer", &both)).0,
        ErrorKind::InvalidParameter
    );
    assert_eq!(
        fails(read(&shop, "report", &with(RecordsQuery::default()))).0,
        ErrorKind::InvalidCursor
    );
}

#[test]
fn a_cursor_never_shows_a_hidden_column() {
    let shop = Shop::new(access(vec![rule("_table/*", None, Some(&["full_name"]))]));
    let plan = read(&shop, "customer", &RecordsQuery::default()).unwrap();
    assert!(plan.cursor.is_none() && plan.keep.is_empty());
    assert_eq!(names(&plan.select.output), ["full_name"]);
    assert!(
        sql(&plan).contains(r#"ORDER BY t0."id""#),
        "pages are stable all the same"
    );
}

#[test]
fn groups_hold_only_what_is_grouped() {
    let shop = Shop::new(open());
    let grouped = |change: &dyn Fn(&mut RecordsQuery)| {
        read(
            &shop,
            "invoice",
            &query_with(|query| {
                query.group = vec!["CUSTOMER_ID".to_owned()];
                change(query);
            }),
        )
    };
    let plan = grouped(&|query| {
        query.fields = named(&["customer_id", "COUNT(*)", "SUM(TOTAL)", "COUNT(*)"]);
    })
    .unwrap();
    assert_eq!(
        names(&plan.select.output),
        ["customer_id", "COUNT_ALL", "SUM_total"]
    );
    assert!(plan.select.order.is_empty() && plan.cursor.is_none());
    for text in [
        "COUNT_ALL > 1",
        "count_all > 1",
        "SUM_total > 1",
        "customer_id = 1",
        "MAX_issued_on > '2026-01-01'",
    ] {
        assert!(
            grouped(&|query| query.having = Some(parsed(text))).is_ok(),
            "{text}"
        );
    }
    for (text, kind) in [
        ("total > 1", ErrorKind::InvalidParameter),
        ("SUM_nothing > 1", ErrorKind::UnknownField),
        ("SUM_number > 1", ErrorKind::InvalidParameter),
        ("MAX_note > 1", ErrorKind::InvalidParameter),
        ("COUNT_ALL > 'x'", ErrorKind::InvalidValue),
    ] {
        assert_eq!(
            fails(grouped(&|query| query.having = Some(parsed(text)))).0,
            kind,
            "{text}"
        );
    }
    assert_eq!(
        fails(grouped(&|query| query.fields = named(&["number"]))).0,
        ErrorKind::InvalidParameter
    );
    assert_eq!(
        fails(grouped(&|query| query.order = order(&["number"]))).0,
        ErrorKind::InvalidParameter
    );
    assert_eq!(
        fails(grouped(&|query| query.related = vec![related("*")])).0,
        ErrorKind::InvalidParameter
    );
    let alone = query_with(|query| query.having = Some(parsed("COUNT_ALL > 1")));
    assert_eq!(
        fails(read(&shop, "invoice", &alone)).0,
        ErrorKind::InvalidParameter
    );
    let ordered = query_with(|query| query.order = order(&["SUM(total)"]));
    assert_eq!(
        fails(read(&shop, "invoice", &ordered)).0,
        ErrorKind::InvalidParameter
    );
}

#[test]
fn related_tables_have_their_own_rules() {
    let shop = Shop::new(access(vec![
        rule("_table/*", None, None),
        rule(
            "_table/invoice",
            Some("total > 5"),
            Some(&["id", "customer_id"]),
        ),
        rule("_table/invoice_tag", Some("tag_id != 5"), None),
        Rule {
            deny: true,
            ..rule("_table/secret", None, None)
        },
    ]));
    let ask = |table: &str, requests: Vec<RelatedRequest>| {
        read(
            &shop,
            table,
            &query_with(|query| query.related = requests.clone()),
        )
    };
    let plan = ask("customer", vec![related("INVOICE_by_customer_id")]).unwrap();
    assert!(sql(&plan).contains(
        r#"(SELECT t2."id" AS "id", t2."customer_id" AS "customer_id" FROM "invoice" AS t2 WHERE t2."customer_id" = t0."id" AND t2."total" > $1 ORDER"#
    ), "{}", sql(&plan));
    let plan = ask("tag", vec![related("invoice_by_invoice_tag")]).unwrap();
    assert!(sql(&plan).contains(
        r#"IN (SELECT t3."invoice_id" FROM "invoice_tag" AS t3 WHERE t3."tag_id" = t0."id" AND t3."tag_id" <> $1) AND t2."total" > $2"#
    ), "{}", sql(&plan));
    let (kind, message, _) = fails(ask("customer", vec![related("secret_by_customer_id")]));
    assert_eq!(kind, ErrorKind::Forbidden);
    assert!(message.contains("_table/secret"));
    let star = ask("customer", vec![related("*")]).unwrap();
    assert_eq!(
        names(&star.select.output)[7..],
        ["invoice_by_customer_id"],
        "what may not be read is left out"
    );
    let (kind, _, help) = fails(ask("customer", vec![related("invoices_by_customer_id")]));
    assert_eq!(
        (kind, help.as_str()),
        (
            ErrorKind::UnknownRelation,
            "did you mean 'invoice_by_customer_id'?"
        )
    );
    let (_, _, help) = fails(ask("customer", vec![related("secrets_by_customer_id")]));
    assert!(!help.contains("secret"), "{help}");
}

#[test]
fn a_hidden_foreign_key_hides_its_relation() {
    let shop = Shop::new(access(vec![
        rule("_table/*", None, None),
        rule("_table/invoice", None, Some(&["id", "number"])),
    ]));
    for (table, relation) in [
        ("invoice", "customer_by_customer_id"),
        ("customer", "invoice_by_customer_id"),
    ] {
        let query = query_with(|query| query.related = vec![related(relation)]);
        let (kind, _, help) = fails(read(&shop, table, &query));
        assert_eq!(kind, ErrorKind::UnknownRelation);
        assert!(!help.contains(relation), "{help}");
    }
}

#[test]
fn related_options_hold_for_each_parent_and_nesting_has_an_end() {
    let shop = Shop::new(open());
    let mut nested = related("employee_by_manager_id_children");
    for _ in 1..MAX_RELATED_DEPTH {
        nested = RelatedRequest {
            related: vec![nested],
            ..related("employee_by_manager_id")
        };
    }
    let ask = |request: RelatedRequest| {
        read(
            &shop,
            "employee",
            &query_with(|query| query.related = vec![request.clone()]),
        )
    };
    assert!(ask(nested.clone()).is_ok());
    let deeper = RelatedRequest {
        related: vec![nested],
        ..related("employee_by_manager_id")
    };
    assert_eq!(fails(ask(deeper)).0, ErrorKind::InvalidParameter);
    for (asked, limit) in [
        (None, 100),
        (Some(3), 3),
        (Some(0), 100),
        (Some(5_000), 100),
    ] {
        let plan = ask(RelatedRequest {
            limit: asked,
            ..related("employee_by_manager_id_children")
        })
        .unwrap();
        let Some(Output {
            expression: Expression::Related(related),
            ..
        }) = plan.select.output.last()
        else {
            panic!("no relation");
        };
        assert_eq!((related.select.limit, related.many), (Some(limit), true));
    }
    let named_too = read(
        &shop,
        "employee",
        &query_with(|query| {
            query.related = vec![
                related("*"),
                RelatedRequest {
                    fields: named(&["name"]),
                    ..related("employee_by_manager_id")
                },
            ];
        }),
    )
    .unwrap();
    assert_eq!(
        names(&named_too.select.output)[3..],
        ["employee_by_manager_id_children", "employee_by_manager_id"],
        "each once, the named one with its options"
    );
    let kinds: Vec<RelationKind> = shop
        .table("employee")
        .relations
        .iter()
        .map(|relation| relation.kind)
        .collect();
    assert_eq!(kinds, [RelationKind::BelongsTo, RelationKind::HasMany]);
}

#[test]
fn records_are_checked_before_they_reach_the_database() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let grant = shop.grant("customer");
    let insert = |table: &str, json: &str| {
        planner.insert(
            &shop.table(table),
            &grant,
            &record(json),
            &RecordsQuery::default(),
            None,
        )
    };
    for (table, json, kind, message) in [
        (
            "customer",
            r#"{"email":null}"#,
            ErrorKind::NotNullViolation,
            "field 'email' can not be null",
        ),
        (
            "customer",
            r"{}",
            ErrorKind::NotNullViolation,
            "field 'email' can not be null",
        ),
        (
            "customer",
            r#"{"email":"x","Email":"y"}"#,
            ErrorKind::InvalidBody,
            "field 'email' stands twice in the record",
        ),
        (
            "customer",
            r#"{"emial":"x"}"#,
            ErrorKind::UnknownField,
            "field 'emial' does not exist in table 'customer'",
        ),
        (
            "customer",
            r#"{"email":"x","credit":{"a":1}}"#,
            ErrorKind::InvalidValue,
            "field 'credit' must be a valid decimal number",
        ),
        (
            "customer",
            r#"{"email":"x","created_at":{"expression":"pg_sleep(9)"}}"#,
            ErrorKind::InvalidValue,
            "the expression for field 'created_at' is not permitted",
        ),
        (
            "customer",
            r#"{"email":{"expression":"NOW()"}}"#,
            ErrorKind::InvalidValue,
            "field 'email' must be text",
        ),
        (
            "customer",
            r#"{"email":"x","invoice_by_customer_id":[]}"#,
            ErrorKind::InvalidBody,
            "relation 'invoice_by_customer_id' can not be written here",
        ),
        (
            "line",
            r#"{"invoice_id":1,"position":1,"doubled":2}"#,
            ErrorKind::InvalidValue,
            "field 'doubled' is computed by the database",
        ),
        (
            "line",
            r#"{"invoice_id":1,"position":1.5}"#,
            ErrorKind::InvalidValue,
            "field 'position' must be a valid integer",
        ),
        (
            "line",
            r#"{"invoice_id":1,"position":1,"raw":"http://127.0.0.1/"}"#,
            ErrorKind::InvalidValue,
            "field 'raw' must be base64 text",
        ),
        (
            "report",
            r#"{"total":1}"#,
            ErrorKind::MethodNotAllowed,
            "view 'report' can only be read",
        ),
    ] {
        let (got, told, _) = fails(insert(table, json));
        assert_eq!((got, told.as_str()), (kind, message), "{json}");
    }
    let values = insert("customer", r#"{"ID":null,"email":"{user.id}","full_name":"{user.unknown}","created_at":{"expression":" now ( ) "},"we\"ird":"{user.email}"}"#).unwrap().values;
    assert_eq!(
        values,
        [
            (1, Bind::Value(Scalar::Text("1".to_owned()))),
            (2, Bind::Value(Scalar::Text("{user.unknown}".to_owned()))),
            (5, Bind::Now(crate::connector::filter::Now::Timestamp)),
            (6, Bind::Value(Scalar::Text("x') OR ('1'='1".to_owned()))),
        ],
        "known names are replaced by bound values, unknown ones stay"
    );
    assert_eq!(
        insert("customer", r#"{"id":77,"email":"x"}"#)
            .unwrap()
            .values
            .len(),
        2,
        "a number may be given"
    );
}

#[test]
fn a_required_column_that_is_hidden_is_not_named() {
    let shop = Shop::new(access(vec![rule(
        "_table/*",
        None,
        Some(&["id", "full_name"]),
    )]));
    let insert = shop.planner().insert(
        &shop.table("customer"),
        &shop.grant("customer"),
        &record(r#"{"full_name":"x"}"#),
        &RecordsQuery::default(),
        None,
    );
    let (kind, message, help) = fails(insert);
    assert_eq!(kind, ErrorKind::NotNullViolation);
    assert!(!message.contains("email") && !help.contains("email"));
}

#[test]
fn unknown_members_can_be_ignored() {
    let mut shop = Shop::new(open());
    shop.options.unknown_members = super::super::options::UnknownMembers::Ignore;
    let insert = shop.planner().insert(
        &shop.table("customer"),
        &shop.grant("customer"),
        &record(r#"{"email":"x","nonsense":1,"invoice_by_customer_id":[]}"#),
        &RecordsQuery::default(),
        None,
    );
    assert_eq!(insert.unwrap().values.len(), 1);
}

#[test]
fn updates_leave_keys_alone_and_need_something_to_change() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let (table, grant) = (shop.table("line"), shop.grant("line"));
    let keys = Selector::Keys(vec![vec![Scalar::Int(10), Scalar::Int(1)]]);
    let update = |json: &str, query: &RecordsQuery, selector: &Selector| {
        planner.update(&table, &grant, &record(json), query, selector)
    };
    let none = RecordsQuery::default();
    let set = update(
        r#"{"invoice_id":10,"position":1,"product":"x"}"#,
        &none,
        &keys,
    )
    .unwrap()
    .set;
    assert_eq!(set, [(2, Bind::Value(Scalar::Text("x".to_owned())))]);
    for empty in [r"{}", r#"{"invoice_id":10}"#] {
        assert_eq!(fails(update(empty, &none, &keys)).0, ErrorKind::InvalidBody);
    }
    let by_filter = update(
        r#"{"position":3}"#,
        &filtered("product = 'pen'"),
        &Selector::Query,
    )
    .unwrap();
    assert_eq!(
        by_filter.set.len(),
        1,
        "a key that does not name the records may change"
    );
    assert_eq!(
        fails(update(r#"{"product":"x"}"#, &none, &Selector::Query)).0,
        ErrorKind::MissingSelector
    );
    let numbered = planner.update(
        &shop.table("tag"),
        &grant,
        &record(r#"{"id":9,"label":"x"}"#),
        &filtered("id = 4"),
        &Selector::Query,
    );
    assert_eq!(numbered.unwrap().set.len(), 1, "the database numbers it");
    assert_eq!(
        fails(planner.delete(&table, &grant, &none, &Selector::Query)).0,
        ErrorKind::MissingSelector
    );
    assert!(
        planner
            .delete(
                &table,
                &grant,
                &query_with(|query| query.force = true),
                &Selector::Query
            )
            .is_ok()
    );
    assert!(
        matches!(
            planner
                .delete(&table, &grant, &none, &Selector::Keys(vec![]))
                .unwrap()
                .condition,
            Condition::False
        ),
        "no keys are no records, not all"
    );
}

#[test]
fn writes_answer_the_key_or_what_is_asked_for() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let (table, grant) = (shop.table("invoice_tag"), shop.grant("invoice_tag"));
    let sent = record(r#"{"invoice_id":10,"tag_id":4}"#);
    let answered = |query: &RecordsQuery| {
        let insert = planner.insert(&table, &grant, &sent, query, None).unwrap();
        let write = Write::Insert(insert);
        let shape = write.shape(Frame::Bare, Format::Json, &shop.options);
        (
            shape.names.clone(),
            shape.visible,
            shape.keep.clone(),
            shape.check,
        )
    };
    let key = (
        vec!["invoice_id".to_owned(), "tag_id".to_owned()],
        2,
        vec![0, 1],
        None,
    );
    assert_eq!(answered(&RecordsQuery::default()), key);
    assert_eq!(
        answered(&query_with(|query| query.fields = named(&["tag_id"]))),
        (vec!["tag_id".to_owned()], 1, vec![0], None)
    );
    let with_related = query_with(|query| {
        query.fields = named(&["tag_id"]);
        query.related = vec![related("tag_by_tag_id")];
    });
    assert_eq!(
        answered(&with_related),
        key,
        "the answer is read again by the key"
    );
    let again = planner
        .re_read(
            &table,
            &grant,
            &with_related,
            &[vec![Scalar::Int(10), Scalar::Int(4)]],
        )
        .unwrap();
    assert_eq!(names(&again.select.output), ["tag_id", "tag_by_tag_id"]);
    let by_default = RecordsQuery {
        fields: Fields::Default,
        ..with_related
    };
    let again = planner.re_read(&table, &grant, &by_default, &[]).unwrap();
    assert_eq!(
        names(&again.select.output),
        ["invoice_id", "tag_id", "tag_by_tag_id"]
    );
    let checked = Shop::new(access(vec![rule("_table/*", Some("tag_id > 0"), None)]));
    let insert = checked.planner().insert(
        &table,
        &checked.grant("invoice_tag"),
        &sent,
        &RecordsQuery::default(),
        None,
    );
    let shape = Write::Insert(insert.unwrap()).shape(Frame::Bare, Format::Json, &shop.options);
    assert_eq!((shape.visible, shape.check), (2, Some(2)));
}

#[test]
fn an_upsert_needs_a_unique_key_and_the_right_to_change() {
    let shop = Shop::new(access(vec![
        rule("_table/*", None, None),
        rule("_table/tag", Some("id < 100"), Some(&["id"])),
    ]));
    let planner = shop.planner();
    let table = shop.table("customer");
    let grant = shop.grant("customer");
    let insert = |json: &str, id_field: &[&str], change: &Grant| {
        let query =
            query_with(|query| query.id_field = id_field.iter().map(ToString::to_string).collect());
        planner.insert(&table, &grant, &record(json), &query, Some(change))
    };
    let upsert = insert(r#"{"email":"x","full_name":"y"}"#, &["email"], &grant)
        .unwrap()
        .upsert
        .unwrap();
    assert_eq!((upsert.key, upsert.set), (vec![1], vec![2]));
    let plain = insert(r#"{"email":"x"}"#, &[], &grant).unwrap();
    assert!(
        plain.upsert.is_none(),
        "what the database numbers cannot be there already"
    );
    assert_eq!(
        fails(insert(
            r#"{"email":"x","full_name":"y"}"#,
            &["full_name"],
            &grant
        ))
        .0,
        ErrorKind::InvalidParameter
    );
    let narrow = shop.grant("tag");
    assert_eq!(
        fails(insert(r#"{"id":1,"email":"x"}"#, &[], &narrow)).0,
        ErrorKind::UnknownField,
        "POST may, PATCH may not"
    );
    let tag = shop.table("tag");
    let wide = shop.grant("line");
    let both = planner
        .insert(
            &tag,
            &wide,
            &record(r#"{"id":1,"label":"x"}"#),
            &RecordsQuery::default(),
            Some(&wide),
        )
        .unwrap();
    assert!(matches!(both.check, Condition::True));
    let guarded = Grant {
        fields: None,
        ..narrow
    };
    let guarded = planner
        .insert(
            &tag,
            &wide,
            &record(r#"{"id":1,"label":"x"}"#),
            &RecordsQuery::default(),
            Some(&guarded),
        )
        .unwrap();
    assert!(
        !matches!(guarded.check, Condition::True),
        "the record must satisfy the grant to change as well"
    );
    assert!(!matches!(
        guarded.upsert.unwrap().condition,
        Condition::True
    ));
}

#[test]
fn reads_by_many_keys_are_bounded() {
    let shop = Shop::new(open());
    let planner = shop.planner();
    let (table, grant) = (shop.table("tag"), shop.grant("tag"));
    let keys = |count: i64| Selector::Keys((0..count).map(|id| vec![Scalar::Int(id)]).collect());
    let query = RecordsQuery::default();
    assert!(planner.read(&table, &grant, &query, &keys(100)).is_ok());
    assert_eq!(
        fails(planner.read(&table, &grant, &query, &keys(101))).0,
        ErrorKind::InvalidParameter
    );
    assert_eq!(
        fails(planner.delete(&table, &grant, &query, &keys(5_001))).0,
        ErrorKind::InvalidParameter
    );
    let plan = planner.read(&table, &grant, &query, &keys(2)).unwrap();
    assert_eq!((plan.page, plan.select.limit), (None, None));
    let by_label = query_with(|query| query.id_field = vec!["label".to_owned()]);
    let labels = Selector::Keys(vec![vec![Scalar::Text("late".to_owned())]]);
    let plan = planner.read(&table, &grant, &by_label, &labels).unwrap();
    assert_eq!(plan.select.limit, Some(100), "it is not unique");
}
