//! Go templates with Docker's functions.
//!
//! Two things of Go are added to the engine: `{{.Label "x"}}` (a method call) and `{{json .}}` with the keys in the order in which
//! the engine sent them. For the second, every object and list of a document is remembered by the address of its shared
//! allocation, next to the text it came from.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use gotmpl::{MissingKey, TemplateError, Value};

use crate::document::Document;
use crate::error::CommandError;

/// JSON texts of the nodes of one document, by address.
type Texts = Arc<Mutex<HashMap<usize, String>>>;

/// A parsed template.
pub(crate) struct Template {
    inner: gotmpl::Template,
    source: String,
    texts: Texts,
    /// What a listing's rows are called; none for documents.
    kind: Option<&'static str>,
}

fn address(value: &Value) -> Option<usize> {
    match value {
        Value::Map(map) => Some(Arc::as_ptr(map).cast::<()>() as usize),
        Value::List(list) => Some(Arc::as_ptr(list).cast::<()>() as usize),
        _ => None,
    }
}

/// Fields of `inspect` documents that Go knows as lists and that may be null.
const LISTS: &[&str] = &[
    "Binds",
    "VolumesFrom",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
    "Mounts",
    "MaskedPaths",
    "ReadonlyPaths",
    "Env",
    "Cmd",
    "Entrypoint",
    "OnBuild",
    "ExecIDs",
    "Aliases",
    "DNSNames",
    "RepoTags",
    "RepoDigests",
    "Layers",
    "Args",
    "Shell",
];

/// Fields that Go knows as maps and that may be null.
const MAPS: &[&str] = &[
    "PortBindings",
    "Volumes",
    "Labels",
    "ExposedPorts",
    "Options",
    "DriverOpts",
    "Containers",
    "Ports",
    "Annotations",
    "Sysctls",
];

/// Objects that the engine leaves out when there is nothing in them, although templates may name them: parent and name. They
/// count as false.
const ABSENT_OBJECTS: &[(&str, &str)] =
    &[("State", "Health"), ("Config", "Healthcheck"), ("Config", "ExposedPorts")];

/// Values that the engine leaves out.
const ABSENT_VALUES: &[(&str, &str)] =
    &[("HostConfig", "Init"), ("", "SizeRw"), ("", "SizeRootFs"), ("", "Status"), ("", "From")];

/// Names of Docker's Go fields whose JSON names differ; templates may use either.
const ALIASES: &[(&str, &str)] = &[
    ("Id", "ID"),
    ("id", "ID"),
    ("ApiVersion", "APIVersion"),
    ("status", "Status"),
    ("from", "From"),
    ("scope", "Scope"),
    ("time", "Time"),
    ("timeNano", "TimeNano"),
];

struct Converter<'a> {
    texts: &'a Texts,
}

impl Converter<'_> {
    fn remember(&self, value: Value, text: String) -> Value {
        if let (Some(address), Ok(mut texts)) = (address(&value), self.texts.lock()) {
            texts.insert(address, text);
        }
        value
    }

    fn value(&self, key: &str, document: &Document) -> Value {
        let value = match document {
            Document::Null if LISTS.contains(&key) => Value::List(Arc::from(Vec::new())),
            Document::Null if MAPS.contains(&key) => Value::Map(Arc::new(BTreeMap::new())),
            Document::Null => return Value::Nil,
            Document::Bool(value) => return Value::Bool(*value),
            Document::Int(value) => return Value::Int(*value),
            Document::Uint(value) => return Value::Uint(*value),
            Document::Float(value) => return Value::Float(*value),
            Document::Text(text) => return Value::String(Arc::from(text.as_str())),
            Document::List(items) => {
                Value::List(items.iter().map(|item| self.value("", item)).collect())
            }
            Document::Map(members) => Value::Map(Arc::new(self.map(key, members))),
        };
        self.remember(value, document.compact())
    }

    fn map(&self, key: &str, members: &[(String, Document)]) -> BTreeMap<Arc<str>, Value> {
        let mut map: BTreeMap<Arc<str>, Value> = members
            .iter()
            .map(|(name, value)| (Arc::from(name.as_str()), self.value(name, value)))
            .collect();
        for (json, go) in ALIASES {
            if let (Some(value), false) = (map.get(*json).cloned(), map.contains_key(*go)) {
                map.insert(Arc::from(*go), value);
            }
        }
        let absent = |table: &'static [(&str, &str)]| {
            table
                .iter()
                .filter(move |(parent, _)| *parent == key)
                .map(|(_, name)| Arc::<str>::from(*name))
        };
        for name in absent(ABSENT_OBJECTS) {
            map.entry(name).or_insert_with(|| Value::Map(Arc::new(BTreeMap::new())));
        }
        // Members of lists have no name of their own either: only a whole document is known by its `HostConfig` or `Actor`.
        let whole = !key.is_empty() || map.contains_key("HostConfig") || map.contains_key("Actor");
        for name in absent(ABSENT_VALUES).filter(|_| whole) {
            let empty =
                if map.contains_key("Actor") { Value::String(Arc::from("")) } else { Value::Nil };
            map.entry(name).or_insert(empty);
        }
        map
    }
}

