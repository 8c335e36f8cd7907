//! Bulk imports: what is written, what is refused and where it stood.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::cases;
use super::driver::{Answer, Caller, Tester, allow, values};
use crate::connector::database::options::DatabaseOptions;
use crate::error::{Error, ErrorKind};
use crate::exchange::Body;

cases! {
    a_csv_is_imported_and_only_counted,
    ndjson_is_imported_with_whatever_members_each_line_has,
    values_are_converted_as_in_small_batches,
    empty_values_are_null_and_quoted_ones_empty_texts,
    an_import_is_all_or_nothing_and_names_the_lines,
    what_the_database_refuses_is_found_by_its_line,
    continue_keeps_the_good_records_of_an_import,
    columns_that_cannot_be_imported_are_refused_at_once,
    an_import_obeys_the_role,
    an_import_with_upsert_changes_what_is_there,
    a_body_that_breaks_off_leaves_nothing,
    imports_of_many_chunks_arrive_whole,
    other_options_and_media_types_are_refused,
    an_import_may_be_bounded_or_forbidden,
}

async fn import(caller: &Caller, options: &str, media_type: &str, body: &str) -> Answer {
    let (table, options) = options.split_once('?').unwrap_or((options, ""));
    let target = format!("_table/{table}?bulk=true&{options}");
    let request = caller.request("POST", target.trim_end_matches('&'));
    request.text(media_type, body).send().await
}

async fn csv(caller: &Caller, options: &str, body: &str) -> Answer {
    import(caller, options, "text/csv", body).await
}

async fn ndjson(caller: &Caller, options: &str, body: &str) -> Answer {
    import(caller, options, "application/x-ndjson", body).await
}

async fn count(caller: &Caller, table: &str) -> Value {
    let target = format!("_table/{table}?count_only=true");
    caller.get(&target).await.ok_json()
}

fn counted(number: u64) -> Value {
    json!({"resource": [], "meta": {"count": number}})
}

async fn a_csv_is_imported_and_only_counted(tester: Tester) {
    let shop = tester.shop().await;
    let body = "\u{feff}label,id\r\n\"a \"\"quoted\"\"\r\nlabel, with é\",10\r\n\r\nplain,11\r\n\"{x}\",12";
    csv(&shop, "tag", body).await.is(&counted(3));
    let read = shop.get("_table/tag?filter=id%3E9&order=id").await;
    assert_eq!(
        read.column("label"),
        values(json!(["a \"quoted\"\r\nlabel, with é", "plain", "{x}"]))
    );
    csv(&shop, "tag", "id,label\n").await.is(&counted(0));
    assert_eq!(count(&shop, "tag").await, json!(5));
}

async fn ndjson_is_imported_with_whatever_members_each_line_has(tester: Tester) {
    let shop = tester.shop().await;
    let body = concat!(
        "{\"email\":\"a@example.org\",\"full_name\":\"A \\u00e9\\n\",\"credit\":12.50,\"is_active\":false}\r\n",
        "\n",
        "{\"full_name\":\"B\",\"email\":\"b@example.org\"}\n",
        "{\"email\":\"c@example.org\",\"full_name\":\"C\",\"credit\":null,\"id\":null}",
    );
    ndjson(&shop, "customer", body).await.is(&counted(3));
    let read = shop
        .get("_table/customer?filter=id%3E4&order=email&fields=full_name,credit,is_active")
        .await;
    assert_eq!(read.column("full_name"), values(json!(["A é\n", "B", "C"])));
    assert_eq!(read.column("is_active"), values(json!([false, true, true])));
    let credit = read.column("credit");
    assert_eq!(credit[0].as_f64(), Some(12.5));
    assert_eq!(credit[1..], [Value::Null, Value::Null]);
}

