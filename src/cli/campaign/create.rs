//! `campaign create` and `campaign change`: a cohort from a list or a filter, and the terms.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::super::import::progress_bar;
use super::super::plain::plain;
use super::super::session::{CliError, Exit, Session};
use super::super::table::{count, grouped};
use super::super::values;
use super::problems::ProblemsFile;
use super::show::{next_steps, sheet_of};
use super::terms::{DateArgs, TermsArgs, usage};
use crate::domain::campaign::cohort::BadRows;
use crate::domain::campaign::{CampaignId, CampaignView, Draft, Revision};
use crate::domain::filter::Filter;
use crate::domain::import::Problem;
use crate::domain::refusal::Refusal;
use crate::import::{self, Source};
use crate::store::StoreError;
use crate::store::campaigns::{Cohort, Made, Making};

/// Make a campaign from a list of accounts or a filter; nothing is disconnected before it is started
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("cohort").required(true),
    after_help = "\
The list is a CSV file in UTF-8 with a header and these columns, the first of which alone must be there:
  account_number,date,reason

A filter selects the connected accounts that match now, and each is checked again when its turn comes. Its fields are \
number, name, status, group, parent, zone, currency, balance, oldest_debit, debit_age and address; compare with =, !=, \
<, <=, >, >=, ~ (contains) and in (...), and join with and, or, not and parentheses.

A list with a row that can't be used makes nothing: the first problems are shown, and all of them are in a file.

Examples:
  disconnectd campaign create --name leavers --accounts leavers.csv --on 2026-12-01 --children keep
  disconnectd campaign create --name overdue --where 'debit_age > 90 and balance > 50' --canary 10
  disconnectd campaign create --name 'tower A' --where 'group = \"Tower A\"' --per-minute 600 \\
      --window 'mon-thu 08:00-16:00'
  sed '1i account_number' numbers.txt | disconnectd campaign create --name march --accounts -"
)]
pub struct CreateArgs {
    /// How lists show it
    #[arg(long, value_name = "NAME", value_parser = values::name, allow_hyphen_values = true)]
    name: String,
    #[command(flatten)]
    cohort: CohortArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    terms: TermsArgs,
}

/// Change a campaign that has not been started: its name, its accounts or its terms; what is not given stays
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("cohort"),
    after_help = "\
--per-minute 0, --canary 0, --window always, --reason none and --children none take these away. Dates are frozen with \
the accounts, so --on and --zone go with --accounts or --where; --on now and --zone none take those away. An approval is \
void after a change.

Examples:
  disconnectd campaign change 7 --children keep
  disconnectd campaign change 7 --accounts corrected.csv --per-minute 0"
)]
pub struct ChangeArgs {
    /// The number of the campaign
    #[arg(value_name = "ID", value_parser = values::campaign_id)]
    campaign: CampaignId,
    /// How lists show it
    #[arg(long, value_name = "NAME", value_parser = values::name, allow_hyphen_values = true)]
    name: Option<String>,
    #[command(flatten)]
    cohort: CohortArgs,
    #[command(flatten)]
    dates: DateArgs,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Debug, Args)]
struct CohortArgs {
    /// The accounts, a CSV file, or - for standard input
    #[arg(long, value_name = "FILE", group = "cohort")]
    accounts: Option<PathBuf>,
    /// What selects the accounts, such as: status = Active and balance > 50
    #[arg(long = "where", value_name = "EXPR", value_parser = Filter::parse, group = "cohort")]
    filter: Option<Filter>,
    /// A filter that selects every account is meant
    #[arg(long, requires = "filter", conflicts_with = "accounts")]
    everyone: bool,
    /// Where all problems of a list go, as CSV; a file that there is stays, and another name is found
    #[arg(long, value_name = "FILE", default_value = "campaign-problems.csv")]
    problems: PathBuf,
}

impl CohortArgs {
    fn is_given(&self) -> bool {
        self.accounts.is_some() || self.filter.is_some()
    }
}

pub async fn create(args: CreateArgs, session: &Session) -> Result<Exit, CliError> {
    let settings = session.store.settings().await?;
    let terms = args.terms.asked(Some(&args.dates)).read(&settings).map_err(usage)?;
    terms.admit_date(args.dates.late, &settings, session.store.now().await?)?;
    let draft = Draft {
        name: args.name,
        terms,
        filter: args.cohort.filter.clone(),
        everyone: args.cohort.everyone,
        late: args.dates.late,
        failures_max: session.failures_max,
        by: session.actor.clone(),
    };
    let Some(campaign) = make(session, &args.cohort, draft, None).await? else { return Ok(Exit::Failed) };
    answer(session, &campaign, "is made")
}

pub async fn change(args: ChangeArgs, session: &Session) -> Result<Exit, CliError> {
    let has_cohort = args.cohort.is_given();
    let asked = args.terms.asked(Some(&args.dates));
    if args.name.is_none() && args.terms.is_empty() && asked.is_empty() && !has_cohort {
        let what = "nothing is to be changed; say what is, as in --per-minute 600 (see --help)";
        return Err(CliError::Usage(what.into()));
    }
    let settings = session.store.settings().await?;
    let campaign = session.store.campaign(args.campaign).await?;
    let mut terms = asked.change(&campaign.terms, has_cohort, &settings).map_err(usage)?;
    args.terms.take_away(&mut terms);
    if has_cohort {
        terms.admit_date(args.dates.late, &settings, session.store.now().await?)?;
    }
    let revision = Revision {
        of: campaign.revision,
        name: args.name.clone().filter(|name| *name != campaign.name),
        terms: (terms != campaign.terms).then(|| terms.clone()),
    };
    // One that has begun can't be changed, and the store says so.
    if !has_cohort && revision.name.is_none() && revision.terms.is_none() && !campaign.state.is_begun() {
        return answer(session, &campaign, "is so already, and nothing was changed");
    }
    let draft = Draft {
        name: args.name.unwrap_or(campaign.name),
        terms,
        filter: args.cohort.filter.clone(),
        everyone: args.cohort.everyone,
        late: args.dates.late,
        failures_max: session.failures_max,
        by: session.actor.clone(),
    };
    let made = make(session, &args.cohort, draft, Some((args.campaign, revision))).await?;
    let Some(campaign) = made else { return Ok(Exit::Failed) };
    answer(session, &campaign, "is changed")
}

