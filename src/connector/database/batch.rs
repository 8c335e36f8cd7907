//! The error of a batch of which some records failed (reference 4.8). Pure.

use serde_json::{Map, Value};

use super::connector::error_object;
use crate::error::{Error, ErrorKind};

/// What was asked to be done with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// POST
    Created,
    /// PUT, PATCH
    Updated,
    /// DELETE
    Deleted,
    /// GET
    Retrieved,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Retrieved => "retrieved",
        }
    }
}

/// The results of the records so far, in the order of the request, and which of them failed.
#[derive(Debug)]
pub(super) struct BatchError {
    verb: Verb,
    is_rolled_back: bool,
    failed: Vec<Value>,
    resource: Vec<Value>,
}

impl BatchError {
    pub(super) fn new(verb: Verb) -> Self {
        Self {
            verb,
            is_rolled_back: false,
            failed: Vec::new(),
            resource: Vec::new(),
        }
    }

    /// Says in the message that nothing was kept.
    pub(super) fn rolled_back(mut self) -> Self {
        self.is_rolled_back = true;
        self
    }

    /// The next record went well; `json` is its result.
    pub(super) fn succeeded(&mut self, json: &[u8]) {
        self.resource
            .push(serde_json::from_slice(json).unwrap_or(Value::Null));
    }

    /// The next record was refused.
    pub(super) fn failed(&mut self, error: &Error) {
        self.failed.push(self.resource.len().into());
        self.resource.push(error_object(error));
    }

    /// The error for the caller.
    pub(super) fn into_error(self) -> Error {
        let mut message = format!(
            "Batch Error: Not all requested records could be {}.",
            self.verb.name()
        );
        if self.is_rolled_back {
            message.push_str(" All changes rolled back.");
        }
        let mut details = Map::new();
        details.insert("error".into(), Value::Array(self.failed));
        details.insert("resource".into(), Value::Array(self.resource));
        Error::new(ErrorKind::BatchFailed, message).with_details(details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_context_has_results_and_errors_in_the_order_of_the_request() {
        let mut batch = BatchError::new(Verb::Created);
        batch.succeeded(b"{\"id\":8}");
        batch.failed(&Error::new(
            ErrorKind::UniqueViolation,
            "a record with this email exists",
        ));
        batch.succeeded(b"{\"id\":9}");
        let error = batch.rolled_back().into_error();
        assert_eq!(
            error.message(),
            "Batch Error: Not all requested records could be created. All changes rolled back."
        );
        assert_eq!(
            Value::Object(error.details().unwrap().clone()),
            json!({"error": [1], "resource": [
                {"id": 8},
                {"code": 409, "status_code": 409, "message": "a record with this email exists", "type": "unique_violation"},
                {"id": 9}
            ]})
        );
    }
}
