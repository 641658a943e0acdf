//! Progress of pull, push, load, import and build: a stream of JSON objects, one a line.
#![expect(missing_docs, reason = "the fields mirror the Engine API's, where they are described")]

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JsonMessage {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<ProgressDetail>,
    /// The bar as text, for clients that do not draw their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    pub message: String,
}

impl JsonMessage {
    /// A plain status line.
    #[must_use]
    pub fn status(text: impl Into<String>) -> Self {
        Self { status: Some(text.into()), ..Self::default() }
    }

    /// A line of text for people, as `load` and `build` print.
    #[must_use]
    pub fn stream(text: impl Into<String>) -> Self {
        Self { stream: Some(text.into()), ..Self::default() }
    }

    /// How far a layer has come; `current` and `total` in bytes.
    #[must_use]
    pub fn layer(id: &str, status: &str, current: Option<u64>, total: Option<u64>) -> Self {
        Self {
            id: Some(id.to_owned()),
            status: Some(status.to_owned()),
            progress: current.map(|current| bar(current, total.unwrap_or(0))),
            progress_detail: Some(ProgressDetail { current, total }),
            ..Self::default()
        }
    }

    /// The failure of a stream whose status line was already sent.
    #[must_use]
    pub fn failure(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            error_detail: Some(ErrorDetail { code: None, message: message.clone() }),
            error: Some(message),
            ..Self::default()
        }
    }

    /// The line as it goes on the wire, with moby's `\r\n`.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("strings and numbers serialise");
        line.extend_from_slice(b"\r\n");
        line
    }
}

/// Draws `[====>    ]  1.5MB/3MB`, 50 characters wide.
#[must_use]
pub fn bar(current: u64, total: u64) -> String {
    if total == 0 || current > total {
        return format!("{:>8}", human(current));
    }
    let done = u128::from(current) * 50 / u128::from(total);
    let done = usize::try_from(done).unwrap_or(50);
    let drawn = format!("{}>{}", "=".repeat(done), " ".repeat(50 - done));
    format!("[{drawn}] {:>8}/{}", human(current), human(total))
}

/// Prints bytes in decimal units with four digits of precision, as go-units' `HumanSize` does.
#[must_use]
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut divisor, mut unit) = (1u64, 0);
    while unit + 1 < UNITS.len() && bytes / divisor >= 1000 {
        divisor *= 1000;
        unit += 1;
    }
    let whole = bytes / divisor;
    let places: u32 = match whole {
        0..10 => 3,
        10..100 => 2,
        100..1000 => 1,
        _ => 0,
    };
    let scale = 10u128.pow(places);
    let scaled = (u128::from(bytes) * scale + u128::from(divisor) / 2) / u128::from(divisor);
    let (int, frac) = (scaled / scale, scaled % scale);
    let frac = format!("{frac:0width$}", width = places as usize);
    match frac.trim_end_matches('0') {
        "" => format!("{int}{}", UNITS[unit]),
        frac => format!("{int}.{frac}{}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1551, "1.551kB"),
            (4_621_557, "4.622MB"),
            (123_456_789, "123.5MB"),
            (u64::MAX, "18.45EB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn bars_are_fifty_wide_and_never_panic() {
        assert_eq!(
            bar(1_000_000, 2_000_000),
            format!("[{}>{}]      1MB/2MB", "=".repeat(25), " ".repeat(25))
        );
        assert_eq!(bar(5, 5), format!("[{}>]       5B/5B", "=".repeat(50)));
        assert_eq!(bar(7, 0), "      7B");
        assert!(bar(u64::MAX, u64::MAX).starts_with("[=="));
    }

    #[test]
    fn lines_end_as_mobys_do() {
        assert_eq!(
            JsonMessage::status("Pulling").render(),
            b"{\"status\":\"Pulling\"}\r\n".to_vec()
        );
        assert_eq!(
            String::from_utf8(JsonMessage::failure("no").render()).unwrap(),
            "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
    }
}
