//! What the files of the last tree said, so that a reload reads only what changed.

use std::collections::HashMap;
use std::sync::Arc;

use super::link::Part;
use crate::tree::Tree;

/// What the files of one tree said: that of the last load. Never more, so that nothing piles up over reloads.
#[derive(Default)]
pub struct Cache {
    /// The label of that tree, which messages name.
    label: String,
    files: HashMap<Arc<str>, Known>,
}

struct Known {
    bytes: Arc<[u8]>,
    part: Arc<Part>,
}

impl Cache {
    /// What every file of a tree says, with the number of its layer, the lowest first, and within a layer in the order of
    /// names. `read` reads those that the last tree did not have in just this form; it must depend on name, bytes and the
    /// tree's label alone.
    pub(super) fn parts(
        &mut self,
        tree: &Tree,
        read: impl Fn(Arc<str>, &[u8]) -> Part,
    ) -> Vec<(usize, Arc<Part>)> {
        if self.label != tree.label() {
            tree.label().clone_into(&mut self.label);
            self.files.clear();
        }
        let mut files = HashMap::with_capacity(tree.file_count());
        let mut parts = Vec::with_capacity(tree.file_count());
        for (index, layer) in tree.layers().iter().enumerate() {
            for (name, bytes) in layer.manifests() {
                let name = tree.file_name(layer, name);
                let known = self.files.remove(&name);
                let part = match known.filter(|known| known.bytes == *bytes) {
                    Some(known) => known.part,
                    None => Arc::new(read(Arc::clone(&name), bytes)),
                };
                parts.push((index, Arc::clone(&part)));
                let bytes = Arc::clone(bytes);
                files.insert(name, Known { bytes, part });
            }
        }
        self.files = files;
        parts
    }
}
