//! The last good tree on disk: one file that is replaced in one step and proves by its digests that it is whole. Everything
//! here blocks.
//!
//! The file is text where the manifests are: a line with the format and the length of the header, the header as JSON, then
//! every file under a line that names it, and last a line with the SHA-256 of all that stands before it. Whoever has only
//! this file can read it with a pager.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Digest, Layer, MAX_TREE_BYTES, Provenance, Tree, TreeError};

/// The first word of the file.
const NAME: &str = "tidegate-tree";
/// The format that this version writes and reads.
const FORMAT: u32 = 1;
/// The folder within the state directory, so that its permissions are ours alone.
const FOLDER: &str = "last-good";
/// The file that is read.
const FILE: &str = "tree";
/// The file that is being written; renamed once it is whole.
const UNFINISHED: &str = "tree.new";
/// Most bytes of the file: those of a full tree, and as many for its names.
const MAX_STORED_BYTES: u64 = 2 * MAX_TREE_BYTES;
/// The bit of a mode that lets members of the group write.
const WRITABLE_BY_GROUP: u32 = 0o020;
/// The bit of a mode that lets everybody write.
const WRITABLE_BY_ALL: u32 = 0o002;

/// Whether others than this process and root own or may write something. A group of this process is no other: Kubernetes
/// lets the group of a pod (`fsGroup`) write in its volumes.
fn is_in_others_hands(metadata: &fs::Metadata) -> bool {
    let mode = metadata.mode();
    let is_own_group = || {
        metadata.gid() == rustix::process::getegid().as_raw()
            || rustix::process::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == metadata.gid()))
    };
    let owner = metadata.uid();
    (owner != 0 && owner != rustix::process::geteuid().as_raw())
        || mode & WRITABLE_BY_ALL != 0
        || (mode & WRITABLE_BY_GROUP != 0 && !is_own_group())
}

/// A tree that went live, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The tree, with the labels and the provenance of its layers.
    pub tree: Tree,
    /// The sources that it was read from. A tree of other sources is not served.
    pub sources: String,
    /// When it went live.
    pub accepted_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    /// The version of Tidegate that wrote it, for people.
    written_by: String,
    sources: String,
    digest: String,
    accepted_at: DateTime<Utc>,
    layers: Vec<LayerHeader>,
}

#[derive(Serialize, Deserialize)]
struct LayerHeader {
    label: String,
    provenance: Provenance,
    files: Vec<FileHeader>,
}

#[derive(Serialize, Deserialize)]
struct FileHeader {
    name: String,
    bytes: usize,
}

