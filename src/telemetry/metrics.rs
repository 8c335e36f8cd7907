//! Metrics in the text format of Prometheus (OpenMetrics 1.0). Labels come from the manifests and from the tables of
//! operations, never from callers, so their number is bounded.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use std::collections::BTreeMap;

/// Upper bounds of the duration buckets, in seconds.
pub const DURATION_BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0,
];

/// Counters of one operation of one service. Written without locks.
#[derive(Debug, Default)]
pub struct OperationMetrics {
    by_class: [AtomicU64; 5],
    buckets: [AtomicU64; DURATION_BUCKETS.len()],
    count: AtomicU64,
    sum_nanoseconds: AtomicU64,
}

impl OperationMetrics {
    /// Counts one answered call.
    pub fn observe(&self, status: http::StatusCode, duration: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.by_class.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = DURATION_BUCKETS
            .iter()
            .position(|bound| seconds <= *bound)
            .and_then(|index| self.buckets.get(index))
        {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanoseconds
            .fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// Operations and their counters.
type Counters = Vec<(&'static str, Arc<OperationMetrics>)>;

/// The counters of one service's operations. They are made when it is called for the first time: most of many services
/// may never be.
#[derive(Debug, Default)]
pub struct ServiceMetrics(OnceLock<Counters>);

impl ServiceMetrics {
    /// The counters of one of the service's `operations`; none for one that is not among them.
    pub fn operation(
        &self,
        metrics: &Metrics,
        service: &str,
        operations: impl IntoIterator<Item = &'static str>,
        operation: &str,
    ) -> Option<&OperationMetrics> {
        let make = || {
            let names = operations.into_iter();
            names
                .map(|name| (name, metrics.operation(service, name)))
                .collect()
        };
        let counters = self.0.get_or_init(make).iter();
        counters
            .filter(|(name, _)| *name == operation)
            .map(|(_, counters)| counters.as_ref())
            .next()
    }
}

/// All metrics of one daemon.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By service and operation.
    operations: Mutex<BTreeMap<String, BTreeMap<&'static str, Arc<OperationMetrics>>>>,
    /// Requests being served.
    pub in_flight: AtomicI64,
    /// Requests refused because the gateway was at capacity.
    pub shed: AtomicU64,
    /// Connections open on the API listener.
    pub connections: AtomicI64,
    /// 1 while the last good tree is served because what is in the sources was refused at the start.
    pub serves_last_good: AtomicI64,
    /// 1 while the tree that is served is also kept on disk.
    pub last_good_kept: AtomicI64,
    /// Trees that could not be kept on disk, every try counted.
    pub last_good_failures: AtomicU64,
    reload: Mutex<ReloadMetrics>,
    /// None until something was fetched or should have been.
    fetch: Mutex<Option<FetchMetrics>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct FetchMetrics {
    fetched: u64,
    failed: u64,
    last_success_seconds: i64,
}

#[derive(Debug, Default)]
struct ReloadMetrics {
    applied: u64,
    refused: u64,
    unchanged: u64,
    last_successful: bool,
    last_success_seconds: i64,
    generation: u64,
    revision: String,
    commit: String,
}

/// How a look at the tree ended, for [`Metrics::reloaded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// A new revision is live.
    Applied,
    /// The tree has problems; the old revision stays.
    Refused,
    /// Nothing had changed.
    Unchanged,
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    /// The counters of an operation; the same ones every time.
    pub fn operation(&self, service: &str, operation: &'static str) -> Arc<OperationMetrics> {
        let mut operations = locked(&self.operations);
        let service = match operations.get_mut(service) {
            Some(known) => known,
            None => operations.entry(service.to_owned()).or_default(),
        };
        Arc::clone(service.entry(operation).or_default())
    }

    /// Forgets the counters of services that are gone, so that series do not pile up over reloads.
    pub fn retain_services(&self, exists: impl Fn(&str) -> bool) {
        locked(&self.operations).retain(|service, _| service.is_empty() || exists(service));
    }

    /// Notes the end of a look at the tree.
    pub fn reloaded(&self, outcome: ReloadOutcome, now_seconds: i64) {
        let mut reload = locked(&self.reload);
        match outcome {
            ReloadOutcome::Applied => reload.applied += 1,
            ReloadOutcome::Refused => reload.refused += 1,
            ReloadOutcome::Unchanged => reload.unchanged += 1,
        }
        reload.last_successful = outcome != ReloadOutcome::Refused;
        if outcome == ReloadOutcome::Applied {
            reload.last_success_seconds = now_seconds;
        }
    }

    /// Notes the end of a fetch from a remote.
    pub fn fetched(&self, is_good: bool, now_seconds: i64) {
        let mut fetch = locked(&self.fetch);
        let fetch = fetch.get_or_insert_default();
        if is_good {
            fetch.fetched += 1;
            fetch.last_success_seconds = now_seconds;
        } else {
            fetch.failed += 1;
        }
    }

    /// Notes the revision that is served.
    pub fn serves(&self, generation: u64, revision: &str, commit: Option<&str>) {
        let mut reload = locked(&self.reload);
        reload.generation = generation;
        revision.clone_into(&mut reload.revision);
        commit.unwrap_or("").clone_into(&mut reload.commit);
    }

    /// The text form, with what is known of services.
    pub fn encode<'a>(&self, services: impl IntoIterator<Item = ServiceGauges<'a>>) -> String {
        let services: Vec<ServiceGauges<'a>> = services.into_iter().collect();
        let mut out = String::with_capacity(4096);
        self.write(&mut out);
        write_schemas(&mut out, &services);
        header(
            &mut out,
            "tidegate_service_up",
            "gauge",
            "1 if the service's backend answered last time.",
        );
        for service in &services {
            let Some(is_up) = service.is_up else { continue };
            let (name, up) = (service.name, u8::from(is_up));
            let _ = writeln!(out, "tidegate_service_up{{service=\"{name}\"}} {up}");
        }
        out.push_str("# EOF\n");
        out
    }

    fn write(&self, out: &mut String) {
        let mut operations: Vec<((String, &'static str), Arc<OperationMetrics>)> = Vec::new();
        for (service, of_service) in locked(&self.operations).iter() {
            for (operation, metrics) in of_service {
                // An operation that nobody called has no series.
                if metrics.count.load(Ordering::Relaxed) > 0 {
                    operations.push(((service.clone(), operation), Arc::clone(metrics)));
                }
            }
        }
        header(
            out,
            "tidegate_requests",
            "counter",
            "Requests answered, by the class of their status.",
        );
        for ((service, operation), metrics) in &operations {
            for (class, counter) in (1..).zip(&metrics.by_class) {
                let value = counter.load(Ordering::Relaxed);
                if value > 0 {
                    let _ = writeln!(
                        out,
                        "tidegate_requests_total{{service=\"{service}\",operation=\"{operation}\",status=\"{class}xx\"}} {value}"
                    );
                }
            }
        }
        header(
            out,
            "tidegate_request_duration_seconds",
            "histogram",
            "Time from the head of a request to the head of its answer.",
        );
        for ((service, operation), metrics) in &operations {
            let labels = format!("service=\"{service}\",operation=\"{operation}\"");
            let mut total = 0;
            for (bound, bucket) in DURATION_BUCKETS.iter().zip(&metrics.buckets) {
                total += bucket.load(Ordering::Relaxed);
                let _ = writeln!(
                    out,
                    "tidegate_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {total}"
                );
            }
            let count = metrics.count.load(Ordering::Relaxed).max(total);
            #[expect(
                clippy::cast_precision_loss,
                reason = "a sum of durations is a measurement"
            )]
            let sum = metrics.sum_nanoseconds.load(Ordering::Relaxed) as f64 / 1e9;
            let _ = writeln!(
                out,
                "tidegate_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} {count}"
            );
            let _ = writeln!(
                out,
                "tidegate_request_duration_seconds_sum{{{labels}}} {sum}"
            );
            let _ = writeln!(
                out,
                "tidegate_request_duration_seconds_count{{{labels}}} {count}"
            );
        }
        let mut gauge = |name: &str, help: &str, value: i64| {
            header(out, name, "gauge", help);
            let _ = writeln!(out, "{name} {value}");
        };
        gauge(
            "tidegate_requests_in_flight",
            "Requests being served.",
            self.in_flight.load(Ordering::Relaxed),
        );
        gauge(
            "tidegate_connections",
            "Connections open on the API listener.",
            self.connections.load(Ordering::Relaxed),
        );
        gauge(
            "tidegate_serves_last_good",
            "1 if the last good tree is served, because the one in the sources was refused at the start.",
            self.serves_last_good.load(Ordering::Relaxed),
        );
        gauge(
            "tidegate_last_good_kept",
            "1 if the tree that is served is also kept on disk.",
            self.last_good_kept.load(Ordering::Relaxed),
        );
        let reload = locked(&self.reload);
        gauge(
            "tidegate_last_reload_successful",
            "1 if the tree as it is now is served, 0 if it has problems.",
            i64::from(reload.last_successful),
        );
        gauge(
            "tidegate_last_reload_success_timestamp_seconds",
            "When the revision that is served went live.",
            reload.last_success_seconds,
        );
        gauge(
            "tidegate_generation",
            "Revisions that went live since the start.",
            i64::try_from(reload.generation).unwrap_or(i64::MAX),
        );
        header(
            out,
            "tidegate_requests_shed",
            "counter",
            "Requests refused because the gateway was at capacity.",
        );
        let _ = writeln!(
            out,
            "tidegate_requests_shed_total {}",
            self.shed.load(Ordering::Relaxed)
        );
        header(
            out,
            "tidegate_last_good_failures",
            "counter",
            "Times that the tree that is served could not be kept on disk.",
        );
        let _ = writeln!(
            out,
            "tidegate_last_good_failures_total {}",
            self.last_good_failures.load(Ordering::Relaxed)
        );
        header(
            out,
            "tidegate_reloads",
            "counter",
            "Looks at the tree, by outcome.",
        );
        for (outcome, value) in [
            ("applied", reload.applied),
            ("refused", reload.refused),
            ("unchanged", reload.unchanged),
        ] {
            let _ = writeln!(
                out,
                "tidegate_reloads_total{{outcome=\"{outcome}\"}} {value}"
            );
        }
        if let Some(fetch) = *locked(&self.fetch) {
            header(
                out,
                "tidegate_last_git_fetch_success_timestamp_seconds",
                "gauge",
                "When something was last fetched from a remote, 0 for never.",
            );
            let _ = writeln!(
                out,
                "tidegate_last_git_fetch_success_timestamp_seconds {}",
                fetch.last_success_seconds
            );
            header(
                out,
                "tidegate_git_fetches",
                "counter",
                "Fetches from remotes, by outcome.",
            );
            for (outcome, value) in [("fetched", fetch.fetched), ("failed", fetch.failed)] {
                let _ = writeln!(
                    out,
                    "tidegate_git_fetches_total{{outcome=\"{outcome}\"}} {value}"
                );
            }
        }
        header(
            out,
            "tidegate_revision_info",
            "gauge",
            "The revision that is served.",
        );
        let _ = writeln!(
            out,
            "tidegate_revision_info{{revision=\"{}\",commit=\"{}\"}} 1",
            reload.revision, reload.commit
        );
    }
}

/// What is known of one service, beside its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceGauges<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether its backend answered last time; none if it was not asked.
    pub is_up: Option<bool>,
    /// What is known of its tables; none before they were read.
    pub schema: Option<SchemaGauges>,
}

/// What is known of the tables of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchemaGauges {
    /// How often they changed.
    pub changes: u64,
    /// How long ago the backend was asked for them.
    pub age: Duration,
    /// How many of them are not what the contract says; none without a contract.
    pub drifted: Option<usize>,
}

