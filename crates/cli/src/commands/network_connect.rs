//! `network connect`.

use api::network::NetworkConnect;
use types::container::{EndpointIpam, EndpointSettings};

use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::options::{driver_option, values};
use crate::ui::Ui;

/// Connect a container to a network
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    alias: Vec<String>,
    /// driver options for the network
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_parser = driver_option)]
    driver_opt: Vec<(String, String)>,
    /// The network with the highest priority provides the default gateway
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true, value_parser = values::int)]
    gw_priority: i64,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip: String,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
    ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", action = clap::ArgAction::Append)]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long, value_name = "strings", action = clap::ArgAction::Append, value_delimiter = ',')]
    link_local_ip: Vec<String>,
    #[arg(hide = true)]
    names: Vec<String>,
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

/// Connects; prints nothing.
pub(crate) async fn run(_ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let addressed = !args.ip.is_empty() || !args.ip6.is_empty() || !args.link_local_ip.is_empty();
    let endpoint = EndpointSettings {
        ipam_config: addressed.then(|| EndpointIpam {
            ipv4_address: args.ip,
            ipv6_address: args.ip6,
            link_local_ips: some(args.link_local_ip),
        }),
        links: some(args.link),
        aliases: some(args.alias),
        driver_opts: (!args.driver_opt.is_empty()).then(|| args.driver_opt.into_iter().collect()),
        gw_priority: args.gw_priority,
        ..EndpointSettings::default()
    };
    let request =
        NetworkConnect { container: args.names[1].clone(), endpoint_config: Some(endpoint) };
    client.post_json(&format!("/networks/{}/connect", segment(&args.names[0])), &request).await?;
    Ok(0)
}
