//! Stored procedures and functions.

use serde_json::json;

use super::driver::{Caller, Tester, allow, deny, values};
use super::{Words, cases, shop};

cases![
    routines_are_listed if has_routines => "it has no routines",
    routines_are_described if has_routines => "it has no routines",
    a_procedure_is_called_in_all_forms if has_routines => "it has no routines",
    out_parameters_are_answered if has_routines => "it has no routines",
    rows_stand_beside_out_parameters if has_routines => "it has no routines",
    several_result_sets_are_an_array_of_arrays if has_routines => "it has no routines",
    the_uniform_answer_tells_sets_and_parameters_apart if has_routines => "it has no routines",
    one_value_is_answered_as_a_type if has_routines => "it has no routines",
    a_scalar_function_answers_its_value if has_routines => "it has no routines",
    a_table_function_answers_an_array if has_table_functions => "it has no table functions",
    defaults_stand_for_what_is_left_out if has_defaults => "its parameters have no defaults",
    overloads_are_told_apart if has_overloads => "it has no overloads",
    get_calls_only_what_is_declared_to_read if has_routines => "it has no routines",
    wrong_arguments_are_refused if has_routines => "it has no routines",
    arguments_are_bound if has_routines => "it has no routines",
    lookups_stand_for_their_values if has_routines => "it has no routines",
    what_a_routine_raises_is_answered_and_undone if has_routines => "it has no routines",
    what_a_routine_sets_for_its_session_reaches_nobody_else if has_routines => "it has no routines",
    roles_decide_by_the_name_of_the_routine if has_routines => "it has no routines",
    a_role_with_conditions_calls_nothing if has_routines => "it has no routines",
    answers_come_in_every_format if has_routines => "it has no routines",
    a_database_without_routines_says_so if has_none => "it has routines",
];

fn has_routines(words: &Words) -> bool {
    words.routines.is_some()
}

fn has_none(words: &Words) -> bool {
    words.routines.is_none()
}

fn has_table_functions(words: &Words) -> bool {
    let routines = words.routines.as_ref();
    routines.is_some_and(|routines| routines.table_function.is_some())
}

fn has_defaults(words: &Words) -> bool {
    let routines = words.routines.as_ref();
    routines.is_some_and(|routines| routines.defaults.is_some())
}

fn has_overloads(words: &Words) -> bool {
    let routines = words.routines.as_ref();
    routines.is_some_and(|routines| !routines.overloads.is_empty())
}

/// The shop with everything that can be called in it.
async fn office(tester: &Tester) -> Caller {
    let words = tester.words();
    let mut statements = shop(&words);
    if let Some(routines) = words.routines {
        let more = routines.statements.iter().copied();
        let more = more.chain(routines.table_function).chain(routines.defaults);
        let more = more.chain(routines.overloads.iter().copied());
        statements.extend(more.map(str::to_owned));
    }
    tester.open(&statements).await
}

async fn tags(office: &Caller) -> Vec<serde_json::Value> {
    office.column("_table/tag?order=id", "label").await
}

async fn routines_are_listed(tester: Tester) {
    let office = office(&tester).await;
    office.get("?as_list=true").await.is(&json!({
        "resource": ["_schema", "_table", "_proc", "_func"]
    }));
    let list = office.get("_proc?as_list=true").await.ok_json();
    let names = values(list["resource"].clone());
    for name in ["add_tag", "close_month", "lists", "open_invoices", "refuse"] {
        assert!(names.contains(&json!(name)), "{name}: {names:?}");
    }
    assert!(!names.contains(&json!("twice")));
    let list = office.get("_func?fields=*").await.ok_json();
    let list = values(list["resource"].clone());
    let total = list
        .iter()
        .find(|entry| entry["name"] == "invoice_total")
        .unwrap();
    assert_eq!(total["label"], "Invoice Total");
    assert_eq!(total["is_read_only"], true);
    let components = office.get("?as_access_list=true").await.ok_json();
    let components = values(components["resource"].clone());
    for component in ["_proc/", "_proc/*", "_proc/close_month", "_func/twice"] {
        assert!(components.contains(&json!(component)), "{component}");
    }
}

