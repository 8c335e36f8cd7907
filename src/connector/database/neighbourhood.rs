//! The other database services that the relations of a call lead to: their tables, and what the caller may read there.
//!
//! A call asks for a neighbour once, before it is planned; what is planned and read afterwards belongs to one revision
//! and to one state of each catalog.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use http::Method;

use super::catalog::Catalog;
use super::connector::DatabaseConnector;
use super::operations::component_of;
use super::options::DatabaseOptions;
use super::plan::Children;
use super::planner::{Missing, Wanted};
use super::rows::RowWriter;
use crate::connector::access::{Access, Verbs};
use crate::connector::{Neighbour, Neighbours};
use crate::error::{Error, ErrorKind, Result};
use crate::names::ServiceName;

/// The neighbours of a call.
#[derive(Default)]
pub struct Neighbourhood {
    /// None for a service of which the caller may read nothing that it asked for.
    services: BTreeMap<ServiceName, Option<Known>>,
}

/// What is known of a neighbour.
pub(super) struct Known {
    pub(super) connector: Arc<DatabaseConnector>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) access: Access,
    /// Whether it is the service of the call itself, which the relations of another one lead back to.
    is_own: bool,
}

impl fmt::Debug for Neighbourhood {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.services.keys()).finish()
    }
}

impl Neighbourhood {
    /// No neighbours.
    pub const fn empty() -> Self {
        Self {
            services: BTreeMap::new(),
        }
    }

    /// Whether nobody was asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Whether it is known what there is to know of a service.
    pub(super) fn is_settled(&self, service: &ServiceName) -> bool {
        self.services.contains_key(service)
    }

    /// The name of a service, as it is held here.
    pub(super) fn name(&self, service: &ServiceName) -> Option<&ServiceName> {
        Some(self.services.get_key_value(service)?.0)
    }

    /// Whether it is the service of the call itself.
    pub(super) fn is_own(&self, service: &ServiceName) -> bool {
        self.get(service).is_some_and(|known| known.is_own)
    }

    /// A neighbour that the caller may read.
    pub(super) fn get(&self, service: &ServiceName) -> Option<&Known> {
        self.services.get(service)?.as_ref()
    }

    /// Asks for a service and reads its catalog, if the caller may read one of the tables that are wanted of it. What
    /// was wanted by its name and may not be read refuses the call.
    pub(super) async fn meet(
        &mut self,
        service: &ServiceName,
        wanted: &[Wanted],
        own: &DatabaseConnector,
        neighbours: &dyn Neighbours,
        deadline: Instant,
    ) -> Result<()> {
        let is_named = wanted.iter().any(|wanted| wanted.is_named);
        let found = match neighbours.find(service) {
            Err(error) if !is_named && error.kind() != ErrorKind::Internal => None,
            found => Some(found?),
        };
        let known = match found {
            None => None,
            Some(Neighbour { connector, access }) => {
                let mut may_read = false;
                for wanted in wanted {
                    let component = component_of("_table", &wanted.table);
                    if wanted.is_named {
                        access.of(&component, &Method::GET)?;
                    }
                    may_read |= access.verbs(&component).contain(Verbs::of(&Method::GET));
                }
                if may_read {
                    let connector = connector.database().ok_or_else(|| {
                        Error::new(
                            ErrorKind::NotImplemented,
                            format!(
                                "the service '{service}' is no database that can be related to"
                            ),
                        )
                    })?;
                    let catalog = connector.catalog(deadline).await;
                    Some(Known {
                        catalog: catalog.map_err(|error| of_neighbour(service, error))?,
                        is_own: Arc::ptr_eq(&connector.database, &own.database),
                        connector,
                        access,
                    })
                } else {
                    None
                }
            }
        };
        self.services.insert(service.clone(), known);
        Ok(())
    }

    /// Whether a neighbour embeds related records of its own as they would look in an answer with these settings.
    pub(super) fn embeds_related(&self, service: &ServiceName, options: &DatabaseOptions) -> bool {
        self.get(service).is_some_and(|known| {
            let theirs = &known.connector.options;
            known.connector.database.embeds_related()
                && theirs.numbers == options.numbers
                && theirs.datetimes == options.datetimes
        })
    }

    fn known(&self, service: &ServiceName) -> Result<&Known> {
        self.get(service)
            .ok_or_else(|| Error::internal("a neighbour was planned that is not known"))
    }

    /// Reads the records of many parents from a neighbour.
    pub(super) async fn read_children(
        &self,
        service: &ServiceName,
        children: &Children,
        rows: RowWriter,
    ) -> Result<RowWriter> {
        let connector = &self.known(service)?.connector;
        let outcome = connector.database.read_children(children, rows).await;
        connector
            .noticed(outcome)
            .map_err(|error| of_neighbour(service, error))
    }

    /// Reads records of a neighbour.
    pub(super) async fn read(
        &self,
        service: &ServiceName,
        select: super::plan::Select,
        rows: RowWriter,
    ) -> Result<RowWriter> {
        let connector = &self.known(service)?.connector;
        let outcome = match connector.database.prepare(select) {
            Ok(prepared) => connector.database.read(&prepared, &[], rows).await,
            Err(error) => Err(error),
        };
        connector
            .noticed(outcome)
            .map_err(|error| of_neighbour(service, error))
    }
}

impl DatabaseConnector {
    /// Meets every service that a call leads to. `missing` says which ones are still unknown.
    pub(super) async fn neighbourhood(
        &self,
        neighbours: &dyn Neighbours,
        deadline: Instant,
        missing: impl Fn(&Neighbourhood) -> Missing,
    ) -> Result<Arc<Neighbourhood>> {
        let mut neighbourhood = Neighbourhood::default();
        // Each round settles at least one service, and relations end at a certain depth.
        loop {
            let unknown = missing(&neighbourhood);
            if unknown.is_empty() {
                return Ok(Arc::new(neighbourhood));
            }
            for (service, wanted) in unknown {
                neighbourhood
                    .meet(&service, &wanted, self, neighbours, deadline)
                    .await?;
            }
        }
    }
}

/// The error of a neighbour, as one of the call: which service it was, and no word on the health of the one called.
fn of_neighbour(service: &ServiceName, error: Error) -> Error {
    let message = format!("the related service '{service}': {}", error.message());
    let kind = match error.kind() {
        ErrorKind::BackendUnavailable => ErrorKind::RelatedServiceUnavailable,
        kind => kind,
    };
    Error::new(kind, message)
        .with_fact("related_service", service.as_str())
        .with_source(error)
}