fn write_schemas(out: &mut String, services: &[ServiceGauges<'_>]) {
    let known = || {
        services
            .iter()
            .filter_map(|service| Some((service.name, service.schema?)))
    };
    if known().next().is_none() {
        return;
    }
    header(
        out,
        "tidegate_schema_changes",
        "counter",
        "Times that the tables of a service's database were found changed.",
    );
    for (name, schema) in known() {
        let changes = schema.changes;
        let _ = writeln!(
            out,
            "tidegate_schema_changes_total{{service=\"{name}\"}} {changes}"
        );
    }
    header(
        out,
        "tidegate_schema_age_seconds",
        "gauge",
        "Time since a service's database was last asked for its tables.",
    );
    for (name, schema) in known() {
        let age = schema.age.as_secs_f64();
        let _ = writeln!(
            out,
            "tidegate_schema_age_seconds{{service=\"{name}\"}} {age}"
        );
    }
    header(
        out,
        "tidegate_contract_drifted_tables",
        "gauge",
        "Tables that are not what the contract of their service says.",
    );
    for (name, drifted) in known().filter_map(|(name, schema)| Some((name, schema.drifted?))) {
        let _ = writeln!(
            out,
            "tidegate_contract_drifted_tables{{service=\"{name}\"}} {drifted}"
        );
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observed_calls_are_counted_by_class_and_duration() {
        let metrics = Metrics::default();
        let operation = metrics.operation("shop", "get_record");
        operation.observe(http::StatusCode::OK, Duration::from_micros(600));
        operation.observe(http::StatusCode::NOT_FOUND, Duration::from_mins(1));
        let text = metrics.encode([]);
        for line in [
            r#"tidegate_requests_total{service="shop",operation="get_record",status="2xx"} 1"#,
            r#"tidegate_requests_total{service="shop",operation="get_record",status="4xx"} 1"#,
            r#"tidegate_request_duration_seconds_bucket{service="shop",operation="get_record",le="0.0005"} 0"#,
            r#"tidegate_request_duration_seconds_bucket{service="shop",operation="get_record",le="0.001"} 1"#,
            r#"tidegate_request_duration_seconds_bucket{service="shop",operation="get_record",le="+Inf"} 2"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn operations_that_nobody_called_have_no_series() {
        let metrics = Metrics::default();
        let _ = metrics.operation("shop", "delete_records");
        assert!(!metrics.encode([]).contains("delete_records"));
    }

    #[test]
    fn the_health_of_services_is_shown() {
        let service = |name, is_up| ServiceGauges {
            name,
            is_up: Some(is_up),
            schema: None,
        };
        let text = Metrics::default().encode([service("shop", true), service("stock", false)]);
        assert!(
            text.contains("tidegate_service_up{service=\"shop\"} 1\n"),
            "{text}"
        );
        assert!(text.ends_with("tidegate_service_up{service=\"stock\"} 0\n# EOF\n"));
    }

    #[test]
    fn services_whose_tables_are_known_have_series_of_them() {
        let service = ServiceGauges {
            name: "shop",
            is_up: None,
            schema: Some(SchemaGauges {
                changes: 2,
                age: Duration::from_millis(1_500),
                drifted: Some(3),
            }),
        };
        let text = Metrics::default().encode([service]);
        for line in [
            "tidegate_schema_changes_total{service=\"shop\"} 2\n",
            "tidegate_schema_age_seconds{service=\"shop\"} 1.5\n",
            "tidegate_contract_drifted_tables{service=\"shop\"} 3\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("tidegate_service_up{"));
        assert!(!Metrics::default().encode([]).contains("schema"));
    }

    #[test]
    fn fetches_have_series_once_there_was_one() {
        let metrics = Metrics::default();
        assert!(!metrics.encode([]).contains("git_fetch"));
        metrics.fetched(true, 7);
        metrics.fetched(false, 9);
        let text = metrics.encode([]);
        for line in [
            "tidegate_git_fetches_total{outcome=\"fetched\"} 1\n",
            "tidegate_git_fetches_total{outcome=\"failed\"} 1\n",
            "tidegate_last_git_fetch_success_timestamp_seconds 7\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn series_of_services_that_are_gone_are_forgotten() {
        let metrics = Metrics::default();
        metrics
            .operation("gone", "x")
            .observe(http::StatusCode::OK, Duration::ZERO);
        metrics.retain_services(|service| service == "stays");
        assert!(!metrics.encode([]).contains("gone"));
    }
}
