//! `belljar`: the command-line client.
//!
//! It owns nothing on the host but the terminal it runs on and the user's client configuration (`~/.docker/config.json`). What
//! manages containers talks the Engine API and nothing else, so it works against any Engine API socket; what shows evidence
//! (`explain`) reads the kernel itself and needs no engine.
//!
//! ```text
//! argv -> invocation (global flags, which verb) -> flags (pflag's rules) -> clap (typed Args) -> commands::X::run(ui, client, args)
//! ```
//!
//! One file per command. [`ui::Ui`] is the only writer, [`client`] the only one that opens the socket. A failure becomes an exit
//! code in one table, [`error::CommandError::exit_code`].
#![forbid(unsafe_code)]
// The comments of flags are the help that users read, in Docker's words, not Markdown.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, rustdoc::bare_urls)]

mod attach;
mod autostart;
mod client;
mod commands;
mod config;
mod copy;
mod document;
mod error;
mod escape;
mod filters;
mod flags;
mod format;
mod help;
mod images;
mod invocation;
mod options;
mod progress;
mod stdcopy;
mod subjects;
mod terminal;
mod ui;

pub use invocation::main;