async fn values_are_converted_as_in_small_batches(tester: Tester) {
    let words = tester.words();
    let super::Words {
        auto_key,
        integer,
        big_integer,
        money,
        double,
        boolean,
        text,
        json,
        uuid,
        binary,
        date,
        time,
        date_time,
        timestamp,
        ..
    } = words;
    let quote = words.quote;
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id {auto_key}, i {integer}, b {big_integer}, m {money}, d {double}, t {boolean}, \
             s {text}, j {json}, u {uuid}, x {binary}, day {date}, {} {time}, moment {date_time}, zoned {timestamp})",
            quote("clock")
        )
    };
    let caller = tester.open(&[table("small"), table("large")]).await;
    let record = json!({
        "id": 1, "i": -7, "b": 9_007_199_254_740_993_i64, "m": 12.5, "d": 1.25, "t": true,
        "s": "tab\t back\\slash \\N 'quote' \"double\" é 🚪", "j": {"a": [1, "x\\y"]},
        "u": "6f1c9d1e-6c1f-4f0e-8d8e-0f6f2f9a7a10", "x": "AAH/",
        "day": "2024-02-29", "clock": "10:20:30", "moment": "2024-02-29T23:59:59",
        "zoned": "2024-02-29T23:59:59Z",
    });
    caller
        .post("_table/small", json!({"resource": [record]}))
        .await
        .ok_json();
    let nothing = json!({"id": 2, "i": null, "j": null, "day": null});
    caller
        .post("_table/small", json!({"resource": [nothing]}))
        .await
        .ok_json();
    ndjson(&caller, "large", &format!("{record}\n{nothing}\n"))
        .await
        .is(&counted(2));
    let small = caller.get("_table/small?order=id").await.ok_json();
    let large = caller.get("_table/large?order=id").await.ok_json();
    assert_eq!(small, large);
    // What is read as CSV can be written as CSV.
    let text = caller.get("_table/small?accept=text/csv&order=id").await;
    let emptied = caller.with_role(&[allow("_table/*", super::driver::ALL)]);
    emptied.delete("_table/large?force=true").await.ok_json();
    csv(&caller, "large", text.ok_text()).await.is(&counted(2));
    let again = caller.get("_table/large?order=id").await.ok_json();
    assert_eq!(small, again);
}

async fn empty_values_are_null_and_quoted_ones_empty_texts(tester: Tester) {
    let shop = tester.shop().await;
    let body = "id,email,full_name,region,credit,joined\n\
                20,a@example.org,A,,,\n\
                ,b@example.org,B,\"\",\"\",\"\"\n";
    csv(&shop, "customer", body).await.is(&counted(2));
    let read = shop
        .get("_table/customer?filter=full_name%20IN%20('A','B')&order=full_name")
        .await;
    let region = read.column("region");
    assert_eq!(region[0], Value::Null);
    // Oracle keeps no empty text.
    assert!(region[1] == json!("") || region[1] == Value::Null);
    assert_eq!(read.column("credit"), values(json!([null, null])));
    assert_eq!(read.column("joined"), values(json!([null, null])));
    assert!(read.column("id")[1].is_i64(), "the database numbered it");
}

const ROLLED_BACK: &str =
    "Batch Error: Not all requested records could be created. All changes rolled back.";
const KEPT: &str = "Batch Error: Not all requested records could be created.";

async fn an_import_is_all_or_nothing_and_names_the_lines(tester: Tester) {
    let shop = tester.shop().await;
    let body = "id,label\n30,good\nx,\"two\nlines\"\n31\n32,good\n";
    let context = csv(&shop, "tag", body).await.batch(ROLLED_BACK);
    assert_eq!(context["error"], json!([1, 2]));
    assert_eq!(context["failed"], 2);
    assert_eq!(context["count"], 0);
    let lines = &context["lines"];
    assert_eq!(lines[0]["line"], 3);
    assert_eq!(lines[0]["field"], "id");
    assert_eq!(lines[0]["type"], "invalid_value");
    assert_eq!(lines[0]["message"], "field 'id' must be a valid integer");
    assert!(lines[0]["help"].is_string());
    assert_eq!(lines[1]["line"], 5);
    assert_eq!(
        lines[1]["message"],
        "the record has 1 values, but there are 2 columns"
    );
    assert_eq!(count(&shop, "tag").await, json!(2));

    let body = "{\"id\":40,\"label\":\"good\"}\n{\"id\":41,\"labl\":\"x\"}\n{\"id\":42\n";
    let context = ndjson(&shop, "tag", body).await.batch(ROLLED_BACK);
    assert_eq!(context["lines"][0]["line"], 2);
    assert_eq!(context["lines"][0]["type"], "unknown_field");
    assert_eq!(context["lines"][0]["help"], "did you mean 'label'?");
    assert_eq!(context["lines"][1]["line"], 3);
    assert_eq!(context["lines"][1]["type"], "invalid_body");
    assert_eq!(count(&shop, "tag").await, json!(2));
}

