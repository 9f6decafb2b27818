//! What goes back to the client, and what is noted about it.

mod body;
mod record;

pub use body::{Body, BodyError};
pub use record::{FIELDS, Kind, Record};
