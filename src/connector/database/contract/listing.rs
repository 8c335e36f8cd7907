//! Lists of resources and tables, and descriptions.

use serde_json::{Value, json};

use super::cases;
use super::driver::{Tester, allow, values};

cases![
    the_root_lists_resources,
    tables_are_listed,
    tables_are_listed_with_details,
    only_reachable_tables_are_listed,
    a_table_is_described,
    fields_are_described,
    relations_are_described,
    several_tables_are_described_at_once,
    unknown_parts_of_a_description_are_404,
    a_view_is_described_as_one,
    unknown_resources_are_404_and_wrong_methods_405,
];

async fn the_root_lists_resources(tester: Tester) {
    let shop = tester.shop().await;
    let mut names = vec!["_schema", "_table"];
    if tester.words().routines.is_some() {
        names.extend(["_proc", "_func"]);
    }
    let entries: Vec<_> = names.iter().map(|name| json!({ "name": name })).collect();
    shop.get("").await.is(&json!({ "resource": entries }));
    shop.get("?as_list=true")
        .await
        .is(&json!({ "resource": names }));
    let list = shop.get("?as_access_list=true").await.ok_json();
    let list = values(list["resource"].clone());
    for component in ["", "*", "_schema/", "_table/*", "_table/customer/*"] {
        assert!(list.contains(&json!(component)), "{component}");
    }
}

async fn tables_are_listed(tester: Tester) {
    let shop = tester.shop().await;
    let list = shop.get("_table?as_list=true").await.ok_json();
    let mut names = values(list["resource"].clone());
    names.sort_by_key(ToString::to_string);
    assert_eq!(
        names,
        values(json!([
            "active_customer",
            "customer",
            "invoice",
            "invoice_tag",
            "line",
            "profile",
            "tag"
        ]))
    );
    shop.get("_table?ids=customer,tag,none")
        .await
        .is(&json!({"resource": [{"name": "customer"}, {"name": "tag"}]}));
}

async fn tables_are_listed_with_details(tester: Tester) {
    let shop = tester.shop().await;
    let list = shop.get("_table?fields=*&ids=customer").await.ok_json();
    let entry = &list["resource"][0];
    assert_eq!(entry["name"], "customer");
    assert_eq!(entry["label"], "Customer");
    assert_eq!(entry["plural"], "Customers");
    assert_eq!(entry["is_view"], false);
    assert_eq!(
        entry["access"],
        json!(["GET", "POST", "PUT", "PATCH", "DELETE"])
    );
}

async fn only_reachable_tables_are_listed(tester: Tester) {
    let shop = tester.shop().await;
    let caller = shop.with_role(&[allow("_table", &["GET"]), allow("_table/tag/*", &["POST"])]);
    caller
        .get("_table?include_access=true")
        .await
        .is(&json!({"resource": [{"name": "tag", "access": ["POST"]}]}));
}

async fn a_table_is_described(tester: Tester) {
    let shop = tester.shop().await;
    let document = shop.get("_schema/invoice").await.ok_json();
    assert_eq!(document["alias"], json!(null));
    assert_eq!(document["name"], "invoice");
    assert_eq!(document["primary_key"], json!(["id"]));
    assert_eq!(document["access"], 31);
    assert_eq!(document["is_view"], false);
    let constraints = document["constraints"].as_object().unwrap();
    let of_kind = |kind: &str| -> Vec<Value> {
        let found = constraints
            .values()
            .filter(|constraint| constraint["constraint_type"] == kind);
        found.cloned().collect()
    };
    let columns = |kind: &str| of_kind(kind)[0]["column_name"].clone();
    assert_eq!(columns("primary key"), json!(["id"]));
    assert_eq!(columns("unique"), json!(["number"]));
    let check = of_kind("check")[0]["check_clause"].clone();
    assert!(check.as_str().unwrap().contains("total"), "{check}");
    assert_eq!(of_kind("foreign key").len(), 1);
    let constraint = &of_kind("foreign key")[0];
    assert_eq!(constraint["constraint_type"], "foreign key");
    assert_eq!(constraint["column_name"], json!(["customer_id"]));
    assert_eq!(constraint["referenced_table_name"], "customer");
    assert_eq!(constraint["referenced_column_name"], json!(["id"]));
    let line = shop.get("_schema/line").await.ok_json();
    assert_eq!(line["primary_key"], json!(["invoice_id", "position"]));
}

