//! What every verb has at hand, and how a command ends.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use tokio::time::Instant;

use super::queue::OpenQueue;
use super::screen::Screen;
use crate::doctor::Probe;
use crate::domain::actor::{Actor, Source};
use crate::domain::event::EventId;
use crate::domain::refusal::Refusal;
use crate::domain::trace::TraceParent;
use crate::import::ImportError;
use crate::store::{Store, StoreError};

/// What every verb has at hand.
pub struct Session {
    pub store: Arc<dyn Store>,
    pub screen: Arc<Screen>,
    pub actor: Actor,
    /// How many failed executions end an event that this session makes.
    pub failures_max: i32,
    pub run_own: Arc<dyn RunOwn>,
    /// Of this command, where it is measured.
    pub trace: Option<TraceParent>,
    /// Where the console is, without a slash at the end.
    pub console_url: String,
    /// What `doctor` looks at besides the database: the configuration, the broker.
    pub probes: Vec<Arc<dyn Probe>>,
    pub queue: Arc<OpenQueue>,
}

impl Session {
    /// Answers a program or a person.
    pub fn answer<T: Serialize + Sync>(&self, value: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        if self.screen.json { self.screen.print_json(value) } else { self.screen.print(&text()) }
    }

    /// What is left for later needs somebody who does it.
    pub async fn note_unserved(&self) {
        if matches!(self.store.is_served().await, Ok(false)) {
            self.screen.note(UNSERVED);
        }
    }
}

pub const UNSERVED: &str = "nothing is serving this database now: start `disconnectd serve`, or it will wait";

/// How a command runs its own event where nobody serves the database.
#[async_trait]
pub trait RunOwn: Send + Sync {
    /// Runs `event` if it is due and nobody serves the database. `true` if it was run, whatever came of it. Called
    /// again and again while the command waits, and never cancelled: it returns at `deadline` at the latest, also where
    /// what it began goes on.
    async fn run_own(&self, event: EventId, deadline: Instant) -> bool;
}

/// How a command ends, as the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    /// A rule, or a person, said no.
    Refused = 3,
    UnderWay = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Import(#[from] ImportError),
    /// An argument that only the verb could look at.
    #[error("{0}")]
    Usage(String),
    #[error("{message}")]
    Refused { code: &'static str, message: String },
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    #[must_use]
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Store(StoreError::Refused(_)) | Self::Refused { .. } => Exit::Refused,
            Self::Usage(_) => Exit::Usage,
            Self::Store(_) | Self::Import(_) | Self::Failed(_) => Exit::Failed,
        }
    }

    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Import(_) => "bad_file",
            Self::Usage(_) => "usage",
            Self::Refused { code, .. } => code,
            Self::Failed(_) => "failed",
        }
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::Store(refusal.into())
    }
}

/// Who the log names for what is done on this command line: the system's user.
#[must_use]
pub fn system_user() -> Actor {
    let name = whoami::username().unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Actor::new(if name.trim().is_empty() { "unknown" } else { name.trim() }, Source::Cli)
}
