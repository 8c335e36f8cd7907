//! A raw commit → what was signed, and the signature. Pure.

/// Most bytes of a signature.
pub(super) const MAX_SIGNATURE_BYTES: usize = 64 * 1024;

/// The headers that hold signatures, of repositories with SHA-1 and with SHA-256; the second may stand beside the first
/// in a repository that is being converted. Neither is part of what is signed.
const HEADERS: [&[u8]; 2] = [b"gpgsig", b"gpgsig-sha256"];

/// A commit that somebody signed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// The bytes that were signed: the commit without its signatures.
    pub(super) payload: Vec<u8>,
    /// The signature, armoured, and what kind it claims to be.
    pub(super) signature: Signature,
}

/// A signature, as it stands in the commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// Made with an SSH key.
    Ssh(String),
    /// Made with an OpenPGP key.
    OpenPgp(String),
}

/// Why a commit has no signature that could be verified. Each completes "commit … ".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// There is none.
    None,
    /// There is more than one.
    Several,
    /// It is of another kind.
    Unknown,
    /// It is not whole, or too long.
    Malformed,
}

/// What a line of the header belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Payload,
    Signature,
    /// A signature that does not count in this repository.
    Other,
}

impl Part {
    fn of(line: &[u8], counts: &[u8]) -> Self {
        let is = |header: &[u8]| {
            line.strip_prefix(header)
                .is_some_and(|rest| rest.starts_with(b" "))
        };
        match HEADERS.into_iter().find(|header| is(header)) {
            None => Self::Payload,
            Some(header) if header == counts => Self::Signature,
            Some(_) => Self::Other,
        }
    }
}

/// Takes a commit apart, as `git verify-commit` does. `object` is what `git cat-file commit` prints; `id_digits` is the
/// length of its id, which tells which header counts.
pub(super) fn split(object: &[u8], id_digits: usize) -> Result<Signed, Unsigned> {
    let [short, long] = HEADERS;
    let counts = if id_digits == 64 { long } else { short };
    let mut payload = Vec::with_capacity(object.len());
    let mut signatures: Vec<Vec<u8>> = Vec::new();
    let mut part = Part::Payload;
    let mut rest = object;
    while !rest.is_empty() {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end.saturating_add(1));
        let (line, next) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        if line == b"\n" {
            // The message follows; nothing in it is a header.
            payload.extend_from_slice(rest);
            break;
        }
        // A line that begins with a space continues the one before.
        if !line.starts_with(b" ") {
            part = Part::of(line, counts);
            if part == Part::Signature {
                signatures.push(Vec::new());
            }
        }
        match (part, signatures.last_mut()) {
            (Part::Payload, _) => payload.extend_from_slice(line),
            (Part::Signature, Some(signature)) => {
                // After the name of the header, or after the space that continues it.
                let start = memchr::memchr(b' ', line).map_or(0, |space| space.saturating_add(1));
                signature.extend_from_slice(line.get(start..).unwrap_or_default());
            }
            (Part::Signature | Part::Other, _) => {}
        }
        rest = next;
    }
    let mut signatures = signatures.into_iter();
    match (signatures.next(), signatures.next()) {
        (None, _) => Err(Unsigned::None),
        (Some(_), Some(_)) => Err(Unsigned::Several),
        (Some(signature), None) => Ok(Signed {
            payload,
            signature: kind(signature)?,
        }),
    }
}

