//! `doctor`: what is wrong with this configuration, database, broker or data.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::session::{CliError, Exit, Session};
use super::table::{Column, table};
use crate::store::{EventCounts, StoreResult};

/// Look for what is wrong with this configuration, database, broker or data
#[derive(Debug, Args)]
#[command(after_help = "Exit 0 where all is well or merely worth knowing, 1 where something is wrong.")]
pub struct DoctorArgs {}

#[derive(Debug, Serialize)]
struct Diagnosis {
    ok: bool,
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    finding: Finding,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Finding {
    Ok,
    /// Worth knowing.
    Warning,
    Wrong,
}

pub async fn run(_: DoctorArgs, session: &Session) -> Result<Exit, CliError> {
    let mut diagnosis = Diagnosis { ok: true, checks: Vec::new() };
    for probe in &session.probes {
        diagnosis.add(probe.name(), probe.look().await);
    }
    if diagnosis.add("database", sentence(session.store.ping().await, |()| "answers".into()))
        && diagnosis.add("schema", sentence(session.store.check_schema().await, |()| "is up to date".into()))
    {
        examine(session, &mut diagnosis).await?;
    }
    session.answer(&diagnosis, || {
        let columns = [Column::Firm("CHECK"), Column::Firm("FINDING"), Column::Left("")];
        let rows = diagnosis.checks.iter().map(|check| {
            let finding = match check.finding {
                Finding::Ok => "ok",
                Finding::Warning => "warning",
                Finding::Wrong => "wrong",
            };
            [check.name.to_owned(), finding.to_owned(), check.message.clone()]
        });
        table(session.screen.width, &columns, rows)
    })?;
    if !diagnosis.ok {
        session.screen.error("something is wrong, see above");
    }
    Ok(if diagnosis.ok { Exit::Done } else { Exit::Failed })
}

async fn examine(session: &Session, diagnosis: &mut Diagnosis) -> Result<(), CliError> {
    let store = &session.store;
    let installation = store.installation().await?;
    let demo = if installation.is_demo { ", the sample provider's" } else { "" };
    diagnosis.add("installation", Ok(format!("{}{demo}", installation.id)));

    let (settings, statuses) = (store.settings().await?, store.statuses().await?);
    let target = settings.target(&statuses);
    diagnosis.add(
        "settings",
        target.map(|status| format!("a disconnect leads to {}", status.name)).map_err(|refusal| refusal.to_string()),
    );

    let counts = store.event_counts().await?;
    if store.is_served().await? {
        diagnosis.add("serving", Ok("somebody serves this database".into()));
    } else {
        diagnosis.put("serving", unserved(&counts), "nobody serves this database; `disconnectd serve` does");
    }
    let (finding, message) = backlog(&counts);
    diagnosis.put("events", finding, message);

    let wrongs = store.inspect().await?;
    if wrongs.is_empty() {
        diagnosis.add("data", Ok("nothing that should not be".into()));
    }
    for wrong in wrongs {
        diagnosis.add("data", Err(wrong));
    }
    Ok(())
}

/// With nothing to do, nobody is missed.
fn unserved(counts: &EventCounts) -> Finding {
    if counts.scheduled + counts.queued > 0 { Finding::Warning } else { Finding::Ok }
}

/// An event that is overdue for longer than this is worth knowing: a scheduler takes it within moments.
const LAG_MAX_S: f64 = 60.0;

fn backlog(counts: &EventCounts) -> (Finding, String) {
    let EventCounts { scheduled, queued, failed, overdue, lag_seconds, .. } = counts;
    let mut message = format!("{scheduled} scheduled, {queued} queued, {failed} failed");
    let mut finding = Finding::Ok;
    if *failed > 0 {
        finding = Finding::Warning;
        message.push_str("; `disconnectd events list --state failed` shows why");
    }
    if *overdue > 0 && *lag_seconds > LAG_MAX_S {
        finding = Finding::Warning;
        let _ = write!(message, "; {overdue} overdue, the oldest for {lag_seconds:.0} s"); // a String takes everything
    }
    (finding, message)
}

fn sentence<T>(answer: StoreResult<T>, well: impl FnOnce(T) -> String) -> Result<String, String> {
    answer.map(well).map_err(|error| error.to_string())
}

impl Diagnosis {
    /// Answers whether it is well.
    fn add(&mut self, name: &'static str, looked: Result<String, String>) -> bool {
        match looked {
            Ok(message) => self.put(name, Finding::Ok, message),
            Err(message) => self.put(name, Finding::Wrong, message),
        }
    }

    fn put(&mut self, name: &'static str, finding: Finding, message: impl Into<String>) -> bool {
        let is_well = finding != Finding::Wrong;
        self.ok &= is_well;
        self.checks.push(Check { name, finding, message: message.into() });
        is_well
    }
}
