//! Logs and metrics.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::LogConfig;
use crate::domain::event::Outcome;

/// Sends logs to standard error. `RUST_LOG` wins over the configuration, but for what would tell passwords.
///
/// # Errors
/// A sentence, for a filter that can't be read.
pub fn init_logs(config: &LogConfig) -> Result<(), String> {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| config.filter.clone());
    let filter =
        EnvFilter::try_new(&filter).map_err(|error| format!("the log filter `{filter}` can't be read: {error}"))?;
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

/// The client of RabbitMQ traces what it sends byte by byte, and sends the password.
fn tells_no_password(metadata: &Metadata<'_>) -> bool {
    *metadata.level() < Level::TRACE || !metadata.target().starts_with("lapin")
}

/// Installs the metrics, each there from the first scrape at zero.
///
/// # Errors
/// A sentence, where they are installed already.
pub fn init_metrics() -> Result<PrometheusHandle, String> {
    const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
    const EVENTS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_events".into()), &EVENTS))
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| format!("the metrics can't be set up: {error}"))?;
    for outcome in Outcome::ALL {
        metrics::counter!("disconnectd_disconnects_total", "outcome" => outcome.as_str()).absolute(0);
    }
    for (name, help) in [
        ("disconnectd_claimed_total", "Events that this scheduler claimed."),
        ("disconnectd_failures_total", "Executions that failed because of their event."),
        ("disconnectd_stale_deliveries_total", "Deliveries of events that were not queued any more."),
        ("disconnectd_batches_split_total", "Batches that failed and ran one by one."),
        ("disconnectd_worker_panics_total", "Worker loops that ended by themselves."),
        ("disconnectd_queue_published_total", "Messages published, by what the broker said."),
        ("disconnectd_queue_rejected_total", "Messages that were not ours, sent to the dead-letter queue, by lane."),
        ("disconnectd_queue_reconnects_total", "Connections to the broker that were made anew."),
    ] {
        metrics::describe_counter!(name, help);
        // Those of the queue have labels, and register themselves.
        if !name.starts_with("disconnectd_queue_") {
            metrics::counter!(name).absolute(0);
        }
    }
    metrics::describe_counter!("disconnectd_disconnects_total", "Events that this worker completed, by outcome.");
    metrics::describe_histogram!("disconnectd_batch_seconds", "From the first lock of a batch to its commit.");
    metrics::describe_histogram!("disconnectd_batch_events", "Events in a batch.");
    metrics::describe_gauge!("disconnectd_queue_up", "1 while the broker takes messages, by connection.");
    metrics::describe_gauge!("disconnectd_database_up", "1 while the database answers.");
    metrics::gauge!("disconnectd_database_up").set(0.0);
    Ok(handle)
}
