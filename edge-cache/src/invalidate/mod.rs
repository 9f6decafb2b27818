//! Taking back what is stored.
//!
//! 1. [`command`]: a PURGE or BAN request, or its JSON on the admin listener, becomes a [`Command`].
//! 2. [`epochs`]: it is written down first, so that what is being fetched now is not stored after it.
//! 3. [`index`]: tag → the responses that carry it. A tag costs what carries it, not what is stored.
//! 4. [`carry_out`] marks the responses; a look-up passes over them from that moment, and their memory is
//!    given back behind.

pub mod command;
pub mod epochs;
pub mod index;

use std::sync::Arc;
use std::time::SystemTime;

pub use command::{Command, CommandError, Mode};
pub use epochs::Epochs;
pub use index::TagIndex;

use crate::cache::Cache;
use crate::key::CacheKey;
use crate::store::Stored;

/// Keys looked at before other tasks get their turn.
const BATCH: usize = 256;

/// Invalidates and says how many responses that were.
pub async fn carry_out(cache: &Arc<Cache>, command: &Command) -> usize {
    let (found, mode) = match command {
        Command::Url { keys, mode } => (by_key(cache, keys), *mode),
        Command::Tags { tags, mode } => (by_tag(cache, tags), *mode),
        Command::Pattern { pattern, mode } => {
            cache.epochs.everything();
            let pattern = pattern.clone();
            (all(cache, move |key| pattern.matches(key)).await, *mode)
        }
        Command::Everything => {
            cache.epochs.everything();
            (all(cache, |_| true).await, Mode::Hard)
        }
    };
    let now = SystemTime::now();
    let count = found.iter().filter(|stored| stored.invalidate(mode, now)).count();
    cache.metrics.invalidated.inc_by(count as u64);
    tracing::info!(%command, count, "invalidated");
    if mode == Mode::Hard {
        give_back(cache, found);
    }
    // A large one has kept this thread busy for some milliseconds.
    tokio::task::yield_now().await;
    count
}

/// Looks at every key, off the async threads.
async fn all(cache: &Arc<Cache>, wanted: impl Fn(&CacheKey) -> bool + Send + 'static) -> Vec<Arc<Stored>> {
    let cache = Arc::clone(cache);
    tokio::task::spawn_blocking(move || cache.store.matching(wanted)).await.unwrap_or_default()
}

fn by_key(cache: &Cache, keys: &[CacheKey]) -> Vec<Arc<Stored>> {
    for key in keys {
        cache.flights.invalidate(key);
    }
    keys.iter().flat_map(|key| cache.store.variants(key)).collect()
}

fn by_tag(cache: &Cache, tags: &[Box<str>]) -> Vec<Arc<Stored>> {
    for tag in tags {
        cache.epochs.tag(tag);
    }
    tags.iter().flat_map(|tag| cache.tags.carriers(tag)).collect()
}

/// Removes what is gone from the store, behind the answer.
fn give_back(cache: &Arc<Cache>, found: Vec<Arc<Stored>>) {
    let cache_of_task = Arc::clone(cache);
    cache.shutdown.spawn_until_drain(async move {
        for batch in found.chunks(BATCH) {
            for stored in batch {
                cache_of_task.store.remove_gone(&stored.key);
            }
            tokio::task::yield_now().await;
        }
    });
}