async fn routines_are_described(tester: Tester) {
    let office = office(&tester).await;
    let described = office.get("_proc?ids=CLOSE_MONTH").await.ok_json();
    let procedure = &described["resource"][0];
    assert_eq!(procedure["alias"], json!(null));
    assert_eq!(procedure["name"], "close_month");
    assert_eq!(procedure["label"], "Close Month");
    assert_eq!(procedure["return_type"], json!(null));
    assert_eq!(procedure["return_schema"], json!([]));
    assert_eq!(procedure["access"], 31);
    let parameters: Vec<_> = values(procedure["params"].clone())
        .into_iter()
        .map(|parameter| {
            json!([
                parameter["name"],
                parameter["position"],
                parameter["param_type"],
            ])
        })
        .collect();
    assert_eq!(
        parameters,
        [
            json!(["p_year", 1, "IN"]),
            json!(["p_done", 2, "OUT"]),
            json!(["p_note", 3, "INOUT"])
        ]
    );
    assert_eq!(procedure["params"][0]["type"], "integer");
    let described = office.get("_func?ids=invoice_total").await.ok_json();
    assert_eq!(described["resource"][0]["return_type"], "decimal");
    office
        .get("_proc?ids=close_moth")
        .await
        .refused(404, "unknown_resource");
    office
        .get("_func/close_month")
        .await
        .refused(404, "unknown_resource");
}

async fn a_procedure_is_called_in_all_forms(tester: Tester) {
    let office = office(&tester).await;
    for (target, body) in [
        ("_proc/add_tag", json!({"params": ["one"]})),
        ("_proc/add_tag", json!({"params": {"P_LABEL": "two"}})),
        (
            "_proc/add_tag",
            json!({"params": [{"name": "p_label", "value": "three"}]}),
        ),
        (
            "_proc/ADD_TAG",
            json!({"params": {"p_label": {"value": "four"}}}),
        ),
        ("_proc/add_tag", json!({"params": "five"})),
        ("_proc/add_tag('six,%20or%207')", json!({})),
        ("_proc/add_tag?p_label=eight", json!({})),
        ("_proc/add_tag(no)", json!({"params": ["nine"]})),
    ] {
        office.post(target, body).await.is(&json!([]));
    }
    assert_eq!(
        tags(&office).await,
        values(json!([
            "urgent",
            "paid",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six, or 7",
            "eight",
            "nine"
        ]))
    );
}

async fn out_parameters_are_answered(tester: Tester) {
    let office = office(&tester).await;
    let body = json!({"params": {"p_year": 2026, "p_note": "so"}});
    office
        .post("_proc/close_month", body)
        .await
        .is(&json!({"p_done": 20_260, "p_note": "so!"}));
    let body = json!({"params": [2026, null], "schema": {"p_done": "string"}});
    office
        .post("_proc/close_month", body)
        .await
        .is(&json!({"p_done": "20260", "p_note": null}));
    // Whoever counts OUT parameters gives three.
    let body = json!({"params": [2026, 1, "so"]});
    office
        .post("_proc/close_month", body)
        .await
        .is(&json!({"p_done": 20_260, "p_note": "so!"}));
}

async fn rows_stand_beside_out_parameters(tester: Tester) {
    let office = office(&tester).await;
    let rows = json!([{"number": "A-1", "total": 10.0}, {"number": "A-2", "total": 20.5}]);
    let answer = office
        .post("_proc/open_invoices", json!({"params": [8]}))
        .await
        .ok_json();
    assert_eq!(answer["p_count"], 2);
    assert_eq!(answer["resource"], rows);
    let body = json!({"params": [8], "wrapper": "rows", "schema": {"total": "int"}});
    office.post("_proc/open_invoices", body).await.is(&json!({
        "rows": [{"number": "A-1", "total": 10}, {"number": "A-2", "total": 20}],
        "p_count": 2,
    }));
    office
        .post(
            "_proc/open_invoices?wrapper=p_count",
            json!({"params": [8]}),
        )
        .await
        .refused(400, "invalid_parameter");
}

async fn several_result_sets_are_an_array_of_arrays(tester: Tester) {
    let office = office(&tester).await;
    let sets = json!([
        [{"label": "urgent"}, {"label": "paid"}],
        [{"number": "A-1"}, {"number": "B-1"}],
    ]);
    office.post("_proc/lists", json!({})).await.is(&sets);
    office
        .post("_proc/lists?wrapper=sets", json!({}))
        .await
        .is(&json!({ "sets": sets }));
}

