//! `volume rm`.

use super::each;
use crate::client::{Client, Query, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Remove one or more volumes. You cannot remove a volume that is in use by a container.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    #[arg(hide = true)]
    volumes: Vec<String>,
}

/// Prints the names of the volumes.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let force = args.force;
    each::each(ui, &args.volumes, |name| async move {
        let path =
            Query::new().with_flag("force", force).on(&format!("/volumes/{}", segment(name)));
        client.delete(&path).await.map(drop)
    })
    .await
}
