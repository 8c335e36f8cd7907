//! Plans of requests that come again, so that they are neither parsed nor planned nor written as SQL twice.
//!
//! A plan depends on the request's text, on the catalog and on what the caller may do; all of it is compared. What
//! is compared by address is held by the entry, so that no address can be used again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::mem;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::catalog::Catalog;
use crate::connector::access::{Access, Grant};

/// Most plans that one service keeps.
pub(super) const MAX_PLANS: usize = 1_024;
/// Parts with a lock each, so that requests seldom meet.
const SHARDS: usize = 16;
/// Plans of a part that were used lately; as many again may linger that were not.
const YOUNG_PLANS: usize = MAX_PLANS / SHARDS / 2;
/// Longest query string and headers that are kept.
const MAX_TEXT_BYTES: usize = 4_096;

/// What a plan depends on, borrowed from the request.
pub(super) struct PlanKey<'a> {
    /// The catalog that names were looked up in.
    pub(super) catalog: &'a Arc<Catalog>,
    /// What the caller may do.
    pub(super) access: &'a Access,
    /// The grant for the path.
    pub(super) grant: &'a Grant,
    /// The table as the path has it.
    pub(super) table: &'a str,
    /// The query string as it was sent.
    pub(super) query: &'a str,
    /// The headers that pick the format, as they were sent.
    pub(super) accept: &'a [u8],
    /// Which operation.
    pub(super) operation: &'static str,
}

impl PlanKey<'_> {
    fn hashed(&self) -> impl Hash {
        (
            Arc::as_ptr(self.catalog).cast::<()>() as usize,
            self.access.identity(),
            Arc::as_ptr(self.access.lookups()).cast::<()>() as usize,
            Arc::as_ptr(&self.grant.position).cast::<()>() as usize,
            self.table,
            self.query,
            self.accept,
            self.operation,
        )
    }
}

struct Entry<P> {
    catalog: Arc<Catalog>,
    access: Access,
    grant: Grant,
    table: String,
    query: String,
    accept: Vec<u8>,
    operation: &'static str,
    plan: Arc<P>,
}

impl<P> Entry<P> {
    fn is_for(&self, key: &PlanKey<'_>) -> bool {
        Arc::ptr_eq(&self.catalog, key.catalog)
            && self.access.identity() == key.access.identity()
            && Arc::ptr_eq(self.access.lookups(), key.access.lookups())
            && Arc::ptr_eq(&self.grant.position, &key.grant.position)
            && self.operation == key.operation
            && self.table == key.table
            && self.query == key.query
            && self.accept == key.accept
    }
}

struct Shard<P> {
    young: HashMap<u64, Entry<P>>,
    old: HashMap<u64, Entry<P>>,
}

/// Plans of requests, at most [`MAX_PLANS`]; those not used for long make room.
pub(super) struct PlanCache<P> {
    /// Made for the first plan: most of many services may never have one.
    shards: OnceLock<Vec<Mutex<Shard<P>>>>,
    hasher: RandomState,
}

