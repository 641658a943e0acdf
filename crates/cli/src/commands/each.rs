//! One verb on several objects.

use futures_util::future::join_all;

use crate::client::{Client, segment};
use crate::error::CommandError;
use crate::ui::Ui;

/// Does `work` for every name at once, prints the names that worked in the order given, then the failures; exit code 1 if any.
///
/// # Errors
/// The engine cannot be reached, or at least one object failed.
pub(crate) async fn each<'a, W>(
    ui: &mut Ui,
    names: &'a [String],
    work: impl Fn(&'a str) -> W,
) -> Result<u8, CommandError>
where
    W: Future<Output = Result<(), CommandError>>,
{
    let results = join_all(names.iter().map(|name| work(name))).await;
    let mut failures = Vec::new();
    for (name, result) in names.iter().zip(results) {
        match result {
            Ok(()) => ui.line(name)?,
            Err(error) => failures.push(error),
        }
    }
    summary(failures)
}

/// Success if nothing failed, else the failures one a line.
///
/// # Errors
/// The failures.
pub(crate) fn summary(mut failures: Vec<CommandError>) -> Result<u8, CommandError> {
    let about_connection =
        |error: &CommandError| !matches!(error, CommandError::Api { .. } | CommandError::Plain(_));
    if failures.is_empty() {
        return Ok(0);
    }
    if let Some(at) = failures.iter().position(about_connection) {
        return Err(failures.swap_remove(at));
    }
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(CommandError::plain(lines.join("\n")))
}

/// `POST /containers/NAME/VERB` for every name.
///
/// # Errors
/// As [`each`].
pub(crate) async fn post(
    ui: &mut Ui,
    client: &Client,
    names: &[String],
    verb: &str,
) -> Result<u8, CommandError> {
    each(ui, names, |name| async move {
        let path = format!("/containers/{}/{verb}", segment(name));
        client.post(&path).await.map(drop)
    })
    .await
}
