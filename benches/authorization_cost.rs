//! What authorization costs: nanoseconds of one thread for finding the key and deciding one call, over a role with
//! twenty rows on each of ten services. Prints the figure, which `benches/run` sets against the CPU time of a whole
//! request of the same run.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures: it panics where its own input is wrong, reads the clock and prints"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderValue, Method};
use tidegate::auth::application::{Application, RoleRules};
use tidegate::auth::identify::presented_key;
use tidegate::auth::key::{Key, KeyDigest, KeyRing};
use tidegate::connector::access::{Pattern, Rule, Rules, Verbs};
use tidegate::exchange::Query;
use tidegate::names::ServiceName;

const DECISIONS: u32 = 2_000_000;

fn main() {
    let rules = Rules::new((0..20).map(|number| Rule {
        names_service: true,
        pattern: Pattern::parse(&format!("_table/t{number}/*")).expect("a pattern"),
        verbs: Verbs::ALL,
        deny: number % 5 == 4,
        filter: None,
        fields: None,
        position: Arc::from("roles.toml:1"),
    }));
    let role = RoleRules {
        name: "bench".parse().expect("a name"),
        is_active: true,
        rules: (0..10)
            .map(|number| (format!("s{number}").parse().expect("a name"), rules.clone()))
            .collect(),
        other_rules: Rules::default(),
    };
    let key = Key {
        name: "bench".parse().expect("a name"),
        is_active: true,
        role: Some(role.name.clone()),
        not_before: None,
        expires: None,
        allow_query: false,
    };
    let application = Arc::new(Application::new(key, Some(Arc::new(role)), &Arc::default()));
    let ring = KeyRing::new([(KeyDigest::of("bench-key"), application)]);
    let mut headers = HeaderMap::new();
    headers.insert("x-api-key", HeaderValue::from_static("bench-key"));
    let query = Query::default();
    let service: ServiceName = "s7".parse().expect("a name");
    let start = Instant::now();
    for _ in 0..DECISIONS {
        let presented = presented_key(black_box(&headers), &query).expect("a key");
        let application = ring.find(presented.key).expect("a known key");
        let access = application.access(black_box(&service)).expect("a role");
        black_box(
            access
                .of_path(black_box("_table/t13/4711"), &Method::GET)
                .expect("a grant"),
        );
    }
    println!("{}", (start.elapsed() / DECISIONS).as_nanos());
}
