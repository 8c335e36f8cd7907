//! Asks the backends now and then whether they answer. Health only: no revision waits for it.
//!
//! The backends of ten thousand services are not asked all at the same moment: every service has its turn, one after
//! another, and one that answered calls since its last turn is not asked. Services that nobody asked yet, all of them
//! after the start, come first, and by a way of their own: however many of them do not answer, the others have their
//! turns.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::MissedTickBehavior;

use crate::error::{Error, ErrorKind};
use crate::names::ServiceName;
use crate::snapshot::publish::Reader;
use crate::snapshot::{HealthState, Service};

/// Time between two turns of a service, where there are not more than [`PERIOD`] by [`SHORTEST_GAP`] of them.
const PERIOD: Duration = Duration::from_secs(15);
/// Shortest time between the turns of two services.
const SHORTEST_GAP: Duration = Duration::from_millis(50);
/// Time between two services that are asked for the first time.
const FIRST_GAP: Duration = Duration::from_millis(10);
/// Most services that are asked at the same time, for the first time and in their turn, each.
const MAX_ASKED: usize = 8;
/// Longest wait for one backend.
const PATIENCE: Duration = Duration::from_secs(5);

type Services = BTreeMap<ServiceName, Arc<Service>>;

/// Why a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    First,
    Turn,
}

/// Probes the active services of the current snapshot, for ever.
pub async fn run(mut reader: Reader) {
    let mut snapshot = reader.current();
    let mut turns = Turns::default();
    turns.revise(&snapshot.services);
    let mut asked = FuturesUnordered::new();
    let mut first = tokio::time::interval(FIRST_GAP);
    first.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = Box::pin(tokio::time::sleep(gap(snapshot.services.len())));
    loop {
        tokio::select! {
            () = reader.replaced(snapshot.revision.generation) => {
                snapshot = reader.current();
                turns.revise(&snapshot.services);
            }
            Some((name, occasion)) = asked.next(), if !asked.is_empty() => {
                turns.answered(&name, occasion);
            }
            _ = first.tick(), if turns.awaits_first() => {
                if let Some(service) = turns.first(&snapshot.services) {
                    asked.push(ask(service, Occasion::First));
                }
            }
            () = turn.as_mut() => {
                turn.set(tokio::time::sleep(gap(snapshot.services.len())));
                if let Some(service) = turns.next(&snapshot.services) {
                    asked.push(ask(service, Occasion::Turn));
                }
            }
        }
    }
}

async fn ask(service: Arc<Service>, occasion: Occasion) -> (ServiceName, Occasion) {
    let outcome = tokio::time::timeout(PATIENCE, service.connector.probe()).await;
    let outcome = outcome.unwrap_or_else(|_elapsed| {
        Err(Error::new(
            ErrorKind::BackendTimeout,
            "the service did not answer in time",
        ))
    });
    service.note_health(outcome.as_ref().map(|&()| ()));
    // That was no call.
    service.health.take_answered();
    (service.name.clone(), occasion)
}

/// Time between the turns of two services, so that each of them has one in a period.
fn gap(services: usize) -> Duration {
    let services = u32::try_from(services).unwrap_or(u32::MAX).max(1);
    (PERIOD / services).max(SHORTEST_GAP)
}

/// Whose turn it is.
#[derive(Default)]
struct Turns {
    /// Services that nobody asked yet.
    unasked: VecDeque<ServiceName>,
    /// Services that are being asked.
    asked: HashSet<ServiceName>,
    /// How many of them for the first time.
    first: usize,
    /// The service that had its turn last.
    last: Option<ServiceName>,
}

impl Turns {
    /// There is a new revision.
    fn revise(&mut self, services: &Services) {
        self.unasked = services
            .values()
            .filter(|service| is_unasked(service) && !self.asked.contains(&service.name))
            .map(|service| service.name.clone())
            .collect();
    }

    /// A service was asked.
    fn answered(&mut self, name: &ServiceName, occasion: Occasion) {
        self.asked.remove(name);
        if occasion == Occasion::First {
            self.first = self.first.saturating_sub(1);
        }
    }

    /// Whether a service waits to be asked for the first time, and may be.
    fn awaits_first(&self) -> bool {
        !self.unasked.is_empty() && self.first < MAX_ASKED
    }

    /// The next service to be asked for the first time.
    fn first(&mut self, services: &Services) -> Option<Arc<Service>> {
        let name = self.unasked.pop_front()?;
        // A call may have been faster.
        let service = services
            .get(&name)
            .filter(|service| is_unasked(service) && !self.asked.contains(&name))?;
        self.first = self.first.saturating_add(1);
        self.asked.insert(name);
        Some(Arc::clone(service))
    }

    /// The service whose turn it is now, if it is to be asked.
    fn next(&mut self, services: &Services) -> Option<Arc<Service>> {
        if self.asked.len().saturating_sub(self.first) >= MAX_ASKED {
            return None;
        }
        let last = self
            .last
            .as_ref()
            .map_or(Bound::Unbounded, |last| Bound::Excluded(last.as_str()));
        let (name, service) = services
            .range::<str, _>((last, Bound::Unbounded))
            .next()
            .or_else(|| services.first_key_value())?;
        self.last = Some(name.clone());
        service.connector.release_idle();
        let is_idle = service.is_active
            && !is_unasked(service)
            && !self.asked.contains(name)
            && !service.health.take_answered();
        is_idle.then(|| {
            self.asked.insert(name.clone());
            Arc::clone(service)
        })
    }
}

