//! Writing what became of a campaign, and what stands in its way, as CSV or JSON: row by row, in bounded memory.
//!
//! A writer keeps no sink, so that a command can write into a file what a web server sends in chunks: each call puts what
//! is to come next into `out`.

use std::borrow::Cow;
use std::io::{self, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::campaign::cohort::{Blocker, BlockerEffect};
use crate::domain::campaign::dry_run::DryRun;
use crate::domain::campaign::report::{Reconciliation, Reconciling, ReportRow};
use crate::domain::campaign::{CampaignId, CampaignView};

/// The columns of a report. Instants are RFC 3339, in UTC; `amount` (of the final invoice) and `expected` (what was owed
/// when it became an event) are in `currency`.
pub const REPORT_COLUMNS: [&str; 13] = [
    "account_number",
    "outcome",
    "event_id",
    "due_at",
    "ended_at",
    "invoice_number",
    "amount",
    "currency",
    "expected",
    "attempts",
    "failures",
    "error",
    "reason",
];

/// The columns of what stands in the way.
pub const BLOCKER_COLUMNS: [&str; 4] = ["account_number", "kind", "effect", "detail"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    Json,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Csv, Self::Json];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// # Errors
    /// A sentence that names the formats there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let format = Self::ALL.into_iter().find(|format| format.as_str() == text);
        format.ok_or_else(|| format!("there is no format `{text}`; there are csv and json"))
    }

    /// For HTTP.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// How a report ends: how it adds up, and the same in a sentence.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Summary {
    #[serde(flatten)]
    pub reconciliation: Reconciliation,
    pub sentence: String,
}

/// What writes rows that come in chunks. It was begun with a header; each call puts what is to come next into `out`.
pub trait Rows {
    type Row;
    /// What it knows in the end.
    type End;

    /// # Errors
    /// Those of `out`.
    fn rows(&mut self, rows: &[Self::Row], out: &mut dyn Write) -> io::Result<()>;

    /// # Errors
    /// Those of `out`.
    fn end(self, out: &mut dyn Write) -> io::Result<Self::End>;
}

/// Writes a report: a header, the rows in chunks, and the end, which knows how it adds up.
///
/// As JSON it is one document, `{"campaign":{...},"rows":[...],"summary":{...}}`. As CSV it is the rows alone.
#[derive(Debug)]
pub struct ReportWriter {
    rows: RowWriter,
    adding: Reconciling,
    agreed: Option<DryRun>,
}

impl ReportWriter {
    /// # Errors
    /// Those of `out`.
    pub fn begin(format: Format, campaign: &CampaignView, out: &mut dyn Write) -> io::Result<Self> {
        let rows = RowWriter::begin(format, &REPORT_COLUMNS, |out| field(out, "campaign", campaign), "rows", out)?;
        Ok(Self { rows, adding: Reconciling::default(), agreed: campaign.agreed.clone() })
    }
}

impl Rows for ReportWriter {
    type Row = ReportRow;
    type End = Summary;

    fn rows(&mut self, rows: &[ReportRow], out: &mut dyn Write) -> io::Result<()> {
        for row in rows {
            self.adding.add(row);
        }
        self.rows.write(rows, ReportLine::of, out)
    }

    fn end(self, out: &mut dyn Write) -> io::Result<Summary> {
        let reconciliation = self.adding.end(self.agreed.as_ref());
        let summary = Summary { sentence: reconciliation.sentence(), reconciliation };
        self.rows.end(|out| field(out, "summary", &summary), out)?;
        Ok(summary)
    }
}

/// Writes what stands in the way: a header, the blockers in chunks, and the end.
///
/// As JSON it is one document, `{"campaign_id":7,"blockers":[...]}`. As CSV it is the blockers alone.
#[derive(Debug)]
pub struct BlockerWriter(RowWriter);

impl BlockerWriter {
    /// # Errors
    /// Those of `out`.
    pub fn begin(format: Format, campaign: CampaignId, out: &mut dyn Write) -> io::Result<Self> {
        let head = |out: &mut dyn Write| field(out, "campaign_id", &campaign);
        RowWriter::begin(format, &BLOCKER_COLUMNS, head, "blockers", out).map(Self)
    }
}

impl Rows for BlockerWriter {
    type Row = Blocker;
    type End = ();

    fn rows(&mut self, rows: &[Blocker], out: &mut dyn Write) -> io::Result<()> {
        self.0.write(rows, BlockerLine::of, out)
    }

    fn end(self, out: &mut dyn Write) -> io::Result<()> {
        self.0.end(|_| Ok(()), out)
    }
}