/// The text of a listing's row: as [`json_text`], with the three characters escaped that Go escapes for HTML.
pub(crate) fn row_text(value: &Value) -> String {
    json_text(value).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// The text of a value as Go's encoder writes it; keys in order of the alphabet.
pub(crate) fn json_text(value: &Value) -> String {
    to_document(value).compact()
}

fn to_document(value: &Value) -> Document {
    match value {
        Value::Bool(value) => Document::Bool(*value),
        Value::Int(value) => Document::Int(*value),
        Value::Uint(value) => Document::Uint(*value),
        Value::Float(value) => Document::Float(*value),
        Value::String(text) => Document::Text(text.to_string()),
        Value::List(items) => Document::List(items.iter().map(to_document).collect()),
        Value::Map(map) => Document::Map(
            map.iter()
                .filter(|(_, value)| !matches!(value, Value::Function(_)))
                .map(|(key, value)| (key.to_string(), to_document(value)))
                .collect(),
        ),
        _ => Document::Null,
    }
}

fn text(args: &[Value], at: usize) -> String {
    args.get(at)
        .map(|value| if matches!(value, Value::Nil) { String::new() } else { value.to_string() })
        .unwrap_or_default()
}

fn string(text: String) -> gotmpl::Result<Value> {
    Ok(Value::String(text.into()))
}

fn join(args: &[Value]) -> gotmpl::Result<Value> {
    let (list, separator) = match args {
        [list @ Value::List(_), separator] | [separator, list @ Value::List(_)] => {
            (list, separator.to_string())
        }
        _ => return string(String::new()),
    };
    let Value::List(items) = list else {
        return string(String::new());
    };
    string(items.iter().map(ToString::to_string).collect::<Vec<_>>().join(&separator))
}

fn split(args: &[Value]) -> gotmpl::Result<Value> {
    let (whole, separator) = (text(args, 0), text(args, 1));
    let parts: Vec<Value> =
        whole.split(separator.as_str()).map(|part| Value::String(Arc::from(part))).collect();
    Ok(Value::List(parts.into()))
}

fn title(args: &[Value]) -> gotmpl::Result<Value> {
    let mut fresh = true;
    let titled = text(args, 0)
        .chars()
        .flat_map(|c| {
            let upper = fresh && c.is_alphabetic();
            fresh = !(c.is_alphanumeric() || c == '_' || c == '\'');
            if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
        })
        .collect();
    string(titled)
}

fn pad(args: &[Value]) -> gotmpl::Result<Value> {
    let source = text(args, 0);
    if source.is_empty() {
        return string(source);
    }
    let spaces =
        |at: usize| usize::try_from(args.get(at).and_then(Value::as_int).unwrap_or(0)).unwrap_or(0);
    string(format!("{}{source}{}", " ".repeat(spaces(1)), " ".repeat(spaces(2))))
}

fn truncate(args: &[Value]) -> gotmpl::Result<Value> {
    let length = usize::try_from(args.get(1).and_then(Value::as_int).unwrap_or(0)).unwrap_or(0);
    string(text(args, 0).chars().take(length).collect())
}

fn base(texts: &Texts) -> gotmpl::Template {
    let known = Arc::clone(texts);
    let json = move |args: &[Value]| {
        let value = args.first().unwrap_or(&Value::Nil);
        let remembered = address(value).and_then(|at| known.lock().ok()?.get(&at).cloned());
        let fresh =
            || if matches!(value, Value::Map(_)) { row_text(value) } else { json_text(value) };
        string(remembered.unwrap_or_else(fresh))
    };
    gotmpl::Template::new("")
        .missing_key(MissingKey::Error)
        .func("json", json)
        .func("join", join)
        .func("split", split)
        .func("lower", |args| string(text(args, 0).to_lowercase()))
        .func("upper", |args| string(text(args, 0).to_uppercase()))
        .func("title", title)
        .func("pad", pad)
        .func("truncate", truncate)
}

/// Spells the method call `.Label "x"` as a call of the field's function.
fn spell_methods(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find(".Label ") {
        let before = &rest[..at];
        let after = rest[at + 7..].trim_start();
        let starts_operand =
            !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ')');
        let has_argument = after.starts_with(['"', '`', '$', '.', '(']);
        out.push_str(before);
        out.push_str(if starts_operand && has_argument { "call .Label " } else { ".Label " });
        rest = &rest[at + 7..];
    }
    out + rest
}

