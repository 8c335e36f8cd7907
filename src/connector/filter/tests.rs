use proptest::prelude::*;

use super::*;

fn parameters() -> Parameters {
    Parameters::from_json(
        r#"{":e": "ann@example.org", "n": 12.50, ":none": null, "yes": true, "evil": "x') OR (1=1"}"#,
    )
    .unwrap()
}

fn parsed(text: &str) -> Filter {
    parse(text, &parameters()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The tree as text in the one form that `Display` has.
fn canonical(text: &str) -> String {
    parsed(text).to_string()
}

fn refusal(text: &str) -> FilterError {
    match parse(text, &parameters()) {
        Ok(filter) => panic!("`{text}` was read as `{filter}`"),
        Err(error) => error,
    }
}

fn without_positions(filter: Filter) -> Filter {
    let plain = |field: Field| Field {
        position: 0,
        ..field
    };
    match filter {
        Filter::And(parts) => Filter::And(parts.into_iter().map(without_positions).collect()),
        Filter::Or(parts) => Filter::Or(parts.into_iter().map(without_positions).collect()),
        Filter::Not(inner) => Filter::Not(Box::new(without_positions(*inner))),
        Filter::Exists { relation, filter } => Filter::Exists {
            relation: plain(relation),
            filter: filter.map(|filter| Box::new(without_positions(*filter))),
        },
        Filter::Compare {
            field,
            operator,
            value,
        } => Filter::Compare {
            field: plain(field),
            operator,
            value,
        },
        Filter::In {
            field,
            values,
            negated,
        } => Filter::In {
            field: plain(field),
            values,
            negated,
        },
        Filter::Between {
            field,
            low,
            high,
            negated,
        } => Filter::Between {
            field: plain(field),
            low,
            high,
            negated,
        },
        Filter::IsNull { field, negated } => Filter::IsNull {
            field: plain(field),
            negated,
        },
        Filter::Match {
            field,
            how,
            value,
            negated,
        } => Filter::Match {
            field: plain(field),
            how,
            value,
            negated,
        },
    }
}

#[test]
fn every_operator_is_read_in_all_its_spellings() {
    for (text, expected) in [
        ("id = 1", "id = 1"),
        ("id=1", "id = 1"),
        ("id EQ 1", "id = 1"),
        ("id eq 1", "id = 1"),
        ("id != 1", "id != 1"),
        ("id <> 1", "id != 1"),
        ("id ne 1", "id != 1"),
        ("id>1", "id > 1"),
        ("id Gt 1", "id > 1"),
        ("id>=1", "id >= 1"),
        ("id GTE 1", "id >= 1"),
        ("id<1", "id < 1"),
        ("id lt 1", "id < 1"),
        ("id<=1", "id <= 1"),
        ("id LTE 1", "id <= 1"),
        ("name like '%son'", "name LIKE '%son'"),
        ("name LIKE'%son'", "name LIKE '%son'"),
        ("name like %son", "name LIKE '%son'"),
        ("name NOT LIKE 'a_'", "name NOT LIKE 'a_'"),
        ("name iLike x", "name ILIKE 'x'"),
        ("name not ilike x", "name NOT ILIKE 'x'"),
        ("id in (1,2,3)", "id IN (1, 2, 3)"),
        ("id IN(1,2)", "id IN (1, 2)"),
        ("id NOT IN(1,2)", "id NOT IN (1, 2)"),
        ("id not in ( 'a' , b c )", "id NOT IN ('a', 'b c')"),
        ("a IS NULL", "a IS NULL"),
        ("a is not null", "a IS NOT NULL"),
        ("a = null", "a IS NULL"),
        ("a != NULL", "a IS NOT NULL"),
        ("a ne :none", "a IS NOT NULL"),
        ("email contains example", "email CONTAINS 'example'"),
        ("email not contains '100%'", "email NOT CONTAINS '100%'"),
        ("email starts with 'a'", "email STARTS WITH 'a'"),
        ("email NOT STARTS  WITH a", "email NOT STARTS WITH 'a'"),
        ("email ENDS WITH .org", "email ENDS WITH '.org'"),
        ("email not ends with 007", "email NOT ENDS WITH '007'"),
        (
            "email like null and a = :none",
            "email LIKE 'null' AND a IS NULL",
        ),
        ("n between 1 and 5", "n BETWEEN 1 AND 5"),
        (
            "d NOT BETWEEN 2026-01-01 10:00 AND 'x'",
            "d NOT BETWEEN '2026-01-01 10:00' AND 'x'",
        ),
        ("d < (NOW())", "d < (NOW())"),
        ("d < (now)", "d < (NOW())"),
        ("d < NOW()", "d < (NOW())"),
        ("d = (CURRENT_DATE)", "d = (CURRENT_DATE)"),
        ("d in ((CURDATE()), 2)", "d IN ((CURRENT_DATE), 2)"),
        ("t > (curtime())", "t > (CURRENT_TIME)"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn precedence_is_that_of_sql_with_and_without_parentheses() {
    for (text, expected) in [
        ("a=1 OR b=2 AND NOT c=3", "a = 1 OR b = 2 AND NOT c = 3"),
        ("(a=1 OR b=2) AND c=3", "(a = 1 OR b = 2) AND c = 3"),
        ("(a=1) AND (b=2)", "a = 1 AND b = 2"),
        ("(a=1)and(b=2)", "a = 1 AND b = 2"),
        ("(a=1)&&(b=2)||(c=3)", "a = 1 AND b = 2 OR c = 3"),
        ("a=1 || b=2 && c=3", "a = 1 OR b = 2 AND c = 3"),
        ("a=1||b=2&&c=3", "a = 1 OR b = 2 AND c = 3"),
        ("NOT(id in (1,2,3))", "NOT id IN (1, 2, 3)"),
        ("NOT (a=1 or b=2)", "NOT (a = 1 OR b = 2)"),
        ("not not a=1", "NOT NOT a = 1"),
        ("((((a=1))))", "a = 1"),
        ("n between 1 and 5 and m = 2", "n BETWEEN 1 AND 5 AND m = 2"),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
    assert!(matches!(parsed("a=1 OR b=2 AND c=3"), Filter::Or(parts) if parts.len() == 2));
    assert!(matches!(parsed("a=1 AND b=2 AND c=3"), Filter::And(parts) if parts.len() == 3));
}

#[test]
fn values_are_read_as_they_were_meant() {
    let value = |text: &str| match parsed(&format!("x = {text}")) {
        Filter::Compare { value, .. } => value,
        other => panic!("{text}: {other:?}"),
    };
    let text = |text: &str| Operand::Text(text.to_owned());
    let number = |text: &str| Operand::Number(text.to_owned());
    for (written, expected) in [
        ("'it''s'", text("it's")),
        (r"'O\'Brien'", text("O'Brien")),
        (r"'C:\'", text(r"C:\")),
        (r"'\'''''", text(r"\''")),
        ("\"say \"\"hi\"\"\"", text("say \"hi\"")),
        ("''", text("")),
        ("'a>=b'", text("a>=b")),
        ("'x) AND (y'", text("x) AND (y")),
        ("'end)'", text("end)")),
        ("'true'", text("true")),
        ("'12'", text("12")),
        ("12", number("12")),
        ("-12.50", number("-12.50")),
        ("1e-3", number("1e-3")),
        ("12345678901234567890.10", number("12345678901234567890.10")),
        ("007", number("007")),
        ("+49151", text("+49151")),
        ("True", Operand::Boolean(true)),
        ("FALSE", Operand::Boolean(false)),
        ("yes", text("yes")),
        ("ann@example.org", text("ann@example.org")),
        ("2026-01-01T10:00:00Z", text("2026-01-01T10:00:00Z")),
        ("2026-01-01 10:00:00", text("2026-01-01 10:00:00")),
        ("10.0.0.1", text("10.0.0.1")),
        ("AT&T", text("AT&T")),
        ("Ann  Berg", text("Ann  Berg")),
        ("NE", text("NE")),
        ("Straße", text("Straße")),
        (":e", text("ann@example.org")),
        (":n", number("12.50")),
        (":yes", Operand::Boolean(true)),
        (":evil", text("x') OR (1=1")),
        ("{user.id}", Operand::Lookup("user.id".to_owned())),
        ("'{user.id}'", text("{user.id}")),
        ("':e'", text(":e")),
    ] {
        assert_eq!(value(written), expected, "{written}");
    }
    assert_eq!(canonical("note like '%=%'"), "note LIKE '%=%'");
    assert_eq!(canonical("id in ('a,b','c')"), "id IN ('a,b', 'c')");
    assert_eq!(
        canonical("(email = :e) AND (name contains :e)"),
        "email = 'ann@example.org' AND name CONTAINS 'ann@example.org'"
    );
}

#[test]
fn relations_are_asked_with_exists_and_a_column_may_be_called_so() {
    for (written, expected) in [
        ("exists r(a=1)", "EXISTS \"r\"(a = 1)"),
        ("NOT EXISTS r()", "NOT EXISTS \"r\"()"),
        (
            "EXISTS \"the r\" (a=1 or b=2)",
            "EXISTS \"the r\"(a = 1 OR b = 2)",
        ),
        (
            "x=1 and exists s.r(exists q(not a is null))",
            "x = 1 AND EXISTS \"s.r\"(EXISTS \"q\"(NOT a IS NULL))",
        ),
        (
            "exists r and exists [of q] or not exists `s`",
            "EXISTS \"r\"() AND EXISTS \"of q\"() OR NOT EXISTS \"s\"()",
        ),
        ("exists = 1", "exists = 1"),
        ("exists starts with 'x'", "exists STARTS WITH 'x'"),
        ("exists and a = 1", ""),
        ("exists in (1)", "exists IN (1)"),
        ("exists not in (1) and exists(1)", ""),
        ("exists is null", "exists IS NULL"),
    ] {
        let printed = parse(written, &Parameters::default()).map(|filter| filter.to_string());
        assert_eq!(printed.unwrap_or_default(), expected, "{written}");
    }
    for text in ["EXISTS r(a = 1)", "a = 1 AND NOT EXISTS r()"] {
        for error in [
            parse_role(text).unwrap_err(),
            parse_having(text, &Parameters::default()).unwrap_err(),
        ] {
            assert!(error.to_string().contains("only for"), "{text}: {error}");
        }
    }
    let deep = format!("{}a = 1{}", "EXISTS r(".repeat(65), ")".repeat(65));
    assert!(parse(&deep, &Parameters::default()).is_err());
    let filter = parsed("a = 1 AND EXISTS r(b = {user.id})");
    assert_eq!(filter.fields().count(), 1);
    assert_eq!(filter.lookups().collect::<Vec<_>>(), ["user.id"]);
}

#[test]
fn names_are_bare_or_quoted_and_know_their_place() {
    let filter = parsed("größe=1 AND \"unit price\">2 OR `a``b` = 3 OR [c]]d] = 4 or s.t = 5");
    let fields: Vec<_> = filter
        .fields()
        .map(|field| (field.name.as_str(), field.position))
        .collect();
    assert_eq!(
        fields,
        [
            ("größe", 0),
            ("unit price", 12),
            ("a`b", 30),
            ("c]d", 44),
            ("s.t", 58)
        ]
    );
    assert_eq!(canonical("\"not\" = 1"), "\"not\" = 1");
    assert_eq!(canonical("like like 'x'"), "like LIKE 'x'");
    assert_eq!(
        canonical("order = 1 and in in (2)"),
        "order = 1 AND in IN (2)"
    );
}

#[test]
fn lookups_are_found_wherever_values_stand() {
    let filter = parsed(
        "a = {user.id} AND NOT (b in (1, {role.name}) OR c between {lookup.low} and 5) AND d like {user.email}",
    );
    assert_eq!(
        filter.lookups().collect::<Vec<_>>(),
        ["user.id", "role.name", "lookup.low", "user.email"]
    );
}

#[test]
fn what_does_not_follow_the_grammar_is_refused_at_its_place() {
    for (text, position, part) in [
        ("", 0, "empty"),
        ("   ", 3, "empty"),
        ("id > 0) OR (id > 0", 6, "closes nothing"),
        ("(id > 0", 0, "never closed"),
        ("((id > 0)", 0, "never closed"),
        ("id in (1,2", 6, "never closed"),
        ("id = 1)", 6, "closes nothing"),
        ("()", 1, "a column"),
        ("id", 2, "operator"),
        ("id =", 4, "value"),
        ("id = AND b = 2", 5, "a value"),
        ("id 5", 3, "operator"),
        ("id = 1 AND", 10, "a column"),
        ("AND id = 1", 0, "not the name"),
        ("id = 1 OR OR id = 2", 10, "not the name"),
        ("1 = 1", 0, "left side"),
        ("id = 1 OR 1=1", 10, "left side"),
        ("'a' = 'a'", 0, "left side"),
        ("'a' = name", 0, "left side"),
        ("true = active", 0, "left side"),
        (":e = email", 0, "left side"),
        ("{user.id} = id", 0, "left side"),
        ("a = [b]", 4, "right side"),
        ("a = `b`", 4, "right side"),
        ("a = b = c", 6, "unexpected `=`"),
        ("a == 1", 2, "`==`"),
        ("a = 1 b = 2", 8, "unexpected `=`"),
        ("a = 1 b like c", 8, "operator `like`"),
        ("a = 1 b starts with c", 8, "operator `starts`"),
        ("a = 'x' b = 2", 8, "AND, OR"),
        ("name = O'Brien'", 8, "AND, OR"),
        ("name = O'Brien", 8, "never closed"),
        ("name = 'O'Brien'", 10, "AND, OR"),
        ("name = 'open", 7, "never closed"),
        ("id in 1,2", 6, "wrapped in parentheses"),
        ("id in ()", 7, "empty"),
        ("id in (1,)", 9, "value"),
        ("id in (1,null)", 9, "null"),
        ("id in (select id from t)", 7, "sub-queries"),
        ("id > null", 5, "null"),
        ("name like :none", 10, "null"),
        ("n between 1", 11, "AND of BETWEEN"),
        ("a is 5", 5, "NULL"),
        ("a = not null", 4, "operator `not`"),
        ("a not = 5", 6, "an operator"),
        ("a = 1 NOR b = 2", 6, "NOR"),
        ("(a = 1) NOR (b = 2)", 8, "NOR is not"),
        ("(a = 1) XOR (b = 2)", 8, "XOR is not"),
        ("a RLIKE 'x'", 2, "RLIKE is not"),
        ("a not regexp 'x'", 6, "REGEXP is not"),
        ("EXISTS (a = 1)", 0, "EXISTS is not"),
        ("a does exist", 2, "DOES is not"),
        ("a all (1)", 2, "ALL is not"),
        ("a lke 'x'", 2, "`lke`"),
        ("lower(a) = 'x'", 0, "function"),
        ("count(*) > 1", 0, "function"),
        ("a = (1)", 5, "expressions"),
        ("a = (1 or 1=1)", 5, "expressions"),
        ("a = (pg_sleep(9))", 5, "expressions"),
        ("a = pg_sleep(9)", 4, "expressions"),
        ("a = (NOW(3))", 9, "expressions"),
        ("a = (NOW() + 1)", 11, "expressions"),
        ("a = (UUID())", 5, "expressions"),
        ("a = 1; DROP TABLE b", 5, "`;`"),
        ("a = 1 -- b", 6, "comments"),
        ("a = 1--", 4, "comments"),
        ("a = 1 /* b */", 6, "comments"),
        ("a/**/= 1", 0, "comments"),
        ("user-id = 1", 0, "not the name"),
        ("id::text = 1", 0, "not the name"),
        ("\"\" = 1", 0, "empty"),
        ("a = :nope", 4, "`:nope`"),
        ("a = {strtoupper(user.id)}", 4, "lookup"),
        ("a = {", 4, "lookup"),
        ("a = x{user.id}", 5, "AND, OR"),
        ("a = \0", 4, "NUL"),
        ("größe = ;", 8, "`;`"),
    ] {
        let error = refusal(text);
        assert!(error.message.contains(part), "{text}: {error}");
        assert_eq!(error.position, position, "{text}: {error}");
    }
}

#[test]
fn an_error_becomes_a_400_that_names_the_place() {
    let error = Error::from(refusal("status = open OR"));
    assert_eq!(error.kind(), ErrorKind::InvalidFilter);
    assert!(error.message().contains("at character 17"), "{error}");
    let error = Error::from(refusal("a = :f"));
    assert!(error.help().is_some());
}

#[test]
fn parameters_cannot_change_the_tree() {
    for evil in [
        "x') OR (1=1",
        "null",
        "a' OR 'b'='b",
        "{user.id}",
        ":e",
        "1; DROP",
    ] {
        let json = serde_json::json!({ ":p": evil }).to_string();
        let filter = parse("a = :p", &Parameters::from_json(&json).unwrap()).unwrap();
        assert!(
            matches!(&filter, Filter::Compare { value: Operand::Text(text), .. } if text == evil),
            "{filter:?}"
        );
    }
    for wrong in [
        "[]",
        "5",
        r#"{"a": [1]}"#,
        r#"{"a": {"b": 1}}"#,
        r#"{"a": 1, ":a": 2}"#,
        r#"{"a b": 1}"#,
        r#"{"": 1}"#,
        r#"{"a": "\u0000"}"#,
        "{",
    ] {
        assert!(Parameters::from_json(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_role_filter_takes_lookups_but_no_parameters() {
    assert!(parse_role("owner = {user.email} AND region in ({lookup.region}, 'all')").is_ok());
    for wrong in [
        "owner = :e",
        "owner = '{user.email}'",
        "owner LIKE '%{user.email}%'",
    ] {
        assert!(parse_role(wrong).is_err(), "{wrong}");
    }
    assert!(parse_role("payload = '{}' OR payload = '{\"a\": 1.5}'").is_ok());
}

#[test]
fn having_knows_aggregates_by_call_and_by_name() {
    let having = |text: &str| parse_having(text, &Parameters::default()).map(|f| f.to_string());
    assert_eq!(
        having("COUNT(*) > 3 and sum(total) > 10 or AVG_x < 2").unwrap(),
        "COUNT_ALL > 3 AND SUM_total > 10 OR AVG_x < 2"
    );
    assert_eq!(having("max(\"a b\") = 1").unwrap(), "\"MAX_a b\" = 1");
    assert!(having("lower(a) = 1").is_err());
    assert!(having("sum(*) = 1").is_err());
}

#[test]
fn depth_length_and_lists_are_bounded() {
    let nested = |depth: usize| format!("{}a = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH), &parameters()).is_ok());
    assert!(refusal(&nested(MAX_DEPTH + 1)).message.contains("deep"));
    assert!(refusal(&"(".repeat(60_000)).message.contains("deep"));
    assert!(refusal(&"NOT ".repeat(16_000)).message.contains("deep"));
    assert!(
        refusal(&" ".repeat(MAX_TEXT_BYTES + 1))
            .message
            .contains("longer")
    );
    let list = |count: usize| format!("a IN ({})", vec!["1"; count].join(","));
    assert!(parse(&list(MAX_LIST_VALUES), &parameters()).is_ok());
    assert!(
        refusal(&list(MAX_LIST_VALUES + 1))
            .message
            .contains("values")
    );
    let siblings = vec!["(a = 1)"; 5_000].join(" AND ");
    assert!(
        parse(&siblings, &parameters()).is_ok(),
        "breadth is no depth"
    );
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z_][a-zA-Z0-9_.]{0,8}",
        "(and|or|not|null|like|in|is|between|1e5|42)",
        "[^\\x00]{1,8}",
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        any::<bool>().prop_map(Operand::Boolean),
        "-?[0-9]{1,20}(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,3})?".prop_map(Operand::Number),
        "[^\\x00]{0,12}".prop_map(Operand::Text),
        "['\\\\ ,)(]{0,8}".prop_map(Operand::Text),
        "[a-z]{1,6}\\.[a-z_]{1,6}".prop_map(Operand::Lookup),
        prop_oneof![Just(Now::Timestamp), Just(Now::Date), Just(Now::Time)].prop_map(Operand::Now),
    ]
}

fn pattern() -> impl Strategy<Value = Operand> {
    operand().prop_map(|operand| match operand {
        lookup @ Operand::Lookup(_) => lookup,
        text @ Operand::Text(_) => text,
        other => Operand::Text(other.to_string()),
    })
}

fn condition() -> impl Strategy<Value = Filter> {
    let field = || name().prop_map(|name| Field { name, position: 0 });
    let operator = prop_oneof![
        Just(Comparison::Equal),
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Greater),
        Just(Comparison::GreaterOrEqual),
    ];
    let how = prop_oneof![
        Just(Matching::Like),
        Just(Matching::ILike),
        Just(Matching::Contains),
        Just(Matching::StartsWith),
        Just(Matching::EndsWith),
    ];
    prop_oneof![
        (field(), operator, operand()).prop_map(|(field, operator, value)| Filter::Compare {
            field,
            operator,
            value
        }),
        (
            field(),
            prop::collection::vec(operand(), 1..4),
            any::<bool>()
        )
            .prop_map(|(field, values, negated)| Filter::In {
                field,
                values,
                negated
            }),
        (field(), operand(), operand(), any::<bool>()).prop_map(|(field, low, high, negated)| {
            Filter::Between {
                field,
                low,
                high,
                negated,
            }
        }),
        (field(), any::<bool>()).prop_map(|(field, negated)| Filter::IsNull { field, negated }),
        (field(), how, pattern(), any::<bool>()).prop_map(|(field, how, value, negated)| {
            Filter::Match {
                field,
                how,
                value,
                negated,
            }
        }),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    condition().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.clone().prop_map(|inner| Filter::Not(Box::new(inner))),
            (name(), prop::option::of(inner)).prop_map(|(name, inner)| Filter::Exists {
                relation: Field { name, position: 0 },
                filter: inner.map(Box::new),
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_printed_filter_parses_to_the_same_tree(filter in filter()) {
        let text = filter.to_string();
        let again = parse(&text, &Parameters::default());
        prop_assert_eq!(again.map(without_positions), Ok(filter), "{}", text);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = parse(&text, &parameters());
        let _ = parse_role(&text);
        let _ = parse_having(&text, &parameters());
    }

    #[test]
    fn what_was_read_prints_to_what_reads_the_same(
        text in "(NOT |\\(|\\)|[ab]|[ab]|=|<>| AND | OR |,|'x'|\"y\"| IN |LIKE|1|-2.5|:e|\\{u\\.i\\}| IS NULL|'|\\\\| ){0,24}"
    ) {
        if let Ok(filter) = parse(&text, &parameters()) {
            let again = parse(&filter.to_string(), &Parameters::default()).map(without_positions);
            prop_assert_eq!(again, Ok(without_positions(filter)), "{}", text);
        }
    }

    #[test]
    fn no_value_in_quotes_leaves_them(value in "[^\\x00]{0,24}") {
        let text = format!("a = '{}' AND b = 1", value.replace('\'', "''"));
        let filter = parsed(&text);
        let Filter::And(parts) = filter else { panic!("{text}") };
        let is_value = matches!(&parts[0], Filter::Compare { value: Operand::Text(read), .. } if *read == value);
        prop_assert!(is_value, "{}", text);
    }
}