async fn the_uniform_answer_tells_sets_and_parameters_apart(tester: Tester) {
    let office = office(&tester).await;
    office
        .post("_proc/close_month?result=full", json!({"params": [1, "x"]}))
        .await
        .is(&json!({"result_sets": [], "out": {"p_done": 10, "p_note": "x!"}}));
    let body = json!({"params": [20.5], "result": "full", "schema": {"total": "string"}});
    office.post("_proc/open_invoices", body).await.is(&json!({
        "result_sets": [[{"number": "A-2", "total": "20.50"}]],
        "out": {"p_count": 1},
    }));
    let full = office
        .post("_func/twice?result=full", json!({"params": [4]}))
        .await
        .ok_json();
    assert_eq!(full["out"], json!({}));
    let rows = values(full["result_sets"][0].clone());
    assert_eq!(rows, [json!({"twice": 8})]);
}

async fn one_value_is_answered_as_a_type(tester: Tester) {
    let office = office(&tester).await;
    for (target, expected) in [
        ("_proc/lists?returns=string", json!("urgent")),
        ("_proc/open_invoices(20)?returns=string", json!("A-2")),
        ("_proc/close_month(7)?returns=string", json!("70")),
        ("_proc/add_tag(x)?returns=integer", json!(null)),
        ("_func/twice(4)?returns=string", json!("8")),
        ("_func/twice(4)?returns=boolean", json!(true)),
    ] {
        office.post(target, json!({})).await.is(&expected);
    }
    office
        .post("_func/twice(4)?returns=integr", json!({}))
        .await
        .refused(400, "invalid_parameter");
}

async fn a_scalar_function_answers_its_value(tester: Tester) {
    let office = office(&tester).await;
    for target in [
        "_func/invoice_total(1)",
        "_func/invoice_total?p_customer=1",
        "_func/Invoice_Total?P_CUSTOMER=1",
    ] {
        assert_eq!(office.get(target).await.ok_text(), "35.50", "{target}");
    }
    // No invoices, no sum; and so it is with an argument that is left out.
    office.get("_func/invoice_total(2)").await.is(&json!(null));
    office.get("_func/invoice_total").await.is(&json!(null));
    office
        .post("_func/twice", json!({"params": {"p_number": "21"}}))
        .await
        .is(&json!(42));
}

async fn a_table_function_answers_an_array(tester: Tester) {
    let office = office(&tester).await;
    let one = json!([{"number": "B-1", "total": 7}]);
    let answer = office.get("_func/invoices_of(3)").await.ok_json();
    assert_eq!(answer[0]["number"], one[0]["number"]);
    assert_eq!(answer.as_array().unwrap().len(), 1);
    office
        .get("_func/invoices_of(3)?wrapper=rows&returns=TABLE")
        .await
        .is(&json!({ "rows": answer }));
    office.get("_func/invoices_of(2)").await.is(&json!([]));
    office
        .get("_func/invoices_of(1)?returns=string")
        .await
        .is(&json!("A-1"));
    let numbers = office.get("_func/invoices_of(1)").await.ok_json();
    let numbers: Vec<_> = values(numbers)
        .into_iter()
        .map(|row| row["number"].clone())
        .collect();
    assert_eq!(numbers, values(json!(["A-1", "A-2", "A-3"])));
    let csv = office.get("_func/invoices_of(1)?accept=text/csv").await;
    let text = csv.ok_text();
    assert!(text.starts_with("number,total\r\nA-1,10"), "{text}");
}

async fn defaults_stand_for_what_is_left_out(tester: Tester) {
    let office = office(&tester).await;
    for body in [
        json!({"params": ["a"]}),
        json!({"params": {"p_label": "b"}}),
        json!({"params": ["c", "d"]}),
    ] {
        office.post("_proc/add_tags", body).await.is(&json!([]));
    }
    assert_eq!(
        tags(&office).await,
        values(json!([
            "urgent", "paid", "a", "spare", "b", "spare", "c", "d"
        ]))
    );
    let described = office.get("_proc?ids=add_tags").await.ok_json();
    assert_eq!(described["resource"][0]["params"][1]["default"], "spare");
}

