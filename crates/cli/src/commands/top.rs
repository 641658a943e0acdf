//! `top`.

use crate::client::{Client, Query, segment};
use crate::error::CommandError;
use crate::format::table;
use crate::ui::Ui;

/// Display the running processes of a container
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    words: Vec<String>,
}

/// Prints the processes as a table.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let path = Query::new()
        .with_some("ps_args", &args.words[1..].join(" "))
        .on(&format!("/containers/{}/top", segment(&args.words[0])));
    let top = client.get(&path).await?;
    let mut lines = vec![top.texts("Titles").join("\t")];
    for process in top.list("Processes") {
        let cells: Vec<&str> =
            process.items().iter().map(crate::document::Document::as_text).collect();
        lines.push(cells.join("\t"));
    }
    ui.data(table::align(&lines, table::WIDE))?;
    Ok(0)
}
