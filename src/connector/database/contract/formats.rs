//! Formats of answers, downloads, and large results.

use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::{Value, json};

use super::cases;
use super::driver::{Tester, with};
use crate::connector::database::options::DatabaseOptions;

cases![
    json_is_the_default,
    csv_has_a_header_and_quotes_what_needs_it,
    ndjson_has_one_record_a_line,
    xml_repeats_the_element_of_a_record,
    one_record_is_written_in_every_format,
    an_answer_to_a_write_follows_the_format,
    what_cannot_be_produced_is_406,
    a_file_name_picks_the_format,
    an_unnamed_download_is_named_after_the_table,
    head_is_answered_like_get,
    large_results_arrive_whole_in_every_format,
];

async fn json_is_the_default(tester: Tester) {
    let shop = tester.shop().await;
    for accept in [
        "application/json",
        "*/*",
        "text/html, */*;q=0.1",
        "application/*",
    ] {
        let answer = shop
            .request("GET", "_table/tag?order=id&fields=id")
            .header(&ACCEPT, accept)
            .send()
            .await;
        assert_eq!(answer.ok_text(), r#"{"resource":[{"id":1},{"id":2}]}"#);
        assert_eq!(
            answer.header(&CONTENT_TYPE),
            "application/json; charset=utf-8"
        );
    }
}

async fn csv_has_a_header_and_quotes_what_needs_it(tester: Tester) {
    let shop = tester.shop().await;
    shop.post(
        "_table/tag",
        json!({"resource": [{"label": "a,b"}, {"label": "say \"hi\""}, {"label": ""}, {"label": "two\nlines"}]}),
    )
    .await
    .ok_json();
    let answer = shop
        .request("GET", "_table/tag?order=id")
        .header(&ACCEPT, "text/csv")
        .send()
        .await;
    let mut reader = csv::Reader::from_reader(answer.ok_text().as_bytes());
    assert_eq!(reader.headers().unwrap(), vec!["id", "label"]);
    let labels: Vec<String> = reader
        .records()
        .map(|record| record.unwrap()[1].to_owned())
        .collect();
    assert_eq!(
        labels,
        ["urgent", "paid", "a,b", "say \"hi\"", "", "two\nlines"]
    );
    let none = shop.get("_table/tag?filter=id%3D99&accept=text/csv").await;
    assert!(none.ok_text().starts_with("id,label"), "{}", none.text());
}

async fn ndjson_has_one_record_a_line(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .request("GET", "_table/tag?order=id")
        .header(&ACCEPT, "application/x-ndjson")
        .send()
        .await;
    assert_eq!(
        answer.ok_text(),
        "{\"id\":1,\"label\":\"urgent\"}\n{\"id\":2,\"label\":\"paid\"}\n"
    );
}

async fn xml_repeats_the_element_of_a_record(tester: Tester) {
    let shop = tester.shop().await;
    shop.patch("_table/tag/2", json!({"label": "<&>\"'"}))
        .await
        .ok_json();
    let answer = shop.get("_table/tag?order=id&accept=application/xml").await;
    let text = answer.ok_text();
    assert!(text.starts_with("<?xml version=\"1.0\" ?>"), "{text}");
    assert_eq!(text.matches("<resource>").count(), 2, "{text}");
    assert!(text.contains("<label>&lt;&amp;&gt;"), "{text}");
    assert_eq!(
        answer.header(&CONTENT_TYPE),
        "application/xml; charset=utf-8"
    );
}

async fn one_record_is_written_in_every_format(tester: Tester) {
    let shop = tester.shop().await;
    for (accept, expected) in [
        ("application/json", "{\"id\":1,\"label\":\"urgent\"}"),
        ("application/x-ndjson", "{\"id\":1,\"label\":\"urgent\"}\n"),
        ("text/csv", "id,label\r\n1,urgent\r\n"),
    ] {
        let answer = shop
            .request("GET", "_table/tag/1")
            .header(&ACCEPT, accept)
            .send()
            .await;
        assert_eq!(answer.ok_text(), expected, "{accept}");
    }
    let xml = shop.get("_table/tag/1?accept=text/xml").await;
    assert!(
        xml.ok_text().contains("<label>urgent</label>"),
        "{}",
        xml.text()
    );
}

async fn an_answer_to_a_write_follows_the_format(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .post(
            "_table/tag?accept=text/csv&fields=id,label",
            json!({"resource": [{"label": "x"}]}),
        )
        .await;
    assert_eq!(answer.ok_text(), "id,label\r\n3,x\r\n");
    let answer = shop
        .patch("_table/tag/3?accept=text/csv", json!({"label": "y"}))
        .await;
    assert_eq!(answer.ok_text(), "id\r\n3\r\n");
}

async fn what_cannot_be_produced_is_406(tester: Tester) {
    let shop = tester.shop().await;
    for target in ["_table/tag", "_table/tag/1", "_table", "_schema/tag", ""] {
        shop.request("GET", target)
            .header(&ACCEPT, "image/png")
            .send()
            .await
            .refused(406, "not_acceptable");
    }
    // A write that could not be answered is not begun.
    shop.request("DELETE", "_table/line?force=true")
        .header(&ACCEPT, "image/png")
        .send()
        .await
        .refused(406, "not_acceptable");
    assert_eq!(shop.count("line").await, 3);
}

async fn a_file_name_picks_the_format(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop
        .get(&with(
            "_table/tag",
            &[("file", "my tags.csv"), ("order", "id")],
        ))
        .await;
    assert!(
        answer.ok_text().starts_with("id,label"),
        "{}",
        answer.text()
    );
    assert_eq!(answer.header(&CONTENT_TYPE), "text/csv; charset=utf-8");
    assert_eq!(
        answer.header(&CONTENT_DISPOSITION),
        "attachment; filename=\"my tags.csv\""
    );
    shop.get(&with(
        "_table/tag",
        &[("file", "../../x\"\r\nSet-Cookie: a.csv")],
    ))
    .await
    .refused(400, "invalid_parameter");
}

async fn an_unnamed_download_is_named_after_the_table(tester: Tester) {
    let shop = tester.shop().await;
    let answer = shop.get("_table/TAG?file=true&limit=1").await;
    assert_eq!(
        answer.header(&CONTENT_DISPOSITION),
        "attachment; filename=\"tag.json\""
    );
    let answer = shop.get("_table/tag?file=true&accept=text/csv").await;
    assert_eq!(
        answer.header(&CONTENT_DISPOSITION),
        "attachment; filename=\"tag.csv\""
    );
}

async fn head_is_answered_like_get(tester: Tester) {
    let shop = tester.shop().await;
    let get = shop.get("_table/tag/1").await;
    let head = shop.request("HEAD", "_table/tag/1").send().await;
    assert_eq!(head.status, 200, "{}", head.text());
    assert_eq!(head.headers, get.headers);
}

async fn large_results_arrive_whole_in_every_format(tester: Tester) {
    const RECORDS: usize = 5_000;
    let options = DatabaseOptions {
        max_records: 100_000,
        ..DatabaseOptions::default()
    };
    let words = tester.words();
    let rows: Vec<String> = (0..RECORDS)
        .map(|number| format!("('{number} {}')", "padding ".repeat(8)))
        .collect();
    let caller = tester
        .open_with(
            &[
                format!(
                    "CREATE TABLE big (id {}, note {})",
                    words.auto_key, words.text
                ),
                format!("INSERT INTO big (note) VALUES {}", rows.join(",")),
            ],
            options,
        )
        .await;
    let json = caller.get("_table/big?order=id").await.ok_json();
    let list = json["resource"].as_array().unwrap();
    assert_eq!(list.len(), RECORDS);
    assert_eq!(list[RECORDS - 1]["id"], RECORDS);
    let lines = caller
        .get("_table/big?order=id&accept=application/x-ndjson")
        .await;
    let mut count = 0;
    for line in lines.ok_text().lines() {
        count += 1;
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["id"], count);
    }
    assert_eq!(count, RECORDS);
    let csv = caller.get("_table/big?order=id&accept=text/csv").await;
    assert_eq!(csv.ok_text().lines().count(), RECORDS + 1);
    let xml = caller.get("_table/big?order=id&accept=text/xml").await;
    assert_eq!(xml.ok_text().matches("<resource>").count(), RECORDS);
    let part = caller
        .get("_table/big?order=id&limit=3000&include_count=true&fields=id")
        .await
        .ok_json();
    assert_eq!(part["meta"]["count"], RECORDS);
    assert_eq!(part["meta"]["next"], 3000);
}
