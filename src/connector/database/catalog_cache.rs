//! The catalog of a live database: read on first use, by one caller for all, and kept until it is known to be old.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Mutex;
use tokio::time::timeout_at;

use super::backend::Database;
use super::catalog::{Catalog, Served};
use super::table_options::TableOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::names::ServiceName;

/// What is known of the tables and columns.
pub(super) struct CatalogCache {
    /// The service, for the log.
    service: ServiceName,
    /// What the manifest says of tables and columns.
    tables: BTreeMap<String, TableOptions>,
    /// What the manifest named in vain when the catalog was read last, so that the log has it once.
    notices: RwLock<Vec<String>>,
    current: RwLock<Option<Arc<Catalog>>>,
    /// A statement failed in a way that says that tables or columns changed.
    is_stale: AtomicBool,
    /// How often reading was tried to its end, so that those who waited share a failure instead of repeating it.
    attempts: AtomicU64,
    loading: Mutex<Option<(ErrorKind, String)>>,
}

impl CatalogCache {
    /// Knows nothing yet.
    pub(super) fn new(service: ServiceName, tables: BTreeMap<String, TableOptions>) -> Self {
        Self {
            service,
            tables,
            notices: RwLock::default(),
            current: RwLock::default(),
            is_stale: AtomicBool::default(),
            attempts: AtomicU64::default(),
            loading: Mutex::default(),
        }
    }

    /// The catalog as it was read last, if it was.
    pub(super) fn current(&self) -> Option<Arc<Catalog>> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(Arc::clone)
    }

    /// The catalog; read from the database if that was not done yet.
    ///
    /// A stale one is read anew by whoever comes first while all others go on with it.
    pub(super) async fn get(
        &self,
        database: &dyn Database,
        deadline: Instant,
    ) -> Result<Arc<Catalog>> {
        let Some(current) = self.current() else {
            return self.load(database, deadline).await;
        };
        if self.is_stale.swap(false, Ordering::AcqRel) {
            // What fails here will fail, and be reported, in the statement that follows.
            return Ok(self.refresh(database, deadline).await.unwrap_or(current));
        }
        Ok(current)
    }

    /// Reads the catalog anew, whatever is known.
    pub(super) async fn refresh(
        &self,
        database: &dyn Database,
        deadline: Instant,
    ) -> Result<Arc<Catalog>> {
        let mut failure = timeout_at(deadline.into(), self.loading.lock())
            .await
            .map_err(|_elapsed| too_slow())?;
        self.read_into(database, deadline, &mut failure).await
    }

    /// Says that a statement failed as if tables or columns had changed.
    pub(super) fn mark_stale(&self) {
        self.is_stale.store(true, Ordering::Release);
    }

    async fn load(&self, database: &dyn Database, deadline: Instant) -> Result<Arc<Catalog>> {
        let attempts = self.attempts.load(Ordering::Acquire);
        let mut failure = timeout_at(deadline.into(), self.loading.lock())
            .await
            .map_err(|_elapsed| too_slow())?;
        if let Some(current) = self.current() {
            return Ok(current);
        }
        if self.attempts.load(Ordering::Acquire) != attempts
            && let Some((kind, message)) = &*failure
        {
            return Err(Error::new(*kind, message.clone()));
        }
        self.read_into(database, deadline, &mut failure).await
    }

    async fn read_into(
        &self,
        database: &dyn Database,
        deadline: Instant,
        failure: &mut Option<(ErrorKind, String)>,
    ) -> Result<Arc<Catalog>> {
        let outcome = match timeout_at(deadline.into(), database.catalog()).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(too_slow()),
        };
        self.attempts.fetch_add(1, Ordering::AcqRel);
        match outcome {
            Ok(catalog) => {
                let catalog = Arc::new(self.served(catalog));
                *self.current.write().unwrap_or_else(PoisonError::into_inner) =
                    Some(Arc::clone(&catalog));
                *failure = None;
                Ok(catalog)
            }
            Err(error) => {
                *failure = Some((error.kind(), error.message().to_owned()));
                Err(error)
            }
        }
    }

    /// What callers see of what the database has. What the manifest names in vain is no error, because tables come and
    /// go without it; the log has it, each time that it becomes something else.
    fn served(&self, catalog: Catalog) -> Catalog {
        let Served { catalog, notices } = catalog.with(&self.tables);
        let mut known = self.notices.write().unwrap_or_else(PoisonError::into_inner);
        for notice in notices.iter().filter(|notice| !known.contains(notice)) {
            tracing::warn!(service = %self.service, "the manifest does not fit the database: {notice}");
        }
        *known = notices;
        catalog
    }
}

pub(super) fn too_slow() -> Error {
    Error::new(
        ErrorKind::BackendTimeout,
        "the database did not tell its tables in time",
    )
}

/// Whether an error of a statement that was planned against the catalog says that the catalog is old.
pub(super) fn tells_of_change(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnknownTable | ErrorKind::UnknownField | ErrorKind::BackendFailure
    )
}
