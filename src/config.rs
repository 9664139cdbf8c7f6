//! Configuration: defaults, then the file, then the environment, into types that need no more checking.
//!
//! Secrets stand in the two URLs and the token alone, and those are never printed: see [`Secret`].

mod environment;
mod traces;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

pub use self::environment::Environment;
pub use self::traces::TracesConfig;
use self::traces::TracesFile;
use crate::domain::calendar::Cron;
use crate::domain::retry::RetryPolicy;
use crate::store::Redispatch;
use crate::tls;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {path} can't be read: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    /// The file that a variable names.
    #[error("{place}: the file {path} can't be used: {error}")]
    UnreadableSecret { place: String, path: PathBuf, error: String },
    #[error("the configuration file {path} is wrong: {error}")]
    Malformed { path: PathBuf, error: String },
    /// A value, by the file's key or the variable's name.
    #[error("{place}: {error}")]
    Invalid { place: String, error: String, in_file: bool },
    /// Two values that do not go together.
    #[error("{place}: {error}")]
    Unfit { place: String, error: String },
}

/// A text that `{:?}` does not show, since it may hold a password, or is a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(String),
    Postgres(Secret),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueueUrl {
    Memory,
    Amqp(Secret),
}

#[derive(Debug, Clone)]
pub struct Config {
    pub database: DatabaseUrl,
    /// Whether the database was named, in the file or the environment.
    pub database_is_given: bool,
    pub max_connections: u32,
    pub queue: QueueUrl,
    /// The CAs that vouch for the broker, in place of those that the machine trusts.
    pub queue_ca_file: Option<PathBuf>,
    pub http_listen: SocketAddr,
    /// Where people find the console, where that is not where it listens: behind a proxy, over https.
    pub public_url: Option<Url>,
    /// Whose name the commands bear. From the environment alone: a file may be read by others.
    pub token: Option<Secret>,
    pub scheduler: SchedulerConfig,
    pub worker: WorkerConfig,
    /// How many failed executions end an event as failed.
    pub failures_max: i32,
    /// How long a stop waits for what has begun.
    pub grace: Duration,
    pub log: LogConfig,
    /// None: they are off.
    pub traces: Option<TracesConfig>,
    /// A sentence for each thing that all programs of the machine are told of traces and this one can't follow.
    pub traces_passed_over: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct SchedulerConfig {
    pub claim_max: u32,
    pub sweep: Cron,
    pub hints: bool,
    pub redispatch: Redispatch,
    /// How many events of campaigns are in the queue at most.
    pub in_flight_max: u32,
    /// How long after its end an event goes to the archive. None: never.
    pub archive_after: Option<Duration>,
}

#[derive(Debug, Clone)]
pub struct WorkerConfig {
    pub loops: usize,
    pub batch_max: usize,
    pub linger: Duration,
    pub retry: RetryPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    pub json: bool,
    pub filter: String,
}

/// The file, as it may be written. Every key is optional; unknown ones are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    database: DatabaseFile,
    queue: QueueFile,
    http: HttpFile,
    scheduler: SchedulerFile,
    worker: WorkerFile,
    shutdown: ShutdownFile,
    log: LogFile,
    traces: TracesFile,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DatabaseFile {
    url: Option<String>,
    max_connections: u32,
}

impl Default for DatabaseFile {
    fn default() -> Self {
        Self { url: None, max_connections: 10 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QueueFile {
    url: Option<String>,
    ca_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HttpFile {
    listen: Option<String>,
    public_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SchedulerFile {
    claim_max: u32,
    sweep: String,
    hints: bool,
    redispatch_seconds: u64,
    redispatch_max_seconds: u64,
    in_flight_max: u32,
    archive_after_days: u64,
}

impl Default for SchedulerFile {
    fn default() -> Self {
        Self {
            claim_max: 500,
            sweep: "*/15 * * * * *".into(),
            hints: true,
            redispatch_seconds: 10,
            redispatch_max_seconds: 300,
            in_flight_max: 5_000,
            // People's own SQL asks `disconnect_events` by its name, and is not to lose rows unasked.
            archive_after_days: 0,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WorkerFile {
    loops: Option<usize>,
    batch_max: Option<usize>,
    linger_ms: u64,
    failures_max: i32,
    retry_seconds: u64,
    retry_max_seconds: u64,
}

impl Default for WorkerFile {
    fn default() -> Self {
        Self { loops: None, batch_max: None, linger_ms: 2, failures_max: 8, retry_seconds: 5, retry_max_seconds: 3600 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ShutdownFile {
    grace_seconds: u64,
}

impl Default for ShutdownFile {
    fn default() -> Self {
        Self { grace_seconds: 30 }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LogFile {
    format: String,
    filter: String,
}

impl Default for LogFile {
    fn default() -> Self {
        Self { format: "text".into(), filter: "info,lapin=off,sqlx=off".into() }
    }
}

impl Config {
    /// # Errors
    /// A sentence that names the file or the variable, and what it takes.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, ConfigError> {
        let (file, name) = match path {
            None => (File::default(), String::new()),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
                let file = toml::from_str(&text).map_err(|error| ConfigError::Malformed {
                    path: path.to_owned(),
                    error: sentence(&text, &error),
                })?;
                (file, format!("{}: ", path.display()))
            }
        };
        Self::resolve(file, &name, environment)
    }

    fn resolve(file: File, file_name: &str, environment: &Environment) -> Result<Self, ConfigError> {
        let in_file = |key: &str| Place { name: format!("{file_name}{key}"), in_file: true };
        let invalid =
            |place: Place, error: String| ConfigError::Invalid { place: place.name, error, in_file: place.in_file };
        // The environment's value, else the file's, with the place to name in an error.
        let pick = |variable: &Option<String>, name: &str, value: Option<String>, key: &str| match variable {
            Some(value) => Some((value.clone(), Place { name: name.to_owned(), in_file: false })),
            None => value.map(|value| (value, in_file(key))),
        };

        let database_url =
            pick(&environment.database_url, "DISCONNECTD_DATABASE_URL", file.database.url, "database.url");
        let database_is_given = database_url.is_some();
        let database = match database_url {
            None => DatabaseUrl::Sqlite("sqlite://disconnectd.db".into()),
            Some((url, place)) => parse_database(&url).map_err(|error| invalid(place, error))?,
        };
        let (queue, queue_place) =
            match pick(&environment.queue_url, "DISCONNECTD_QUEUE_URL", file.queue.url, "queue.url") {
                None => (QueueUrl::Memory, String::new()),
                Some((url, place)) => {
                    let name = place.name.clone();
                    (parse_queue(&url).map_err(|error| invalid(place, error))?, name)
                }
            };
        if matches!((&database, &queue), (DatabaseUrl::Sqlite(_), QueueUrl::Amqp(_))) {
            let error = "a SQLite database goes with the queue `memory:` only; use PostgreSQL with RabbitMQ";
            return Err(ConfigError::Unfit { place: queue_place, error: error.into() });
        }
        let ca_file =
            pick(&environment.queue_ca_file, "DISCONNECTD_QUEUE_CA_FILE", file.queue.ca_file, "queue.ca_file");
        let queue_ca_file = match (ca_file, &queue) {
            (None, _) => None,
            (Some((path, place)), QueueUrl::Amqp(url)) if scheme(url.expose()) == "amqps" => {
                let path = PathBuf::from(path);
                tls::authorities(&path).map_err(|error| invalid(place, error))?;
                Some(path)
            }
            // Else somebody would take for safe what is not encrypted.
            (Some((_, Place { name: place, .. })), _) => {
                let error = "it is for a queue's URL that begins with `amqps://`; write that, or leave this out";
                return Err(ConfigError::Unfit { place, error: error.into() });
            }
        };
        let (listen, listen_place) =
            pick(&environment.http_listen, "DISCONNECTD_HTTP_LISTEN", file.http.listen, "http.listen")
                .unwrap_or_else(|| ("127.0.0.1:8080".into(), in_file("http.listen")));
        let http_listen = listen.parse().map_err(|_| {
            invalid(listen_place, format!("`{listen}` is not an address and a port, such as 127.0.0.1:8080"))
        })?;

        let public_url =
            pick(&environment.public_url, "DISCONNECTD_PUBLIC_URL", file.http.public_url, "http.public_url")
                .map(|(url, place)| parse_public_url(&url).map_err(|error| invalid(place, error)))
                .transpose()?;

        let within = |key: &str, value: u64, max: u64| match value {
            0 => Err(invalid(in_file(key), "it must be at least 1".into())),
            value if value > max => Err(invalid(in_file(key), format!("it must be at most {max}"))),
            value => Ok(value),
        };
        within("database.max_connections", file.database.max_connections.into(), CONNECTIONS_MAX)?;
        within("scheduler.claim_max", file.scheduler.claim_max.into(), CLAIM_MAX)?;
        within("scheduler.in_flight_max", file.scheduler.in_flight_max.into(), IN_FLIGHT_MAX)?;
        let archive_after = match file.scheduler.archive_after_days {
            0 => None,
            days => {
                let days = within("scheduler.archive_after_days", days, ARCHIVE_AFTER_DAYS_MAX)?;
                Some(Duration::from_hours(days * 24))
            }
        };
        within("worker.batch_max", file.worker.batch_max.unwrap_or(1) as u64, BATCH_MAX)?;
        within("worker.failures_max", u64::try_from(file.worker.failures_max).unwrap_or(0), FAILURES_MAX)?;
        within("worker.loops", file.worker.loops.unwrap_or(1) as u64, LOOPS_MAX)?;
        let seconds = |key: &str, value: u64| within(key, value, SECONDS_MAX).map(Duration::from_secs);
        let json = match file.log.format.as_str() {
            "text" => false,
            "json" => true,
            other => return Err(invalid(in_file("log.format"), format!("`{other}` is neither `text` nor `json`"))),
        };
        let (traces, traces_passed_over) =
            traces::resolve(&file.traces, environment).map_err(|traces::Wrong { place, in_file: is, error }| {
                invalid(if is { in_file(place) } else { Place { name: place.to_owned(), in_file: false } }, error)
            })?;
        // SQLite has one writer, so that more loops would only wait for each other, and all of them for the disk at each
        // commit.
        let (loops, batch_max) = if matches!(database, DatabaseUrl::Sqlite(_)) { (1, 500) } else { (3, 64) };
        Ok(Self {
            database,
            database_is_given,
            max_connections: file.database.max_connections,
            queue,
            queue_ca_file,
            http_listen,
            public_url,
            token: environment.token.clone(),
            scheduler: SchedulerConfig {
                claim_max: file.scheduler.claim_max,
                sweep: Cron::parse(&file.scheduler.sweep)
                    .map_err(|error| invalid(in_file("scheduler.sweep"), error))?,
                hints: file.scheduler.hints,
                in_flight_max: file.scheduler.in_flight_max,
                archive_after,
                redispatch: Redispatch {
                    base: seconds("scheduler.redispatch_seconds", file.scheduler.redispatch_seconds)?,
                    max: within(
                        "scheduler.redispatch_max_seconds",
                        file.scheduler.redispatch_max_seconds,
                        Redispatch::LONGEST.as_secs(),
                    )
                    .map(Duration::from_secs)?,
                },
            },
            worker: WorkerConfig {
                loops: file.worker.loops.unwrap_or(loops),
                batch_max: file.worker.batch_max.unwrap_or(batch_max),
                linger: Duration::from_millis(file.worker.linger_ms.min(LINGER_MAX_MS)),
                retry: RetryPolicy {
                    base: seconds("worker.retry_seconds", file.worker.retry_seconds)?,
                    max: seconds("worker.retry_max_seconds", file.worker.retry_max_seconds)?,
                },
            },
            failures_max: file.worker.failures_max,
            grace: seconds("shutdown.grace_seconds", file.shutdown.grace_seconds)?,
            log: LogConfig { json, filter: file.log.filter },
            traces,
            traces_passed_over,
        })
    }
}

impl Config {
    /// Where people find the console when it listens there, without a slash at the end.
    #[must_use]
    pub fn console_url(&self, listens_on: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{listens_on}"),
        }
    }
}

/// Where a value stands.
struct Place {
    name: String,
    in_file: bool,
}

/// More would only be a slip of the finger: no server takes as many, no statement as large, and nobody waits as long.
const CONNECTIONS_MAX: u64 = 1_000;
const CLAIM_MAX: u64 = 10_000;
/// A pause or an abort takes all of them back from the queue while somebody waits for its answer.
const IN_FLIGHT_MAX: u64 = 100_000;
const ARCHIVE_AFTER_DAYS_MAX: u64 = 36_500;
const BATCH_MAX: u64 = 1_000;
const FAILURES_MAX: u64 = 1_000;
const LOOPS_MAX: u64 = 256;
const SECONDS_MAX: u64 = 7 * 24 * 3600;
const LINGER_MAX_MS: u64 = 1_000;

/// What is wrong and in which line, without the line itself: it may hold a password.
fn sentence(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
    let message = error.message().trim_end();
    line.map_or_else(|| message.to_owned(), |line| format!("line {line}: {message}"))
}

fn parse_database(url: &str) -> Result<DatabaseUrl, String> {
    let url = url.trim();
    match scheme(url) {
        "sqlite" => Ok(DatabaseUrl::Sqlite(url.to_owned())),
        "postgres" | "postgresql" => {
            Url::parse(url).map_err(|error| format!("the PostgreSQL URL can't be read: {error}"))?;
            Ok(DatabaseUrl::Postgres(Secret(url.to_owned())))
        }
        other => Err(format!(
            "a database URL begins with `sqlite://` or `postgres://`, not with `{other}`; \
             for example sqlite://disconnectd.db or postgres://user:password@host/database"
        )),
    }
}

fn parse_queue(url: &str) -> Result<QueueUrl, String> {
    let url = url.trim();
    match scheme(url) {
        "memory" => Ok(QueueUrl::Memory),
        "amqp" | "amqps" => {
            Url::parse(url).map_err(|error| format!("the RabbitMQ URL can't be read: {error}"))?;
            Ok(QueueUrl::Amqp(Secret(url.to_owned())))
        }
        other => Err(format!(
            "a queue URL is `memory:` or begins with `amqp://` or `amqps://`, not with `{other}`; \
             for example amqp://user:password@host/%2f"
        )),
    }
}

/// The console stands at the root of it: its pages lead to each other by their paths.
fn parse_public_url(url: &str) -> Result<Url, String> {
    let wrong = || format!("`{url}` is not where a browser goes; write it like https://disconnectd.example.com");
    let parsed = Url::parse(url.trim()).map_err(|_| wrong())?;
    let is_root = parsed.path() == "/" && parsed.query().is_none() && parsed.fragment().is_none();
    let is_plain = matches!(parsed.scheme(), "http" | "https") && parsed.has_host() && parsed.username().is_empty();
    if is_root && is_plain && parsed.password().is_none() { Ok(parsed) } else { Err(wrong()) }
}

/// What stands before the first colon; nothing else of a URL is ever shown.
fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let file = toml::from_str(text)
            .map_err(|error| ConfigError::Malformed { path: "x.toml".into(), error: sentence(text, &error) })?;
        Config::resolve(file, "x.toml: ", &Environment::default())
    }

    #[test]
    fn with_no_configuration_it_is_sqlite_and_memory_on_loopback() {
        let config = load("").unwrap();
        assert_eq!(config.database, DatabaseUrl::Sqlite("sqlite://disconnectd.db".into()));
        assert_eq!(config.queue, QueueUrl::Memory);
        assert!(config.http_listen.ip().is_loopback());
        assert!(!config.database_is_given);
        assert_eq!((config.worker.loops, config.worker.batch_max), (1, 500));
    }

    #[test]
    fn the_shipped_files_are_read_and_name_every_key() {
        for name in ["embedded.toml", "at-scale.toml"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
            Config::load(Some(&path), &Environment::default()).unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            for key in ["max_connections", "archive_after_days"] {
                let is_named = text.contains(&format!("\n{key} ="));
                assert_eq!(is_named, name == "at-scale.toml", "{name}: SQLite has no {key} to choose");
            }
            for key in [
                "url",
                "listen",
                "claim_max",
                "in_flight_max",
                "sweep",
                "hints",
                "redispatch_seconds",
                "redispatch_max_seconds",
                "loops",
                "batch_max",
                "linger_ms",
                "failures_max",
                "retry_seconds",
                "retry_max_seconds",
                "grace_seconds",
                "format",
                "filter",
                "ratio",
            ] {
                assert!(text.lines().any(|line| line.starts_with(&format!("{key} ="))), "{name} lacks {key}");
            }
        }
    }

    #[test]
    fn events_go_to_the_archive_only_where_that_is_asked_for() {
        let after = |text: &str| load(text).unwrap().scheduler.archive_after;
        assert_eq!(after(""), None);
        assert_eq!(after("[scheduler]\narchive_after_days = 7"), Some(Duration::from_hours(7 * 24)));
        assert_eq!(after("[scheduler]\narchive_after_days = 0"), None);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, part) in [
            ("[worker]\nlops = 3", "lops"),
            ("[scheduler]\nsweep = \"often\"", "x.toml: scheduler.sweep"),
            ("[worker]\nbatch_max = 0", "x.toml: worker.batch_max"),
            ("[database]\nurl = \"mysql://u:secret@h/d\"", "not with `mysql`"),
            ("[queue]\nurl = \"redis://h\"", "not with `redis`"),
            ("[queue]\nurl = \"amqp://h\"", "`memory:` only"),
            (
                "[queue]\nca_file = \"ca.pem\"",
                "x.toml: queue.ca_file: it is for a queue's URL that begins with `amqps://`",
            ),
            ("[http]\nlisten = \"8080\"", "x.toml: http.listen"),
            ("[log]\nformat = \"xml\"", "neither `text` nor `json`"),
            ("[queue]\nuri = \"amqp://u:secret@h\"", "line 2: unknown field `uri`"),
            ("\n[queue]\nurl = \"amqp://u:secret@h", "line 3"),
            ("[scheduler]\nredispatch_seconds = 9223372036854775807", "at most 604800"),
            ("[worker]\nloops = 100000000", "at most 256"),
            ("[worker]\nbatch_max = -1", "line 2"),
            ("[scheduler]\nin_flight_max = 0", "x.toml: scheduler.in_flight_max: it must be at least 1"),
            ("[scheduler]\nin_flight_max = 100001", "at most 100000"),
            (
                "[scheduler]\narchive_after_days = 36501",
                "x.toml: scheduler.archive_after_days: it must be at most 36500",
            ),
            ("[scheduler]\narchive_after_days = -1", "x.toml is wrong: line 2"),
            ("[scheduler]\nredispatch_max_seconds = 3601", "x.toml: scheduler.redispatch_max_seconds"),
            ("[traces]\nratio = 2", "x.toml: traces.ratio"),
            ("[traces]\nendpoint = \"grpc://secret:4317\"", "x.toml: traces.endpoint"),
        ] {
            let error = load(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_environment_wins_over_the_file_and_secrets_are_not_shown() {
        let environment = Environment {
            database_url: Some("postgres://u:secret@h/d".into()),
            queue_url: Some("amqp://u:secret@h".into()),
            queue_ca_file: None,
            http_listen: Some("127.0.0.1:0".into()),
            public_url: None,
            token: Some(Secret("dct_secret".into())),
            ..Environment::default()
        };
        let config = Config::resolve(File::default(), "", &environment).unwrap();
        assert_eq!(config.http_listen.port(), 0);
        assert_eq!((config.worker.loops, config.worker.batch_max), (3, 64));
        assert!(config.token.is_some());
        assert!(!format!("{config:?}").contains("secret"));
    }
}
