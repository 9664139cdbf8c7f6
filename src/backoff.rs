//! Waiting before trying again, for what comes back by itself: a database, a broker.

use std::time::Duration;

use crate::shutdown::Shutdown;

/// Doubles from `FIRST` to `LONGEST`, without end.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Short enough that a deadlock or a restart costs little.
    const FIRST: Duration = Duration::from_millis(20);
    /// Long enough not to hurt a server that is starting, short enough that nobody waits for us.
    const LONGEST: Duration = Duration::from_secs(2);

    #[must_use]
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// Waits. Answers `false`, at once, when a stop is asked for meanwhile.
    pub async fn wait(&mut self, stop: &Shutdown) -> bool {
        let wait = self.next.mul_f64(rand::random_range(0.5..1.0));
        self.next = (self.next * 2).min(Self::LONGEST);
        tokio::select! {
            () = tokio::time::sleep(wait) => true,
            () = stop.asked() => false,
        }
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}
