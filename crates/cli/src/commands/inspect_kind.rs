//! `container inspect`, `image inspect`, `network inspect`, `volume inspect`.

/// `container inspect`.
pub(super) mod container {
    use crate::client::Client;
    use crate::commands::inspect::{Kind, Look};
    use crate::error::CommandError;
    use crate::ui::Ui;

    /// Display detailed information on one or more containers
    #[derive(clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
        #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
        format: String,
        /// Display total file sizes
        #[arg(short, long)]
        size: bool,
        #[arg(hide = true)]
        names: Vec<String>,
    }

    /// Prints the documents.
    pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
        let look = Look {
            kinds: &[Kind::Container],
            size: args.size,
            verbose: false,
            platform: "",
            format: &args.format,
        };
        look.run(ui, client, &args.names).await
    }
}

/// `image inspect`.
pub(super) mod image {
    use crate::client::Client;
    use crate::commands::inspect::{Kind, Look};
    use crate::error::CommandError;
    use crate::ui::Ui;

    /// Display detailed information on one or more images
    #[derive(clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
        #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
        format: String,
        /// Inspect a specific platform of the multi-platform image
        #[arg(long, value_name = "string", default_value = "", hide_default_value = true)]
        platform: String,
        #[arg(hide = true)]
        names: Vec<String>,
    }

    /// Prints the documents.
    pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
        let look = Look {
            kinds: &[Kind::Image],
            size: false,
            verbose: false,
            platform: &args.platform,
            format: &args.format,
        };
        look.run(ui, client, &args.names).await
    }
}

/// `network inspect`.
pub(super) mod network {
    use crate::client::Client;
    use crate::commands::inspect::{Kind, Look};
    use crate::error::CommandError;
    use crate::ui::Ui;

    /// Display detailed information on one or more networks
    #[derive(clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
        #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
        format: String,
        /// Verbose output for diagnostics
        #[arg(short, long)]
        verbose: bool,
        #[arg(hide = true)]
        names: Vec<String>,
    }

    /// Prints the documents.
    pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
        let look = Look {
            kinds: &[Kind::Network],
            size: false,
            verbose: args.verbose,
            platform: "",
            format: &args.format,
        };
        look.run(ui, client, &args.names).await
    }
}

/// `volume inspect`.
pub(super) mod volume {
    use crate::client::Client;
    use crate::commands::inspect::{Kind, Look};
    use crate::error::CommandError;
    use crate::ui::Ui;

    /// Display detailed information on one or more volumes
    #[derive(clap::Args)]
    pub(crate) struct Args {
        /// Format output using a custom template: 'json' or 'TEMPLATE' (a Go template)
        #[arg(short, long, value_name = "string", default_value = "", hide_default_value = true)]
        format: String,
        #[arg(hide = true)]
        names: Vec<String>,
    }

    /// Prints the documents.
    pub(crate) async fn run(ui: &mut Ui, client: &Client, args: Args) -> Result<u8, CommandError> {
        let look = Look {
            kinds: &[Kind::Volume],
            size: false,
            verbose: false,
            platform: "",
            format: &args.format,
        };
        look.run(ui, client, &args.names).await
    }
}
