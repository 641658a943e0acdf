//! What the engine says while it pulls, pushes or loads.
//!
//! On a terminal every layer keeps its line and its bar; without one only changes of state are printed, one a line.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::client::Lines;
use crate::document::Document;
use crate::error::CommandError;
use crate::format::units;
use crate::ui::Ui;

/// Turns messages into text; knows where every layer's line is.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    terminal: bool,
    columns: usize,
    lines: HashMap<String, usize>,
}

/// `[=====>     ]  1.2MB/3.4MB`.
fn bar(detail: &Document, columns: usize) -> String {
    let (current, total) = (detail.int("current"), detail.int("total"));
    if current <= 0 && total <= 0 {
        return String::new();
    }
    let bytes = detail.text("units").is_empty();
    let size = |n: i64| {
        if bytes {
            units::human_size(u64::try_from(n).unwrap_or(0))
        } else {
            format!("{n} {}", detail.text("units"))
        }
    };
    if total <= 0 {
        return format!("{:>8}", size(current));
    }
    let done =
        usize::try_from((i128::from(current) * 100 / i128::from(total)) / 2).unwrap_or(0).min(50);
    let mut text = String::new();
    if columns > 110 {
        let _ = write!(text, "[{}>{}] ", "=".repeat(done), " ".repeat(50 - done));
    }
    if detail.flag("hidecounts") {
        return text;
    }
    let _ = if current > total {
        write!(text, "{:>8}", size(current))
    } else {
        write!(text, "{:>8}/{}", size(current), size(total))
    };
    text
}

impl Screen {
    /// A screen of `columns` columns, or a plain stream.
    pub(crate) fn new(terminal: bool, columns: usize) -> Self {
        Self { terminal, columns, lines: HashMap::new() }
    }

    /// The text that shows `message`.
    pub(crate) fn show(&mut self, message: &Document) -> String {
        let id = message.text("id");
        let has_progress = matches!(message.at("progressDetail"), Document::Map(_));
        let mut out = String::new();
        let mut up = 0;
        if !id.is_empty() && has_progress {
            let count = self.lines.len();
            let known = self.lines.get(id).copied();
            let line = known.unwrap_or(count);
            if known.is_none() {
                self.lines.insert(id.to_owned(), line);
                if self.terminal {
                    out.push('\n');
                }
            }
            up = self.lines.len() - line;
            if self.terminal {
                let _ = write!(out, "\x1b[{up}A");
            }
        } else {
            self.lines.clear();
        }
        self.draw(message, has_progress, &mut out);
        if self.terminal && up > 0 {
            let _ = write!(out, "\x1b[{up}B");
        }
        out
    }

    fn draw(&self, message: &Document, has_progress: bool, out: &mut String) {
        let bar = bar(message.at("progressDetail"), self.columns);
        let stream = message.text("stream");
        let rewrites = self.terminal && stream.is_empty() && has_progress;
        if rewrites {
            out.push_str("\x1b[2K\r");
        } else if has_progress && !bar.is_empty() {
            return;
        }
        let end = if rewrites { "\r" } else { "" };
        if !message.text("id").is_empty() {
            let _ = write!(out, "{}: ", message.text("id"));
        }
        if !message.text("from").is_empty() {
            let _ = write!(out, "(from {}) ", message.text("from"));
        }
        let status = message.text("status");
        let _ = if has_progress && self.terminal {
            write!(out, "{status} {bar}{end}")
        } else if !stream.is_empty() {
            write!(out, "{stream}{end}")
        } else {
            writeln!(out, "{status}{end}")
        };
    }
}

/// The failure that a message carries.
fn failure(message: &Document) -> Option<CommandError> {
    let words = match message.text("errorDetail.message") {
        "" => message.text("error"),
        words => words,
    };
    (!words.is_empty()).then(|| {
        let code = message.int("errorDetail.code");
        match u8::try_from(code) {
            Ok(code) if code > 0 => CommandError::Coded { code, message: words.to_owned() },
            _ => CommandError::plain(words),
        }
    })
}

/// Where messages are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    Out,
    Err,
    Nowhere,
}

/// Shows a stream of messages to its end; returns the `aux` parts.
///
/// # Errors
/// The failure that the engine reports inside the stream.
pub(crate) async fn show(
    ui: &mut Ui,
    mut lines: Lines,
    place: Where,
) -> Result<Vec<Document>, CommandError> {
    let terminal = match place {
        Where::Out => ui.out_is_terminal,
        Where::Err => ui.err_is_terminal,
        Where::Nowhere => false,
    };
    let mut screen = Screen::new(terminal, crate::terminal::columns());
    let mut aux = Vec::new();
    while let Some(message) = lines.next().await? {
        if let Some(error) = failure(&message) {
            return Err(error);
        }
        if let Some(part) = message.member("aux") {
            aux.push(part.clone());
            continue;
        }
        let text = screen.show(&message);
        match place {
            Where::Out => {
                ui.data(text)?;
                ui.flush()?;
            }
            Where::Err => ui.note_bytes(text.as_bytes())?,
            Where::Nowhere => {}
        }
    }
    Ok(aux)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULL: &str = r#"{"status":"Pulling from library/ubuntu","id":"22.04"}
{"status":"Pulling fs layer","progressDetail":{},"id":"aaaaaaaaaaaa"}
{"status":"Downloading","progressDetail":{"current":524288,"total":1048576},"progress":"x","id":"aaaaaaaaaaaa"}
{"status":"Pull complete","progressDetail":{},"id":"aaaaaaaaaaaa"}
{"status":"Digest: sha256:1234"}
{"status":"Status: Downloaded newer image for ubuntu:22.04"}"#;

    fn render(terminal: bool, columns: usize) -> String {
        let mut screen = Screen::new(terminal, columns);
        PULL.lines().map(|line| screen.show(&Document::parse(line.as_bytes()))).collect()
    }

    #[test]
    fn without_a_terminal_states_are_lines() {
        assert_eq!(
            render(false, 200),
            "22.04: Pulling from library/ubuntu\n\
             aaaaaaaaaaaa: Pulling fs layer\n\
             aaaaaaaaaaaa: Pull complete\n\
             Digest: sha256:1234\n\
             Status: Downloaded newer image for ubuntu:22.04\n"
        );
    }

    #[test]
    fn on_a_terminal_layers_keep_their_line() {
        let text = render(true, 120);
        let bar = format!("[{}>{}]  524.3kB/1.049MB", "=".repeat(25), " ".repeat(25));
        assert!(
            text.contains(&format!("\x1b[1A\x1b[2K\raaaaaaaaaaaa: Downloading {bar}\r\x1b[1B")),
            "{text:?}"
        );
        assert!(text.contains("aaaaaaaaaaaa: Pull complete \r\x1b[1B"), "{text:?}");
        assert!(text.ends_with("Status: Downloaded newer image for ubuntu:22.04\n"), "{text:?}");
    }

    #[test]
    fn a_narrow_terminal_has_no_bar() {
        assert!(render(true, 80).contains("Downloading  524.3kB/1.049MB\r"));
    }

    #[test]
    fn failures_are_found() {
        let line = br#"{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}"#;
        assert_eq!(failure(&Document::parse(line)).unwrap().to_string(), "no space left on device");
        assert!(failure(&Document::parse(b"{\"status\":\"x\"}")).is_none());
    }
}
