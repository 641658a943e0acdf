//! The user's client configuration: credentials, shared with Docker's own client.
//!
//! `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`. Credential helpers (`credsStore`, `credHelpers`) are asked through
//! the programs they name.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs};

use api::auth::AuthConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::CommandError;

/// The name under which Docker keeps the credentials of its hub.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();

/// Uses the configuration in `dir` (`--config`).
pub(crate) fn set_directory(dir: &str) {
    let _ = DIRECTORY.set(dir.into());
}

fn path() -> PathBuf {
    let dir = DIRECTORY.get().cloned().or_else(|| env::var_os("DOCKER_CONFIG").map(PathBuf::from));
    let home = || env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from).join(".docker");
    dir.unwrap_or_else(home).join("config.json")
}

/// What of the file concerns credentials and keys; the rest is kept as it is.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ClientConfig {
    auths: BTreeMap<String, Entry>,
    #[serde(skip_serializing_if = "String::is_empty")]
    creds_store: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, String>,
    /// Keys that detach a terminal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detach_keys: String,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    identitytoken: String,
}

/// The answer of a credential helper.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

/// The key of a registry in the file.
pub(crate) fn registry_key(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" | "" => HUB,
        other => other,
    }
}

impl ClientConfig {
    /// Reads the file; what cannot be read counts as empty.
    pub(crate) fn load() -> Self {
        fs::read(path())
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Writes the file so that a reader sees the old or the new one, for the user's eyes only.
    fn save(&self) -> Result<(), CommandError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = path();
        let named = |error| CommandError::file("write", path.display().to_string(), error);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(named)?;
        }
        let draft = path.with_extension("json.tmp");
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&draft)
            .map_err(named)?;
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        file.write_all(text.as_bytes()).map_err(named)?;
        fs::rename(&draft, &path).map_err(named)
    }

    fn helper(&self, key: &str) -> Option<String> {
        let name = self
            .cred_helpers
            .get(key)
            .or(Some(&self.creds_store))
            .filter(|name| !name.is_empty())?;
        Some(format!("docker-credential-{name}"))
    }

    /// The credentials for the registry at `domain`; anonymous ones when there are none.
    pub(crate) fn credentials(&self, domain: &str) -> AuthConfig {
        let key = registry_key(domain);
        self.helper_credentials(key).or_else(|| self.file_credentials(key)).unwrap_or_default()
    }

    fn file_credentials(&self, key: &str) -> Option<AuthConfig> {
        let bare = |name: &str| {
            let name = name.trim_start_matches("https://").trim_start_matches("http://");
            name.split('/').next().unwrap_or_default().to_owned()
        };
        let entry = self.auths.get(key).or_else(|| {
            self.auths.iter().find(|(name, _)| bare(name) == bare(key)).map(|(_, entry)| entry)
        })?;
        let decoded = STANDARD.decode(entry.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':').unwrap_or(("", ""));
        Some(AuthConfig {
            username: username.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
            serveraddress: key.to_owned(),
            identitytoken: entry.identitytoken.clone(),
            ..AuthConfig::default()
        })
    }

    fn helper_credentials(&self, key: &str) -> Option<AuthConfig> {
        let answer = ask(&self.helper(key)?, "get", key)?;
        let secret: Secret = serde_json::from_slice(&answer).ok()?;
        let mut auth = AuthConfig { serveraddress: key.to_owned(), ..AuthConfig::default() };
        if secret.username == "<token>" {
            auth.identitytoken = secret.secret;
        } else {
            auth.username = secret.username;
            auth.password = secret.secret;
        }
        Some(auth)
    }

    /// Remembers `auth`; returns where it is kept, when that is the plain file.
    ///
    /// # Errors
    /// The file or the helper does not take it.
    pub(crate) fn remember(
        &mut self,
        key: &str,
        auth: &AuthConfig,
    ) -> Result<Option<PathBuf>, CommandError> {
        let entry = match self.helper(key) {
            Some(helper) => {
                let secret = Secret {
                    server_url: key.to_owned(),
                    username: auth.username.clone(),
                    secret: auth.password.clone(),
                };
                let text = serde_json::to_string(&secret).unwrap_or_default();
                ask(&helper, "store", &text).ok_or_else(|| {
                    CommandError::plain(format!("error saving credentials: {helper} refused them"))
                })?;
                Entry::default()
            }
            None => Entry {
                auth: STANDARD.encode(format!("{}:{}", auth.username, auth.password)),
                identitytoken: auth.identitytoken.clone(),
            },
        };
        let plain = !entry.auth.is_empty();
        self.auths.insert(key.to_owned(), entry);
        self.save()?;
        Ok(plain.then(path))
    }

    /// Forgets the credentials under `key`, if there are any.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn forget(&mut self, key: &str) -> Result<(), CommandError> {
        if let Some(helper) = self.helper(key) {
            let _ = ask(&helper, "erase", key);
        }
        match self.auths.remove(key) {
            Some(_) => self.save(),
            None => Ok(()),
        }
    }
}

/// Runs a credential helper.
fn ask(program: &str, verb: &str, input: &str) -> Option<Vec<u8>> {
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(input.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    output.status.success().then_some(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_dockers() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"},"http://localhost:5000/v2":{"auth":"YTpi"}},"HttpHeaders":{"X":"y"}}"#;
        let config: ClientConfig = serde_json::from_str(text).unwrap();
        let hub = config.credentials("docker.io");
        assert_eq!((hub.username.as_str(), hub.password.as_str()), ("user", "pass"));
        assert_eq!(config.credentials("localhost:5000").username, "a");
        assert!(config.credentials("elsewhere").is_anonymous());
        assert!(
            serde_json::to_string(&config).unwrap().contains("HttpHeaders"),
            "foreign keys stay"
        );
    }
}
