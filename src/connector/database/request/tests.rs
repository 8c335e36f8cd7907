use proptest::prelude::*;

use super::super::plan::Nulls;
use super::*;

/// A query string of pairs, encoded as a client would.
fn query(pairs: &[(&str, &str)]) -> Query {
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let text: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    Query::parse(&text.join("&")).unwrap()
}

fn asked(pairs: &[(&str, &str)]) -> RecordsQuery {
    records_query(&query(pairs), None).unwrap_or_else(|error| panic!("{pairs:?}: {error}"))
}

fn refused(pairs: &[(&str, &str)]) -> Error {
    match records_query(&query(pairs), None) {
        Ok(wanted) => panic!("{pairs:?} was read as {wanted:?}"),
        Err(error) => error,
    }
}

fn with_body(pairs: &[(&str, &str)], body: &str) -> Result<RecordsQuery> {
    let (_, options) = parse_body(None, body.as_bytes(), Expect::Tunnelled)?;
    records_query(&query(pairs), options.as_ref())
}

fn columns(names: &[&str]) -> Fields {
    Fields::Named(
        names
            .iter()
            .map(|name| FieldItem::Column((*name).to_owned()))
            .collect(),
    )
}

fn body(content_type: &str, text: &str, expect: Expect) -> Result<RecordsBody> {
    parse_body(Some(content_type), text.as_bytes(), expect).map(|(body, _)| body)
}

fn as_json(body: &RecordsBody) -> String {
    serde_json::to_string(&body.records).unwrap()
}

#[test]
fn nothing_asked_is_everything_by_default() {
    assert_eq!(asked(&[]), RecordsQuery::default());
    assert_eq!(
        asked(&[
            ("_", "123"),
            ("accept", "text/csv"),
            ("api_key", "x"),
            ("filter", " ")
        ]),
        RecordsQuery::default()
    );
}

#[test]
fn aliases_mean_the_same() {
    for (alias, name, value) in [
        ("select", "fields", "a,b"),
        ("where", "filter", "a = 1"),
        ("top", "limit", "5"),
        ("skip", "offset", "5"),
        ("sort", "order", "a desc"),
        ("order_by", "order", "a"),
        ("group_by", "group", "a,b"),
    ] {
        let wanted = asked(&[(alias, value)]);
        assert_eq!(wanted, asked(&[(name, value)]), "{alias}");
        assert_ne!(wanted, RecordsQuery::default(), "{alias}");
        assert_eq!(
            refused(&[(alias, value), (name, value)]).kind(),
            ErrorKind::InvalidParameter
        );
    }
}

#[test]
fn fields_are_names_everything_or_the_key() {
    for (text, expected) in [
        ("", columns(&[])),
        ("*", Fields::All),
        ("*, name", Fields::All),
        ("id,name", columns(&["id", "name"])),
        (" id , unit price ", columns(&["id", "unit price"])),
        (
            "\"a,b\",[c(d)],`e`,\"say \"\"hi\"\"\"",
            columns(&["a,b", "c(d)", "e", "say \"hi\""]),
        ),
        (
            "COUNT(*),sum(total), Avg(\"a b\")",
            Fields::Named(vec![
                FieldItem::Aggregate(Aggregate::Count, None),
                FieldItem::Aggregate(Aggregate::Sum, Some("total".into())),
                FieldItem::Aggregate(Aggregate::Average, Some("a b".into())),
            ]),
        ),
    ] {
        assert_eq!(asked(&[("fields", text)]).fields, expected, "{text}");
    }
    assert!(matches!(
        asked(&[("fields", "country,COUNT(*)"), ("group", "country")]).fields,
        Fields::Named(items) if items.len() == 2
    ));
    for text in [
        "country,COUNT(*)",
        "a,,b",
        "a,",
        "lower(a)",
        "SUM(*)",
        "SUM(a",
        "*,COUNT(*)",
        "\"a",
        "a)",
        "a'b\"c",
        "SUM(a) x",
    ] {
        assert_eq!(
            refused(&[("fields", text)]).kind(),
            ErrorKind::InvalidParameter,
            "{text}"
        );
    }
}

