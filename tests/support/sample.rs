//! Small databases and manifests that the tests make for themselves.

use std::path::Path;

use rusqlite::Connection;

use super::watched::WatchedDirectory;

/// The key of the role that may do everything.
pub const ADMIN: &str = "key-of-the-administrator-0123456789";
/// The key of the role that may read everything.
pub const READER: &str = "key-of-the-reader-0123456789abcdef";

/// The digest of a key as manifests hold it.
pub fn digest(key: &str) -> String {
    tidegate::auth::key::KeyDigest::of(key).to_string()
}

/// A `[key.…]` table.
pub fn key(name: &str, role: &str, key: &str) -> String {
    format!(
        "[key.{name}]\nrole = \"{role}\"\nsha256 = [\"{}\"]\n\n",
        digest(key)
    )
}

/// A `[service.…]` table over a SQLite file below the data directory.
pub fn sqlite_service(name: &str, file: &str) -> String {
    format!(
        "[service.{name}]\ntype = \"sqlite\"\nlabel = \"{name}\"\n\n[service.{name}.config]\ndatabase = \"{file}\"\n\n"
    )
}

/// Roles `admin` and `reader` over every service, and a key for each.
pub fn people() -> String {
    let mut text = String::from(
        r#"[role.admin]
description = "May do everything"
[[role.admin.access]]
service = "*"
component = "*"
verbs = ["GET", "POST", "PUT", "PATCH", "DELETE"]

[role.reader]
description = "May read everything"
[[role.reader.access]]
service = "*"
component = "*"
verbs = ["GET"]

"#,
    );
    text.push_str(&key("admin", "admin", ADMIN));
    text.push_str(&key("reader", "reader", READER));
    text
}

/// A shop: customers, their invoices, tags on invoices, a view, and rows that are easy to tell apart.
pub fn create_shop(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
            PRAGMA foreign_keys = ON;
            CREATE TABLE customer (
                id INTEGER PRIMARY KEY,
                email TEXT NOT NULL UNIQUE,
                full_name TEXT,
                is_active BOOLEAN NOT NULL DEFAULT 1,
                credit DECIMAL(12,2) NOT NULL DEFAULT 0 CHECK (credit >= 0),
                owner TEXT NOT NULL DEFAULT 'nobody'
            );
            CREATE TABLE invoice (
                id INTEGER PRIMARY KEY,
                customer_id INTEGER NOT NULL REFERENCES customer(id),
                number TEXT NOT NULL,
                total DECIMAL(12,2) NOT NULL,
                issued_on DATE
            );
            CREATE TABLE tag (id INTEGER PRIMARY KEY, label TEXT NOT NULL UNIQUE);
            CREATE TABLE invoice_tag (
                invoice_id INTEGER NOT NULL REFERENCES invoice(id),
                tag_id INTEGER NOT NULL REFERENCES tag(id),
                PRIMARY KEY (invoice_id, tag_id)
            );
            CREATE TABLE secret (id INTEGER PRIMARY KEY, word TEXT NOT NULL);
            CREATE VIEW rich AS SELECT id, email FROM customer WHERE credit > 100;

            INSERT INTO customer (id, email, full_name, is_active, credit, owner) VALUES
                (1, 'ann@example.org', 'Ann Berg', 1, 250.5, 'north'),
                (2, 'bo@example.org', 'Bo Lind', 0, 10, 'north'),
                (3, 'cy@example.org', NULL, 1, 99.99, 'south'),
                (4, 'di@example.org', 'Di \"Quote\" O''Moe, Esq.', 1, 0, 'south');
            INSERT INTO invoice (id, customer_id, number, total, issued_on) VALUES
                (1, 1, 'A-1', 12.5, '2026-01-02'),
                (2, 1, 'A-2', 7, '2026-02-03'),
                (3, 2, 'B-1', 100, '2026-03-04'),
                (4, 3, 'C-1', 0.01, NULL);
            INSERT INTO tag (id, label) VALUES (1, 'paid'), (2, 'late');
            INSERT INTO invoice_tag (invoice_id, tag_id) VALUES (1, 1), (2, 1), (2, 2);
            INSERT INTO secret (id, word) VALUES (1, 'xyzzy-must-not-leak');",
        )
        .unwrap();
}

/// A table `number(id, value, text)` with so many rows.
pub fn create_numbers(path: &Path, rows: u32) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE number (id INTEGER PRIMARY KEY, value INTEGER NOT NULL, text TEXT NOT NULL);
            WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {rows})
            INSERT INTO number SELECT n, n * 7, 'row number ' || n || ' of a table that is not small' FROM counter;"
        ))
        .unwrap();
}

/// A directory that serves the shop as `shop`, with the people above.
pub fn shop() -> WatchedDirectory {
    let directory = WatchedDirectory::new();
    create_shop(&directory.data().join("shop.db"));
    directory.write("shop.toml", sqlite_service("shop", "shop.db"));
    directory.write("people.toml", people());
    directory
}

/// The same with one more manifest.
pub fn shop_with(manifest: &str) -> WatchedDirectory {
    let directory = shop();
    directory.write("more.toml", manifest);
    directory
}