/// A line of the CSV, its fields in the order of [`REPORT_COLUMNS`].
#[derive(Serialize)]
struct ReportLine<'r> {
    account_number: &'r str,
    outcome: &'static str,
    event_id: Option<i64>,
    due_at: Option<String>,
    ended_at: Option<String>,
    invoice_number: Option<i64>,
    amount: Option<String>,
    currency: Option<&'static str>,
    expected: Option<String>,
    attempts: i32,
    failures: i32,
    error: Option<Cow<'r, str>>,
    reason: Option<Cow<'r, str>>,
}

impl<'r> ReportLine<'r> {
    fn of(row: &'r ReportRow) -> Self {
        Self {
            account_number: row.account_number.as_str(),
            outcome: row.outcome.as_str(),
            event_id: row.event_id.map(|event| event.0),
            due_at: row.due_at.as_ref().map(instant),
            ended_at: row.ended_at.as_ref().map(instant),
            invoice_number: row.invoice_number.map(|number| number.0),
            amount: row.amount.map(crate::domain::money::Money::amount),
            // An account keeps its currency, once it has debits.
            currency: row.amount.or(row.expected).map(|money| money.currency.code()),
            expected: row.expected.map(crate::domain::money::Money::amount),
            attempts: row.attempts,
            failures: row.failures,
            error: row.error.as_deref().map(inert),
            reason: row.reason.as_deref().map(inert),
        }
    }
}

/// A line of the CSV, its fields in the order of [`BLOCKER_COLUMNS`].
#[derive(Serialize)]
struct BlockerLine<'r> {
    account_number: &'r str,
    kind: &'static str,
    effect: BlockerEffect,
    detail: Cow<'r, str>,
}

impl<'r> BlockerLine<'r> {
    fn of(blocker: &'r Blocker) -> Self {
        Self {
            account_number: blocker.account_number.as_str(),
            kind: blocker.kind.as_str(),
            effect: blocker.effect,
            detail: inert(&blocker.detail),
        }
    }
}

