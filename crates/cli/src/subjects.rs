//! From a word on the command line to a process of this host.
//!
//! A word is a pid, a container's id, or a name that only its engine knows. The engine that the client is set to is asked first, then
//! those whose sockets are in their usual places; none is started for it, and none is needed for a pid or an id.

use std::path::Path;

use xray::{Host, Subject};

use crate::client::{Client, Endpoint, segment};
use crate::error::CommandError;

/// Where engines listen that were not told otherwise.
const SOCKETS: [&str; 4] =
    ["/run/belljar.sock", "/run/docker.sock", "/var/run/docker.sock", "/run/podman/podman.sock"];

/// Finds the process that a word means.
///
/// # Errors
/// Docker's words for a container that nobody knows; what is known of one that does not run.
pub(crate) async fn find(
    host: &Host,
    client: &Client,
    word: &str,
) -> Result<Subject, CommandError> {
    if let Ok(pid) = word.parse()
        && let Ok(subject) = Subject::of_pid(host, pid)
    {
        return Ok(subject);
    }
    if let Some(found) = ask(host, &client.as_it_is(), word).await? {
        return Ok(found);
    }
    for socket in SOCKETS.iter().filter(|socket| Path::new(socket).exists()) {
        let other = Client::new(Endpoint::parse(socket)?);
        if let Ok(Some(found)) = ask(host, &other, word).await {
            return Ok(found);
        }
    }
    Subject::of_container(host, word).map_err(|error| {
        CommandError::plain(format!(
            "No such container: {word}\n\n{error}\n\nhint: `belljar ps` lists names; a pid or the beginning of an id works for every engine's containers"
        ))
    })
}

/// Asks an engine; `None` if it does not know the word or does not answer.
async fn ask(host: &Host, client: &Client, word: &str) -> Result<Option<Subject>, CommandError> {
    let Ok(container) = client.get(&format!("/containers/{}/json", segment(word))).await else {
        return Ok(None);
    };
    let name = container.text("Name").trim_start_matches('/').to_owned();
    let pid = u32::try_from(container.int("State.Pid")).unwrap_or(0);
    if pid == 0 {
        return Err(CommandError::plain(format!(
            "container {name} is not running: it has no process to look at (status {})\n\nhint: `belljar start {name}`",
            container.text("State.Status")
        )));
    }
    let subject = Subject::of_pid(host, pid)
        .map_err(|error| CommandError::plain(format!("container {name}: {error}")))?;
    // An engine on another machine may name a pid that here belongs to somebody else.
    let own = subject.container.as_ref().is_none_or(|found| found.id == container.text("Id"));
    Ok(own.then(|| subject.called(&name)))
}
