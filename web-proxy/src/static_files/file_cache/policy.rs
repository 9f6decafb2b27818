//! Which files are kept, and for how long what is kept may be sent without another look.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::super::Coding;

/// What tells one state of a file from another, and one file from another of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) length: u64,
    /// Of the content, in seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Of the inode, too: its owner, its mode, its names.
    pub(super) changed: (i64, i64),
}

/// A file and its compressed forms, as they were at one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) plain: State,
    /// `None` where nobody has looked for them.
    pub(super) forms: Option<Vec<(Coding, State)>>,
}

/// What is to be done with what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was looked at a short while ago: sent as it is.
    Fresh,
    /// The file system is asked first.
    LookAgain,
    /// The file system was asked, and nothing has changed.
    Unchanged,
    /// Something else is there now.
    Replaced,
}

/// Why a file is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    Large,
    Young,
}

/// A file that changed within this time, by its own clock, may change once more without another time or length
/// (git calls such a file racy), and somebody may be at it still.
const SETTLING: Duration = Duration::from_secs(2);

/// `looked`, `now`: since some moment. `seen`: what a look has found, once there was one.
pub(super) fn judge(
    kept: &Seen,
    looked: Duration,
    valid: Duration,
    now: Duration,
    seen: Option<&Seen>,
) -> Verdict {
    match seen {
        None if is_good(looked, valid, now) => Verdict::Fresh,
        None => Verdict::LookAgain,
        Some(seen) if seen == kept => Verdict::Unchanged,
        Some(_) => Verdict::Replaced,
    }
}

/// Whether what was `looked` at then may be taken for what there is `now`.
pub(super) fn is_good(looked: Duration, valid: Duration, now: Duration) -> bool {
    now.saturating_sub(looked) < valid
}

/// Whether a file in this state, of at most `limit` bytes, may be kept.
pub(super) fn fitness(state: &State, limit: u64, now: SystemTime) -> Result<(), Unfit> {
    if state.length > limit {
        return Err(Unfit::Large);
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let is_old = |(seconds, nanoseconds): (i64, i64)| {
        // Before the epoch: long ago.
        let then = u64::try_from(seconds).map_or(Duration::ZERO, Duration::from_secs)
            + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
        // What is of tomorrow is not old either.
        now.checked_sub(then).is_some_and(|age| age >= SETTLING)
    };
    if is_old(state.modified) && is_old(state.changed) { Ok(()) } else { Err(Unfit::Young) }
}

impl State {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: State = State { device: 1, inode: 2, length: 1000, modified: (100, 5), changed: (100, 5) };

    #[test]
    fn looks() {
        let seen = |plain, forms: Option<&[(Coding, State)]>| Seen { plain, forms: forms.map(<[_]>::to_vec) };
        let form = State { inode: 3, length: 100, ..STATE };
        let kept = seen(STATE, Some(&[(Coding::Gzip, form)]));
        let ms = Duration::from_millis;
        let by_time = [
            (1000, 5000, Verdict::Fresh),
            (1000, 5999, Verdict::Fresh),
            (1000, 6000, Verdict::LookAgain),
            // Somebody else has looked meanwhile, a little later.
            (1000, 4990, Verdict::Fresh),
            // Each request looks.
            (0, 5000, Verdict::LookAgain),
            (60_000, 64_999, Verdict::Fresh),
        ];
        for (valid, now, expected) in by_time {
            assert_eq!(judge(&kept, ms(5000), ms(valid), ms(now), None), expected, "{valid} {now}");
        }
        let gzip = |state| seen(STATE, Some(&[(Coding::Gzip, state)]));
        let plain = |state| seen(state, Some(&[(Coding::Gzip, form)]));
        let by_look = [
            (kept.clone(), Verdict::Unchanged),
            // Another file has its name.
            (plain(State { inode: 9, ..STATE }), Verdict::Replaced),
            (plain(State { device: 9, ..STATE }), Verdict::Replaced),
            (plain(State { length: 9, ..STATE }), Verdict::Replaced),
            (plain(State { modified: (100, 6), ..STATE }), Verdict::Replaced),
            // Older than before, as a release that is rolled back.
            (plain(State { modified: (99, 5), ..STATE }), Verdict::Replaced),
            // Written to, and its time set back.
            (plain(State { changed: (100, 6), ..STATE }), Verdict::Replaced),
            (gzip(State { inode: 9, ..form }), Verdict::Replaced),
            (gzip(State { length: 9, ..form }), Verdict::Replaced),
            // One that is gone, one more, another in its place.
            (seen(STATE, Some(&[])), Verdict::Replaced),
            (seen(STATE, Some(&[(Coding::Brotli, form), (Coding::Gzip, form)])), Verdict::Replaced),
            (seen(STATE, Some(&[(Coding::Brotli, form)])), Verdict::Replaced),
        ];
        for (found, expected) in by_look {
            let verdict = judge(&kept, ms(5000), ms(1000), ms(9000), Some(&found));
            assert_eq!(verdict, expected, "{found:?}");
        }
        // Nobody has looked for forms before.
        let without = seen(STATE, None);
        assert_eq!(judge(&without, ms(0), ms(0), ms(0), Some(&without)), Verdict::Unchanged);
        assert_eq!(judge(&without, ms(0), ms(0), ms(0), Some(&seen(STATE, Some(&[])))), Verdict::Replaced);
    }

    #[test]
    fn what_is_kept() {
        // Seconds and milliseconds of both times, and the length.
        let cases = [
            ((100, 0), (100, 0), 1000, Ok(())),
            ((100, 0), (100, 0), 0, Ok(())),
            ((100, 0), (100, 0), 1001, Err(Unfit::Large)),
            ((998, 500), (998, 500), 1000, Ok(())),
            ((998, 501), (998, 501), 1000, Err(Unfit::Young)),
            // Its time was set back a moment ago.
            ((100, 0), (999, 0), 1000, Err(Unfit::Young)),
            // By a clock that is ahead.
            ((2000, 0), (100, 0), 1000, Err(Unfit::Young)),
            ((-5, 0), (100, 0), 1000, Ok(())),
        ];
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_500);
        for (modified, changed, length, expected) in cases {
            let time = |(seconds, millis): (i64, i64)| (seconds, millis * 1_000_000);
            let state = State { length, modified: time(modified), changed: time(changed), ..STATE };
            assert_eq!(fitness(&state, 1000, now), expected, "{modified:?} {changed:?} {length}");
        }
    }
}
