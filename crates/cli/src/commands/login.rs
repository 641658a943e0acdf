//! `login`.

use std::io::Read as _;

use api::auth::AuthConfig;

use crate::client::Client;
use crate::config::{self, ClientConfig};
use crate::error::CommandError;
use crate::terminal;
use crate::ui::Ui;

/// Authenticate to a registry
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    password: String,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
    username: String,
    #[arg(hide = true)]
    server: Option<String>,
}

fn ask(ui: &mut Ui, question: &str) -> Result<String, CommandError> {
    ui.data(question)?;
    ui.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

/// The user and the password, asked for where they were not given.
fn credentials(ui: &mut Ui, args: &Args) -> Result<(String, String), CommandError> {
    if args.password_stdin {
        if args.username.is_empty() {
            return Err(CommandError::plain(
                "the --password-stdin option requires --username to be set",
            ));
        }
        if !args.password.is_empty() {
            return Err(CommandError::plain(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        let mut password = String::new();
        std::io::stdin().read_to_string(&mut password)?;
        return Ok((args.username.clone(), password.trim_end_matches(['\r', '\n']).to_owned()));
    }
    if !args.password.is_empty() {
        ui.complain("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    } else if !ui.in_is_terminal {
        return Err(CommandError::plain(
            "Error: Cannot perform an interactive login from a non TTY device",
        ));
    }
    let username =
        if args.username.is_empty() { ask(ui, "Username: ")? } else { args.username.clone() };
    let password = if args.password.is_empty() {
        let quiet = terminal::Silent::enter();
        let password = ask(ui, "Password: ")?;
        drop(quiet);
        ui.line("")?;
        password
    } else {
        args.password.clone()
    };
    Ok((username, password))
}

/// Has the daemon check the credentials, then remembers them.
pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
    let server = args.server.as_deref().unwrap_or_default();
    let bare =
        server.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let key = config::registry_key(bare);
    let (username, password) = credentials(ui, &args)?;
    if password.is_empty() {
        return Err(CommandError::plain("Error: Password Required"));
    }
    let mut auth =
        AuthConfig { username, password, serveraddress: key.to_owned(), ..AuthConfig::default() };
    let answer = client.post_json("/auth", &auth).await?;
    let token = answer.text("IdentityToken");
    if !token.is_empty() {
        auth.password.clear();
        auth.identitytoken = token.to_owned();
    }
    if let Some(path) = ClientConfig::load().remember(key, &auth)? {
        ui.complain(format_args!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential helper (\"credsStore\") to remove this warning.\n",
            path.display()
        ));
    }
    let status = answer.text("Status");
    ui.line(if status.is_empty() { "Login Succeeded" } else { status })?;
    Ok(0)
}