async fn what_the_database_refuses_is_found_by_its_line(tester: Tester) {
    let shop = tester.shop().await;
    let mut body = String::from("email,full_name\n");
    for number in 0..500 {
        let name = if number == 321 { "ann" } else { "user" };
        let mark = if number == 321 {
            String::new()
        } else {
            number.to_string()
        };
        let _ = writeln!(body, "{name}{mark}@example.org,Name {number}");
    }
    let context = csv(&shop, "customer", &body).await.batch(ROLLED_BACK);
    assert_eq!(context["error"], json!([321]));
    assert_eq!(context["lines"][0]["line"], 323);
    assert_eq!(context["lines"][0]["type"], "unique_violation");
    assert_eq!(context["lines"][0]["status_code"], 409);
    assert_eq!(count(&shop, "customer").await, json!(4));

    let body = "customer_id,number,total\n1,Z-1,5\n1,Z-2,-1\n";
    let context = csv(&shop, "invoice", body).await.batch(ROLLED_BACK);
    assert_eq!(context["lines"][0]["line"], 3);
    assert_eq!(context["lines"][0]["type"], "check_violation");
    let body = "customer_id,number,total\n1,Z-1,5\n99,Z-2,1\n";
    let context = csv(&shop, "invoice", body).await.batch(ROLLED_BACK);
    assert_eq!(context["lines"][0]["line"], 3);
    assert_eq!(context["lines"][0]["type"], "foreign_key_violation");
    assert_eq!(count(&shop, "invoice").await, json!(5));
}

async fn continue_keeps_the_good_records_of_an_import(tester: Tester) {
    let shop = tester.shop().await;
    let body = "id,label\n1,taken\n50,fifty\nx,bad\n51,\n52,fifty-two\n2,taken\n53,last\n";
    let answer = csv(&shop, "tag?continue=true", body).await;
    let context = answer.batch(KEPT);
    assert_eq!(context["error"], json!([0, 2, 3, 5]));
    assert_eq!(context["count"], 3);
    let kinds: Vec<&str> = context["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "unique_violation",
            "invalid_value",
            "not_null_violation",
            "unique_violation"
        ]
    );
    let read = shop.get("_table/tag?order=id").await;
    assert_eq!(read.column("id"), values(json!([1, 2, 50, 52, 53])));
    assert_eq!(read.column("label")[0], "urgent");

    let mut body = String::from("id,label\n");
    for number in 100..400 {
        let id = if number % 2 == 0 {
            "x".to_owned()
        } else {
            number.to_string()
        };
        let _ = writeln!(body, "{id},n");
    }
    let context = csv(&shop, "tag?continue=true", &body).await.batch(KEPT);
    assert_eq!(
        (&context["failed"], &context["count"]),
        (&json!(150), &json!(150))
    );
    assert_eq!(context["lines"].as_array().unwrap().len(), 100);
}

async fn columns_that_cannot_be_imported_are_refused_at_once(tester: Tester) {
    let shop = tester.shop().await;
    let error = csv(&shop, "tag", "id,lable\n1,x\n")
        .await
        .refused(400, "unknown_field");
    assert_eq!(error["help"], "did you mean 'label'?");
    csv(&shop, "tag", "id,label,ID\n1,x,2\n")
        .await
        .refused(400, "invalid_body");
    csv(&shop, "tag", "id,label,id\n1,x,2\n")
        .await
        .refused(400, "invalid_body");
    csv(&shop, "tag", "id,\n1,x\n")
        .await
        .refused(400, "invalid_body");
    csv(&shop, "tag", "id\n5\n")
        .await
        .refused(422, "not_null_violation");
    csv(&shop, "tag", "").await.refused(400, "invalid_body");
    csv(&shop, "tag", "id,label\n1,\"x\n")
        .await
        .refused(400, "invalid_body");
    csv(&shop, "nothing", "id\n1\n")
        .await
        .refused(404, "unknown_table");
    assert_eq!(count(&shop, "tag").await, json!(2));
}

async fn an_import_obeys_the_role(tester: Tester) {
    let shop = tester.shop().await;
    let reader = shop.with_role(&[allow("_table/*", &["GET"])]);
    csv(&reader, "tag", "label\nx\n")
        .await
        .refused(403, "forbidden");

    let narrow = shop.with_role(&[allow("_table/customer", &["GET", "POST"])
        .filter("region = 'north'")
        .fields(&["email", "full_name", "region"])]);
    let error = csv(&narrow, "customer", "email,full_name,credit\nx,X,1\n").await;
    let error = error.refused(400, "unknown_field");
    assert!(!error["help"].as_str().unwrap_or("").contains("credit"));
    let body =
        "email,full_name,region\nx@example.org,X,north\ny@example.org,Y,south\nz@example.org,Z,\n";
    let context = csv(&narrow, "customer", body).await.batch(ROLLED_BACK);
    assert_eq!(context["lines"][0]["line"], 3);
    assert_eq!(context["lines"][0]["type"], "row_not_permitted");
    assert_eq!(count(&shop, "customer").await, json!(4));
    let context = csv(&narrow, "customer?continue=true", body)
        .await
        .batch(KEPT);
    assert_eq!(context["error"], json!([1, 2]));
    let read = shop.get("_table/customer?filter=id%3E4").await;
    assert_eq!(read.column("full_name"), values(json!(["X"])));
}

