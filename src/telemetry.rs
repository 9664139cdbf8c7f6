//! Logs and metrics.

use metrics::{Label, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogConfig;
use crate::domain::campaign::PauseCause;
use crate::domain::event::{Outcome, State};
use crate::domain::retry::Verdict;
use crate::queue::{LaneKind, Published};
use crate::watch;

/// Sends logs to standard error. `RUST_LOG` wins over the configuration, but for what would tell passwords.
///
/// # Errors
/// A sentence, for a filter that can't be read.
pub fn init_logs(config: &LogConfig) -> Result<(), String> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.filter.clone());
    let filter = targets(&filter).map_err(|error| format!("the log filter `{filter}` can't be read: {error}"))?;
    let logs = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    let logs = if config.json {
        logs.json().flatten_event(true).boxed()
    } else {
        logs.with_ansi(ansi).with_target(false).boxed()
    };
    let set = tracing_subscriber::registry().with(filter).with(filter_fn(tells_no_password)).with(logs).try_init();
    // A second call in one process (tests) keeps the first.
    drop(set);
    Ok(())
}

/// Parts with `,` between them: a level for all, or `target=level`; the last that fits best counts.
///
/// # Errors
/// What of it is neither. The library would take most of it for the name of a target, and log nothing.
fn targets(filter: &str) -> Result<Targets, String> {
    let mut targets = Targets::new();
    for part in filter.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let level = |text: &str| {
            let level = text.trim().parse::<LevelFilter>();
            level.map_err(|_| format!("`{part}` has no level: off, error, warn, info, debug or trace"))
        };
        targets = match part.split_once('=') {
            None => targets.with_default(level(part)?),
            Some((target, of_target)) => {
                let target = target.trim();
                if target.is_empty() || !target.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c)) {
                    return Err(format!(
                        "`{target}` is not the name of a part of the program, such as `disconnectd::worker`"
                    ));
                }
                targets.with_target(target, level(of_target)?)
            }
        };
    }
    Ok(targets)
}

/// The client of RabbitMQ traces what it sends byte by byte, and sends the password.
fn tells_no_password(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("lapin")
}

/// What a metric is, with its values at the start.
struct Metric {
    kind: Kind,
    name: &'static str,
    help: &'static str,
    unit: Unit,
    /// The label that tells its series apart, with all of its values.
    label: Option<(&'static str, Vec<&'static str>)>,
}

enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Metric {
    fn of(kind: Kind, unit: Unit, name: &'static str, help: &'static str) -> Self {
        Self { kind, name, help, unit, label: None }
    }

    fn counter(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Counter, Unit::Count, name, help)
    }

    fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::of(Kind::Gauge, Unit::Count, name, help)
    }

    fn histogram(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self::of(Kind::Histogram, unit, name, help)
    }

    fn by(self, label: &'static str, values: impl IntoIterator<Item = &'static str>) -> Self {
        Self { label: Some((label, values.into_iter().collect())), ..self }
    }

    fn in_seconds(self) -> Self {
        Self { unit: Unit::Seconds, ..self }
    }

    /// Describes it and makes all of its series, so that each is there from the first scrape: what comes into being with
    /// its first event has no increase that a rule could see.
    fn register(self) {
        let Self { kind, name, help, unit, label } = self;
        let series: Vec<Vec<Label>> = match label {
            None => vec![Vec::new()],
            Some((key, values)) => values.into_iter().map(|value| vec![Label::new(key, value)]).collect(),
        };
        match kind {
            Kind::Counter => {
                metrics::describe_counter!(name, unit, help);
                for labels in series {
                    metrics::counter!(name, labels).absolute(0);
                }
            }
            Kind::Gauge => {
                metrics::describe_gauge!(name, unit, help);
                for labels in series {
                    metrics::gauge!(name, labels).set(0.0);
                }
            }
            Kind::Histogram => {
                metrics::describe_histogram!(name, unit, help);
                for labels in series {
                    // It is there, empty, once somebody has asked for it.
                    drop(metrics::histogram!(name, labels));
                }
            }
        }
    }
}

