//! Signatures made with OpenPGP keys, verified by `gpgv`.

use std::process::Stdio;

use super::{Refusal, Workplace};
use crate::child;

/// Digests of data that may be signed: SHA-2 and SHA-3, by their numbers (RFC 9580, 9.5). Others can be collided with.
const DIGESTS: [&str; 6] = ["8", "9", "10", "11", "12", "14"];
/// Kinds of signatures that are over data, and not over keys: binary and text (RFC 9580, 5.2.1).
const KINDS: [&str; 2] = ["00", "01"];
/// What `gpgv` answers to a signature, by the word in its status line.
const VERDICTS: [&str; 6] = [
    "GOODSIG",
    "EXPSIG",
    "EXPKEYSIG",
    "REVKEYSIG",
    "BADSIG",
    "ERRSIG",
];

/// The fingerprint of the primary key of whoever signed the payload in `workplace`, with a key that stands there.
pub(super) fn verify(workplace: &Workplace) -> Result<String, Refusal> {
    if workplace.signers.openpgp.is_empty() {
        return Err(Refusal::unknown("an OpenPGP key", workplace));
    }
    let done = workplace.run({
        let mut command = child::command(&workplace.programs.gpgv);
        command
            .arg("--homedir")
            .arg(workplace.folder())
            .args(["--status-fd", "1", "--keyring"])
            .arg(workplace.path(super::KEYRING))
            .arg(workplace.path(super::SIGNATURE))
            .arg(workplace.path(super::PAYLOAD))
            .stdin(Stdio::null());
        command
    })?;
    judge(&done.output, done.is_success).map_err(|verdict| match verdict {
        Verdict::Unknown(key) => Refusal::unknown(&key, workplace),
        Verdict::OtherContent => Refusal::other_content(),
        Verdict::Malformed => Refusal::malformed(),
        Verdict::Other(message) => Refusal::new(message),
    })
}

/// Why a signature does not count.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Unknown(String),
    OtherContent,
    Malformed,
    /// Completes "commit … ".
    Other(String),
}

