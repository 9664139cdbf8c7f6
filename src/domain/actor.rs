//! Who did it, and from where. Every log entry names both.

use std::fmt;

use serde::Serialize;

/// Where a change came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Cli,
    Api,
    Console,
    Import,
    Worker,
    Demo,
}

impl Source {
    const ALL: [Self; 6] = [Self::Cli, Self::Api, Self::Console, Self::Import, Self::Worker, Self::Demo];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Api => "api",
            Self::Console => "console",
            Self::Import => "import",
            Self::Worker => "worker",
            Self::Demo => "demo",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == text)
    }
}

/// A person or a program, by the name that the log shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Actor {
    pub name: String,
    pub source: Source,
}

impl Actor {
    #[must_use]
    pub fn new(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.source.as_str())
    }
}