/// All of them. First what this process did, then what it sees, then what it read last of the whole installation.
fn all() -> Vec<Metric> {
    let lanes = LaneKind::ALL.map(LaneKind::as_str);
    vec![
        Metric::counter(
            "disconnectd_claimed_total",
            "Attempts begun: events that this scheduler claimed, each time that it did.",
        ),
        Metric::counter("disconnectd_archived_total", "Events that this scheduler took to the archive."),
        Metric::counter("disconnectd_queue_published_total", "Messages published, by what the queue said.")
            .by("result", Published::ALL.map(Published::as_str)),
        Metric::counter("disconnectd_disconnects_total", "Events that this worker completed, by outcome.")
            .by("outcome", Outcome::ALL.map(Outcome::as_str)),
        Metric::counter(
            "disconnectd_failures_total",
            "Executions that failed because of their event, by what comes next: another try, or a person.",
        )
        .by("next", Verdict::NAMES),
        Metric::counter("disconnectd_stale_deliveries_total", "Deliveries of events that were not queued any more."),
        Metric::counter("disconnectd_batches_split_total", "Batches that failed and ran again in smaller ones."),
        Metric::counter("disconnectd_worker_panics_total", "Worker loops that ended by themselves."),
        Metric::counter(
            "disconnectd_queue_rejected_total",
            "Messages that were not ours, sent to the dead-letter queue, by lane.",
        )
        .by("lane", lanes),
        Metric::counter(
            "disconnectd_queue_reconnects_total",
            "Connections to the broker that were made anew, by connection.",
        )
        .by("connection", ["publish", "consume"]),
        Metric::histogram(
            "disconnectd_publish_seconds",
            Unit::Seconds,
            "From handing the events of a claim to the queue until it has answered for all of them.",
        ),
        Metric::histogram("disconnectd_batch_seconds", Unit::Seconds, "From the first lock of a batch to its commit."),
        Metric::histogram("disconnectd_commit_seconds", Unit::Seconds, "The commit of a batch alone."),
        Metric::histogram("disconnectd_batch_events", Unit::Count, "Events in a batch."),
        Metric::counter(
            "disconnectd_spans_total",
            "Spans of traces: begun, taken by the collector, or lost at it; the others wait, or found no room.",
        )
        .by("result", ["begun", "exported", "lost"]),
        Metric::gauge("disconnectd_in_flight_events", "Events that this worker has in hand."),
        Metric::gauge("disconnectd_database_up", "1 while the database answers this process, else 0."),
        Metric::gauge("disconnectd_queue_up", "1 while the queue takes and delivers messages here, else 0."),
        Metric::gauge(
            "disconnectd_due_lag_seconds",
            "For how long the event that nobody has taken up for longest should have been; each try begins it anew.",
        )
        .in_seconds(),
        Metric::gauge("disconnectd_overdue_events", "Events that should have been taken up by now, and were not."),
        Metric::gauge(
            "disconnectd_oldest_due_seconds",
            "How long ago the oldest single disconnect came due that is open and waits for no retry, however often it was tried.",
        )
        .in_seconds(),
        Metric::gauge(
            "disconnectd_dispatches_max",
            "How often the queued event was handed to the queue that was most often, since it was last scheduled.",
        ),
        Metric::gauge("disconnectd_events", "Events that are open or have failed, by state.")
            .by("state", watch::STATES.map(State::as_str)),
        Metric::gauge("disconnectd_queue_messages", "Messages ready in each queue.").by("queue", watch::QUEUES),
        Metric::gauge("disconnectd_servers", "Processes that serve this database, by role.").by("role", watch::ROLES),
        Metric::gauge("disconnectd_campaigns_running", "Campaigns that run."),
        Metric::gauge("disconnectd_campaigns_paused", "Campaigns that are paused, by who or what paused them.")
            .by("cause", PauseCause::ALL.map(PauseCause::as_str)),
        Metric::gauge(
            "disconnectd_looked_at_timestamp_seconds",
            "When this process last read what it says of the whole installation, as Unix time; 0: not yet.",
        )
        .in_seconds(),
    ]
}

/// Installs the metrics, each there from the first scrape at zero.
///
/// # Errors
/// A sentence, where they are installed already.
pub fn init_metrics() -> Result<PrometheusHandle, String> {
    const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    const EVENTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_events".into()), &EVENTS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("the metrics can't be set up: {error}"))?;
    all().into_iter().for_each(Metric::register);
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_filter_is_read_with_blanks_and_refused_where_nothing_of_it_would_be_logged() {
        for (filter, shows) in [
            ("info,lapin=off,sqlx=off", [true, false, false]),
            (" info , lapin = off ", [true, false, false]),
            ("info,", [true, false, true]),
            ("warn, disconnectd::worker=debug", [true, true, false]),
            ("DEBUG", [true, true, true]),
            ("", [false, false, false]),
        ] {
            let targets = targets(filter).unwrap();
            let seen =
                [("disconnectd::worker", Level::INFO), ("disconnectd::worker", Level::DEBUG), ("lapin", Level::INFO)];
            assert_eq!(seen.map(|(target, level)| targets.would_enable(target, &level)), shows, "{filter}");
        }
        for filter in
            ["loud", "disconnectd=loud", "disconnectd", "=info", "disconnectd[span]=debug", "!!!", "info;warn"]
        {
            assert!(targets(filter).is_err(), "{filter}");
        }
    }
}
