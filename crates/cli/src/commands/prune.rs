//! What the prune verbs share.

use crate::client::{Client, Query};
use crate::document::Document;
use crate::error::CommandError;
use crate::filters::{self, Filter};
use crate::format::units;
use crate::ui::Ui;

/// What is pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Containers,
    Images,
    Networks,
    Volumes,
    Build,
}

/// Flags that every prune verb has.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Common {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter", action = clap::ArgAction::Append, value_parser = filters::parse)]
    pub(super) filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    pub(super) force: bool,
}

/// Asks before something is lost; `--force` answers.
pub(super) fn agreed(ui: &mut Ui, force: bool, warning: &str) -> Result<bool, CommandError> {
    if force {
        return Ok(true);
    }
    let agreed = ui.confirm(&format!("WARNING! {warning}\nAre you sure you want to continue?"))?;
    if !agreed {
        return Err(CommandError::plain("operation cancelled"));
    }
    Ok(true)
}

/// Prunes and prints what went; returns the bytes that came free.
pub(super) async fn prune(
    ui: &mut Ui,
    client: &Client,
    kind: Kind,
    filter: &[Filter],
    extra: Option<(&str, &str)>,
) -> Result<u64, CommandError> {
    let mut all = filter.to_vec();
    all.extend(extra.and_then(|(name, value)| filters::parse(&format!("{name}={value}")).ok()));
    let base = match kind {
        Kind::Containers => "/containers/prune",
        Kind::Images => "/images/prune",
        Kind::Networks => "/networks/prune",
        Kind::Volumes => "/volumes/prune",
        Kind::Build => "/build/prune",
    };
    let path = Query::new().with_some("filters", &filters::encode(&all)).on(base);
    let answer = client.post(&path).await?;
    report(ui, kind, &answer)?;
    Ok(answer.uint("SpaceReclaimed"))
}

fn report(ui: &mut Ui, kind: Kind, answer: &Document) -> Result<(), CommandError> {
    let (title, key) = match kind {
        Kind::Containers => ("Deleted Containers:", "ContainersDeleted"),
        Kind::Images => ("Deleted Images:", "ImagesDeleted"),
        Kind::Networks => ("Deleted Networks:", "NetworksDeleted"),
        Kind::Volumes => ("Deleted Volumes:", "VolumesDeleted"),
        Kind::Build => ("Deleted build cache objects:", "CachesDeleted"),
    };
    let items = answer.list(key);
    if items.is_empty() {
        return Ok(());
    }
    ui.line(title)?;
    for item in items {
        match (item.as_text(), item.text("Untagged"), item.text("Deleted")) {
            ("", "", deleted) => ui.line(format_args!("deleted: {deleted}"))?,
            ("", untagged, _) => ui.line(format_args!("untagged: {untagged}"))?,
            (name, _, _) => ui.line(name)?,
        }
    }
    ui.line("")
}

/// The last line of a prune.
pub(super) fn total(ui: &mut Ui, bytes: u64) -> Result<u8, CommandError> {
    ui.line(format_args!("Total reclaimed space: {}", units::human_size(bytes)))?;
    Ok(0)
}
