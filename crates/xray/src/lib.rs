//! What the kernel says about a process, any process of the host: ours, Docker's, Podman's, a Kubernetes pod's, or none's.
//!
//! Reads, and nothing else: no engine is asked, nothing is written, no signal is sent, no namespace is entered. Every sentence that leaves
//! this crate is a [`report::Claim`]: what is claimed, the evidence (where it was read and what was there), a verdict that follows from the
//! evidence alone, a short true explanation, and the shell command that shows the same. What cannot be read is said to be unreadable,
//! with the reason; it is never guessed.
//!
//! ```text
//!   Host (where /proc and the cgroups are) --find--> Subject (a pid that cannot be taken for another)
//!                                                       |
//!      kernel  pids  namespaces  creation  cgroup  load  layers  ancestry  compare      one module each: evidence -> Section
//!                                                       |
//!                                                    Report --render--> text, JSON, Markdown, HTML
//! ```
//!
//! A [`host::Host`] is a value with paths in it, so that tests show a made-up host; a [`subject::Subject`] is a pid with its start time, so that
//! a pid that was used again is noticed.
#![forbid(unsafe_code)]

pub mod ancestry;
pub mod cgroup;
pub mod compare;
pub mod explain;
pub mod host;
pub mod kernel;
pub mod layers;
pub mod mounts;
pub mod namespaces;
pub mod pids;
pub mod prove;
pub mod render;
pub mod report;
pub mod subject;
#[cfg(test)]
mod testing;
pub mod words;

pub use host::Host;
pub use report::{Claim, Evidence, Reading, Report, Section, Verdict};
pub use subject::Subject;
