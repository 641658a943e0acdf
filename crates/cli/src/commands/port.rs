//! `port`.

use crate::client::{Client, segment};
use crate::document::Document;
use crate::error::CommandError;
use crate::ui::Ui;

/// List port mappings or a specific mapping for the container
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(hide = true)]
    words: Vec<String>,
}

fn address(binding: &Document) -> String {
    let (ip, port) = (binding.text("HostIp"), binding.text("HostPort"));
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Prints where the ports are published.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let name = &args.words[0];
    let container = client.get(&format!("/containers/{}/json", segment(name))).await?;
    let ports = container.members("NetworkSettings.Ports");
    if let Some(wanted) = args.words.get(1) {
        let key = if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
        let bindings =
            ports.iter().find(|(port, _)| *port == key).map_or(&[][..], |(_, list)| list.items());
        if bindings.is_empty() {
            return Err(CommandError::plain(format!(
                "Error: No public port '{wanted}' published for {name}"
            )));
        }
        for binding in bindings {
            ui.line(address(binding))?;
        }
        return Ok(0);
    }
    let mut lines = Vec::new();
    for (port, bindings) in ports {
        lines.extend(
            bindings
                .items()
                .iter()
                .map(|binding| (port, format!("{port} -> {}", address(binding)))),
        );
    }
    lines.sort_by_key(|(port, _)| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, ""));
        (number.parse::<u16>().unwrap_or(0), protocol.to_owned())
    });
    for (_, line) in lines {
        ui.line(line)?;
    }
    Ok(0)
}