/// `template: 1:3: words` as Go says it: without a name, and with the line alone.
fn go_parse_words(words: &str) -> String {
    let bare = words.strip_prefix("template: ").unwrap_or(words);
    let mut parts = bare.splitn(3, ':');
    let number = |part: Option<&str>| part.is_some_and(|part| part.trim().parse::<u32>().is_ok());
    let (line, column, rest) = (parts.next(), parts.next(), parts.next());
    match (line, rest) {
        (Some(line), Some(rest)) if number(Some(line)) && number(column) => {
            format!("template: :{}:{rest}", line.trim())
        }
        _ => format!("template: :1: {bare}"),
    }
}

impl Template {
    /// Parses a template of a listing.
    ///
    /// # Errors
    /// Docker's words: `failed to parse template: template: :1: …`.
    pub(crate) fn listing(source: &str, kind: &'static str) -> Result<Self, CommandError> {
        Self::parse(source)
            .map(|template| Self { kind: Some(kind), ..template })
            .map_err(|error| CommandError::plain(format!("failed to parse template: {error}")))
    }

    /// Parses a template of a listing for its header: functions that change words leave the column names alone.
    ///
    /// # Errors
    /// As [`Template::listing`].
    pub(crate) fn header(source: &str) -> Result<Self, CommandError> {
        Self::parse_with(source, |template| {
            ["json", "split", "join", "title", "lower", "upper", "truncate"].into_iter().fold(
                template,
                |template, name| {
                    template.func(name, |args| Ok(args.first().cloned().unwrap_or(Value::Nil)))
                },
            )
        })
        .map_err(|error| CommandError::plain(format!("failed to parse template: {error}")))
    }

    /// Parses a template of `inspect` and its relatives.
    ///
    /// # Errors
    /// Docker's words: `template parsing error: template: :1: …`, exit code 64.
    pub(crate) fn inspect(source: &str) -> Result<Self, CommandError> {
        Self::parse(source).map_err(|error| CommandError::Coded {
            code: 64,
            message: format!("template parsing error: {error}"),
        })
    }

    fn parse(source: &str) -> Result<Self, String> {
        Self::parse_with(source, |template| template)
    }

    fn parse_with(
        source: &str,
        change: impl FnOnce(gotmpl::Template) -> gotmpl::Template,
    ) -> Result<Self, String> {
        let texts = Texts::default();
        let inner = change(base(&texts))
            .parse(&spell_methods(source))
            .map_err(|error| go_parse_words(&error.to_string()))?;
        Ok(Self { inner, source: source.to_owned(), texts, kind: None })
    }

    /// Renders one row of a listing.
    pub(crate) fn render_row(&self, row: &Value) -> Result<String, CommandError> {
        self.inner.execute_to_string(row).map_err(|error| {
            CommandError::plain(format!("failed to execute template: {}", self.words(&error)))
        })
    }

    /// Renders a document.
    pub(crate) fn render(&self, document: &Document) -> Result<String, CommandError> {
        let value = Converter { texts: &self.texts }.value("", document);
        let text = self.inner.execute_to_string(&value).map_err(|error| CommandError::Coded {
            code: 1,
            message: format!("template parsing error: {}", self.words(&error)),
        })?;
        // A null of the document is a nil pointer to Docker's template, not a missing value.
        Ok(text.replace("<no value>", "<nil>"))
    }

    /// Go's words for a failure, with the place in the template.
    fn words(&self, error: &TemplateError) -> String {
        let TemplateError::MissingKey { key } = error else {
            let words = error.to_string();
            return if words.starts_with("template:") {
                words
            } else {
                format!("template: :1: executing \"\": {words}")
            };
        };
        let (at, chain) = self.place(key);
        let absent = ABSENT_OBJECTS
            .iter()
            .find(|(parent, name)| chain.starts_with(&format!(".{parent}.{name}.")));
        let key = absent.map_or(key.as_str(), |(_, name)| name);
        let reason = match self.kind {
            Some(kind) => format!("can't evaluate field {key} in type *formatter.{kind}"),
            None => format!("map has no entry for key \"{key}\""),
        };
        format!("template: :1:{at}: executing \"\" at <{chain}>: {reason}")
    }