/// The place of the last good tree within a state directory.
#[derive(Clone, Debug)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// The last good tree below a state directory, which need not be there yet.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn folder(&self) -> PathBuf {
        self.directory.join(FOLDER)
    }

    /// Replaces what is kept, in one step: after it, the disk has either all of the new tree or all of the old one,
    /// whatever happens to the machine. Only the owner may read it.
    pub fn keep(&self, kept: &Kept) -> io::Result<()> {
        let folder = self.folder();
        let is_new = !folder.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let unfinished = folder.join(UNFINISHED);
        // What a crash left behind could have another owner or other permissions.
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        write(kept, &file)?;
        file.sync_all()?;
        fs::rename(&unfinished, folder.join(FILE))?;
        File::open(&folder)?.sync_all()?;
        if is_new {
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }

    /// What is kept; none where nothing was kept yet.
    ///
    /// Fails when it cannot be read, and when it is not just what [`Store::keep`] wrote: torn, cut short, changed, of
    /// another format, or writable by others.
    pub fn read(&self) -> Result<Option<Kept>, TreeError> {
        let path = self.folder().join(FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        for (place, metadata) in [
            (self.folder(), fs::metadata(self.folder())),
            (path.clone(), file.metadata()),
        ] {
            let metadata = metadata.map_err(|error| unreadable(&place, &error))?;
            if is_in_others_hands(&metadata) {
                return Err(TreeError {
                    path: place.display().to_string(),
                    message: "others than the owner may write here, so the last good tree is not believed"
                        .to_owned(),
                    help: Some("remove it; the next tree that goes live is kept anew".to_owned()),
                });
            }
        }
        let mut bytes = Vec::new();
        file.take(MAX_STORED_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(&path, &error))?;
        parse(&bytes).map(Some).map_err(|why| TreeError {
            path: path.display().to_string(),
            message: format!("this is no last good tree: {why}"),
            help: Some("remove it; the next tree that goes live is kept anew".to_owned()),
        })
    }

    /// The layers of what is kept, for a command that reads them as a source.
    pub(super) fn layers(&self) -> Result<Vec<Layer>, TreeError> {
        match self.read()? {
            Some(kept) => Ok(kept.tree.layers),
            None => Err(TreeError {
                path: self.directory.display().to_string(),
                message: "no last good tree is kept here".to_owned(),
                help: Some("name the --state-dir of a daemon that serves a good tree".to_owned()),
            }),
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> TreeError {
    TreeError {
        path: path.display().to_string(),
        message: format!("the last good tree cannot be read: {error}"),
        help: None,
    }
}

/// Hashes what passes through.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        self.written = self.written.saturating_add(written as u64);
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn write(kept: &Kept, file: &File) -> io::Result<()> {
    let header = serde_json::to_string_pretty(&Header {
        written_by: env!("CARGO_PKG_VERSION").to_owned(),
        sources: kept.sources.clone(),
        digest: kept.tree.digest().to_string(),
        accepted_at: kept.accepted_at,
        layers: kept.tree.layers.iter().map(header_of).collect(),
    })?;
    let mut out = Hashing {
        inner: BufWriter::new(file),
        hasher: Sha256::new(),
        written: 0,
    };
    writeln!(out, "{NAME} {FORMAT} {}\n{header}", header.len())?;
    for layer in kept.tree.layers() {
        for (name, bytes) in layer.files() {
            write!(out, "{}", separator(layer.label(), name))?;
            out.write_all(bytes)?;
        }
    }
    let Hashing {
        mut inner,
        hasher,
        written,
    } = out;
    let line = last_line(&Digest(hasher.finalize().into()));
    inner.write_all(line.as_bytes())?;
    if written.saturating_add(line.len() as u64) > MAX_STORED_BYTES {
        return Err(io::Error::other(format!(
            "the tree is larger than {MAX_STORED_BYTES} bytes"
        )));
    }
    inner.flush()
}

fn header_of(layer: &Layer) -> LayerHeader {
    LayerHeader {
        label: layer.label().to_owned(),
        provenance: layer.provenance().clone(),
        files: layer
            .files()
            .map(|(name, bytes)| FileHeader {
                name: name.to_string(),
                bytes: bytes.len(),
            })
            .collect(),
    }
}

/// The line before a file. Names are no paths here: nothing is ever written to a place that they name.
fn separator(label: &str, name: &str) -> String {
    format!("\n==> {label}: {name} <==\n")
}

fn last_line(digest: &Digest) -> String {
    format!("\n==> sha256 {digest}\n")
}

fn parse(bytes: &[u8]) -> Result<Kept, String> {
    if bytes.len() as u64 > MAX_STORED_BYTES {
        return Err(format!("it is larger than {MAX_STORED_BYTES} bytes"));
    }
    // The format first: what a newer version wrote may end otherwise.
    let length = header_length(bytes)?;
    let line_length = last_line(&Digest([0; 32])).len();
    let (text, line) = bytes
        .len()
        .checked_sub(line_length)
        .and_then(|end| bytes.split_at_checked(end))
        .ok_or("it is cut short")?;
    if line != last_line(&Digest(Sha256::digest(text).into())).as_bytes() {
        return Err("it was changed or cut short: its digest is another one".to_owned());
    }
    let mut rest = text
        .splitn(2, |byte| *byte == b'\n')
        .nth(1)
        .unwrap_or_default();
    let header: Header = serde_json::from_slice(taken(&mut rest, length)?)
        .map_err(|error| format!("its header cannot be read: {error}"))?;
    if taken(&mut rest, 1)? != b"\n" {
        return Err("its header has another length".to_owned());
    }
    let mut layers = Vec::new();
    for layer in header.layers {
        let mut files = Vec::new();
        for file in layer.files {
            let separator = separator(&layer.label, &file.name);
            if taken(&mut rest, separator.len())? != separator.as_bytes() {
                return Err(format!("`{}` does not stand where it should", file.name));
            }
            files.push((file.name, taken(&mut rest, file.bytes)?.to_vec()));
        }
        layers.push(Layer::new(layer.label, files, layer.provenance));
    }
    if !rest.is_empty() {
        return Err("there is more in it than it says".to_owned());
    }
    let tree = Tree::of(layers);
    if tree.digest().to_string() != header.digest {
        return Err("its files are not those of its digest".to_owned());
    }
    Ok(Kept {
        tree,
        sources: header.sources,
        accepted_at: header.accepted_at,
    })
}

/// The length of the header, from the first line.
fn header_length(bytes: &[u8]) -> Result<usize, String> {
    let foreign = || "it was not written by Tidegate".to_owned();
    let line = bytes
        .get(..64.min(bytes.len()))
        .and_then(|start| start.split(|byte| *byte == b'\n').next())
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or_else(foreign)?;
    let mut words = line.split(' ');
    let (Some(NAME), Some(format), Some(length), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(foreign());
    };
    if format != FORMAT.to_string() {
        return Err(format!(
            "it has the format {format} of another version; this one reads {FORMAT}"
        ));
    }
    length.parse().ok().ok_or_else(foreign)
}

/// The next bytes, taken off the front.
fn taken<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (front, back) = rest
        .split_at_checked(count)
        .ok_or("it has less in it than it says")?;
    *rest = back;
    Ok(front)
}

impl Kept {
    /// A digest of everything but the time: two that are equal need not be kept twice.
    pub fn identity(&self) -> Digest {
        let layers: Vec<_> = self
            .tree
            .layers()
            .iter()
            .map(|layer| format!("{} {:?}", layer.label(), layer.provenance()))
            .collect();
        let text = format!("{} {:?} {layers:?}", self.tree.digest(), self.sources);
        Digest(Sha256::digest(text).into())
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests may block")]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn kept(text: &str) -> Kept {
        let layer = |label: &str, files: &[(&str, &[u8])]| {
            let files = files
                .iter()
                .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()));
            let provenance = Provenance {
                path: Some(PathBuf::from("/srv").join(label)),
                commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
                dirty: Some(false),
                signer: Some("ann@example.org".to_owned()),
            };
            Layer::new(label, files, provenance)
        };
        Kept {
            tree: Tree::of(vec![
                layer(
                    "base",
                    &[("a/b.toml", text.as_bytes()), ("c.bin", b"\0\xff\n")],
                ),
                layer("prod", &[("empty.toml", b"")]),
            ]),
            sources: "base, prod".to_owned(),
            accepted_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    fn store() -> (tempfile::TempDir, Store, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("state"));
        let file = folder.path().join("state/last-good/tree");
        (folder, store, file)
    }

    #[test]
    fn what_is_kept_is_read_again_with_labels_provenance_and_digest() {
        let (_folder, store, _) = store();
        assert_eq!(store.read(), Ok(None));
        let first = kept("one\n==> prod: empty.toml <==\n");
        store.keep(&first).unwrap();
        assert_eq!(store.read(), Ok(Some(first.clone())));
        let second = kept("two");
        store.keep(&second).unwrap();
        let read = store.read().unwrap().unwrap();
        assert_eq!(read, second);
        assert_eq!(read.tree.digest(), second.tree.digest());
        assert_ne!(read.identity(), first.identity());
        assert_eq!(read.identity(), second.identity());
        assert_eq!(
            store.layers().unwrap(),
            second.tree.layers().to_vec(),
            "as a source it has the same layers"
        );
    }

    #[test]
    fn only_the_owner_may_read_it_and_nothing_else_lies_beside_it() {
        let (_folder, store, file) = store();
        store.keep(&kept("one")).unwrap();
        fs::write(file.with_file_name(UNFINISHED), "half of").unwrap();
        store.keep(&kept("two")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = file.parent().unwrap();
        assert_eq!((mode(folder), mode(&file)), (0o700, 0o600));
        assert_eq!(mode(store.directory()), 0o700);
        let names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn every_single_changed_missing_or_added_byte_is_noticed() {
        let (_folder, store, file) = store();
        store.keep(&kept("[role.reader]\n")).unwrap();
        let whole = fs::read(&file).unwrap();
        assert!(parse(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(parse(&whole[..length]).is_err(), "cut after {length}");
            let mut changed = whole.clone();
            changed[length] ^= 1;
            assert!(parse(&changed).is_err(), "changed at {length}");
        }
        assert!(parse(&[whole.as_slice(), b"\n"].concat()).is_err());
        assert!(parse(&[whole.as_slice(), whole.as_slice()].concat()).is_err());
    }

    #[test]
    fn what_is_foreign_or_may_be_written_by_others_is_not_believed() {
        let (_folder, store, file) = store();
        store.keep(&kept("one")).unwrap();
        let whole = fs::read(&file).unwrap();
        for (text, why) in [
            (b"[role.reader]\n".to_vec(), "not written by Tidegate"),
            (Vec::new(), "not written by Tidegate"),
            (
                String::from_utf8_lossy(&whole)
                    .replacen("tidegate-tree 1", "tidegate-tree 2", 1)
                    .into_bytes(),
                "format 2",
            ),
        ] {
            fs::write(&file, text).unwrap();
            let error = store.read().unwrap_err();
            assert!(error.message.contains(why), "{error}");
            assert!(error.path.ends_with("last-good/tree"), "{error}");
        }
        fs::write(&file, &whole).unwrap();
        assert!(store.read().is_ok());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o622)).unwrap();
        let error = store.read().unwrap_err();
        assert!(error.message.contains("others"), "{error}");
        let none = Store::new("/nonexistent").layers().unwrap_err();
        assert!(none.message.contains("no last good tree"), "{none}");
    }

    #[test]
    fn a_pager_shows_the_manifests_as_they_are() {
        let (_folder, store, file) = store();
        store.keep(&kept("[role.reader]\n# ümlaut\n")).unwrap();
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(
            text.contains("\n==> base: a/b.toml <==\n[role.reader]\n# ümlaut\n"),
            "{text}"
        );
        assert!(text.contains("\"accepted_at\": \"2026-01-02T03:04:05Z\""));
    }
}
