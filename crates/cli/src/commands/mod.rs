//! The verbs: one file each, one table.

use std::pin::Pin;

use clap::{ArgMatches, Args as _, FromArgMatches as _};

use crate::client::Client;
use crate::error::CommandError;
use crate::ui::Ui;

/// How many arguments a verb takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

impl Arity {
    /// Docker's words when `given` arguments are not right.
    pub(crate) fn complaint(self, given: usize) -> Option<String> {
        let count = |n: usize| format!("{n} argument{}", if n == 1 { "" } else { "s" });
        match self {
            Self::Exactly(0) if given != 0 => Some("accepts no arguments".into()),
            Self::Exactly(n) if given != n => Some(format!("requires {}", count(n))),
            Self::AtLeast(n) if given < n => Some(format!("requires at least {}", count(n))),
            Self::AtMost(n) if given > n => Some(format!("requires at most {}", count(n))),
            Self::Between(low, high) if given < low || given > high => {
                Some(format!("requires at least {low} and at most {}", count(high)))
            }
            _ => None,
        }
    }
}

/// A command at work; its value is the exit code.
pub(crate) type Work<'a> = Pin<Box<dyn Future<Output = Result<u8, CommandError>> + 'a>>;

/// One verb.
pub(crate) struct Verb {
    /// Every name it answers to, `group verb` or `verb`, the preferred ones first.
    pub(crate) names: &'static [&'static str],
    /// What follows the name in a usage line.
    pub(crate) usage: &'static str,
    pub(crate) arity: Arity,
    /// Whether flags may follow arguments.
    pub(crate) interspersed: bool,
    /// Describes the flags; only the verb that runs is described, the start would be slow otherwise.
    pub(crate) build: fn() -> clap::Command,
    pub(crate) run: for<'a> fn(&'a mut Ui, &'a Client, &ArgMatches) -> Work<'a>,
}

impl Verb {
    /// The preferred name in the family (group or top) of the name that was typed.
    pub(crate) fn name_like(&self, typed: &str) -> &'static str {
        let family = |name: &str| name.split_once(' ').map(|(group, _)| group.to_owned());
        self.names.iter().find(|name| family(name) == family(typed)).unwrap_or(&self.names[0])
    }
}

/// The groups and what they are about.
pub(crate) const GROUPS: &[(&str, &str)] = &[
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("network", "Manage networks"),
    ("system", "Manage Belljar"),
    ("volume", "Manage volumes"),
];

macro_rules! verbs {
    ($($($module:ident)::+ $order:ident $arity:expr, $usage:literal, $($name:literal)|+;)*) => {
        /// Every verb.
        pub(crate) static VERBS: &[Verb] = &[$(Verb {
            names: &[$($name),+],
            usage: $usage,
            arity: $arity,
            interspersed: verbs!(@ $order),
            build: || {
                $($module)::+::Args::augment_args(clap::Command::new($usage).disable_help_flag(true))
                    .args_override_self(true)
            },
            run: |ui, client, matches| {
                let args = $($module)::+::Args::from_arg_matches(matches);
                Box::pin(async move {
                    let args = args.map_err(|error| CommandError::plain(error.to_string()))?;
                    $($module)::+::run(ui, client, args).await
                })
            },
        }),*];
    };
    (@ free) => { true };
    (@ stop) => { false };
}

mod attach;
mod commit;
mod container_prune;
mod cp;
mod create;
mod diff;
mod each;
mod events;
mod exec;
mod explain;
mod export;
mod history;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod inspect_kind;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod network_connect;
mod network_create;
mod network_disconnect;
mod network_ls;
mod network_prune;
mod network_rm;
mod pause;
mod port;
mod prove;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stats;
mod stop;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod unpause;
mod update;
mod version;
mod volume_create;
mod volume_ls;
mod volume_prune;
mod volume_rm;
mod wait;

use Arity::{AtLeast, AtMost, Between, Exactly};

