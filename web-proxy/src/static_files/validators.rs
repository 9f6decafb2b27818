//! What names one state of a file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use super::Coding;

/// Made of the time of the last change and the size alone: replicas that share a volume agree, and so do
/// copies made with their times (no inode, which differs between them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validators {
    pub etag: HeaderValue,
    /// In whole seconds, not in the future (RFC 9110, section 8.8.2.1).
    pub modified: SystemTime,
}

/// Within this time of a change another could follow that leaves time and size the same
/// (RFC 9110, section 8.8.1): the entity tag is weak as long.
const SETTLING: Duration = Duration::from_secs(1);

impl Validators {
    /// `coding`: the one that the file is in, so that no two forms of a file have the same strong tag
    /// (RFC 9110, section 8.8.3.3).
    pub fn of(metadata: &Metadata, coding: Option<Coding>, now: SystemTime) -> Self {
        Self::from_parts(metadata.mtime(), metadata.mtime_nsec(), metadata.len(), coding, now)
    }

    fn from_parts(
        seconds: i64,
        nanoseconds: i64,
        length: u64,
        coding: Option<Coding>,
        now: SystemTime,
    ) -> Self {
        let since_epoch = u64::try_from(seconds).unwrap_or(0);
        let modified = UNIX_EPOCH + Duration::from_secs(since_epoch);
        let settled = now.duration_since(modified).is_ok_and(|age| age > SETTLING);
        let weak = if settled { "" } else { "W/" };
        let (dash, coding) = coding.map_or(("", ""), |coding| ("-", coding.name()));
        let etag = format!("{weak}\"{seconds:x}.{nanoseconds:x}-{length:x}{dash}{coding}\"");
        let etag = HeaderValue::from_str(&etag).unwrap_or_else(|_| HeaderValue::from_static("W/\"\""));
        let whole_now = UNIX_EPOCH
            + Duration::from_secs(now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        Self { etag, modified: modified.min(whole_now) }
    }

    /// For If-Range a date must be strong too: no change may have hidden in its second
    /// (RFC 9110, section 13.1.5).
    pub fn is_strong(&self) -> bool {
        !self.etag.as_bytes().starts_with(b"W/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_time_and_size() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let old = Validators::from_parts(0x1000, 0x10, 0xff, None, at(0x2000));
        assert_eq!(old.etag, "\"1000.10-ff\"");
        assert_eq!((old.modified, old.is_strong()), (at(0x1000), true));
        let new = Validators::from_parts(0x1000, 0x10, 0xff, None, at(0x1001));
        assert_eq!(new.etag, "W/\"1000.10-ff\"");
        assert!(!new.is_strong());
        let coded = Validators::from_parts(0x1000, 0x10, 0xff, Some(Coding::Brotli), at(0x2000));
        assert_eq!(coded.etag, "\"1000.10-ff-br\"");
        let future = Validators::from_parts(0x3000, 0, 1, None, at(0x2000));
        assert_eq!((future.modified, future.is_strong()), (at(0x2000), false));
        let before_the_epoch = Validators::from_parts(-5, 0, 1, None, at(0x2000));
        assert_eq!(before_the_epoch.modified, UNIX_EPOCH);
    }
}
