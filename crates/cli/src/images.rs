//! Names of images and getting them.

use api::auth::AuthConfig;
use hyper::Method;
use types::Reference;

use crate::client::{Call, Client, Lines, Query};
use crate::config::ClientConfig;
use crate::error::CommandError;
use crate::progress::{self, Where};
use crate::ui::Ui;

/// Reads an image name as users type it.
///
/// # Errors
/// Docker's words.
pub(crate) fn parse(name: &str) -> Result<Reference, CommandError> {
    name.parse::<Reference>().map_err(|error| CommandError::plain(error.to_string()))
}

/// The header that carries the credentials for `reference`'s registry.
pub(crate) fn auth_header(reference: &Reference) -> String {
    let auth: AuthConfig = ClientConfig::load().credentials(reference.domain());
    auth.encode()
}

/// `os[/arch[/variant]]` as the JSON that some queries take; the empty text stays empty.
pub(crate) fn platform(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut parts = text.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let mut platform = serde_json::Map::new();
    for key in ["os", "architecture", "variant"] {
        let value = part();
        if !value.is_empty() {
            platform.insert(key.into(), value.into());
        }
    }
    serde_json::Value::Object(platform).to_string()
}

/// What to pull.
#[derive(Clone, Debug)]
pub(crate) struct Pull {
    pub(crate) reference: Reference,
    pub(crate) platform: String,
    pub(crate) all_tags: bool,
}

impl Pull {
    fn path(&self) -> String {
        let tag = if self.all_tags { "" } else { self.reference.tag_or_digest() };
        Query::new()
            .with("fromImage", &self.reference.name())
            .with_some("platform", &self.platform)
            .with_some("tag", tag)
            .on("/images/create")
    }

    /// Pulls and shows the progress at `place`.
    ///
    /// # Errors
    /// The engine's, before or inside the stream.
    pub(crate) async fn run(
        &self,
        ui: &mut Ui,
        client: &Client,
        place: Where,
    ) -> Result<(), CommandError> {
        let path = self.path();
        let call =
            Call::new(Method::POST, &path).header("X-Registry-Auth", auth_header(&self.reference));
        let response = client.stream(call).await?;
        progress::show(ui, Lines::of(response), place).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_json() {
        assert_eq!(
            platform("linux/arm64/v8"),
            r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#
        );
        assert_eq!(platform("linux"), r#"{"os":"linux"}"#);
        assert_eq!(platform(""), "");
    }
}
