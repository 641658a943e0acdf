//! stub
pub mod registry;
