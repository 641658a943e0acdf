//! `events`.

use hyper::Method;

use super::logs::moment;
use crate::client::{Call, Client, Lines, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::template::Template;
use crate::format::units;
use crate::ui::Ui;

/// Get real time events from the server
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    since: String,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    until: String,
}

/// Prints events until the stream ends.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let template = match args.format.as_str() {
        "" | "json" => None,
        text => Some(Template::inspect(text)?),
    };
    let path = Query::new()
        .with_some("filters", &filters::encode(&args.filter))
        .with_some("since", &moment(&args.since, "since")?)
        .with_some("until", &moment(&args.until, "until")?)
        .on("/events");
    let mut events = Lines::of(client.stream(Call::new(Method::GET, &path)).await?);
    while let Some(event) = events.next().await? {
        match &template {
            Some(template) => ui.line(template.render(&event)?)?,
            None if args.format == "json" => ui.line(event.compact())?,
            None => ui.line(text(&event))?,
        }
        ui.flush()?;
    }
    Ok(0)
}

/// `2026-11-28T15:11:38.000000000Z container start ID (image=busybox, name=x)`.
fn text(event: &Document) -> String {
    let nanos = match event.int("timeNano") {
        0 => i128::from(event.int("time")) * 1_000_000_000,
        nanos => i128::from(nanos),
    };
    let stamp = jiff::ZonedDateTime::new(
        jiff::Timestamp::from_nanosecond(nanos).unwrap_or_default(),
        units::zone(),
    );
    let stamp = stamp.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z").to_string().replace("+00:00", "Z");
    let mut attributes: Vec<String> = event
        .members("Actor.Attributes")
        .iter()
        .map(|(key, value)| format!("{key}={}", value.as_text()))
        .collect();
    attributes.sort();
    let attributes =
        if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!(
        "{stamp} {} {} {}{attributes}",
        event.text("Type"),
        event.text("Action"),
        event.text("Actor.ID")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let event = Document::parse(
            br#"{"Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"name":"x","image":"busybox"}},"time":1795878000,"timeNano":1795878000000000005}"#,
        );
        let line = text(&event);
        assert!(line.ends_with("container start abc (image=busybox, name=x)"), "{line}");
        assert!(line.contains(".000000005"), "{line}");
    }
}
