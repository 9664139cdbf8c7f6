//! `doctor`: what is wrong with this configuration, database, broker or data.

use clap::Args;

use super::session::{CliError, Exit, Session};
use super::table::{Column, table};
use crate::doctor::{Depth, Finding, diagnose};

/// Look for what is wrong with this configuration, database, broker or data
#[derive(Debug, Args)]
#[command(after_help = "Exit 0 where all is well or merely worth knowing, 1 where something is wrong.")]
pub struct DoctorArgs {}

pub async fn run(_: DoctorArgs, session: &Session) -> Result<Exit, CliError> {
    let diagnosis = diagnose(&*session.store, &session.probes, Depth::All).await;
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
