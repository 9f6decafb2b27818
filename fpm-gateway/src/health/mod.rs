//! Whether replicas are alive.
//!
//! Traffic is the best probe: a replica that just finished a request is not asked. One that is idle is asked
//! now and then, through a worker that nobody waits for; one that is full is left alone, since busy is not
//! dead. One that is out of use is asked in short intervals, and is back with its first answer.

mod pool;
mod probe;

use std::sync::Arc;
use std::time::Duration;

use common::net::Endpoint;
use tokio::time::Instant;

use crate::admission::{Admission, Ejection};
use crate::backend::{ReplicaId, Sign, Watched};
use crate::config::Probe;

pub use probe::{Answer, ask};

/// Pauses between questions to a replica that is out of use: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// Watches one replica for as long as it is there.
pub async fn watch(admission: Arc<Admission>, replica: Watched, probe: Probe) {
    let Watched { id, endpoint, alarm } = replica;
    let mut pause = FIRST_PAUSE;
    learn(&admission, id, &endpoint, &probe).await;
    while let Some(standing) = admission.standing(id) {
        if standing.closed {
            pause = FIRST_PAUSE;
            let asleep = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(jittered(probe.interval)) => {}
                () = alarm.notified() => continue,
            }
            let Some(standing) = admission.standing(id) else { return };
            if !standing.closed || standing.last_alive.is_some_and(|at| at > asleep) {
                continue;
            }
            let Some(permit) = admission.spare(id) else { continue };
            let answer = ask(&endpoint, &probe).await;
            // Our own permit is one of those that are busy.
            let others = admission.standing(id).map_or(0, |standing| standing.busy.saturating_sub(1));
            admission.note(id, judge(&answer, standing.busy.max(others)));
            drop(permit);
        } else {
            tokio::time::sleep(jittered(pause)).await;
            pause = (pause * 2).min(LAST_PAUSE);
            let answer = ask(&endpoint, &probe).await;
            admission.note(id, judge(&answer, 0));
            if admission.standing(id).is_some_and(|standing| standing.closed) {
                // It may have been started anew, with another size.
                learn(&admission, id, &endpoint, &probe).await;
            }
        }
    }
}

/// Ends an ejection: not before its time, and not before a worker answers. Otherwise a replica that stands still would get
/// a request for each of its workers every time.
pub async fn readmit(ejection: Ejection, probe: Probe) {
    tokio::time::sleep(ejection.pause).await;
    while let Some(standing) = ejection.standing() {
        // One that is full of our requests cannot answer, and gets no further one either.
        if standing.busy >= standing.workers {
            break;
        }
        match judge(&ask(&ejection.endpoint, &probe).await, 0) {
            Sign::Alive => break,
            sign => ejection.note(sign),
        }
        tokio::time::sleep(jittered(probe.interval)).await;
    }
    ejection.end();
}

/// Asks for the size of the replica's pool, where that is wanted.
async fn learn(admission: &Arc<Admission>, id: ReplicaId, endpoint: &Endpoint, probe: &Probe) {
    let Some(path) = &probe.status_path else { return };
    let mut before = None;
    // A pool answers before it has started the last of its processes.
    for _ in 0..LOOKS {
        let workers = pool::workers(endpoint, probe, path).await;
        if let Some(workers) = workers.filter(|workers| before == Some(*workers)) {
            tracing::info!(%endpoint, workers, "the pool's size, by its status page");
            return admission.learn(id, workers);
        }
        before = workers;
        tokio::time::sleep(LAST_PAUSE).await;
    }
}

/// How often a pool is asked for its size until it says the same twice.
const LOOKS: u32 = 5;

/// What an answer says of a replica that has `others` requests in flight for us. Pure.
pub fn judge(answer: &Answer, others: u32) -> Sign {
    match answer {
        Answer::Served | Answer::Overloaded => Sign::Alive,
        Answer::Unreachable(_) => Sign::Unreachable,
        Answer::NotAsked(_) => Sign::Unknown,
        // It may be busy. One that breaks off is not: it accepted, and hung up.
        Answer::Silent if others > 0 => Sign::Unknown,
        Answer::Silent | Answer::Broken(_) => Sign::Unanswered,
    }
}

/// Between 0.9 and 1.1 times as long, so that gateways that started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(0.9 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::backend::ConnectError;

    #[test]
    fn judgements() {
        let refused = || Answer::Unreachable(io::ErrorKind::ConnectionRefused.into());
        let table: [(Answer, u32, Sign); 9] = [
            (Answer::Served, 0, Sign::Alive),
            (Answer::Overloaded, 3, Sign::Alive),
            (refused(), 0, Sign::Unreachable),
            (refused(), 3, Sign::Unreachable),
            (Answer::NotAsked(ConnectError::Full), 0, Sign::Unknown),
            (Answer::Silent, 0, Sign::Unanswered),
            (Answer::Silent, 1, Sign::Unknown),
            (Answer::Broken("end of file".into()), 0, Sign::Unanswered),
            (Answer::Broken("end of file".into()), 3, Sign::Unanswered),
        ];
        for (answer, others, sign) in table {
            assert_eq!(judge(&answer, others), sign, "{answer:?} with {others} others");
        }
    }
}