async fn an_import_with_upsert_changes_what_is_there(tester: Tester) {
    let shop = tester.shop().await;
    let body = "id,label\n1,changed\n60,new\n60,newer\n";
    csv(&shop, "tag?upsert=true", body).await.is(&counted(3));
    let read = shop.get("_table/tag?order=id").await;
    assert_eq!(
        read.column("label"),
        values(json!(["changed", "paid", "newer"]))
    );
    let creator = shop.with_role(&[allow("_table/tag", &["POST"])]);
    csv(&creator, "tag?upsert=true", body)
        .await
        .refused(403, "forbidden");
    let narrow =
        shop.with_role(&[allow("_table/tag", &["PATCH", "POST"]).filter("id > 1 OR id > 100")]);
    let body = "id,label\n61,fine\n1,stolen\n";
    let context = csv(&narrow, "tag?upsert=true", body)
        .await
        .batch(ROLLED_BACK);
    assert_eq!(context["lines"][0]["line"], 3);
    assert_eq!(count(&shop, "tag").await, json!(3));
}

async fn a_body_that_breaks_off_leaves_nothing(tester: Tester) {
    let shop = tester.shop().await;
    let mut text = String::from("id,label\n");
    for number in 100..30_000 {
        let _ = writeln!(text, "{number},label of {number}");
    }
    let whole = Bytes::from(text);
    let mut pieces: Vec<_> = (0..whole.len())
        .step_by(4_096)
        .map(|start| Ok(whole.slice(start..whole.len().min(start + 4_096))))
        .collect();
    pieces.push(Err(Error::new(
        ErrorKind::InvalidRequest,
        "the body broke off before its end",
    )));
    let mut request = shop
        .request("POST", "_table/tag?bulk=true&continue=true")
        .header(&CONTENT_TYPE, "text/csv");
    request.body = Body::Stream(Box::pin(stream::iter(pieces)));
    request.send().await.refused(400, "invalid_request");
    assert_eq!(count(&shop, "tag").await, json!(2));
    csv(&shop, "tag", "id,label\n100,x\n").await.is(&counted(1));
}

async fn imports_of_many_chunks_arrive_whole(tester: Tester) {
    let shop = tester.shop().await;
    let mut text = String::from("id,label\n");
    for number in 1_000..24_500 {
        let _ = writeln!(text, "{number},\"label\nof {number}\"");
    }
    let whole = Bytes::from(text);
    let pieces: Vec<_> = (0..whole.len())
        .step_by(1_777)
        .map(|start| Ok(whole.slice(start..whole.len().min(start + 1_777))))
        .collect();
    let mut request = shop
        .request("POST", "_table/tag?bulk=true")
        .header(&CONTENT_TYPE, "text/csv");
    request.body = Body::Stream(Box::pin(stream::iter(pieces)));
    request.send().await.is(&counted(23_500));
    let read = shop
        .get("_table/tag?filter=id%3E%3D1000&fields=COUNT(*),MIN(id),MAX(id)")
        .await
        .ok_json();
    assert_eq!(
        read["resource"][0],
        json!({"COUNT_ALL": 23_500, "MIN_id": 1_000, "MAX_id": 24_499})
    );
    shop.get("_table/tag/24499?fields=label")
        .await
        .is(&json!({"label": "label\nof 24499"}));
}

async fn other_options_and_media_types_are_refused(tester: Tester) {
    let shop = tester.shop().await;
    import(&shop, "tag", "application/json", "{\"resource\":[]}")
        .await
        .refused(415, "unsupported_media_type");
    csv(&shop, "tag?fields=id", "label\nx\n")
        .await
        .refused(400, "invalid_parameter");
    csv(&shop, "tag?continue=true&rollback=true", "label\nx\n")
        .await
        .refused(400, "invalid_parameter");
    // Without the option a small CSV is answered with its keys, as ever.
    let small = shop.request("POST", "_table/tag?bulk=false");
    let small = small.text("text/csv", "id,label\n70,x\n").send().await;
    small.is(&json!({"resource": [{"id": 70}]}));
}

async fn an_import_may_be_bounded_or_forbidden(tester: Tester) {
    let options = DatabaseOptions {
        max_bulk_bytes: 20,
        ..DatabaseOptions::default()
    };
    let shop = super::shop(&tester.words());
    let bounded = tester.open_with(&shop, options).await;
    csv(&bounded, "tag", "label\nshort\n").await.is(&counted(1));
    csv(&bounded, "tag", "label\nmore than twenty bytes\n")
        .await
        .refused(413, "payload_too_large");
    let options = DatabaseOptions {
        max_bulk_bytes: 0,
        ..DatabaseOptions::default()
    };
    let closed = tester.open_with(&shop, options).await;
    csv(&closed, "tag", "label\nx\n")
        .await
        .refused(400, "invalid_parameter");
}
