//! `images`.

use crate::client::{Client, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::{self, Listing, Row, units};
use crate::ui::Ui;

/// List images
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    filter: Vec<Filter>,
    /// Format output using a custom template: 'table', 'table TEMPLATE', 'json' or 'TEMPLATE' (a Go template)
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    format: String,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(hide = true)]
    reference: Option<String>,
}

const HEADERS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

/// Lists the images.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let mut columns = vec!["Repository", "Tag", "ID", "CreatedSince", "Size"];
    if args.digests {
        columns.insert(2, "Digest");
    }
    let listing = Listing::new(HEADERS, &columns).of("imageContext");
    let shape = format::quiet_format(&args.format, args.quiet, "ID");
    listing.render(&shape, Vec::new())?;
    let mut filter = args.filter;
    if let Some(reference) = &args.reference {
        filter.extend(filters::parse(&format!("reference={reference}")));
    }
    let path = Query::new()
        .with_flag("all", args.all)
        .with_some("filters", &filters::encode(&filter))
        .on("/images/json");
    let images = client.get(&path).await?;
    let with_digests = args.digests || shape.contains(".Digest");
    let mut rows = Vec::new();
    for image in images.items() {
        let names = names(image, with_digests);
        rows.extend(names.iter().map(|name| row(image, name, !args.no_trunc)));
    }
    listing.print(ui, &shape, rows)?;
    Ok(0)
}

/// One line of the listing: repository, tag, digest.
type Name = [String; 3];

const NONE: &str = "<none>";

fn repository(name: &str) -> String {
    name.parse::<types::Reference>()
        .map_or_else(|_| name.to_owned(), |reference| reference.familiar_name())
}

/// The lines of one image: its tags by repository, then the digests of repositories without a tag. Digests are only looked up
/// when they are shown.
fn names(image: &Document, with_digests: bool) -> Vec<Name> {
    let digests: Vec<(String, String)> = image
        .texts("RepoDigests")
        .into_iter()
        .filter_map(|name| name.split_once('@'))
        .map(|(name, digest)| (repository(name), digest.to_owned()))
        .filter(|(name, _)| name != NONE)
        .collect();
    let mut names: Vec<Name> = Vec::new();
    for tagged in image.texts("RepoTags").into_iter().filter(|name| *name != "<none>:<none>") {
        let Some((name, tag)) = tagged.rsplit_once(':') else {
            continue;
        };
        let name = repository(name);
        let digest = digests.iter().find(|(other, _)| with_digests && *other == name);
        let digest = digest.map_or(NONE, |(_, digest)| digest).to_owned();
        let at =
            names.iter().rposition(|[other, ..]| *other == name).map_or(names.len(), |at| at + 1);
        names.insert(at, [name, tag.to_owned(), digest]);
    }
    for (name, digest) in digests {
        if !names.iter().any(|[other, _, known]| *other == name && (!with_digests || known != NONE))
        {
            let digest = if with_digests { digest } else { String::new() };
            names.push([name, NONE.to_owned(), digest]);
        }
    }
    if names.is_empty() {
        names.push([NONE.to_owned(), NONE.to_owned(), NONE.to_owned()]);
    }
    names
}

fn row(image: &Document, [repository, tag, digest]: &Name, short: bool) -> Row {
    let id = image.text("Id");
    let created = image.int("Created");
    let unknown = |value: i64, text: String| if value < 0 { "N/A".to_owned() } else { text };
    let whole = |bytes: i64| units::human_size(u64::try_from(bytes).unwrap_or(0));
    let shared = image.int("SharedSize");
    format::row([
        ("ID", if short { units::short_id(id).to_owned() } else { id.to_owned() }),
        ("Repository", repository.clone()),
        ("Tag", tag.clone()),
        ("Digest", digest.clone()),
        ("CreatedSince", if created <= 0 { "N/A".into() } else { units::ago(created) }),
        ("CreatedAt", units::go_time(created)),
        ("Size", units::human_size_3(image.int("Size"))),
        ("VirtualSize", whole(image.int("Size"))),
        ("Containers", unknown(image.int("Containers"), image.int("Containers").to_string())),
        ("SharedSize", unknown(shared, whole(shared))),
        ("UniqueSize", unknown(shared, whole(image.int("Size") - shared))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_is_a_line_and_so_is_a_digest_alone() {
        let image = Document::parse(
            br#"{"RepoTags":["a:1","docker.io/library/b:2"],"RepoDigests":["a@sha256:11","c/d@sha256:22"]}"#,
        );
        assert_eq!(
            names(&image, true),
            [["a", "1", "sha256:11"], ["b", "2", "<none>"], ["c/d", "<none>", "sha256:22"]]
                .map(|name| name.map(str::to_owned))
        );
        let dangling = Document::parse(br#"{"RepoTags":null,"RepoDigests":[]}"#);
        assert_eq!(names(&dangling, false), [["<none>", "<none>", "<none>"].map(str::to_owned)]);
    }
}
