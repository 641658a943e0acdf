//! `diff`.

use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Inspect changes to files or directories on a container's filesystem
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    container: String,
}

/// Prints `A`, `C` or `D` and the path, one a line.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let changes = client.get(&format!("/containers/{}/changes", segment(&args.container))).await?;
    for change in changes.items() {
        let kind = match change.int("Kind") {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        ui.line(format_args!("{kind} {}", change.text("Path")))?;
    }
    Ok(0)
}
