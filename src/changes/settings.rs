//! Settings of the gateway, and names for filters.

use std::collections::BTreeSet;

use super::{Change, Class, Mark, Side, Site, What};
use crate::manifest::{Gateway, ManifestSet};

pub(super) fn compare(from: &ManifestSet, to: &ManifestSet, list: &mut Vec<Change>) {
    lookups(from, to, list);
    gateway(from, to, list);
}

fn lookups(from: &ManifestSet, to: &ManifestSet, list: &mut Vec<Change>) {
    let values = |set: &ManifestSet| {
        let lookups = set.lookups.iter();
        lookups
            .map(|(name, lookup)| (name.clone(), lookup.value.clone()))
            .collect()
    };
    let (before, after) = (values(from), values(to));
    for (name, mark) in super::keys::marks(&before, &after) {
        let (set, side) = match mark {
            Mark::Removed => (from, Side::From),
            Mark::Added | Mark::Changed => (to, Side::To),
        };
        let position = set.lookups.get(name).map(|lookup| lookup.position.clone());
        list.push(Change {
            what: What::Lookup {
                name: name.clone(),
                mark,
            },
            classes: [Class::LookupChanged].into(),
            sites: position
                .map(|position| Site { side, position })
                .into_iter()
                .collect(),
        });
    }
}

fn gateway(from: &ManifestSet, to: &ManifestSet, list: &mut Vec<Change>) {
    for ((name, before), (_, after)) in values(&from.gateway).into_iter().zip(values(&to.gateway)) {
        if before == after {
            continue;
        }
        let at = |set: &ManifestSet, side: Side| {
            let position = set.gateway_at(name)?;
            Some(Site { side, position })
        };
        let classes = classes_of(name, &before, &after);
        list.push(Change {
            what: What::Setting {
                name,
                before,
                after,
            },
            classes,
            sites: at(to, Side::To)
                .or_else(|| at(from, Side::From))
                .into_iter()
                .collect(),
        });
    }
}

/// A limit that falls refuses calls that were good.
fn classes_of(name: &str, before: &str, after: &str) -> BTreeSet<Class> {
    let is_limit = name.starts_with("max_") || name == "request_timeout_seconds";
    let number = |text: &str| text.parse::<u64>().ok();
    if is_limit && number(after) < number(before) {
        [Class::GatewayChanged, Class::Breaking].into()
    } else {
        [Class::GatewayChanged].into()
    }
}

/// Every setting with its value. Named one by one, so that a new one cannot be forgotten here.
fn values(gateway: &Gateway) -> [(&'static str, String); 7] {
    let Gateway {
        max_body_bytes,
        request_timeout_seconds,
        max_uri_bytes,
        max_in_flight,
        stream_drain_seconds,
        allow_empty,
        trusted_proxies,
    } = gateway;
    let mut proxies: Vec<String> = trusted_proxies.iter().map(ToString::to_string).collect();
    proxies.sort();
    proxies.dedup();
    let proxies = if proxies.is_empty() {
        "none".to_owned()
    } else {
        proxies.join(", ")
    };
    [
        ("max_body_bytes", max_body_bytes.to_string()),
        (
            "request_timeout_seconds",
            request_timeout_seconds.to_string(),
        ),
        ("max_uri_bytes", max_uri_bytes.to_string()),
        ("max_in_flight", max_in_flight.to_string()),
        ("stream_drain_seconds", stream_drain_seconds.to_string()),
        ("allow_empty", allow_empty.to_string()),
        ("trusted_proxies", proxies),
    ]
}
