//! Changes for programs. The shape is stable: members are added, never renamed.
//!
//! ```text
//! {"from": TREE, "to": TREE, "changes": [CHANGE], "kept": ["northwind"], "notes": ["…"],
//!  "summary": {"changes": 1, "classes": {"access-widened": 1}}, "refused": ["access-widened"]}
//! TREE     {"source", "digest", "commit"}
//! CHANGE   {"section", "kind", "mark", "classes": ["…"], "text", "sites": [SITE], "details": {…}}
//! SITE     {"tree": "from" or "to", "file", "line", "column"}
//! ```

use serde_json::{Map, Value, json};

use super::{
    AccessChange, ApiChange, Change, Changes, Class, Condition, Effect, KeyChange, Mark, Principal,
    RoleChange, ServiceChange, Side, Site, TreeName, What,
};

/// All changes as one object.
pub fn json(changes: &Changes, from: &TreeName, to: &TreeName, refused: &[Class]) -> Value {
    let counts: Map<String, Value> = changes
        .counts()
        .into_iter()
        .map(|(class, count)| (class.name().to_owned(), json!(count)))
        .collect();
    let list = changes.list.iter();
    json!({
        "from": tree(from),
        "to": tree(to),
        "summary": { "changes": changes.list.len(), "classes": counts },
        "refused": refused.iter().map(|class| class.name()).collect::<Vec<_>>(),
        "changes": list.map(|change| one(change, from, to)).collect::<Vec<_>>(),
        "kept": changes.kept,
        "notes": changes.notes,
    })
}

fn tree(name: &TreeName) -> Value {
    json!({ "source": name.source, "digest": name.digest, "commit": name.commit })
}

fn one(change: &Change, from: &TreeName, to: &TreeName) -> Value {
    let (kind, details) = details(&change.what, from, to);
    json!({
        "section": change.section().name(),
        "kind": kind,
        "mark": change.mark().symbol(),
        "classes": change.classes.iter().map(|class| class.name()).collect::<Vec<_>>(),
        "text": change.line(),
        "sites": sites(&change.sites, from, to),
        "details": details,
    })
}

fn sites(sites: &[Site], from: &TreeName, to: &TreeName) -> Value {
    let sites = sites.iter().map(|site| {
        let (name, tree) = match site.side {
            Side::From => ("from", from),
            Side::To => ("to", to),
        };
        let position = &site.position;
        json!({
            "tree": name,
            "file": tree.file(position),
            "line": position.line,
            "column": position.column,
        })
    });
    sites.collect()
}

fn details(what: &What, from: &TreeName, to: &TreeName) -> (&'static str, Value) {
    match what {
        What::Service { name, change } => {
            let mut details = service(change);
            insert(&mut details, "service", json!(name));
            (change.kind(), details)
        }
        What::Key { name, change } => {
            let mut details = key(change);
            insert(&mut details, "key", json!(name));
            (change.kind(), details)
        }
        What::Role { name, change } => {
            let mut details = role(change);
            insert(&mut details, "role", json!(name));
            (change.kind(), details)
        }
        What::Lookup { name, mark } => (presence(*mark), json!({ "lookup": name })),
        What::Setting {
            name,
            before,
            after,
        } => (
            "setting",
            json!({ "setting": name, "before": before, "after": after }),
        ),
        What::Expectation(change) => (
            presence(change.mark),
            json!({
                "key": change.key,
                "request": change.request,
                "answer": change.answer,
                "rule": change.rule,
                "at": change.at,
            }),
        ),
        What::Access(change) => (change.effect.kind(), access(change, from, to)),
        What::Api(change) => (change.rule.name(), api(change)),
    }
}

fn insert(details: &mut Value, key: &str, value: Value) {
    if let Value::Object(details) = details {
        details.insert(key.to_owned(), value);
    }
}

const fn presence(mark: Mark) -> &'static str {
    match mark {
        Mark::Added => "added",
        Mark::Removed => "removed",
        Mark::Changed => "changed",
    }
}