async fn overloads_are_told_apart(tester: Tester) {
    let office = office(&tester).await;
    office.get("_func/area(3)").await.is(&json!(9));
    office.get("_func/area(3,4)").await.is(&json!(12));
    office
        .get("_func/area?p_width=2&p_height=5")
        .await
        .is(&json!(10));
    let error = office
        .get("_func/area(1,2,3)")
        .await
        .refused(400, "invalid_parameter");
    let help = error["help"].as_str().unwrap();
    assert!(
        help.contains("p_side") && help.contains("p_height"),
        "{help}"
    );
}

async fn get_calls_only_what_is_declared_to_read(tester: Tester) {
    let office = office(&tester).await;
    for target in ["_proc/add_tag(x)", "_func/twice(4)"] {
        let error = office.get(target).await.refused(405, "method_not_allowed");
        assert!(error["help"].as_str().unwrap().contains("POST"));
    }
    office
        .put("_proc/add_tag", json!({}))
        .await
        .refused(405, "method_not_allowed");
    assert_eq!(office.count("tag").await, 2);
}

async fn wrong_arguments_are_refused(tester: Tester) {
    let office = office(&tester).await;
    for (target, body, kind, help) in [
        (
            "_proc/close_month",
            json!({"params": {"p_yaer": 1}}),
            "unknown_parameter",
            "did you mean 'p_year'?",
        ),
        (
            "_proc/add_tag?p_lable=x",
            json!({}),
            "unknown_parameter",
            "did you mean 'p_label'?",
        ),
        (
            "_proc/add_tag",
            json!({"parms": []}),
            "invalid_body",
            "did you mean 'params'?",
        ),
    ] {
        let error = office.post(target, body).await.refused(400, kind);
        assert_eq!(error["help"], help, "{target}");
    }
    for (target, body, kind) in [
        (
            "_proc/close_month",
            json!({"params": ["soon"]}),
            "invalid_value",
        ),
        ("_proc/add_tag(1,2)", json!({}), "invalid_parameter"),
        ("_proc/add_tag", json!({"params": 5}), "invalid_body"),
        (
            "_proc/add_tag?p_label=x",
            json!({"params": ["y"]}),
            "unknown_parameter",
        ),
    ] {
        office.post(target, body).await.refused(400, kind);
    }
    assert_eq!(office.count("tag").await, 2);
}

async fn arguments_are_bound(tester: Tester) {
    let office = office(&tester).await;
    let hostile = [
        "x'); DELETE FROM tag; --",
        "\\'; DROP TABLE tag; --",
        "\" OR 1=1",
        "$1 ? :1 @P1 {0} %s",
        "größe 🌊",
        "",
    ];
    for text in hostile {
        let body = json!({"params": {"p_label": text}});
        office.post("_proc/add_tag", body).await.is(&json!([]));
    }
    let labels = tags(&office).await;
    assert_eq!(labels[2..], hostile.map(|text| json!(text)));
    for name in ["add_tag; DROP TABLE tag", "pg_sleep", "add_tag\""] {
        let name = super::driver::encoded(name);
        office
            .post(&format!("_proc/{name}"), json!({}))
            .await
            .refused(404, "unknown_resource");
    }
}

async fn lookups_stand_for_their_values(tester: Tester) {
    let office = office(&tester).await;
    let ann = office.with_role_and_lookups(
        &[allow("*", &["GET", "POST"])],
        &[("user.id", "1"), ("user.name", "Ann'; --")],
    );
    assert_eq!(
        ann.get("_func/invoice_total?p_customer={user.id}")
            .await
            .ok_text(),
        "35.50"
    );
    for text in ["{user.name}", "{user.nothing}"] {
        let body = json!({"params": [text]});
        ann.post("_proc/add_tag", body).await.is(&json!([]));
    }
    let labels = tags(&office).await;
    assert_eq!(labels[2..], [json!("Ann'; --"), json!("{user.nothing}")]);
}

async fn what_a_routine_raises_is_answered_and_undone(tester: Tester) {
    let office = office(&tester).await;
    let body = json!({"params": ["the month is closed"]});
    let error = office
        .post("_proc/refuse", body)
        .await
        .refused(422, "raised_by_database");
    assert_eq!(error["message"], "the month is closed");
    assert_eq!(office.count("tag").await, 2);
}

