//! Fixtures and contract suites, for tests only.

pub mod content_suite;
pub mod crash;
pub mod db_suite;
pub mod registry;
mod skip;
pub mod snapshot_suite;

pub use skip::skip;
