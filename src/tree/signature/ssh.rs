//! Signatures made with SSH keys, verified by `ssh-keygen`, as git does.

use std::fs::File;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::{Refusal, Workplace};
use crate::child;

/// Who a signature is for: git signs under this name (gitformat-signature).
const NAMESPACE: &[u8] = b"git";
/// What the binary form of a signature begins with (OpenSSH, PROTOCOL.sshsig).
const MAGIC: &[u8] = b"SSHSIG";
/// Most principals that are tried for one key.
const MAX_PRINCIPALS: usize = 32;
/// What `ssh-keygen` says of a key that is named but does not count.
const REASONS: [&str; 3] = [
    "key has expired",
    "key is not yet valid",
    "key is not permitted",
];

/// What a signature says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Claim {
    namespace: Vec<u8>,
    /// How people name the key: `SHA256:…`, or that it is a certificate.
    key: String,
}

/// The principal who signed the payload in `workplace` with a key that it names. `armoured` is the signature there.
pub(super) fn verify(workplace: &Workplace, armoured: &str) -> Result<String, Refusal> {
    let claim = claim(armoured).ok_or(Refusal::malformed())?;
    if claim.namespace != NAMESPACE {
        let namespace = String::from_utf8_lossy(&claim.namespace);
        return Err(Refusal::new(format!(
            "has a signature that was made for `{}` and not for git",
            namespace.escape_default()
        )));
    }
    if workplace.signers.has_no_ssh() {
        return Err(Refusal::unknown(&claim.key, workplace));
    }
    let found = workplace.run({
        let mut command = child::command(&workplace.programs.ssh_keygen);
        command
            .args(["-Y", "find-principals", "-f"])
            .arg(workplace.path(super::ALLOWED))
            .arg("-s")
            .arg(workplace.path(super::SIGNATURE))
            .stdin(Stdio::null());
        command
    })?;
    let principals: Vec<&str> = found
        .output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(MAX_PRINCIPALS)
        .collect();
    if !found.is_success || principals.is_empty() {
        let refusal = Refusal::unknown(&claim.key, workplace);
        return Err(refusal.because(reason(workplace, &found.errors)));
    }
    let mut errors = String::new();
    for principal in principals {
        let done = workplace.run(verification(workplace, principal)?)?;
        // The exit code alone would do; git looks at both.
        if done.is_success && done.output.starts_with("Good \"git\" signature for ") {
            return Ok(principal.to_owned());
        }
        errors.push_str(&done.errors);
    }
    Err(match reason(workplace, &errors) {
        Some(reason) => Refusal::unknown(&claim.key, workplace).because(Some(reason)),
        None => Refusal::other_content(),
    })
}

fn verification(workplace: &Workplace, principal: &str) -> Result<Command, Refusal> {
    let payload = File::open(workplace.path(super::PAYLOAD)).map_err(Refusal::host)?;
    let mut command = child::command(&workplace.programs.ssh_keygen);
    command
        .args(["-Y", "verify", "-n", "git", "-f"])
        .arg(workplace.path(super::ALLOWED))
        .args(["-I", principal, "-s"])
        .arg(workplace.path(super::SIGNATURE))
        .stdin(payload);
    Ok(command)
}

/// `line 3: key has expired: …`, where `ssh-keygen` says so of the copy of the signers.
fn reason(workplace: &Workplace, errors: &str) -> Option<String> {
    let copy = workplace.path(super::ALLOWED).display().to_string();
    errors
        .lines()
        .filter_map(|line| line.strip_prefix(&copy)?.strip_prefix(':'))
        .find(|line| REASONS.iter().any(|reason| line.contains(reason)))
        .map(|line| format!("line {line}"))
}

fn claim(armoured: &str) -> Option<Claim> {
    let base64: String = armoured
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(|line| line.trim().chars())
        .collect();
    let bytes = STANDARD.decode(base64).ok()?;
    let mut rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&[0, 0, 0, 1])?;
    let key = string(&mut rest)?;
    let namespace = string(&mut rest)?;
    let kind = string(&mut &*key)?;
    let is_certificate = kind.ends_with(b"-cert-v01@openssh.com");
    let fingerprint = STANDARD_NO_PAD.encode(Sha256::digest(key));
    Some(Claim {
        namespace: namespace.to_owned(),
        key: if is_certificate {
            "a certificate".to_owned()
        } else {
            format!("SHA256:{fingerprint}")
        },
    })
}

/// Takes one string from the front: four bytes of length, then that many bytes (RFC 4251, 5).
pub(super) fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, after) = after.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_says_for_what_it_was_made_and_with_which_key() {
        // `ssh-keygen -Y sign -n git` of OpenSSH 9.2, and what it called the key.
        let armoured = "-----BEGIN SSH SIGNATURE-----\n\
            U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgF/daomH9JJM4dSrdCdFInhQoHA\n\
            sQCWXqmASxeZcj/SEAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n\
            AAAAQGYH4S5J2FBHJOzg61hxL1v3kjCsXK3gRmJw6ttfhbBd9XnFG0Z91D80HGxnrlAqh6\n\
            IWW8dJ0wuf0CZnYTi6iwc=\n-----END SSH SIGNATURE-----\n";
        let claim = claim(armoured).unwrap();
        assert_eq!(claim.namespace, b"git");
        assert_eq!(
            claim.key,
            "SHA256:T+aUShIQGF0uwFhgvCLAwoCn4P5jvnNvNNLs9ygfIdE"
        );
    }

    #[test]
    fn bytes_that_are_no_signature_make_no_claim() {
        let whole = [
            MAGIC,
            &[0, 0, 0, 1, 0, 0, 0, 9],
            b"\0\0\0\x05ssh-x",
            b"\0\0\0\x03git",
        ]
        .concat();
        assert!(claim(&STANDARD.encode(&whole)).is_some());
        for end in 0..whole.len() {
            assert_eq!(claim(&STANDARD.encode(&whole[..end])), None);
        }
        assert_eq!(claim("no base64"), None);
    }
}