#[test]
fn aggregates_have_their_names_in_the_answer() {
    let names = |text: &str| match asked(&[("fields", text)]).fields {
        Fields::Named(items) => items.iter().map(FieldItem::output_name).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        names("count(*),Sum(total),count(id),min(a),MAX(a),avg(a)"),
        [
            "COUNT_ALL",
            "SUM_total",
            "COUNT_id",
            "MIN_a",
            "MAX_a",
            "AVG_a"
        ]
    );
}

#[test]
fn orders_have_directions_and_places_for_null() {
    let column = |name: &str, descending, nulls| OrderItem {
        item: FieldItem::Column(name.to_owned()),
        descending,
        nulls,
    };
    for (text, expected) in [
        ("", vec![]),
        ("a", vec![column("a", false, None)]),
        (
            "a DESC,b",
            vec![column("a", true, None), column("b", false, None)],
        ),
        (
            "a asc nulls last , \"b c\" desc NULLS FIRST",
            vec![
                column("a", false, Some(Nulls::Last)),
                column("b c", true, Some(Nulls::First)),
            ],
        ),
        (
            "a nulls first",
            vec![column("a", false, Some(Nulls::First))],
        ),
        (
            "COUNT(*) desc",
            vec![OrderItem {
                item: FieldItem::Aggregate(Aggregate::Count, None),
                descending: true,
                nulls: None,
            }],
        ),
    ] {
        assert_eq!(asked(&[("order", text)]).order, expected, "{text}");
    }
    for text in [
        "a down",
        "a desc desc",
        "a nulls",
        "a nulls middle",
        "a; drop table b",
        "a desc, ",
        "a b c",
        "a desc) --",
    ] {
        assert_eq!(
            refused(&[("order", text)]).kind(),
            ErrorKind::InvalidFilter,
            "{text}"
        );
    }
}

