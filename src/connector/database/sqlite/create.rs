//! A new database file, for `tidegate init`. The gateway itself makes no tables.

use std::io;
use std::path::Path;

use rusqlite::Connection;

/// Makes a database file by running `statements`. Fails when the file is there already, and as SQLite does.
pub fn create(path: &Path, statements: &str) -> io::Result<()> {
    // SQLite takes an empty file for a new database, and so nobody else can come between.
    std::fs::File::create_new(path)?;
    let connection = Connection::open(path).map_err(io::Error::other)?;
    connection
        .execute_batch(statements)
        .map_err(io::Error::other)?;
    connection
        .close()
        .map_err(|(_, error)| io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        create(&path, "CREATE TABLE a (b); INSERT INTO a VALUES (1), (2);").unwrap();
        let connection = Connection::open(&path).unwrap();
        let count: i64 = connection
            .query_row("SELECT COUNT(*) FROM a", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, 2);
        let error = create(&path, "DROP TABLE a").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let other = folder.path().join("b.db");
        assert!(create(&other, "no SQL").is_err());
    }
}