/// Free text that a spreadsheet would take for a formula gets an apostrophe, which makes it text there. Not so account
/// numbers: they must come out as they went in.
fn inert(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

fn instant(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Rows as lines of CSV, or as the elements of a list in a JSON object.
#[derive(Debug)]
struct RowWriter {
    format: Format,
    /// Nothing stands before the next row.
    is_first: bool,
}

type Head<'a> = &'a mut dyn Write;

impl RowWriter {
    fn begin(
        format: Format,
        columns: &[&str],
        head: impl FnOnce(Head<'_>) -> io::Result<()>,
        name: &str,
        out: &mut dyn Write,
    ) -> io::Result<Self> {
        match format {
            Format::Csv => {
                let mut lines = lines(out);
                lines.write_record(columns)?;
                lines.flush()?;
            }
            Format::Json => {
                out.write_all(b"{")?;
                head(out)?;
                write!(out, ",\n\"{name}\":[")?;
            }
        }
        Ok(Self { format, is_first: true })
    }

    fn write<'r, R: Serialize, L: Serialize>(
        &mut self,
        rows: &'r [R],
        line: impl Fn(&'r R) -> L,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        match self.format {
            Format::Csv => {
                let mut lines = lines(out);
                for row in rows {
                    lines.serialize(line(row))?;
                }
                lines.flush()
            }
            Format::Json => {
                for row in rows {
                    out.write_all(if self.is_first { b"\n" } else { b",\n" })?;
                    self.is_first = false;
                    serde_json::to_writer(&mut *out, row)?;
                }
                Ok(())
            }
        }
    }

    fn end(self, tail: impl FnOnce(Head<'_>) -> io::Result<()>, out: &mut dyn Write) -> io::Result<()> {
        if self.format == Format::Json {
            out.write_all(b"\n]")?;
            let mut rest = Vec::new();
            tail(&mut rest)?;
            if !rest.is_empty() {
                out.write_all(b",\n")?;
                out.write_all(&rest)?;
            }
            out.write_all(b"}\n")?;
        }
        Ok(())
    }
}

/// The header is written by itself, and each chunk of lines after it.
fn lines(out: &mut dyn Write) -> csv::Writer<&mut dyn Write> {
    csv::WriterBuilder::new().has_headers(false).from_writer(out)
}

fn field(out: &mut dyn Write, name: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, "\"{name}\":")?;
    Ok(serde_json::to_writer(out, value)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::AccountNumber;
    use crate::domain::campaign::cohort::BlockerKind;
    use crate::domain::campaign::report::MemberOutcome;
    use crate::domain::campaign::{Counts, State, Terms, Totals};
    use crate::domain::event::EventId;
    use crate::domain::invoice::InvoiceNumber;
    use crate::domain::money::{Currency, Money};

    fn row(number: &str) -> ReportRow {
        ReportRow {
            account_number: AccountNumber::parse(number).unwrap(),
            outcome: MemberOutcome::Disconnected,
            event_id: Some(EventId(7)),
            due_at: Some("2026-12-01T05:00:00Z".parse().unwrap()),
            ended_at: Some("2026-12-01T05:00:01.000250Z".parse().unwrap()),
            invoice_number: Some(InvoiceNumber(12)),
            amount: Some(Money::new(12_050, Currency::USD)),
            expected: Some(Money::new(12_050, Currency::USD)),
            attempts: 1,
            failures: 0,
            error: None,
            reason: Some("moved, \"away\"\nfor good".into()),
        }
    }

    fn left_out(number: &str) -> ReportRow {
        ReportRow {
            account_number: AccountNumber::parse(number).unwrap(),
            outcome: MemberOutcome::LeftOut,
            event_id: None,
            due_at: None,
            ended_at: None,
            invoice_number: None,
            amount: None,
            expected: None,
            attempts: 0,
            failures: 0,
            error: Some("=HYPERLINK(\"x\")".into()),
            reason: None,
        }
    }

    fn campaign() -> CampaignView {
        let at = "2026-11-24T09:00:00Z".parse().unwrap();
        CampaignView {
            id: CampaignId(7),
            name: "leavers".into(),
            state: State::Completed,
            pause_cause: None,
            pause_note: None,
            counts: Counts::default(),
            totals: Totals::default(),
            terms: Terms::default(),
            filter: None,
            revision: 1,
            needs_approval: false,
            approved_by: None,
            approved_at: None,
            agreed: None,
            created_at: at,
            created_by: "ada".into(),
            started_at: None,
            started_by: None,
            ended_at: None,
            template_id: None,
            tick_at: None,
            as_of: at,
        }
    }

    fn report(format: Format, chunks: &[&[ReportRow]]) -> (String, Summary) {
        let mut out = Vec::new();
        let mut writer = ReportWriter::begin(format, &campaign(), &mut out).unwrap();
        for chunk in chunks {
            writer.rows(chunk, &mut out).unwrap();
        }
        let summary = writer.end(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), summary)
    }

    #[test]
    fn a_report_as_csv_is_read_again_as_it_was() {
        let (text, summary) = report(Format::Csv, &[&[row("=1+1")], &[left_out("-17"), row("0012")]]);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        assert_eq!(reader.headers().unwrap(), &csv::StringRecord::from(REPORT_COLUMNS.to_vec()));
        let records: Vec<Vec<String>> =
            reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect();
        assert_eq!(
            records[0],
            [
                "=1+1",
                "disconnected",
                "7",
                "2026-12-01T05:00:00Z",
                "2026-12-01T05:00:01.000250Z",
                "12",
                "120.50",
                "USD",
                "120.50",
                "1",
                "0",
                "",
                "moved, \"away\"\nfor good"
            ]
        );
        assert_eq!(records[1][..3], ["-17", "left_out", ""], "an account number is exact");
        assert_eq!(records[1][11], "'=HYPERLINK(\"x\")", "and no free text is a formula");
        assert_eq!(records[2][0], "0012");
        assert_eq!(summary.sentence, "the final invoices come to 241.00 USD");
        assert!(text.starts_with("account_number,outcome,event_id,due_at,ended_at,invoice_number,amount,currency,"));
    }

    #[test]
    fn a_report_as_json_is_one_document_whatever_the_chunks() {
        let (text, _) = report(Format::Json, &[&[], &[row("1")], &[left_out("2"), row("3")]]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["campaign"]["id"], 7);
        let numbers: Vec<_> = document["rows"].as_array().unwrap().iter().map(|row| &row["account_number"]).collect();
        assert_eq!(numbers, ["1", "2", "3"]);
        assert_eq!(document["rows"][0]["amount"], serde_json::json!({"amount": "120.50", "currency": "USD"}));
        assert_eq!(document["summary"]["accounts"]["disconnected"], 2);
        assert_eq!(document["summary"]["sentence"], "the final invoices come to 241.00 USD");

        let (text, _) = report(Format::Json, &[]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["rows"], serde_json::json!([]));
    }

    #[test]
    fn blockers_as_csv_and_json() {
        let blocker = Blocker {
            account_number: AccountNumber::parse("1001").unwrap(),
            kind: BlockerKind::NoRecipient,
            effect: BlockerEffect::Warns,
            detail: "nobody gets it; add one".into(),
        };
        let written = |format| {
            let mut out = Vec::new();
            let mut writer = BlockerWriter::begin(format, CampaignId(7), &mut out).unwrap();
            writer.rows(std::slice::from_ref(&blocker), &mut out).unwrap();
            writer.rows(std::slice::from_ref(&blocker), &mut out).unwrap();
            writer.end(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let line = "1001,no_recipient,warns,nobody gets it; add one\n";
        assert_eq!(written(Format::Csv), format!("account_number,kind,effect,detail\n{line}{line}"));
        let document: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(document["campaign_id"], 7);
        assert_eq!(document["blockers"][1]["effect"], "warns");
    }
}
