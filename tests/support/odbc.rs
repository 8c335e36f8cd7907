//! ODBC drivers of this machine, by the paths of their libraries: nothing that is listed under /etc takes part.

use std::path::PathBuf;

/// What to install for the drivers.
const INSTALL: &str = "install odbc-postgresql, odbc-mariadb and libsqliteodbc (Debian)";

/// The library of a driver.
pub(crate) fn driver(library: &str) -> PathBuf {
    let folders = [
        format!("/usr/lib/{}-linux-gnu/odbc", std::env::consts::ARCH),
        "/usr/lib/odbc".to_owned(),
        "/usr/lib64".to_owned(),
    ];
    let found = folders
        .iter()
        .map(|folder| PathBuf::from(folder).join(library))
        .find(|path| path.exists());
    match found {
        Some(path) => path,
        None => panic!("the ODBC driver {library} is not there; {INSTALL}"),
    }
}
