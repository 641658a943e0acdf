//! `stop`.

use super::each;
use crate::client::{Client, Query};
use crate::error::CommandError;
use crate::options::values;
use crate::ui::Ui;

/// Stop one or more running containers
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    signal: String,
    /// Seconds to wait before killing the container
    #[arg(short, long, value_name = "int", alias = "time", value_parser = values::int)]
    timeout: Option<i64>,
    #[arg(hide = true)]
    containers: Vec<String>,
}

/// Prints the names of the containers.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let timeout = args.timeout.map(|seconds| seconds.to_string()).unwrap_or_default();
    let verb = Query::new().with_some("signal", &args.signal).with_some("t", &timeout).on("stop");
    each::post(ui, client, &args.containers, &verb).await
}
