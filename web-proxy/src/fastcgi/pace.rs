use std::time::Duration;

/// How patient we are with a client that sends a body: it holds a worker of PHP's meanwhile. Each pause has
/// its limit, and so has their sum, or a byte now and then would hold the worker for ever (Apache:
/// `RequestReadTimeout` with `MinRate`). While PHP is the slow one, nobody waits for the client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// How long one pause may take.
    pause: Duration,
    /// All pauses so far.
    waited: Duration,
    received: u64,
}

/// Bytes that earn another second.
const MIN_RATE: u64 = 1 << 10;
/// Pauses of full length that nobody has to earn.
const PAUSES: u32 = 2;

impl Pace {
    pub(super) const fn new(pause: Duration) -> Self {
        Self { pause, waited: Duration::ZERO, received: 0 }
    }

    /// How long the next piece may take.
    pub(super) fn patience(&self) -> Duration {
        let earned = Duration::from_secs(self.received / MIN_RATE);
        let allowed = self.pause.saturating_mul(PAUSES).saturating_add(earned);
        allowed.saturating_sub(self.waited).min(self.pause)
    }

    pub(super) fn note(&mut self, waited: Duration, received: usize) {
        self.waited = self.waited.saturating_add(waited);
        self.received = self.received.saturating_add(received as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience() {
        // Seconds waited, bytes received, seconds of patience left.
        let cases = [
            (0, 0, 60),
            (59, 1, 60),
            (90, 2, 30),
            (120, 3, 0),
            (121, 4, 0),
            (120, 10 << 10, 10),
            (3600, 100 << 20, 60),
        ];
        for (waited, received, expected) in cases {
            let mut pace = Pace::new(Duration::from_mins(1));
            pace.note(Duration::from_secs(waited), received);
            assert_eq!(pace.patience().as_secs(), expected, "{received} bytes in {waited} s");
        }
    }
}