    /// Where `key` stands: the column Go names and the field chain it belongs to.
    fn place(&self, key: &str) -> (usize, String) {
        let needle = format!(".{key}");
        let Some(found) = self.source.find(&needle) else {
            return (0, needle);
        };
        let is_chain = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let start = self.source[..found].rfind(|c| !is_chain(c)).map_or(0, |at| at + 1);
        let chain: String = self.source[start..].chars().take_while(|c| is_chain(*c)).collect();
        let second = chain[1..].find('.').map_or(0, |at| at + 1);
        (start + second, chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::parse(
            br#"{"Id":"abc","State":{"Pid":42,"Status":"running"},"HostConfig":{"Memory":268435456,"Binds":null,"CpuQuota":0},
            "Mounts":[{"Type":"bind","Source":"/a"},{"Type":"volume","Source":"/b"}],
            "NetworkSettings":{"Networks":{"bridge":{"IPAddress":"172.17.0.2"}}},
            "Config":{"Labels":{"x.y":"z"},"Cmd":["sh","-c"],"Env":["A=1"]},"Empty":[]}"#,
        )
    }

    fn render(template: &str) -> String {
        match Template::inspect(template).and_then(|template| template.render(&document())) {
            Ok(text) => text,
            Err(error) => format!("ERROR {error}"),
        }
    }

    #[test]
    fn what_scripts_use() {
        assert_eq!(render("{{.State.Pid}}"), "42");
        assert_eq!(render("{{.HostConfig.Memory}}"), "268435456");
        assert_eq!(
            render("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"),
            "172.17.0.2"
        );
        assert_eq!(render(r#"{{index .Config.Labels "x.y"}}"#), "z");
        assert_eq!(render("{{len .Mounts}}"), "2");
        assert_eq!(render("{{range .Mounts}}{{.Type}}:{{.Source}};{{end}}"), "bind:/a;volume:/b;");
        assert_eq!(render("{{join .Config.Cmd \" \"}}"), "sh -c");
        assert_eq!(render("{{(index .Mounts 1).Source}}"), "/b");
        assert_eq!(render("{{.Config.Cmd}}"), "[sh -c]");
        assert_eq!(render("{{printf \"%s-%d\" .Id .State.Pid}}"), "abc-42");
        assert_eq!(render("{{if .State.Health}}h{{else}}none{{end}}"), "none");
        assert_eq!(render("{{if eq .State.Status \"running\"}}up{{end}}"), "up");
        assert_eq!(
            render("{{title \"hello world\"}} {{pad \"a\" 1 2}}|{{truncate \"abcdef\" 3}}"),
            "Hello World  a  |abc"
        );
        assert_eq!(render("{{index (split \"a:b\" \":\") 1}}"), "b");
        assert_eq!(render("{{with .State}}{{.Pid}}{{end}}{{println}}"), "42\n");
        assert_eq!(render("{{.HostConfig.Binds}}{{range .HostConfig.Binds}}x{{end}}"), "[]");
    }

    #[test]
    fn json_keeps_the_engines_order_and_nulls() {
        assert_eq!(
            render("{{json .HostConfig}}"),
            r#"{"Memory":268435456,"Binds":null,"CpuQuota":0}"#
        );
        assert_eq!(render("{{json .HostConfig.Binds}}{{json .Empty}}"), "null[]");
        assert_eq!(render("{{json .State}}"), r#"{"Pid":42,"Status":"running"}"#);
        assert_eq!(render("{{json .Id}}"), r#""abc""#);
    }

    // What docker 28.2.2 prints for the same templates.
    #[test]
    fn a_missing_field_is_named_as_go_names_it() {
        assert_eq!(
            render("{{.State.Health.Status}}"),
            r#"ERROR template parsing error: template: :1:8: executing "" at <.State.Health.Status>: map has no entry for key "Health""#
        );
        assert_eq!(
            render("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}"),
            "none"
        );
        assert_eq!(render("{{.ID}}"), "abc");
        assert_eq!(
            render("{{.Foo}}"),
            r#"ERROR template parsing error: template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo""#
        );
        assert_eq!(
            render("{{.State.Foo}}"),
            r#"ERROR template parsing error: template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo""#
        );
    }
}
