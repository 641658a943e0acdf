//! Tables and templates: what `--format` means for every listing.

pub(crate) mod table;
pub(crate) mod template;
pub(crate) mod units;

use std::collections::BTreeMap;
use std::sync::Arc;

use gotmpl::Value;

use crate::error::CommandError;
use crate::ui::Ui;
use template::Template;

/// One row of a listing: the fields that a template may name.
pub(crate) type Row = BTreeMap<Arc<str>, Value>;

/// Builds a row from names and texts.
pub(crate) fn row<const N: usize>(fields: [(&str, String); N]) -> Row {
    fields.into_iter().map(|(name, text)| (Arc::from(name), Value::String(text.into()))).collect()
}

/// Adds the method `.Label "key"` to a row.
pub(crate) fn with_labels(mut row: Row, labels: BTreeMap<String, String>) -> Row {
    let lookup = move |args: &[Value]| {
        let name = args.first().map(ToString::to_string).unwrap_or_default();
        Ok(Value::String(labels.get(&name).cloned().unwrap_or_default().into()))
    };
    row.insert(Arc::from("Label"), Value::Function(Arc::new(lookup)));
    row
}

/// What a listing is and how its columns are called.
pub(crate) struct Listing {
    /// Fields and their column headers.
    pub(crate) headers: &'static [(&'static str, &'static str)],
    /// The fields of the default table, in order, as a template.
    pub(crate) default: String,
    /// What a template's author is told the rows are.
    kind: &'static str,
}

/// Where the words of `--format` lead.
enum Shape<'a> {
    Table(&'a str),
    Json,
    Raw(&'a str),
}

/// Turns the `\t` and `\n` of a shell's single quotes into what they mean.
fn unescape(text: &str) -> String {
    text.replace(r"\t", "\t").replace(r"\n", "\n")
}

fn shape<'a>(format: &'a str, default: &'a str) -> Shape<'a> {
    match format {
        "" | "table" => Shape::Table(default),
        "json" => Shape::Json,
        _ => match format.strip_prefix("table ") {
            Some(template) => Shape::Table(template.trim()),
            None => Shape::Raw(format),
        },
    }
}

impl Listing {
    /// A listing whose default table shows `columns`.
    pub(crate) fn new(headers: &'static [(&'static str, &'static str)], columns: &[&str]) -> Self {
        let cells: Vec<String> = columns.iter().map(|name| format!("{{{{.{name}}}}}")).collect();
        Self { headers, default: cells.join("\t"), kind: "row" }
    }

    /// The same under the name that Docker gives its rows in messages.
    pub(crate) fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    fn header_row(&self) -> Value {
        let mut row = row([]);
        let labels = |args: &[Value]| {
            let name = args.first().map(ToString::to_string).unwrap_or_default();
            let short = name.rsplit('.').next().unwrap_or_default();
            Ok(Value::String(short.replace(['-', '_'], " ").into()))
        };
        row.insert(Arc::from("Label"), Value::Function(Arc::new(labels)));
        for (field, header) in self.headers {
            row.insert(Arc::from(*field), Value::String(Arc::from(*header)));
        }
        Value::Map(Arc::new(row))
    }

    /// Renders `rows` as `format` says.
    ///
    /// # Errors
    /// The template cannot be parsed or names a field that does not exist.
    pub(crate) fn render(&self, format: &str, rows: Vec<Row>) -> Result<String, CommandError> {
        let rows = rows.into_iter().map(|row| Value::Map(Arc::new(row)));
        match shape(format, &self.default) {
            Shape::Json => Ok(rows.map(|row| template::row_text(&row) + "\n").collect()),
            Shape::Raw(text) => {
                let template = Template::listing(&unescape(text), self.kind)?;
                rows.map(|row| Ok(template.render_row(&row)? + "\n")).collect()
            }
            Shape::Table(text) => {
                let source = unescape(text);
                let mut lines = vec![Template::header(&source)?.render_row(&self.header_row())?];
                let template = Template::listing(&source, self.kind)?;
                for row in rows {
                    lines.push(template.render_row(&row)?);
                }
                Ok(table::align(&lines, table::LISTING))
            }
        }
    }

    /// Renders `rows` on standard output.
    pub(crate) fn print(
        &self,
        ui: &mut Ui,
        format: &str,
        rows: Vec<Row>,
    ) -> Result<(), CommandError> {
        let text = self.render(format, rows)?;
        ui.data(text)
    }
}

/// `--quiet` wins over the configured format but not over one that was typed, as in Docker: there a typed format other than
/// `table` ignores it.
pub(crate) fn quiet_format(format: &str, quiet: bool, field: &str) -> String {
    if quiet && (format.is_empty() || format.starts_with("table")) {
        format!("{{{{.{field}}}}}")
    } else {
        format.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        Listing::new(
            &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Image", "IMAGE")],
            &["ID", "Image", "Names"],
        )
    }

    fn rows() -> Vec<Row> {
        let labels = BTreeMap::from([("com.example.tier".to_owned(), "web".to_owned())]);
        vec![
            with_labels(
                row([
                    ("ID", "8ddd0887f8aa".into()),
                    ("Names", "one".into()),
                    ("Image", "busybox".into()),
                ]),
                labels,
            ),
            with_labels(
                row([
                    ("ID", "56362303a434".into()),
                    ("Names", "two".into()),
                    ("Image", "a-much-longer/name:tag".into()),
                ]),
                BTreeMap::new(),
            ),
        ]
    }

    #[test]
    fn the_default_is_a_table() {
        let text = listing().render("", rows()).unwrap();
        assert_eq!(
            text,
            "CONTAINER ID   IMAGE                    NAMES\n\
             8ddd0887f8aa   busybox                  one\n\
             56362303a434   a-much-longer/name:tag   two\n"
        );
        assert_eq!(
            listing().render("table", Vec::new()).unwrap(),
            "CONTAINER ID   IMAGE     NAMES\n"
        );
    }

    #[test]
    fn a_table_of_ones_own() {
        let text =
            listing().render(r#"table {{.Names}}\t{{.Label "com.example.tier"}}"#, rows()).unwrap();
        assert_eq!(text, "NAMES     tier\none       web\ntwo       \n");
    }

    #[test]
    fn raw_templates_and_json() {
        assert_eq!(
            listing().render("{{.Names}}: {{upper .Image}}", rows()).unwrap(),
            "one: BUSYBOX\ntwo: A-MUCH-LONGER/NAME:TAG\n"
        );
        let json = listing().render("json", rows()).unwrap();
        assert_eq!(
            json.lines().next(),
            Some(r#"{"ID":"8ddd0887f8aa","Image":"busybox","Names":"one"}"#)
        );
        assert_eq!(listing().render("{{json .}}", rows()).unwrap(), json);
        assert_eq!(
            listing().render("{{if .Label \"x\"}}y{{else}}n{{end}}", rows()).unwrap(),
            "n\nn\n"
        );
    }

    #[test]
    fn mistakes_are_said() {
        let error = listing().render("{{", rows()).unwrap_err().to_string();
        assert!(error.starts_with("failed to parse template: template: :1:"), "{error}");
        let error = listing().render("{{.Nope}}", rows()).unwrap_err().to_string();
        assert!(error.contains("Nope"), "{error}");
    }
}
