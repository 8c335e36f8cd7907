//! OpenAPI documents of one revision, each made on its first request and kept with the snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::connector::Description;

/// Most documents that one revision keeps.
const MAX_DOCUMENTS: usize = 256;

/// What a document was made for: a role, and one service or all.
pub type DocumentKey = (String, Option<String>);

/// The documents of one revision.
#[derive(Default)]
pub struct Documents(Mutex<HashMap<DocumentKey, Kept>>);

struct Kept {
    descriptions: Vec<Description>,
    document: Bytes,
}

impl Documents {
    /// The document, if it was made from just these descriptions.
    pub fn get(&self, key: &DocumentKey, descriptions: &[&Description]) -> Option<Bytes> {
        let documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = documents.get(key)?;
        let is_current = kept.descriptions.len() == descriptions.len()
            && kept
                .descriptions
                .iter()
                .zip(descriptions)
                .all(|(kept, now)| same(kept, now));
        is_current.then(|| kept.document.clone())
    }

    /// Keeps a document in place of an older one.
    pub fn keep(&self, key: DocumentKey, descriptions: Vec<Description>, document: Bytes) {
        let mut documents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if documents.len() < MAX_DOCUMENTS || documents.contains_key(&key) {
            documents.insert(
                key,
                Kept {
                    descriptions,
                    document,
                },
            );
        }
    }
}

fn same(left: &Description, right: &Description) -> bool {
    match (left, right) {
        (Description::General, Description::General) => true,
        (Description::Database(left), Description::Database(right)) => Arc::ptr_eq(left, right),
        (Description::General, Description::Database(_))
        | (Description::Database(_), Description::General) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::database::catalog::Catalog;

    #[test]
    fn a_document_is_kept_until_its_tables_change() {
        let documents = Documents::default();
        let key = ("reader".to_owned(), None);
        let before = Description::Database(Arc::new(Catalog::default()));
        let after = Description::Database(Arc::new(Catalog::default()));
        documents.keep(key.clone(), vec![before.clone()], Bytes::from_static(b"{}"));
        assert!(documents.get(&key, &[&before]).is_some());
        assert!(documents.get(&key, &[&after]).is_none());
        assert!(
            documents
                .get(&("writer".to_owned(), None), &[&before])
                .is_none()
        );
    }
}
