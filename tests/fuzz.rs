//! Parsers that meet outside text, fuzzed. Under `cargo test` each target runs the committed corpus and some
//! random inputs; `cargo bolero test NAME` explores with coverage.

use tidegate::connector::filter::{self, Parameters};

/// No text makes the filter parser panic, and what it reads it prints as text that it reads the same way.
#[test]
fn filter_text() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else {
            return;
        };
        let parameters =
            Parameters::from_json(r#"{":p": "text", ":n": 1, ":z": null}"#).unwrap_or_default();
        let _ = filter::parse_role(text);
        let _ = filter::parse_having(text, &parameters);
        if let Ok(read) = filter::parse(text, &parameters) {
            let printed = read.to_string();
            let again =
                filter::parse(&printed, &Parameters::default()).map(|again| again.to_string());
            assert_eq!(again.as_ref(), Ok(&printed), "{text}");
        }
    });
}