fn kind(signature: Vec<u8>) -> Result<Signature, Unsigned> {
    if signature.len() > MAX_SIGNATURE_BYTES {
        return Err(Unsigned::Malformed);
    }
    let text = String::from_utf8(signature)
        .ok()
        .ok_or(Unsigned::Malformed)?;
    let is_framed = |kind: &str| {
        let (begin, end) = (
            format!("-----BEGIN {kind}-----\n"),
            format!("-----END {kind}-----"),
        );
        text.starts_with(&begin).then(|| {
            let whole = text.matches("-----BEGIN ").count() == 1 && text.trim_end().ends_with(&end);
            whole.then_some(()).ok_or(Unsigned::Malformed)
        })
    };
    if let Some(framed) = is_framed("SSH SIGNATURE") {
        return framed.map(|()| Signature::Ssh(text));
    }
    if let Some(framed) = is_framed("PGP SIGNATURE") {
        return framed.map(|()| Signature::OpenPgp(text));
    }
    Err(Unsigned::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: usize = 40;
    const HEAD: &str = "tree 1\nparent 2\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n";
    const SSH: &str = "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n";

    fn header(name: &str, signature: &str) -> String {
        let lines: Vec<&str> = signature.lines().collect();
        format!("{name} {}\n", lines.join("\n "))
    }

    #[test]
    fn the_payload_is_the_commit_without_its_signatures_and_nothing_else() {
        let message = "\nsubject\n\ngpgsig no header\n and no line of one\n";
        let tag = "mergetag object 3\n type commit\n \n gpgsig of a tag\n";
        let ours = header("gpgsig", SSH);
        let other = header("gpgsig-sha256", "x\ny");
        for object in [
            format!("{HEAD}{ours}{message}"),
            format!("{HEAD}{ours}{other}{message}"),
            format!("{HEAD}{other}{ours}{message}"),
        ] {
            let signed = split(object.as_bytes(), ID).unwrap();
            assert_eq!(signed.payload, format!("{HEAD}{message}").as_bytes());
            assert_eq!(signed.signature, Signature::Ssh(SSH.to_owned()));
        }
        let object = format!("{HEAD}encoding x\n{tag}{ours}x-more a\n b\n{message}");
        let signed = split(object.as_bytes(), ID).unwrap();
        let expected = format!("{HEAD}encoding x\n{tag}x-more a\n b\n{message}");
        assert_eq!(signed.payload, expected.as_bytes());
        // A header whose name only begins alike is signed as everything else.
        let object = format!("{HEAD}gpgsigned yes\n{ours}\nm");
        let signed = split(object.as_bytes(), ID).unwrap();
        assert_eq!(
            signed.payload,
            format!("{HEAD}gpgsigned yes\n\nm").as_bytes()
        );
    }

    #[test]
    fn a_repository_with_sha256_has_a_header_of_its_own() {
        let object = format!("{HEAD}{}\nm\n", header("gpgsig-sha256", SSH));
        assert_eq!(split(object.as_bytes(), ID), Err(Unsigned::None));
        assert!(split(object.as_bytes(), 64).is_ok());
    }

    #[test]
    fn what_cannot_be_verified_says_why() {
        let pgp = SSH.replace("SSH SIGNATURE", "PGP SIGNATURE");
        let with = |headers: &str| split(format!("{HEAD}{headers}\nm\n").as_bytes(), ID);
        assert_eq!(with(""), Err(Unsigned::None));
        assert_eq!(
            with(&header("gpgsig", SSH).repeat(2)),
            Err(Unsigned::Several)
        );
        assert!(matches!(
            with(&header("gpgsig", &pgp)).unwrap().signature,
            Signature::OpenPgp(_)
        ));
        for (signature, expected) in [
            ("", Unsigned::Unknown),
            ("-----BEGIN SIGNED MESSAGE-----\nx", Unsigned::Unknown),
            ("-----BEGIN PGP MESSAGE-----\nx", Unsigned::Unknown),
            (&SSH[..SSH.len() - 10], Unsigned::Malformed),
            (&format!("{SSH}{SSH}"), Unsigned::Malformed),
            (&format!("{SSH}{pgp}"), Unsigned::Malformed),
            (
                &SSH.replace("AAAA", &"A".repeat(MAX_SIGNATURE_BYTES)),
                Unsigned::Malformed,
            ),
        ] {
            assert_eq!(with(&header("gpgsig", signature)), Err(expected));
        }
        assert_eq!(split(b"", ID), Err(Unsigned::None));
        assert_eq!(split(b"gpgsig", ID), Err(Unsigned::None));
        assert_eq!(split(b"\ngpgsig x\n", ID), Err(Unsigned::None));
    }
}
