//! A folder in a commit of a repository, as `--config` writes it: `git:PATH#REF[:SUBDIR]`. Pure.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What a source that is a commit begins with.
pub const PREFIX: &str = "git:";
/// What comes after [`PREFIX`], for help texts.
const FORM: &str =
    "write git:PATH#REF or git:PATH#REF:SUBDIR, such as git:/srv/config.git#main:gateway.d";
/// Digits of the full name of an object, in repositories with SHA-1 and with SHA-256 names.
const ID_DIGITS: [usize; 2] = [40, 64];

/// A folder in a commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Location {
    repository: PathBuf,
    reference: String,
    folder: String,
}

impl Location {
    /// The repository: a bare one, or a folder with a `.git` in it.
    pub fn repository(&self) -> &Path {
        &self.repository
    }

    /// A branch, a tag, the full name of a reference or of a commit, each perhaps with `~2` or `^` behind it.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The reference without what is counted back from it: `main` of `main~2`.
    pub fn base(&self) -> &str {
        self.reference
            .split_once(['~', '^'])
            .map_or(self.reference(), |(base, _)| base)
    }

    /// What is counted back from [`Location::base`]: `~2` of `main~2`. May be empty.
    pub fn suffix(&self) -> &str {
        self.reference.strip_prefix(self.base()).unwrap_or_default()
    }

    /// The folder in the commit, with `/` between folders and none around; empty for all of the commit.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// What stands before the names of files: `git:/srv/config.git#main:gateway.d`, or `git:/srv/config.git#main:` for
    /// all of the commit.
    pub fn label(&self) -> String {
        let colon = if self.folder.is_empty() { ":" } else { "" };
        format!("{self}{colon}")
    }

    /// Whether it names a commit by its full name, and so always means the same.
    pub fn is_pinned(&self) -> bool {
        is_full_id(self.base())
    }
}

/// Whether a text is the full name of an object.
pub(super) fn is_full_id(text: &str) -> bool {
    ID_DIGITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("a commit begins with {PREFIX}: {FORM}"))?;
        let Some((repository, rest)) = rest.split_once('#') else {
            return Err(format!(
                "the branch, tag or commit is missing: write {PREFIX}{rest}#main or {PREFIX}{rest}#main:SUBDIR"
            ));
        };
        if repository.is_empty() {
            return Err(format!("the path of the repository is missing: {FORM}"));
        }
        // A reference cannot hold a colon (git-check-ref-format).
        let (reference, folder) = rest.split_once(':').unwrap_or((rest, ""));
        if reference.is_empty() {
            return Err(format!(
                "the branch, tag or commit is missing after the #: {FORM}"
            ));
        }
        if let Some(character) = reference
            .chars()
            .find(|character| character.is_control() || " ?*[\\".contains(*character))
        {
            return Err(format!(
                "a branch, tag or commit cannot have {character:?} in its name"
            ));
        }
        let parts: Vec<&str> = folder
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        if parts.contains(&"..") {
            return Err(
                "the folder starts at the top of the commit: write it without ..".to_owned(),
            );
        }
        Ok(Self {
            repository: PathBuf::from(repository),
            reference: reference.to_owned(),
            folder: parts.join("/"),
        })
    }
}

/// As `--config` writes it.
impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let repository = self.repository.display();
        write!(formatter, "{PREFIX}{repository}#{}", self.reference)?;
        if self.folder.is_empty() {
            Ok(())
        } else {
            write!(formatter, ":{}", self.folder)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Location {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for (text, repository, reference, folder) in [
            ("git:/srv/a.git#main", "/srv/a.git", "main", ""),
            ("git:.#v1.2:gateway.d", ".", "v1.2", "gateway.d"),
            (
                "git:/srv/a#refs/heads/fix-#7:a/b c",
                "/srv/a",
                "refs/heads/fix-#7",
                "a/b c",
            ),
            ("git:/srv/a:b#HEAD~1:x:y", "/srv/a:b", "HEAD~1", "x:y"),
        ] {
            let location = parsed(text);
            assert_eq!(location.repository(), Path::new(repository), "{text}");
            assert_eq!(location.reference(), reference, "{text}");
            assert_eq!(location.folder(), folder, "{text}");
            assert_eq!(location.to_string(), text);
        }
        let other = parsed("git:/srv/a#main:./gateway.d//");
        assert_eq!(other.to_string(), "git:/srv/a#main:gateway.d");
        assert_eq!(parsed(&other.to_string()), other);
    }

    #[test]
    fn what_is_counted_back_stands_apart() {
        let location = parsed("git:/srv/a#main^~2:x");
        assert_eq!((location.base(), location.suffix()), ("main", "^~2"));
        let location = parsed("git:/srv/a#main");
        assert_eq!((location.base(), location.suffix()), ("main", ""));
    }

    #[test]
    fn names_of_files_come_after_a_slash_or_after_the_colon() {
        assert_eq!(parsed("git:/srv/a#main").label(), "git:/srv/a#main:");
        assert_eq!(parsed("git:/srv/a#main:g").label(), "git:/srv/a#main:g");
    }

    #[test]
    fn only_a_full_id_is_pinned() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert!(parsed(&format!("git:/srv/a#{id}")).is_pinned());
        assert!(!parsed("git:/srv/a#0123456").is_pinned());
        assert!(!parsed("git:/srv/a#main").is_pinned());
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, words) in [
            ("/srv/a#main", "begins with git:"),
            ("git:/srv/a", "git:/srv/a#main"),
            ("git:#main", "path of the repository"),
            ("git:/srv/a#", "after the #"),
            ("git:/srv/a#:gateway.d", "after the #"),
            ("git:/srv/a#main:../x", "without .."),
            ("git:/srv/a#a b", "' '"),
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
