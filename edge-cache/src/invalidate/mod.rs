//! Taking back what is stored.
//!
//! 1. [`command`]: a PURGE or BAN request, or its JSON on the admin listener, becomes a [`Command`];
//!    [`expression`] is the language of its conditions.
//! 2. [`epochs`]: it is written down first, so that what is being fetched now is not stored after it.
//! 3. [`index`]: tag → the responses that carry it. A tag costs what carries it, not what is stored.
//! 4. [`View::mark`] marks the responses; a look-up passes over them from that moment, and their memory is
//!    given back behind the answer.
//! 5. [`groups`]: responses to unsafe requests that name what they outdate.
//! 6. [`View::put`] is the other side: it stores what no invalidation has covered since it was asked for.

pub mod command;
pub mod epochs;
pub mod expression;
pub mod groups;
pub mod index;
mod metrics;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

pub use command::{Command, CommandError, Mode, Scope};
pub use epochs::{Epoch, Epochs};
pub use expression::Subject;
pub use index::{TagIndex, Tags, Work};
pub use metrics::PurgeMetrics;

use crate::cache::Cache;
use crate::fetch::Flights;
use crate::fetch::flights::Lead;
use crate::key::CacheKey;
use crate::store::{Store, Stored};

/// Links up to which a purge is carried out where it was asked for: some hundred microseconds.
const FEW: usize = 1024;

/// Keys removed at once: about a millisecond.
const PIECE: usize = 256;
/// And how long nothing is removed then.
const REST: Duration = Duration::from_millis(4);

/// The service is ending, and did not get to it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the service is ending")]
pub struct Ending;

/// What an invalidation has to do with.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    pub store: &'a Store,
    pub flights: &'a Flights,
    pub tags: &'a TagIndex,
    pub epochs: &'a Epochs,
}

/// What an invalidation took.
#[derive(Debug, Default)]
pub struct Taken {
    pub count: usize,
    /// Where memory can be given back.
    pub gone: Vec<CacheKey>,
    pub work: Work,
}

/// Invalidates and says how many responses that were. Goes on when its future is dropped.
pub async fn carry_out(cache: &Arc<Cache>, command: Command) -> Result<usize, Ending> {
    if cache.view().is_little(&command.scope) {
        let taken = cache.view().mark(&command, SystemTime::now());
        let count = done(cache, &command, taken.count);
        give_back(cache, taken.gone);
        return Ok(count);
    }
    let (tell, told) = oneshot::channel();
    let task = Arc::clone(cache);
    cache.shutdown.spawn(async move {
        let cache = task;
        let marking = Arc::clone(&cache);
        // Off the async threads: hits are answered there.
        let marked = tokio::task::spawn_blocking(move || {
            let taken = marking.view().mark(&command, SystemTime::now());
            (command, taken)
        });
        let Ok((command, taken)) = marked.await else { return };
        // Who asked may have gone.
        let _ = tell.send(done(&cache, &command, taken.count));
        give_back(&cache, taken.gone);
    });
    told.await.map_err(|_| Ending)
}

/// Removes what is gone from the store: little at once, more in pieces with rests in between, so that it is no
/// burst that hits have to share the processor with.
fn give_back(cache: &Arc<Cache>, mut gone: Vec<CacheKey>) {
    if gone.len() <= PIECE {
        return gone.iter().for_each(|key| cache.store.remove_gone(key));
    }
    let task = Arc::clone(cache);
    cache.shutdown.spawn_until_drain(async move {
        while !gone.is_empty() {
            let piece = gone.split_off(gone.len().saturating_sub(PIECE));
            let cache = Arc::clone(&task);
            let work = move || piece.iter().for_each(|key| cache.store.remove_gone(key));
            // It only comes to nothing when the runtime ends.
            let _ = tokio::task::spawn_blocking(work).await;
            tokio::time::sleep(REST).await;
        }
    });
}

