//! Stopping: the first SIGTERM or Ctrl-C asks, the second ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A stop that was asked for, or not yet. Clones see the same.
#[derive(Debug, Clone)]
pub struct Shutdown {
    asked: watch::Receiver<bool>,
}

/// Asks for the stop. Dropping it asks as well.
#[derive(Debug)]
pub struct StopHandle {
    ask: watch::Sender<bool>,
}

impl StopHandle {
    pub fn stop(&self) {
        self.ask.send_replace(true);
    }
}

impl Shutdown {
    #[must_use]
    pub fn new() -> (StopHandle, Self) {
        let (ask, asked) = watch::channel(false);
        (StopHandle { ask }, Self { asked })
    }

    /// Follows the signals of this process, from now until its end.
    ///
    /// # Errors
    /// Where the system refuses to register them.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (handle, shutdown) = Self::new();
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::info!("stopping: finishing what has begun; a second signal ends at once");
            handle.stop();
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::warn!("a second signal: ending at once; what was under way will be done again");
            std::process::exit(1);
        });
        Ok(shutdown)
    }

    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Returns once the stop is asked for. Safe to cancel.
    pub async fn asked(&self) {
        let mut asked = self.asked.clone();
        // An error means that the handle is gone, and with it whoever could let us go on.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}