async fn what_a_routine_sets_for_its_session_reaches_nobody_else(tester: Tester) {
    let office = office(&tester).await;
    for _ in 0..4 {
        office
            .post("_proc/become", json!({"params": ["ann"]}))
            .await
            .ok_text();
        office.get("_func/who").await.is(&json!(null));
        office
            .post("_func/who", json!({"params": []}))
            .await
            .is(&json!(null));
    }
}

async fn roles_decide_by_the_name_of_the_routine(tester: Tester) {
    let office = office(&tester).await;
    let clerk = office.with_role(&[
        allow("", &["GET"]),
        allow("_proc", &["GET"]),
        allow("_proc/add_tag", &["POST"]),
        allow("_func/*", &["GET"]),
        deny("_func/area", &["GET"]),
    ]);
    clerk
        .get("?as_list=true")
        .await
        .is(&json!({"resource": ["_proc", "_func"]}));
    clerk
        .get("_proc?include_access=true")
        .await
        .is(&json!({"resource": [{"name": "add_tag", "access": ["POST"]}]}));
    clerk
        .post("_proc/add_tag(x)", json!({}))
        .await
        .is(&json!([]));
    clerk
        .post("_proc/refuse(x)", json!({}))
        .await
        .refused(403, "forbidden");
    clerk
        .get("_proc?ids=refuse")
        .await
        .refused(403, "forbidden");
    assert_eq!(clerk.get("_func/invoice_total(1)").await.ok_text(), "35.50");
    clerk
        .post("_func/invoice_total(1)", json!({}))
        .await
        .refused(403, "forbidden");
    clerk.get("_func/area(1)").await.refused(403, "forbidden");
    // A row covers another spelling of the path only as far as it covers the routine itself.
    let misspelt = office.with_role(&[allow("_proc/ADD_TAG", &["POST"])]);
    misspelt
        .post("_proc/ADD_TAG(x)", json!({}))
        .await
        .refused(403, "forbidden");
}

async fn a_role_with_conditions_calls_nothing(tester: Tester) {
    let office = office(&tester).await;
    for row in [
        allow("*", &["GET", "POST"]).filter("id = 1"),
        allow("*", &["GET", "POST"]).fields(&["id"]),
    ] {
        let held = office.with_role(&[row.clone(), allow("_func/twice", &["POST"])]);
        held.post("_proc/add_tag(x)", json!({}))
            .await
            .refused(403, "forbidden");
        held.get("_func/invoice_total(1)")
            .await
            .refused(403, "forbidden");
        held.get("_func?as_list=true")
            .await
            .is(&json!({"resource": ["twice"]}));
        held.post("_func/twice(2)", json!({})).await.is(&json!(4));
    }
}

async fn answers_come_in_every_format(tester: Tester) {
    let office = office(&tester).await;
    let answered = async |target: &str| {
        let answer = office.post(target, json!({})).await;
        answer.ok_text().to_owned()
    };
    assert_eq!(
        answered("_proc/open_invoices(8)?accept=text/csv").await,
        "number,total\r\nA-1,10.00\r\nA-2,20.50\r\n"
    );
    assert_eq!(
        answered("_proc/open_invoices(8)?accept=application/x-ndjson").await,
        "{\"number\":\"A-1\",\"total\":10.00}\n{\"number\":\"A-2\",\"total\":20.50}\n"
    );
    let xml = answered("_proc/close_month(7)?accept=application/xml").await;
    assert!(xml.contains("<p_done>70</p_done>"), "{xml}");
    assert_eq!(
        answered("_func/twice(4)?accept=text/csv").await,
        "value\r\n8\r\n"
    );
    let file = office
        .post("_proc/open_invoices(8)?file=open.csv", json!({}))
        .await;
    assert!(file.ok_text().starts_with("number,total"));
    let disposition = file.header(&http::header::CONTENT_DISPOSITION);
    assert!(disposition.contains("open.csv"), "{disposition}");
}

async fn a_database_without_routines_says_so(tester: Tester) {
    let shop = tester.shop().await;
    for target in ["_proc", "_func", "_func/twice(4)"] {
        shop.get(target).await.refused(404, "unknown_resource");
    }
    shop.post("_proc/add_tag", json!({}))
        .await
        .refused(404, "unknown_resource");
}