#[test]
fn identifiers_are_plain_quoted_or_composite() {
    let single = |text: &str| Identifier::Single(text.to_owned());
    let composite = |pairs: &[(&str, &str)]| {
        Identifier::Composite(
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    };
    for (text, expected) in [
        ("1", vec![single("1")]),
        ("1, 2 ,x y", vec![single("1"), single("2"), single("x y")]),
        (
            "'a,b','it''s',\"\"",
            vec![single("a,b"), single("it's"), single("")],
        ),
        (
            "(a=1,b=x y),( \"c d\" = 'p,q' )",
            vec![
                composite(&[("a", "1"), ("b", "x y")]),
                composite(&[("c d", "p,q")]),
            ],
        ),
    ] {
        assert_eq!(
            asked(&[("ids", text)]).ids,
            Some(expected.clone()),
            "{text}"
        );
    }
    let expected = vec![
        single("1"),
        single("a,b"),
        composite(&[("a", "12345678901234567890"), ("b", "x")]),
    ];
    let read = with_body(
        &[],
        r#"{"ids":[1,"a,b",{"a":12345678901234567890,"b":"x"}]}"#,
    )
    .unwrap();
    assert_eq!(read.ids, Some(expected));
    assert_eq!(
        with_body(&[], r#"{"ids":"1,2"}"#)
            .unwrap()
            .ids
            .map(|ids| ids.len()),
        Some(2)
    );
    assert_eq!(
        with_body(&[], r#"{"ids":7}"#).unwrap().ids,
        Some(vec![single("7")])
    );
    for text in ["", " ", "1,,2", "(a=1", "(a)", "()", "'a'b", "(=1)"] {
        assert_eq!(
            refused(&[("ids", text)]).kind(),
            ErrorKind::InvalidParameter,
            "{text}"
        );
    }
    assert!(
        refused(&[("ids", "")])
            .message()
            .contains("no valid identifiers")
    );
    for body in [
        r#"{"ids":[]}"#,
        r#"{"ids":[null]}"#,
        r#"{"ids":[[1]]}"#,
        r#"{"ids":[{}]}"#,
        r#"{"ids":[{"a":{}}]}"#,
        r#"{"ids":[{"a":1,"a":2}]}"#,
        r#"{"ids":{"a":1}}"#,
    ] {
        assert!(with_body(&[], body).is_err(), "{body}");
    }
}

#[test]
fn a_path_names_one_record_and_keeps_its_text() {
    for (segment, pairs) in [
        ("5", None),
        ("a,b", None),
        ("=x", None),
        ("a=1", Some(vec![("a", "1")])),
        ("a=1,b=2", Some(vec![("a", "1"), ("b", "2")])),
        ("a=x,y,b=2=3", Some(vec![("a", "x,y"), ("b", "2=3")])),
        ("a=", Some(vec![("a", "")])),
    ] {
        let identifier = path_identifier(segment);
        assert_eq!(identifier.raw(), segment);
        let expected = match pairs {
            None => Identifier::Single(segment.to_owned()),
            Some(pairs) => Identifier::Composite(
                pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            ),
        };
        assert_eq!(identifier, expected);
    }
}

#[test]
fn numbers_and_truth_values_are_read_strictly() {
    assert_eq!(asked(&[("limit", "0")]).limit, Some(0));
    assert_eq!(
        asked(&[("limit", "99999999999999999999999")]).limit,
        Some(u64::MAX)
    );
    assert_eq!(asked(&[("offset", "7")]).offset, 7);
    for (name, value) in [
        ("limit", "-1"),
        ("limit", "ten"),
        ("limit", ""),
        ("limit", "1.5"),
        ("limit", "+1"),
        ("offset", "-1"),
        ("offset", "99999999999999999999999"),
        ("count_only", "maybe"),
        ("wrap", "false"),
        ("wrap", "x"),
    ] {
        assert_eq!(
            refused(&[(name, value)]).kind(),
            ErrorKind::InvalidParameter,
            "{name}={value}"
        );
    }
    assert!(asked(&[("count_only", "")]).count_only);
    assert!(asked(&[("include_count", "YES")]).include_count);
    assert!(!asked(&[("force", "0")]).force);
    let all = asked(&[
        ("include_schema", "1"),
        ("as_list", "t"),
        ("continue", "on"),
        ("upsert", "y"),
        ("refresh", "true"),
        ("wrap", "true"),
    ]);
    assert!(
        all.include_schema && all.as_list && all.continue_on_error && all.upsert && all.refresh
    );
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let error = refused(&[("continue", "true"), ("rollback", "true")]);
    assert!(
        error
            .message()
            .contains("can not be requested at the same time")
    );
    refused(&[("cursor", "abc"), ("offset", "5")]);
}

#[test]
fn an_unknown_option_is_refused_with_its_neighbour() {
    let error = refused(&[("filtr", "id=1")]);
    assert_eq!(error.kind(), ErrorKind::UnknownParameter);
    assert!(
        error.help().is_some_and(|help| help.contains("`filter`")),
        "{error:?}"
    );
    for name in [
        "ss_filters[a]",
        "Filter",
        "zzz",
        "customer_fields",
        ".fields",
        "_fields",
        "",
    ] {
        assert_eq!(
            refused(&[(name, "x")]).kind(),
            ErrorKind::UnknownParameter,
            "{name}"
        );
    }
}

#[test]
fn a_filter_that_is_no_text_is_refused() {
    for name in ["filter[a]", "where[]", "fields[]"] {
        assert_eq!(
            refused(&[(name, "1")]).kind(),
            ErrorKind::InvalidParameter,
            "{name}"
        );
    }
    for body in [
        r#"{"filter":{"a":1}}"#,
        r#"{"filter":["a=1"]}"#,
        r#"{"filter":true}"#,
        r#"{"filter":"a=1","where":"a=2"}"#,
        r#"{"where":5}"#,
    ] {
        assert!(with_body(&[], body).is_err(), "{body}");
    }
}

#[test]
fn parameters_stand_for_values_in_every_filter() {
    let wanted = asked(&[
        ("filter", "email = :e"),
        ("params", r#"{":e":"a'b","n":3}"#),
        ("having", "COUNT(*) > :n"),
        ("related", "r"),
        ("r.filter", "x = :n"),
    ]);
    assert_eq!(wanted.filter_text.as_deref(), Some("email = 'a''b'"));
    assert_eq!(wanted.having.unwrap().to_string(), "COUNT_ALL > 3");
    assert_eq!(
        wanted.related[0].filter.as_ref().unwrap().to_string(),
        "x = 3"
    );
    assert_eq!(
        refused(&[("filter", "a = :b")]).kind(),
        ErrorKind::InvalidFilter
    );
    assert_eq!(
        refused(&[("params", "[1]")]).kind(),
        ErrorKind::InvalidParameter
    );
    let error = refused(&[("having", "a ==")]);
    assert!(error.message().contains("`having`"), "{error}");
}

#[test]
fn the_query_string_wins_over_the_body() {
    let wanted = with_body(
        &[("limit", "3")],
        r#"{"filter":"id = :i","params":{":i":1.50},"limit":9,"top":null,"offset":"2","fields":["a","\"b,c\""],
            "order":"a desc","group":["a"],"count_only":true,"continue":1,"related":"r","r.limit":4,"meta":{"x":1}}"#,
    )
    .unwrap();
    assert_eq!(wanted.limit, Some(3));
    assert_eq!(wanted.offset, 2);
    assert_eq!(wanted.filter_text.as_deref(), Some("id = 1.50"));
    assert_eq!(wanted.fields, columns(&["a", "b,c"]));
    assert_eq!(wanted.order.len(), 1);
    assert_eq!(wanted.group, ["a"]);
    assert!(wanted.count_only && wanted.continue_on_error);
    assert_eq!(wanted.related[0].limit, Some(4));
    let wanted = with_body(
        &[("related", "r"), ("r.limit", "2")],
        r#"{"r_limit":7,"r.offset":1}"#,
    )
    .unwrap();
    assert_eq!(
        (wanted.related[0].limit, wanted.related[0].offset),
        (Some(2), 1)
    );
    assert_eq!(
        with_body(&[], r#"{"colour":"red"}"#).unwrap_err().kind(),
        ErrorKind::UnknownParameter
    );
}

#[test]
fn relations_nest_and_carry_options() {
    let wanted = asked(&[
        ("related", "orders.details, orders.customer,tag"),
        ("orders.fields", "id,total"),
        ("orders_limit", "5"),
        ("orders.details.order", "line desc"),
        ("orders_customer_fields", ""),
        ("TAG.offset", "2"),
        ("tag.filter", "label != 'x'"),
    ]);
    let [orders, tag] = &wanted.related[..] else {
        panic!("{wanted:?}")
    };
    assert_eq!((orders.name.as_str(), tag.name.as_str()), ("orders", "tag"));
    assert_eq!(orders.fields, columns(&["id", "total"]));
    assert_eq!(orders.limit, Some(5));
    let [details, customer] = &orders.related[..] else {
        panic!("{orders:?}")
    };
    assert_eq!(details.order.len(), 1);
    assert_eq!(customer.fields, columns(&[]));
    assert_eq!(tag.offset, 2);
    assert!(tag.filter.is_some());

    let wanted = asked(&[("related", "*"), ("tag.limit", "1")]);
    assert_eq!(wanted.related.len(), 2);
    let wanted = asked(&[
        ("related", "\"sales.order\".item"),
        ("sales.order.limit", "1"),
    ]);
    assert_eq!(wanted.related[0].name, "sales.order");
    assert_eq!(wanted.related[0].limit, Some(1));

    for pairs in [
        [("related", "tag"), ("tga.limit", "1")],
        [("related", "tag"), ("tag.colour", "1")],
        [("related", ""), ("tag.limit", "1")],
    ] {
        assert_eq!(
            refused(&pairs).kind(),
            ErrorKind::UnknownParameter,
            "{pairs:?}"
        );
    }
    for pairs in [
        [("related", "tag"), ("tag.limit", "x")],
        [("related", "tag"), ("tag.fields", "COUNT(*)")],
        [("related", "a..b"), ("_", "")],
        [("related", "a,"), ("_", "")],
        [("related", "a.b_c,a_b.c"), ("a_b_c_limit", "1")],
    ] {
        assert_eq!(
            refused(&pairs).kind(),
            ErrorKind::InvalidParameter,
            "{pairs:?}"
        );
    }
    refused(&[("related", "tag"), ("tag.limit", "1"), ("tag_top", "2")]);
    refused(&[("related", &["a"; MAX_RELATED_DEPTH + 1].join("."))]);
    refused(&[("related", &["a"; MAX_RELATED_ITEMS + 1].join(","))]);
}

#[test]
fn downloads_have_harmless_names() {
    assert_eq!(asked(&[("file", "true")]).download, Some(Download::Unnamed));
    assert_eq!(asked(&[("file", "false")]).download, None);
    assert_eq!(
        asked(&[("file", "größe 1.csv")]).download,
        Some(Download::Named("größe 1.csv".into()))
    );
    for name in ["../a.csv", "a\"b", "a\r\nb", ".htaccess", &"a".repeat(201)] {
        assert_eq!(
            refused(&[("file", name)]).kind(),
            ErrorKind::InvalidParameter
        );
    }
}

#[test]
fn json_bodies_come_in_three_forms() {
    let collection = Expect::Collection;
    for (text, expected) in [
        (
            r#"{"resource":[{"a":1.10},{"b":null}]}"#,
            r#"[{"a":1.10},{"b":null}]"#,
        ),
        (
            r#"{"resource":{"a":12345678901234567890}}"#,
            r#"[{"a":12345678901234567890}]"#,
        ),
        (r#"[{"a":[1, 2]}]"#, r#"[{"a":[1, 2]}]"#),
        ("[]", "[]"),
        ("", "[]"),
        ("\u{feff}[{}]", "[{}]"),
    ] {
        for media_type in [
            "application/json",
            "application/json; charset=UTF-8",
            "text/plain",
            "application/vnd.api+json",
        ] {
            let read = body(media_type, text, collection).unwrap();
            assert_eq!(as_json(&read), expected, "{text}");
            assert!(!read.is_bare);
        }
    }
    let error = body("application/json", r#"{"a":1}"#, collection).unwrap_err();
    assert!(error.message().contains("no record(s) detected"), "{error}");
    let read = body(
        "application/json",
        r#"{"order":1,"resource":2}"#,
        Expect::Record,
    )
    .unwrap();
    assert_eq!(as_json(&read), r#"[{"order":1,"resource":2}]"#);
    assert!(read.is_bare);
}

#[test]
fn options_stand_beside_the_wrapper_or_alone_in_a_tunnel() {
    let options = |text: &str, expect| {
        let (_, options) = parse_body(None, text.as_bytes(), expect).unwrap();
        options.map(|options| {
            options
                .members()
                .map(|(name, _)| name.to_owned())
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        options(
            r#"{"filter":"a=1","resource":[{"limit":1}],"meta":{}}"#,
            Expect::Collection
        ),
        Some(vec!["filter".to_owned()])
    );
    assert_eq!(options(r#"{"resource":[]}"#, Expect::Collection), None);
    assert_eq!(
        options(r#"{"ids":[1]}"#, Expect::Tunnelled),
        Some(vec!["ids".to_owned()])
    );
    assert_eq!(options(r#"{"filter":"x"}"#, Expect::Record), None);
}

#[test]
fn csv_and_ndjson_become_records() {
    let read = body(
        "text/csv",
        "email,full name,n\r\nann@example.org,\"Ann \"\"A\"\", Berg\",1.50\n,,\n",
        Expect::Collection,
    )
    .unwrap();
    assert_eq!(
        as_json(&read),
        r#"[{"email":"ann@example.org","full name":"Ann \"A\", Berg","n":"1.50"},{"email":null,"full name":null,"n":null}]"#
    );
    let read = body(
        "application/x-ndjson",
        "{\"a\":1.10}\r\n\n{\"a\":\"x\"}",
        Expect::Collection,
    )
    .unwrap();
    assert_eq!(as_json(&read), r#"[{"a":1.10},{"a":"x"}]"#);
    for (media_type, text) in [
        ("text/csv", "a,a\n1,2"),
        ("text/csv", "a,\n1,2"),
        ("text/csv", "a,b\n1"),
        ("text/csv", "a\n\0"),
        ("text/csv", "a\n\"open"),
        ("application/x-ndjson", "{\"a\":1}\n[1]"),
        ("application/x-ndjson", "{\"a\":1} {\"a\":2}"),
        ("application/x-ndjson", "{\"a\":\n1}"),
    ] {
        let error = body(media_type, text, Expect::Collection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidBody, "{text}");
    }
    let error = body(
        "application/x-ndjson",
        "{\"a\":1}\n{\"a\" 1}",
        Expect::Collection,
    )
    .unwrap_err();
    assert!(error.message().contains("line 2, column 6"), "{error}");
}

#[test]
fn broken_bodies_are_refused_with_their_place() {
    for (text, part) in [
        ("{\"resource\":[\n  {\"a\":1,}]}", "line 2, column"),
        ("{\"resource\":[{\"a\":1}", "line 1, column 20"),
        ("[{\"a\":1}] x", "column 11"),
        ("[1]", "a record, which is an object"),
        ("5", "an object or an array of records"),
        ("{\"resource\":5}", "an array of records or one record"),
        ("{\"resource\":null}", "an array of records or one record"),
        ("[{\"a\":1,\"a\":2}]", "`a` occurs twice"),
        (
            "{\"resource\":[],\"resource\":[]}",
            "`resource` occurs twice",
        ),
        ("{\"filter\":1,\"filter\":2}", "`filter` occurs twice"),
        ("[{\"a\":\"x\\u0000\"}]", "NUL"),
        ("[{\"a\":\"\\ud800x\"}]", "surrogate"),
        ("[{\"a\":\"\\udc00\"}]", "surrogate"),
        ("[{\"a\":nul}]", "line 1"),
    ] {
        let error = body("application/json", text, Expect::Collection).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidBody, "{text}");
        assert!(error.message().contains(part), "{text}: {error}");
    }
    assert!(
        body(
            "application/json",
            r#"[{"a":"\\u0000 \ud83d\ude00 \""}]"#,
            Expect::Collection
        )
        .is_ok()
    );
    let error = parse_body(None, b"[\n{\"a\":\"\xff\"}]", Expect::Collection).unwrap_err();
    assert!(error.message().contains("line 2, column 7"), "{error}");
    let several = body("application/json", "[{},{}]", Expect::Record).unwrap_err();
    assert_eq!(several.kind(), ErrorKind::InvalidBody);
}

#[test]
fn bodies_are_bounded_in_depth_and_number() {
    let nested = |depth: usize| format!("[{{\"a\":{}{}}}]", "[".repeat(depth), "]".repeat(depth));
    assert!(
        body(
            "application/json",
            &nested(MAX_BODY_DEPTH - 2),
            Expect::Collection
        )
        .is_ok()
    );
    for depth in [MAX_BODY_DEPTH - 1, 100_000] {
        assert!(body("application/json", &nested(depth), Expect::Collection).is_err());
    }
    let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert!(body("application/json", &many(MAX_RECORDS), Expect::Collection).is_ok());
    assert!(
        body(
            "application/json",
            &many(MAX_RECORDS + 1),
            Expect::Collection
        )
        .is_err()
    );
    let rows = format!("a\n{}", "1\n".repeat(MAX_RECORDS + 1));
    assert!(body("text/csv", &rows, Expect::Collection).is_err());
    let lines = "{}\n".repeat(MAX_RECORDS + 1);
    assert!(body("application/x-ndjson", &lines, Expect::Collection).is_err());
}

#[test]
fn what_cannot_be_read_is_415() {
    assert!(body("image/png", "", Expect::Collection).is_ok());
    for media_type in [
        "application/xml",
        "application/x-www-form-urlencoded",
        "image/png",
        "application/json; charset=iso-8859-1",
    ] {
        let error = body(media_type, "{}", Expect::Collection).unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::UnsupportedMediaType,
            "{media_type}"
        );
        assert!(error.help().is_some_and(|help| help.contains("text/csv")));
    }
}

#[test]
fn a_body_with_a_content_coding_is_415() {
    for (coding, is_read) in [
        ("gzip", false),
        ("identity, BR", false),
        ("\u{e9}", false),
        ("", true),
        ("Identity", true),
    ] {
        let mut head = RequestHead {
            method: Method::POST,
            uri: "/api/v2/shop/_table/customer".parse().unwrap(),
            headers: HeaderMap::new(),
            client: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let value = http::HeaderValue::from_str(coding).unwrap();
        head.headers.insert(CONTENT_ENCODING, value);
        assert!(received(&head, &Query::default(), b"").is_ok(), "{coding}");
        match received(&head, &Query::default(), b"[{\"a\":1}]") {
            Ok(_) => assert!(is_read, "{coding}"),
            Err(error) => {
                assert!(!is_read, "{coding}: {error}");
                assert_eq!(error.kind(), ErrorKind::UnsupportedMediaType, "{coding}");
                assert!(error.help().is_some(), "{coding}");
            }
        }
    }
}

#[test]
fn path_and_verb_decide_what_a_bare_object_is() {
    const TABLE: &str = "/api/v2/shop/_table/customer";
    const ONE: &str = "/api/v2/shop/%5Ftable/customer/5";
    const BARE: &str = r#"{"filter":"a = 1"}"#;
    let read = |method: &str, path: &str, tunnel: bool, text: &str| {
        let mut head = RequestHead {
            method: method.parse().unwrap(),
            uri: path.parse().unwrap(),
            headers: HeaderMap::new(),
            client: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        if tunnel {
            head.headers
                .insert("x-http-method", http::HeaderValue::from_static("x"));
        }
        let query = Query::parse(head.query()).unwrap();
        received(&head, &query, text.as_bytes())
            .map(|(asked, body)| (asked.filter.is_some(), body.records.len()))
            .map_err(|error| error.kind())
    };
    for (method, path, tunnel, text, expected) in [
        ("GET", TABLE, true, BARE, Ok((true, 0))),
        ("GET", TABLE, false, "", Ok((false, 0))),
        ("GET", TABLE, false, r#"[{"id":1}]"#, Ok((false, 1))),
        ("PATCH", ONE, false, BARE, Ok((false, 1))),
        ("PATCH", ONE, true, BARE, Ok((false, 1))),
        ("PATCH", TABLE, false, BARE, Err(ErrorKind::InvalidBody)),
        ("DELETE", TABLE, false, BARE, Ok((true, 0))),
        ("DELETE", TABLE, true, BARE, Ok((true, 0))),
        ("POST", TABLE, false, BARE, Err(ErrorKind::InvalidBody)),
        (
            "PATCH",
            "/api/v2/shop/_table/customer/?filter=a=1",
            false,
            r#"{"filter":"b ==","resource":{"a":1}}"#,
            Ok((true, 1)),
        ),
    ] {
        assert_eq!(
            read(method, path, tunnel, text),
            expected,
            "{method} {path} {text}"
        );
    }
}

proptest! {
    #[test]
    fn no_option_makes_the_reader_panic(name in "[a-z_.\\[\\]]{0,12}", value in any::<String>()) {
        for name in [name.as_str(), "fields", "order", "ids", "related", "group", "params", "file"] {
            let _ = records_query(&query(&[(name, &value.replace('\0', ""))]), None);
        }
    }

    #[test]
    fn no_body_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "[\\[\\]{}\":,\\\\u0d8a-f1 \n]{0,48}") {
        for expect in [Expect::Collection, Expect::Tunnelled, Expect::Record] {
            for media_type in ["application/json", "text/csv", "application/x-ndjson"] {
                let _ = parse_body(Some(media_type), &bytes, expect);
                let _ = parse_body(Some(media_type), text.as_bytes(), expect);
            }
        }
    }

    #[test]
    fn every_path_keeps_its_text(segment in any::<String>()) {
        prop_assert_eq!(path_identifier(&segment).raw().into_owned(), segment);
    }

    #[test]
    fn quoted_names_come_back(names in proptest::collection::vec("[^\\x00]{1,8}", 1..5)) {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let text = quoted.join(",");
        if !names.iter().any(|name| name == "*") {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            prop_assert_eq!(asked(&[("fields", &text)]).fields, columns(&names));
        }
    }
}
