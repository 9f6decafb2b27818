//! What goes back to the client, and what is noted about it.

mod body;
mod coded_body;
mod compress;
mod record;

pub use body::{Body, BodyError};
pub use compress::{Compress, CompressOptions};
pub use record::{FIELDS, Kind, Record};
