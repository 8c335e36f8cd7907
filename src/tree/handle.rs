//! A folder that is held open: what lies below it is reached through its handle, wherever its path leads meanwhile.
//! Everything here blocks.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RawDir};
use rustix::io::{Errno, retry_on_intr};

/// Room for the entries of a folder that the kernel hands over at a time.
const ENTRIES_BYTES: usize = 32 * 1024;
/// Room that a file is first read into.
const FILE_BYTES: usize = 16 * 1024;

/// What a path leads to, whatever the path: the device and the number of the inode.
pub(super) type Identity = (u64, u64);

/// What kind of thing an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// A name in a folder.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: CString,
    pub(super) kind: Kind,
}

impl Entry {
    pub(super) fn name(&self) -> &OsStr {
        OsStr::from_bytes(self.name.to_bytes())
    }
}

/// A folder that is held open.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    identity: Identity,
    /// Its path below the root, no link in it; empty for the root itself.
    place: PathBuf,
    parent: Option<Rc<Folder>>,
}

impl Folder {
    /// Opens the root, following links. Fails with [`io::ErrorKind::NotADirectory`] where that is something else.
    pub(super) fn root(path: &Path) -> io::Result<Rc<Self>> {
        let handle = retry_on_intr(|| fs::openat(CWD, path, FOLDER, Mode::empty()))?;
        Self::held(handle, PathBuf::new(), None)
    }

    /// Opens a folder in this one. Fails where the name is a link.
    pub(super) fn inner(self: &Rc<Self>, name: &CStr) -> io::Result<Rc<Self>> {
        let handle = self.open(name, FOLDER | OFlags::NOFOLLOW)?;
        Self::held(handle, self.place_of(name), Some(Rc::clone(self)))
    }

    fn held(handle: OwnedFd, place: PathBuf, parent: Option<Rc<Self>>) -> io::Result<Rc<Self>> {
        let status = fs::fstat(&handle)?;
        Ok(Rc::new(Self {
            handle,
            identity: (status.st_dev, status.st_ino),
            place,
            parent,
        }))
    }

    /// Which folder it is.
    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The folder around it; none for the root.
    pub(super) fn parent(&self) -> Option<&Rc<Self>> {
        self.parent.as_ref()
    }

    /// The path of an entry below the root.
    pub(super) fn place_of(&self, name: &CStr) -> PathBuf {
        self.place.join(OsStr::from_bytes(name.to_bytes()))
    }

    /// Everything in it but `.` and `..`, sorted by name.
    pub(super) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut buffer = Vec::with_capacity(ENTRIES_BYTES);
        let mut found = Vec::new();
        let mut entries = RawDir::new(&self.handle, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Err(Errno::INTR) => continue,
                entry => entry?,
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                // Some file systems do not say.
                FileType::Unknown => self.kind(name)?,
                known => kind(known),
            };
            let name = name.to_owned();
            found.push(Entry { name, kind });
        }
        found.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// What a name in it is.
    pub(super) fn kind(&self, name: &CStr) -> io::Result<Kind> {
        let status = fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(kind(FileType::from_raw_mode(status.st_mode)))
    }

    /// Where a link in it leads. `place` may lie deeper.
    pub(super) fn link(&self, place: &Path) -> io::Result<PathBuf> {
        let target = fs::readlinkat(&self.handle, place, Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(
            target.into_bytes(),
        )))
    }

    /// Reads at most `most` bytes of a file in it into `bytes`, instead of what was there. Fails where the name is a
    /// link.
    pub(super) fn file(&self, name: &CStr, most: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
        // Nobody waits here for the other end of a pipe that took the file's place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = self.open(name, flags | OFlags::CLOEXEC)?;
        bytes.clear();
        while bytes.len() < most {
            bytes.reserve(FILE_BYTES);
            if retry_on_intr(|| rustix::io::read(&file, spare_capacity(bytes)))? == 0 {
                return Ok(());
            }
        }
        bytes.truncate(most);
        Ok(())
    }

    fn open(&self, name: &CStr, flags: OFlags) -> io::Result<OwnedFd> {
        Ok(retry_on_intr(|| {
            fs::openat(&self.handle, name, flags, Mode::empty())
        })?)
    }
}

/// How folders are opened.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    }
}

/// What a path leads to right now, links followed.
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    let status = fs::stat(path)?;
    Ok((status.st_dev, status.st_ino))
}

/// Whether an error says that an entry is not any more what the list of its folder said a moment ago.
pub(super) fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| {
        matches!(
            errno,
            Errno::NOENT | Errno::STALE | Errno::LOOP | Errno::NOTDIR | Errno::ISDIR
        )
    })
}