impl<P> PlanCache<P> {
    pub(super) fn new() -> Self {
        Self {
            shards: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }

    /// The plan of an equal request, if it is kept.
    pub(super) fn get(&self, key: &PlanKey<'_>) -> Option<Arc<P>> {
        let hash = self.hasher.hash_one(key.hashed());
        let mut shard = self.shard(hash)?;
        if let Some(entry) = shard.young.get(&hash)
            && entry.is_for(key)
        {
            return Some(Arc::clone(&entry.plan));
        }
        let entry = shard.old.remove(&hash)?;
        if !entry.is_for(key) {
            return None;
        }
        let plan = Arc::clone(&entry.plan);
        shard.keep(hash, entry);
        Some(plan)
    }

    /// Keeps a plan.
    pub(super) fn insert(&self, key: &PlanKey<'_>, plan: &Arc<P>) {
        if key.query.len().saturating_add(key.accept.len()) > MAX_TEXT_BYTES {
            return;
        }
        let hash = self.hasher.hash_one(key.hashed());
        if let Some(mut shard) = self.shard(hash) {
            shard.keep(
                hash,
                Entry {
                    catalog: Arc::clone(key.catalog),
                    access: key.access.clone(),
                    grant: key.grant.clone(),
                    table: key.table.to_owned(),
                    query: key.query.to_owned(),
                    accept: key.accept.to_vec(),
                    operation: key.operation,
                    plan: Arc::clone(plan),
                },
            );
        }
    }

    /// Forgets every plan; for when the catalog was read anew.
    pub(super) fn clear(&self) {
        for shard in self.shards.get().into_iter().flatten() {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.young.clear();
            shard.old.clear();
        }
    }

    fn shard(&self, hash: u64) -> Option<std::sync::MutexGuard<'_, Shard<P>>> {
        // The map takes the low bits of the hash, the shard the high ones.
        let index = usize::try_from(hash >> 60).ok()?;
        let make = || {
            let shard = || Shard {
                young: HashMap::new(),
                old: HashMap::new(),
            };
            (0..SHARDS).map(|_| Mutex::new(shard())).collect()
        };
        Some(
            self.shards
                .get_or_init(make)
                .get(index)?
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl<P> Shard<P> {
    fn keep(&mut self, hash: u64, entry: Entry<P>) {
        if self.young.len() >= YOUNG_PLANS {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(hash, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::access::{Lookups, Pattern, Rule, Verbs};

    fn access(value: &str) -> Access {
        let rule = Rule {
            names_service: true,
            pattern: Pattern::Everything,
            verbs: Verbs::ALL,
            deny: false,
            filter: None,
            fields: None,
            position: Arc::from("roles.toml:1"),
        };
        Access::new("r", "s", vec![rule], Arc::default()).with_lookups(Arc::new(Lookups::new([(
            "user.email".to_owned(),
            value.to_owned(),
        )])))
    }

    struct World {
        catalog: Arc<Catalog>,
        access: Access,
        grant: Grant,
    }

    impl World {
        fn new() -> Self {
            let access = access("ann");
            let grant = access.of("_table/t", &http::Method::GET).unwrap();
            Self {
                catalog: Arc::default(),
                access,
                grant,
            }
        }
        fn key<'a>(&'a self, query: &'a str) -> PlanKey<'a> {
            PlanKey {
                catalog: &self.catalog,
                access: &self.access,
                grant: &self.grant,
                table: "t",
                query,
                accept: b"",
                operation: "list_records",
            }
        }
    }

    #[test]
    fn a_plan_is_found_again_by_an_equal_request_alone() {
        let world = World::new();
        let cache = PlanCache::new();
        cache.insert(&world.key("limit=1"), &Arc::new(1));
        assert_eq!(cache.get(&world.key("limit=1")).as_deref(), Some(&1));
        assert_eq!(cache.get(&world.key("limit=2")), None);

        let other_user = world
            .access
            .with_lookups(Arc::clone(access("bob").lookups()));
        let key = PlanKey {
            access: &other_user,
            ..world.key("limit=1")
        };
        assert_eq!(cache.get(&key), None, "another caller has other rows");

        let other_role = access("ann");
        let key = PlanKey {
            access: &other_role,
            ..world.key("limit=1")
        };
        assert_eq!(cache.get(&key), None, "another role has other rules");

        let other_catalog = Arc::default();
        let key = PlanKey {
            catalog: &other_catalog,
            ..world.key("limit=1")
        };
        assert_eq!(cache.get(&key), None, "another catalog has other columns");
    }

    #[test]
    fn the_number_of_plans_is_bounded_and_those_in_use_stay() {
        let world = World::new();
        let cache = PlanCache::new();
        cache.insert(&world.key("hot"), &Arc::new(0));
        for number in 1..(4 * MAX_PLANS) {
            cache.insert(&world.key(&number.to_string()), &Arc::new(number));
            assert_eq!(cache.get(&world.key("hot")).as_deref(), Some(&0));
        }
        let kept: usize = cache
            .shards
            .get()
            .unwrap()
            .iter()
            .map(|shard| {
                let shard = shard.lock().unwrap();
                shard.young.len() + shard.old.len()
            })
            .sum();
        assert!(kept <= MAX_PLANS, "{kept}");
        cache.clear();
        assert_eq!(cache.get(&world.key("hot")), None);
    }
}