verbs! {
    attach free Exactly(1), "[OPTIONS] CONTAINER", "container attach" | "attach";
    commit free Between(1, 2), "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", "container commit" | "commit";
    cp free Exactly(2), "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH", "container cp" | "cp";
    create stop AtLeast(1), "[OPTIONS] IMAGE [COMMAND] [ARG...]", "container create" | "create";
    diff free Exactly(1), "CONTAINER", "container diff" | "diff";
    events free Exactly(0), "[OPTIONS]", "system events" | "events";
    exec stop AtLeast(2), "[OPTIONS] CONTAINER COMMAND [ARG...]", "container exec" | "exec";
    explain free Between(1, 2), "[OPTIONS] CONTAINER|PID [CONTAINER|PID]", "explain";
    export free Exactly(1), "[OPTIONS] CONTAINER", "container export" | "export";
    history free Exactly(1), "[OPTIONS] IMAGE", "image history" | "history";
    images free AtMost(1), "[OPTIONS] [REPOSITORY[:TAG]]", "image ls" | "image list" | "images";
    import free AtLeast(1), "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", "image import" | "import";
    info free Exactly(0), "[OPTIONS]", "system info" | "info";
    inspect free AtLeast(1), "[OPTIONS] NAME|ID [NAME|ID...]", "inspect";
    inspect_kind::container free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container inspect";
    inspect_kind::image free AtLeast(1), "[OPTIONS] IMAGE [IMAGE...]", "image inspect";
    inspect_kind::network free AtLeast(1), "[OPTIONS] NETWORK [NETWORK...]", "network inspect";
    inspect_kind::volume free AtLeast(1), "[OPTIONS] VOLUME [VOLUME...]", "volume inspect";
    kill free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container kill" | "kill";
    load free Exactly(0), "[OPTIONS]", "image load" | "load";
    login free AtMost(1), "[OPTIONS] [SERVER]", "login";
    logout free AtMost(1), "[SERVER]", "logout";
    logs free Exactly(1), "[OPTIONS] CONTAINER", "container logs" | "logs";
    pause free AtLeast(1), "CONTAINER [CONTAINER...]", "container pause" | "pause";
    port free Between(1, 2), "CONTAINER [PRIVATE_PORT[/PROTO]]", "container port" | "port";
    prove free Exactly(1), "[OPTIONS] CONTAINER|PID", "prove";
    ps free Exactly(0), "[OPTIONS]", "container ls" | "container list" | "container ps" | "ps";
    pull free Exactly(1), "[OPTIONS] NAME[:TAG|@DIGEST]", "image pull" | "pull";
    push free Exactly(1), "[OPTIONS] NAME[:TAG]", "image push" | "push";
    rename free Exactly(2), "CONTAINER NEW_NAME", "container rename" | "rename";
    restart free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container restart" | "restart";
    rm free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container rm" | "container remove" | "rm";
    rmi free AtLeast(1), "[OPTIONS] IMAGE [IMAGE...]", "image rm" | "image remove" | "rmi";
    run stop AtLeast(1), "[OPTIONS] IMAGE [COMMAND] [ARG...]", "container run" | "run";
    save free AtLeast(1), "[OPTIONS] IMAGE [IMAGE...]", "image save" | "save";
    start free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container start" | "start";
    stats free AtLeast(0), "[OPTIONS] [CONTAINER...]", "container stats" | "stats";
    stop free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container stop" | "stop";
    tag free Exactly(2), "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "image tag" | "tag";
    top stop AtLeast(1), "CONTAINER [ps OPTIONS]", "container top" | "top";
    unpause free AtLeast(1), "CONTAINER [CONTAINER...]", "container unpause" | "unpause";
    update free AtLeast(1), "[OPTIONS] CONTAINER [CONTAINER...]", "container update" | "update";
    version free Exactly(0), "[OPTIONS]", "version";
    wait free AtLeast(1), "CONTAINER [CONTAINER...]", "container wait" | "wait";
    container_prune free Exactly(0), "[OPTIONS]", "container prune";
    image_prune free Exactly(0), "[OPTIONS]", "image prune";
    network_connect free Exactly(2), "[OPTIONS] NETWORK CONTAINER", "network connect";
    network_create free Exactly(1), "[OPTIONS] NETWORK", "network create";
    network_disconnect free Exactly(2), "[OPTIONS] NETWORK CONTAINER", "network disconnect";
    network_ls free Exactly(0), "[OPTIONS]", "network ls" | "network list";
    network_prune free Exactly(0), "[OPTIONS]", "network prune";
    network_rm free AtLeast(1), "NETWORK [NETWORK...]", "network rm" | "network remove";
    system_df free Exactly(0), "[OPTIONS]", "system df";
    system_prune free Exactly(0), "[OPTIONS]", "system prune";
    volume_create free AtMost(1), "[OPTIONS] [VOLUME]", "volume create";
    volume_ls free Exactly(0), "[OPTIONS]", "volume ls" | "volume list";
    volume_prune free Exactly(0), "[OPTIONS]", "volume prune";
    volume_rm free AtLeast(1), "[OPTIONS] VOLUME [VOLUME...]", "volume rm" | "volume remove";
}
