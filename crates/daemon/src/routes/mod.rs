//! The handlers: JSON to engine values and back, nothing more.

mod archive;
mod commit;
mod containers;
mod exec;
mod images;
mod lifecycle;
mod networks;
mod streams;
mod system;
mod transfer;
mod volumes;

use types::Kind;

use crate::call::{Call, ok};
use crate::failure::{Answer, Failure};

/// The words that clients know a daemon without a swarm by.
const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// Chooses by the first piece of the path.
pub(crate) async fn route(method: &str, path: &[&str], call: Call) -> Answer {
    match path {
        ["containers", rest @ ..] => containers::route(method, rest, call).await,
        ["exec", rest @ ..] => exec::route(method, rest, call).await,
        ["images", rest @ ..] => images::route(method, rest, call).await,
        ["volumes", rest @ ..] => volumes::route(method, rest, call).await,
        ["networks", rest @ ..] => networks::route(method, rest, call).await,
        ["commit"] if method == "POST" => commit::commit(call).await,
        ["build", rest @ ..] => build(method, rest),
        ["plugins", rest @ ..] => plugins(method, rest),
        ["distribution", _, ..] => Err(Failure::not_implemented("looking into a registry")),
        // Clients with BuildKit fall back to something else when these two are unknown.
        ["session" | "grpc"] => Err(Failure::no_page()),
        ["swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs", ..] => {
            Err(Failure::new(Kind::Unavailable, NO_SWARM))
        }
        _ => system::route(method, path, call).await,
    }
}

fn build(method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("POST", []) => Err(Failure::not_implemented("building images")),
        // There is no build cache, so it is always clean.
        ("POST", ["prune"]) => ok(&api::system::BuildPruned::default()),
        ("POST", ["cancel"]) => Err(Failure::not_implemented("BuildKit")),
        _ => Err(Failure::no_page()),
    }
}

fn plugins(method: &str, path: &[&str]) -> Answer {
    match (method, path) {
        ("GET", []) => ok(&[(); 0]),
        ("GET", [name @ .., "json"]) if !name.is_empty() => {
            let name = name.join("/");
            Err(Failure::new(Kind::NotFound, format!("plugin \"{name}\" not found")))
        }
        _ => Err(Failure::not_implemented("plugins")),
    }
}