/// Reads the status lines of `gpgv` (GnuPG, doc/DETAILS). Its exit code is 0 for revoked and expired keys as well.
fn judge(status: &str, is_success: bool) -> Result<String, Verdict> {
    let lines: Vec<Vec<&str>> = status
        .lines()
        .filter_map(|line| line.strip_prefix("[GNUPG:] "))
        .map(|line| line.split(' ').collect())
        .collect();
    let named = |name: &'static str| lines.iter().filter(move |line| line.first() == Some(&name));
    let verdicts: Vec<&Vec<&str>> = lines
        .iter()
        .filter(|line| line.first().is_some_and(|word| VERDICTS.contains(word)))
        .collect();
    let verdict = match verdicts.as_slice() {
        [] => return Err(Verdict::Malformed),
        [verdict] if named("NEWSIG").count() <= 1 => verdict,
        _ => {
            return Err(Verdict::Other("has several signatures in one".to_owned()));
        }
    };
    let word = |index: usize| verdict.get(index).copied().unwrap_or_default();
    let key = word(1);
    match word(0) {
        "GOODSIG" => {}
        "EXPSIG" => {
            return Err(Verdict::Other(format!(
                "has a signature of {key} that has expired"
            )));
        }
        "EXPKEYSIG" => {
            return Err(Verdict::Other(format!(
                "is signed by {key}, a key that has expired"
            )));
        }
        "REVKEYSIG" => {
            return Err(Verdict::Other(format!(
                "is signed by {key}, a key that was revoked"
            )));
        }
        "BADSIG" => return Err(Verdict::OtherContent),
        // The sixth word is 9 when the key is not there; the seventh its fingerprint, in newer versions.
        "ERRSIG" if word(6) == "9" => {
            let fingerprint = word(7);
            let is_told = fingerprint.len() >= 40;
            return Err(Verdict::Unknown(
                if is_told { fingerprint } else { key }.to_owned(),
            ));
        }
        _ => {
            return Err(Verdict::Other(format!(
                "has a signature of {key} that gpgv cannot verify"
            )));
        }
    }
    let mut valid = named("VALIDSIG");
    let (Some(valid), None, true) = (valid.next(), valid.next(), is_success) else {
        return Err(Verdict::Malformed);
    };
    let word = |index: usize| valid.get(index).copied().unwrap_or_default();
    if !DIGESTS.contains(&word(8)) {
        return Err(Verdict::Other(format!(
            "has a signature of {key} over a digest that is too weak (number {})",
            word(8)
        )));
    }
    if !KINDS.contains(&word(9)) {
        return Err(Verdict::Malformed);
    }
    let fingerprint = match word(10) {
        "" => word(1),
        primary => primary,
    };
    let is_fingerprint =
        fingerprint.len() >= 40 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_fingerprint {
        Ok(fingerprint.to_owned())
    } else {
        Err(Verdict::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: &str = "D415F1504F13C23445196FB61C43E7D7F5B99FB7";

    /// What gpgv 2.2.40 printed, with one word exchanged.
    fn status(verdict: &str, digest: &str) -> String {
        format!(
            "[GNUPG:] NEWSIG ann@x\n[GNUPG:] KEY_CONSIDERED {PRIMARY} 0\n\
             [GNUPG:] SIG_ID IreAi2T3UP7fv0IA7eBxsaPdxZw 2026-11-20 1795183699\n\
             [GNUPG:] {verdict} 1C43E7D7F5B99FB7 Ann <ann@x>\n\
             [GNUPG:] VALIDSIG AA15F1504F13C23445196FB61C43E7D7F5B99FB7 2026-11-20 1795183699 0 4 0 22 {digest} 00 {PRIMARY}\n"
        )
    }

    #[test]
    fn only_one_good_signature_counts_whatever_the_exit_code() {
        let good = status("GOODSIG", "8");
        assert_eq!(judge(&good, true), Ok(PRIMARY.to_owned()));
        assert_eq!(judge(&good, false), Err(Verdict::Malformed));
        for (verdict, expected) in [
            ("EXPSIG", "signature of 1C43E7D7F5B99FB7 that has expired"),
            ("EXPKEYSIG", "a key that has expired"),
            ("REVKEYSIG", "a key that was revoked"),
        ] {
            let Err(Verdict::Other(said)) = judge(&status(verdict, "8"), true) else {
                panic!("{verdict}");
            };
            assert!(said.contains(expected), "{said}");
        }
        assert_eq!(
            judge(&status("BADSIG", "8"), true),
            Err(Verdict::OtherContent)
        );
        for text in ["", "[GNUPG:] NODATA 2\n", &good.replace("VALIDSIG", "X")] {
            assert_eq!(judge(text, true), Err(Verdict::Malformed));
        }
        let twice = good.repeat(2);
        assert!(matches!(judge(&twice, true), Err(Verdict::Other(_))));
        let behind = good.clone() + "[GNUPG:] NEWSIG\n";
        assert!(matches!(judge(&behind, true), Err(Verdict::Other(_))));
        // A name that looks like a status line stays part of its own.
        let named = good.replace("Ann <ann@x>", "[GNUPG:] GOODSIG 1 x");
        assert_eq!(judge(&named, true), Ok(PRIMARY.to_owned()));
    }

    #[test]
    fn weak_digests_and_unknown_keys_are_told() {
        for digest in ["1", "2", "3", ""] {
            let said = format!("{:?}", judge(&status("GOODSIG", digest), true));
            assert!(said.contains("too weak"), "{said}");
        }
        let unknown = format!(
            "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG AC821CB980E24A87 22 8 00 1795183699 9 {PRIMARY}\n[GNUPG:] NO_PUBKEY AC821CB980E24A87\n"
        );
        assert_eq!(
            judge(&unknown, false),
            Err(Verdict::Unknown(PRIMARY.to_owned()))
        );
        let older = unknown.replace(&format!(" 9 {PRIMARY}"), " 9");
        assert_eq!(
            judge(&older, false),
            Err(Verdict::Unknown("AC821CB980E24A87".to_owned()))
        );
        let other = unknown.replace(" 9 ", " 4 ");
        assert!(matches!(judge(&other, false), Err(Verdict::Other(_))));
    }
}
