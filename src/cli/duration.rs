//! Durations as people write them: `30s`, `5m`, `1h`, or seconds alone.

use std::time::Duration;

/// How to write one.
const FORM: &str = "write 30s, 5m or 1h";
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest duration that makes sense for what is done again and again: a day.
const LONGEST: Duration = Duration::from_hours(24);

/// From one second to a day.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = text.strip_prefix(number).unwrap_or_default();
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("there is no unit `{unit}`: {FORM}")),
    };
    let number: u32 = number.parse().ok().ok_or_else(|| FORM.to_owned())?;
    let duration = Duration::from_secs(u64::from(number) * seconds);
    if (SHORTEST..=LONGEST).contains(&duration) {
        Ok(duration)
    } else {
        Err(format!("from 1s to 24h: {FORM}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_minutes_and_hours_are_read() {
        for (text, seconds) in [
            ("30s", 30),
            ("5m", 300),
            ("1h", 3600),
            ("45", 45),
            ("24h", 86_400),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "s",
            "0",
            "0s",
            "25h",
            "5 m",
            "5d",
            "1m30s",
            "-1s",
            "1.5m",
            "99999999999s",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("write 30s"), "{text}: {error}");
        }
    }
}