fn answer(session: &Session, campaign: &CampaignView, what: &str) -> Result<Exit, CliError> {
    session.answer(campaign, || {
        let (id, name) = (campaign.id, plain(&campaign.name));
        let accounts = count(u64::try_from(campaign.counts.accounts).unwrap_or(0), "account");
        let sheet = sheet_of(campaign, session.screen.width);
        format!(
            "Campaign {id} ({name}) {what}: {accounts}. Nothing is disconnected yet.\n\n{sheet}\n{}",
            next_steps(campaign)
        )
    })?;
    Ok(Exit::Done)
}

/// Makes or changes it. `None` where the list is bad, which was said.
async fn make(
    session: &Session,
    from: &CohortArgs,
    mut draft: Draft,
    change: Option<(CampaignId, Revision)>,
) -> Result<Option<CampaignView>, CliError> {
    loop {
        match make_once(session, from, &draft, change.as_ref()).await {
            Ok(made) => return Ok(made),
            Err(CliError::Store(StoreError::Refused(Refusal::EveryoneSelected { accounts })))
                if session.screen.can_ask() =>
            {
                let accounts = grouped(u64::try_from(accounts).unwrap_or(0));
                let question =
                    format!("The filter selects every one of the {accounts} connected accounts. Take them all?");
                if !session.screen.confirm(&question).await? {
                    return Err(CliError::refused("not_confirmed", "nothing was done: the answer was no"));
                }
                draft.everyone = true;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn make_once(
    session: &Session,
    from: &CohortArgs,
    draft: &Draft,
    change: Option<&(CampaignId, Revision)>,
) -> Result<Option<CampaignView>, CliError> {
    let source = from.accounts.as_deref().map(Source::open).transpose()?;
    let name = source.as_ref().map_or_else(|| "what the filter selects".into(), |source| source.name.clone());
    let bar = match &source {
        Some(source) => progress_bar(session, source.length),
        None => session.screen.spinner(),
    };
    let cohort = match (source, &from.filter) {
        (Some(source), _) => {
            let source = source.watched(|read| Box::new(bar.wrap_read(read)));
            Some(Cohort::Rows(import::member_rows(source).await?))
        }
        (None, Some(filter)) => Some(Cohort::Filter(filter.clone())),
        (None, None) => None,
    };
    let problems = ProblemsFile::beside(&from.problems);
    let making = Making {
        problem: &|problem| problems.add(problem),
        progress: &|members| bar.set_message(count(members, "account")),
    };
    let store = &session.store;
    let made = match change {
        None => match cohort {
            Some(cohort) => store.create_campaign(draft, cohort, making).await,
            // Of the two, clap takes one.
            None => return Err(CliError::Usage("say which accounts: --accounts FILE or --where EXPR".into())),
        },
        Some((campaign, revision)) => {
            let cohort = cohort.map(|cohort| (draft.clone(), cohort));
            store.change_campaign(*campaign, revision, cohort, &session.actor, making).await
        }
    };
    bar.finish_and_clear();
    match made? {
        Made::Campaign(campaign) => Ok(Some(*campaign)),
        Made::BadRows(bad) => {
            let what = if change.is_some() { "nothing was changed" } else { "no campaign was made" };
            tell(session, &bad, problems, &name, what)?;
            Ok(None)
        }
    }
}

/// More than these a person reads in the file.
const PROBLEMS_SHOWN: usize = 20;

/// What a program is told of a bad list.
#[derive(serde::Serialize)]
struct Bad<'a> {
    #[serde(flatten)]
    rows: &'a BadRows,
    /// The file that has all problems.
    problems_file: Option<String>,
}

fn tell(session: &Session, bad: &BadRows, problems: ProblemsFile, name: &str, what: &str) -> Result<(), CliError> {
    let file = match problems.end() {
        Ok(path) => path.map(|path| path.display().to_string()),
        Err(error) => {
            session.screen.note(&format!("note: {error}"));
            None
        }
    };
    if session.screen.json {
        session.screen.print_json(&Bad { rows: bad, problems_file: file.clone() })?;
    } else {
        let lines: Vec<String> = bad.problems.iter().take(PROBLEMS_SHOWN).map(line).collect();
        session.screen.note(&lines.join("\n"));
    }
    let total = bad.total();
    let more = total.saturating_sub(PROBLEMS_SHOWN as u64);
    if more > 0 && !session.screen.json {
        session.screen.note(&format!("and {} more", grouped(more)));
    }
    let all = file.map(|file| format!("; {file} lists them")).unwrap_or_default();
    session.screen.error(&format!("{what}: {} in {name}{all}; correct them and try again", count(total, "problem")));
    Ok(())
}

fn line(Problem { line, column, message }: &Problem) -> String {
    let message = plain(message);
    match (line, *column) {
        // It came with no line: an account that a filter selected.
        (0, "") => message.into_owned(),
        (0, column) => format!("{column}: {message}"),
        (line, "") => format!("line {line}: {message}"),
        (line, column) => format!("line {line}, {column}: {message}"),
    }
}