fn is_unasked(service: &Service) -> bool {
    service.is_active && service.health.state() == HealthState::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::secrets::Placeholders;
    use crate::snapshot::assemble::wanted;
    use crate::snapshot::build;
    use crate::snapshot::candidate::Candidate;
    use crate::tree::{Provenance, Tree};
    use std::path::Path;

    /// Services `s00`, `s01`, …, which nobody asked. Their files do not exist.
    async fn services(count: usize) -> Services {
        let tables: Vec<String> = (0..count)
            .map(|number| {
                format!(
                    "[service.s{number:02}]\ntype = \"sqlite\"\nconfig.database = \"{number}.db\"\n"
                )
            })
            .collect();
        let files = [("a.toml".to_owned(), tables.concat().into_bytes())];
        let tree = Tree::new("", files, Provenance::default());
        let Candidate { set, configs, .. } = Candidate::of(tree, &Placeholders).unwrap();
        let wanted = wanted(&set, configs);
        let folder = Path::new("/nowhere");
        let clock = crate::clock::system();
        let none = BTreeMap::new();
        let built = build::services(&none, wanted, folder, &clock).await;
        built.unwrap().0
    }

    fn names(asked: impl IntoIterator<Item = Option<Arc<Service>>>) -> Vec<String> {
        let asked = asked.into_iter().map(|service| {
            service.map_or_else(|| "-".to_owned(), |service| service.name.to_string())
        });
        asked.collect()
    }

    #[tokio::test]
    async fn few_are_asked_for_the_first_time_at_once_and_all_of_them_in_the_end() {
        let services = services(20).await;
        let mut turns = Turns::default();
        turns.revise(&services);
        let mut asked = Vec::new();
        while turns.awaits_first() {
            asked.extend(turns.first(&services));
        }
        assert_eq!(asked.len(), MAX_ASKED);
        // A new revision does not begin anew with those that are being asked.
        turns.revise(&services);
        assert!(!turns.awaits_first());
        let mut count = asked.len();
        while let Some(service) = asked.pop() {
            service.health.failed("down");
            turns.answered(&service.name, Occasion::First);
            while turns.awaits_first() {
                asked.extend(turns.first(&services));
                count += 1;
            }
        }
        assert_eq!(count, 20);
    }

    #[tokio::test]
    async fn everybody_has_a_turn_however_many_do_not_answer_the_first_time() {
        let services = services(12).await;
        let mut turns = Turns::default();
        turns.revise(&services);
        while turns.awaits_first() {
            let _never_answers = turns.first(&services);
        }
        for service in services.values().skip(MAX_ASKED) {
            service.health.failed("down");
        }
        let round = names((0..12).map(|_| turns.next(&services)));
        assert_eq!(round.iter().filter(|name| *name == "-").count(), MAX_ASKED);
        assert_eq!(round[8..], ["s08", "s09", "s10", "s11"]);
    }

    #[tokio::test]
    async fn turns_go_round_and_leave_out_whoever_answered_calls() {
        let services = services(3).await;
        let mut turns = Turns::default();
        for service in services.values() {
            service.health.answered();
        }
        // A call is proof for one round.
        let mut round = |answering: &str| {
            if let Some(service) = services.get(answering) {
                service.health.answered();
            }
            let round: Vec<_> = (0..3).map(|_| turns.next(&services)).collect();
            for service in round.iter().flatten() {
                turns.answered(&service.name, Occasion::Turn);
            }
            names(round)
        };
        assert_eq!(round(""), ["-", "-", "-"]);
        assert_eq!(round("s01"), ["s00", "-", "s02"]);
        assert_eq!(round(""), ["s00", "s01", "s02"]);
        services["s02"].health.answered();
        services["s02"].health.failed("down");
        assert_eq!(round(""), ["s00", "s01", "s02"], "it failed after that");
    }

    #[tokio::test]
    async fn turns_go_on_behind_a_service_that_is_gone() {
        let mut services = services(4).await;
        for service in services.values() {
            service.health.failed("down");
        }
        let mut turns = Turns::default();
        assert_eq!(names((0..2).map(|_| turns.next(&services))), ["s00", "s01"]);
        services.remove("s01");
        services.remove("s02");
        assert_eq!(names([turns.next(&services)]), ["s03"]);
        turns.revise(&BTreeMap::new());
        assert!(turns.next(&BTreeMap::new()).is_none());
    }

    #[test]
    fn many_services_have_their_turns_farther_apart() {
        assert_eq!(gap(0), PERIOD);
        assert_eq!(gap(1), PERIOD);
        assert_eq!(gap(10) * 10, PERIOD);
        assert_eq!(gap(10_000), SHORTEST_GAP);
    }
}
