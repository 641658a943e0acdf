//! `inspect`: the documents of objects of any kind.

use crate::client::{Client, Query, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::format::template::Template;
use crate::ui::Ui;

/// Return low-level information on Belljar objects
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    r#type: String,
    #[arg(hide = true)]
    names: Vec<String>,
}

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

impl Kind {
    /// In the order in which a name is looked for.
    const ALL: [Self; 4] = [Self::Container, Self::Image, Self::Network, Self::Volume];

    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Volume => "volume",
        }
    }

    fn path(self, name: &str, query: Query) -> String {
        let name = segment(name);
        query.on(&match self {
            Self::Container => format!("/containers/{name}/json"),
            Self::Image => format!("/images/{name}/json"),
            Self::Network => format!("/networks/{name}"),
            Self::Volume => format!("/volumes/{name}"),
        })
    }
}

/// What is asked of every object.
pub(super) struct Look<'a> {
    pub(super) kinds: &'a [Kind],
    pub(super) size: bool,
    pub(super) verbose: bool,
    pub(super) platform: &'a str,
    pub(super) format: &'a str,
}

impl Look<'_> {
    async fn find(&self, client: &Client, name: &str) -> Result<Document, CommandError> {
        for kind in self.kinds {
            let query = match kind {
                Kind::Container => Query::new().with_flag("size", self.size),
                Kind::Image => {
                    Query::new().with_some("platform", &crate::images::platform(self.platform))
                }
                Kind::Network => Query::new().with_flag("verbose", self.verbose),
                Kind::Volume => Query::new(),
            };
            match client.get(&kind.path(name, query)).await {
                Err(error) if error.is_not_found() && self.kinds.len() > 1 => {}
                // A name that no image can have is none.
                Err(CommandError::Api { status: 400, .. })
                    if *kind == Kind::Image && self.kinds.len() > 1 => {}
                result => return result,
            }
        }
        Err(CommandError::plain(format!("Error: No such object: {name}")))
    }

    /// Prints every object that is there; then says which are not.
    pub(super) async fn run(
        &self,
        ui: &mut Ui,
        client: &Client,
        names: &[String],
    ) -> Result<u8, CommandError> {
        let template = match self.format {
            "" | "json" => None,
            text => Some(Template::inspect(&text.replace(r"\t", "\t").replace(r"\n", "\n"))?),
        };
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for name in names {
            match self.find(client, name).await {
                Ok(document) => found.push(document),
                Err(error @ (CommandError::Api { .. } | CommandError::Plain(_))) => {
                    failures.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        match &template {
            None => print_all(ui, &found, self.format == "json")?,
            Some(template) => failures.extend(print_rendered(ui, template, &found)?),
        }
        if failures.is_empty() {
            return Ok(0);
        }
        let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
        Err(CommandError::plain(lines.join("\n")))
    }
}

fn print_all(ui: &mut Ui, found: &[Document], compact: bool) -> Result<(), CommandError> {
    let all = Document::List(found.to_vec());
    let text = if compact { all.compact() } else { all.pretty() };
    ui.line(text)
}

/// Prints one line for each document; a template that does not fit one of them ends the output there.
fn print_rendered(
    ui: &mut Ui,
    template: &Template,
    found: &[Document],
) -> Result<Option<CommandError>, CommandError> {
    for document in found {
        match template.render(document) {
            Ok(text) => ui.line(text)?,
            Err(error) => {
                ui.line("")?;
                return Ok(Some(error));
            }
        }
    }
    if found.is_empty() {
        ui.line("")?;
    }
    Ok(None)
}

/// Prints the documents.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let one: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.name() == args.r#type).collect();
    let kinds = match (args.r#type.as_str(), one.as_slice()) {
        ("", _) => &Kind::ALL[..],
        (_, [_]) => &one,
        (other, _) => {
            return Err(CommandError::plain(format!(
                "unknown type: \"{other}\": must be one of \"container\", \"image\", \"network\", \"volume\""
            )));
        }
    };
    let look = Look { kinds, size: args.size, verbose: false, platform: "", format: &args.format };
    look.run(ui, client, &args.names).await
}