fn service(change: &ServiceChange) -> Value {
    match change {
        ServiceChange::Added { kind, looks_like } | ServiceChange::Removed { kind, looks_like } => {
            json!({ "type": kind, "looks_like": looks_like })
        }
        ServiceChange::Type { before, after } => json!({ "before": before, "after": after }),
        ServiceChange::Config(differences) => {
            let keys = differences.iter().map(|difference| {
                json!({
                    "key": difference.key(),
                    "kind": super::services::name_of(difference.kind),
                })
            });
            json!({ "keys": keys.collect::<Vec<_>>() })
        }
        ServiceChange::Label { before, after } => json!({ "before": before, "after": after }),
        ServiceChange::Description | ServiceChange::Activated | ServiceChange::Deactivated => {
            json!({})
        }
    }
}

fn key(change: &KeyChange) -> Value {
    match change {
        KeyChange::Added { role } | KeyChange::Removed { role } => json!({ "role": role }),
        KeyChange::Renamed { before } => json!({ "before": before }),
        KeyChange::Moved { before, count, .. } => json!({ "before": before, "count": count }),
        KeyChange::Digests {
            added,
            removed,
            kept,
        } => json!({ "added": added, "removed": removed, "kept": kept }),
        KeyChange::Role { before, after } => json!({ "before": before, "after": after }),
        KeyChange::NotBefore { before, after } | KeyChange::Expires { before, after } => {
            json!({ "before": before, "after": after })
        }
        KeyChange::AllowQuery(allowed) => json!({ "allowed": allowed }),
        KeyChange::Lookup { name, mark } => json!({ "lookup": name, "presence": presence(*mark) }),
        KeyChange::Label { before, after } => json!({ "before": before, "after": after }),
        KeyChange::Activated | KeyChange::Deactivated | KeyChange::Description => json!({}),
    }
}

fn role(change: &RoleChange) -> Value {
    match change {
        RoleChange::Added { rows } | RoleChange::Removed { rows } => json!({ "rows": rows }),
        RoleChange::Rows {
            added,
            changed,
            removed,
            is_used,
        } => json!({ "added": added, "changed": changed, "removed": removed, "used": is_used }),
        RoleChange::Activated | RoleChange::Deactivated | RoleChange::Description => json!({}),
    }
}

fn principals(list: &[Principal]) -> Value {
    let list = list.iter();
    list.map(|principal| json!({ "before": principal.before, "after": principal.after }))
        .collect()
}

fn condition(condition: &Condition) -> Value {
    json!({ "filter": condition.filter, "fields": condition.fields })
}

fn access(change: &AccessChange, from: &TreeName, to: &TreeName) -> Value {
    let components = change.components.iter().map(|components| {
        let except: Vec<String> = components.except.iter().map(ToString::to_string).collect();
        json!({
            "component": components.pattern.to_string(),
            "except": except,
            "letter_case": components.letter_case.name(),
        })
    });
    let mut details = json!({
        "keys": principals(&change.principals),
        "role": { "before": change.role_before, "after": change.role_after },
        "services": change.services,
        "components": components.collect::<Vec<_>>(),
        "verbs": change.verbs.names().collect::<Vec<_>>(),
        "cause": change.cause.name(),
        "rows": sites(&change.rows, from, to),
    });
    match &change.effect {
        Effect::Gained(under) | Effect::Lost(under) => {
            insert(&mut details, "condition", condition(under));
        }
        Effect::Conditions { filter, fields } => {
            let filter = filter.as_ref().map(|change| {
                json!({
                    "before": change.before,
                    "after": change.after,
                    "lookups": change.lookups,
                    "direction": change.direction.name(),
                })
            });
            let fields = fields.as_ref().map(|change| {
                json!({
                    "before": change.before,
                    "after": change.after,
                    "direction": change.direction.name(),
                })
            });
            insert(&mut details, "filter", json!(filter));
            insert(&mut details, "fields", json!(fields));
        }
    }
    details
}

fn api(change: &ApiChange) -> Value {
    let operations = change.operations.iter().map(|operation| {
        json!({
            "service": operation.service,
            "method": operation.method,
            "path": operation.path,
        })
    });
    json!({
        "keys": principals(&change.principals),
        "role": { "before": change.role_before, "after": change.role_after },
        "breaking": change.rule.breaks(),
        "subject": change.subject,
        "before": change.before,
        "after": change.after,
        "operations": operations.collect::<Vec<_>>(),
    })
}