async fn fields_are_described(tester: Tester) {
    let shop = tester.shop().await;
    let id = shop.get("_schema/customer/_field/id").await.ok_json();
    assert!(matches!(id["type"].as_str(), Some("id" | "bigid")), "{id}");
    assert_eq!(id["is_primary_key"], true);
    assert_eq!(id["required"], false);
    let email = shop.get("_schema/customer/EMAIL").await.ok_json();
    assert_eq!(email["allow_null"], false);
    assert_eq!(email["required"], true);
    assert_eq!(email["is_unique"], true);
    let active = shop
        .get("_schema/customer/_field/is_active")
        .await
        .ok_json();
    assert_eq!(active["type"], "boolean");
    assert_eq!(active["required"], false);
    let reference = shop
        .get("_schema/invoice/_field/customer_id")
        .await
        .ok_json();
    assert_eq!(reference["type"], "reference");
    assert_eq!(reference["ref_table"], "customer");
    assert_eq!(reference["ref_field"], "id");
    let list = shop
        .get("_schema/tag/_field?ids=label")
        .await
        .column("name");
    assert_eq!(list, values(json!(["label"])));
}

async fn relations_are_described(tester: Tester) {
    let shop = tester.shop().await;
    let names = shop.get("_schema/invoice/_related").await.column("name");
    for name in [
        "customer_by_customer_id",
        "tag_by_invoice_tag",
        "line_by_invoice_id",
        "invoice_tag_by_invoice_id",
    ] {
        assert!(names.contains(&json!(name)), "{name}: {names:?}");
    }
    let many = shop
        .get("_schema/invoice/_related/tag_by_invoice_tag")
        .await
        .ok_json();
    assert_eq!(many["type"], "many_many");
    assert_eq!(many["junction_table"], "invoice_tag");
    assert_eq!(many["junction_field"], "invoice_id");
    assert_eq!(many["junction_ref_field"], "tag_id");
    assert_eq!(many["ref_table"], "tag");
    let one = shop
        .get("_schema/customer/_related/profile_by_customer_id")
        .await
        .ok_json();
    assert_eq!(one["type"], "has_one");
}

async fn several_tables_are_described_at_once(tester: Tester) {
    let shop = tester.shop().await;
    let list = shop.get("_schema?ids=tag,customer").await.ok_json();
    assert_eq!(list["resource"][0]["name"], "tag");
    assert_eq!(list["resource"][1]["field"][0]["name"], "id");
}

async fn unknown_parts_of_a_description_are_404(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_schema/custmer")
        .await
        .refused(404, "unknown_table");
    for target in [
        "_schema/customer/_field/emial",
        "_schema/customer/emial",
        "_schema/customer/_related/nothing",
    ] {
        shop.get(target).await.refused(404, "unknown_resource");
    }
}

async fn a_view_is_described_as_one(tester: Tester) {
    let shop = tester.shop().await;
    let view = shop.get("_schema/active_customer").await.ok_json();
    assert_eq!(view["is_view"], true);
    assert_eq!(view["primary_key"], json!([]));
}

async fn unknown_resources_are_404_and_wrong_methods_405(tester: Tester) {
    let shop = tester.shop().await;
    shop.get("_nothing").await.refused(404, "unknown_resource");
    shop.get("_table/customer/1/invoice")
        .await
        .refused(404, "unknown_resource");
    shop.post("_table", json!({}))
        .await
        .refused(405, "method_not_allowed");
}