fn done(cache: &Cache, command: &Command, count: usize) -> usize {
    cache.metrics.purges.carried_out(command, count);
    if count == 0 {
        // Purgers name much that is not stored.
        tracing::debug!(%command, count, "invalidated");
    } else {
        tracing::info!(%command, count, "invalidated");
    }
    count
}

impl View<'_> {
    /// Writes the invalidation down, then marks what it covers.
    pub fn mark(&self, command: &Command, now: SystemTime) -> Taken {
        let mode = command.mode;
        let mut taken = Taken::default();
        let mut mark = |stored: &Stored| {
            if stored.invalidate(mode, now) {
                taken.count += 1;
                if mode == Mode::Hard {
                    taken.gone.push(stored.key.clone());
                }
            }
        };
        let mut work = Work::default();
        match &command.scope {
            Scope::Url(keys) => {
                for key in keys {
                    // While nothing is being stored: an insertion keeps the variants that it finds.
                    let found = self.epochs.write(|| {
                        self.flights.invalidate(key);
                        self.store.variants(key)
                    });
                    for stored in &found {
                        mark(stored);
                    }
                }
            }
            Scope::Tags(tags) => {
                self.epochs.tags(tags.iter().map(AsRef::as_ref));
                for tag in tags {
                    work += self.tags.visit(tag, |stored| mark(&stored));
                }
            }
            Scope::TagsAnd(tags, expression) => {
                self.epochs.ban(tags, expression);
                for tag in tags {
                    work += self.tags.visit(tag, |stored| {
                        if expression.matches(Subject::of(&stored)) {
                            mark(&stored);
                        }
                    });
                }
            }
            Scope::Groups(groups, key) => {
                // Fetches of other origins' responses with such a tag come to nothing, too: that costs one fetch.
                self.epochs.tags(groups.iter().map(AsRef::as_ref));
                for group in groups {
                    work += self.tags.visit(group, |stored| {
                        if stored.key.is_same_origin(key) {
                            mark(&stored);
                        }
                    });
                }
            }
            Scope::Matching(expression) => {
                self.epochs.ban(&[], expression);
                for stored in self.store.matching(|stored| expression.matches(Subject::of(stored))) {
                    mark(&stored);
                }
            }
            Scope::Everything => {
                self.epochs.everything();
                for stored in self.store.matching(|_| true) {
                    mark(&stored);
                }
            }
        }
        taken.work = work;
        taken
    }

    /// Stores a response that was asked for at `began`; whether nothing that covers it was invalidated since.
    pub fn put(&self, lead: &Lead, began: Epoch, stored: &Arc<Stored>, max_variants: usize) -> bool {
        let _storing = self.epochs.storing();
        let is_current = !lead.is_invalidated() && self.epochs.is_current(began, Subject::of(stored));
        if is_current {
            self.store.insert(lead.key(), stored, max_variants);
            self.tags.add(stored);
        }
        is_current
    }

    /// Puts `new`, the same response in another coding, in the place of `old`, unless that has gone.
    pub fn recode(&self, lead: &Lead, began: Epoch, old: &Arc<Stored>, new: &Arc<Stored>) -> bool {
        let _storing = self.epochs.storing();
        let is_current = !lead.is_invalidated()
            && self.epochs.is_current(began, Subject::of(new))
            && self.store.recode(lead.key(), old, new);
        if is_current {
            self.tags.add(new);
        }
        is_current
    }

    /// What is being fetched under `key` is neither stored nor joined from now on.
    pub fn overtake(&self, key: &CacheKey) {
        self.epochs.write(|| self.flights.invalidate(key));
    }

    fn is_little(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Url(_) => true,
            Scope::Tags(tags) | Scope::TagsAnd(tags, _) | Scope::Groups(tags, _) => {
                tags.iter().map(|tag| self.tags.links(tag)).sum::<usize>() <= FEW
            }
            Scope::Matching(_) | Scope::Everything => false,
        }
    }
}
