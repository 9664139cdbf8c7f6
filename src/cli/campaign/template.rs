//! `campaign template`: campaigns that recur.

use chrono_tz::Tz;
use clap::{Args, Subcommand};

use super::super::page::{NumberedPageArgs, note_more};
use super::super::plain::plain;
use super::super::session::{CliError, Exit, Session};
use super::super::table::{Column, instant, sheet, table};
use super::super::values;
use super::show::{WIDE, accounts, number};
use super::terms::{self, TermsArgs, usage};
use crate::domain::calendar::{Cron, parse_zone};
use crate::domain::campaign::template::{NewTemplate, TemplateCommand as Command, TemplateId, TemplateView};
use crate::domain::filter::Filter;
use crate::domain::token::Role;
use crate::store::campaigns::MEMBERS_MAX;

#[derive(Debug, Subcommand)]
#[command(after_help = "\
A template is made by one person and approved by another. Without a standing approval, or with more accounts than \
--max-accounts, its campaigns wait for a person, who starts them. `disconnectd serve` makes them; ticks that pass \
while nothing serves are not made up for, but for the last one.")]
pub enum TemplateCommand {
    Create(Box<CreateArgs>),
    /// List campaign templates, newest first
    List {
        #[command(flatten)]
        page: NumberedPageArgs,
    },
    /// Show one campaign template
    Show {
        /// The number of the template
        #[arg(value_name = "ID", value_parser = values::template_id)]
        template: TemplateId,
    },
    /// Let its campaigns start by themselves; by somebody else than its maker, with the role approver
    Approve {
        /// The number of the template
        #[arg(value_name = "ID", value_parser = values::template_id)]
        template: TemplateId,
    },
    /// Take the standing approval back: its campaigns wait for a person again
    Unapprove {
        /// The number of the template
        #[arg(value_name = "ID", value_parser = values::template_id)]
        template: TemplateId,
    },
    /// Make campaigns again, from the next tick on
    On {
        /// The number of the template
        #[arg(value_name = "ID", value_parser = values::template_id)]
        template: TemplateId,
    },
    /// Make no more campaigns; those that there are go on
    Off {
        /// The number of the template
        #[arg(value_name = "ID", value_parser = values::template_id)]
        template: TemplateId,
    },
}

/// Make a template: at each tick of its cron expression it makes a campaign of the accounts that match then
#[derive(Debug, Args)]
#[command(after_help = "\
The cron expression has five fields: minute, hour, day of the month, month, weekday; or it is @daily, @weekly and the \
like. See `disconnectd campaign create --help` for filters.

Example:
  disconnectd campaign template create --name overdue --where 'status = Active and debit_age > 90' \\
      --cron '0 9 1 * *' --zone America/Denver --max-accounts 500 --canary 10")]
pub struct CreateArgs {
    /// How lists show it; its campaigns bear it, too
    #[arg(long, value_name = "NAME", value_parser = values::name, allow_hyphen_values = true)]
    name: String,
    /// What selects the accounts at each tick, such as: status = Active and balance > 50
    #[arg(long = "where", value_name = "EXPR", value_parser = Filter::parse)]
    filter: Filter,
    /// When: '0 9 1 * *' is 09:00 on the first of each month
    #[arg(long, value_name = "CRON", value_parser = Cron::parse_user)]
    cron: Cron,
    /// The IANA zone that the cron expression is read in; the company's, unless said
    #[arg(long, value_name = "ZONE", value_parser = parse_zone)]
    zone: Option<Tz>,
    /// A campaign of more accounts waits for a person; at most 5,000,000
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=MEMBERS_MAX))]
    max_accounts: u64,
    #[command(flatten)]
    terms: TermsArgs,
}

impl TemplateCommand {
    #[must_use]
    pub fn role(&self) -> Role {
        match self {
            Self::List { .. } | Self::Show { .. } => Role::Viewer,
            Self::Approve { .. } | Self::Unapprove { .. } => Role::Approver,
            Self::Create(_) | Self::On { .. } | Self::Off { .. } => Role::Operator,
        }
    }
}

pub async fn run(command: TemplateCommand, session: &Session) -> Result<Exit, CliError> {
    let (template, command) = match command {
        TemplateCommand::Create(args) => return create(*args, session).await,
        TemplateCommand::List { page } => return list(page, session).await,
        TemplateCommand::Show { template } => {
            let template = session.store.template(template).await?;
            session.answer(&template, || sheet_of(&template, session.screen.width))?;
            return Ok(Exit::Done);
        }
        TemplateCommand::Approve { template } => (template, Command::Approve),
        TemplateCommand::Unapprove { template } => (template, Command::Unapprove),
        TemplateCommand::On { template } => (template, Command::SwitchOn),
        TemplateCommand::Off { template } => (template, Command::SwitchOff),
    };
    let template = session.store.command_template(template, command, &session.actor).await?;
    session.answer(&template, || sentence(&template, command))?;
    if command == Command::SwitchOn {
        session.note_unserved().await;
    }
    Ok(Exit::Done)
}

async fn create(args: CreateArgs, session: &Session) -> Result<Exit, CliError> {
    let settings = session.store.settings().await?;
    let template = NewTemplate {
        name: args.name,
        filter: args.filter,
        cron: args.cron,
        zone: args.zone.unwrap_or(settings.company_zone),
        // It is at most MEMBERS_MAX.
        accounts_max: i64::try_from(args.max_accounts).unwrap_or(i64::MAX),
        terms: args.terms.asked(None).read(&settings).map_err(usage)?,
        by: session.actor.clone(),
    };
    let template = session.store.create_template(&template).await?;
    session.answer(&template, || {
        let (id, name) = (template.id, plain(&template.name));
        format!(
            "Template {id} ({name}) is made.\n\n{}\nIts campaigns wait for a person, until somebody else approves it:\n  \
             disconnectd campaign template approve {id}",
            sheet_of(&template, session.screen.width)
        )
    })?;
    session.note_unserved().await;
    Ok(Exit::Done)
}

async fn list(page: NumberedPageArgs, session: &Session) -> Result<Exit, CliError> {
    let is_rest = page.after.is_some();
    let page = session.store.templates(&page.page()).await?;
    session.answer(&page, || match (page.items.is_empty(), is_rest) {
        (true, true) => "There are no more campaign templates.".into(),
        (true, false) => {
            "There are no campaign templates yet; make one: disconnectd campaign template create (see --help)".into()
        }
        (false, _) => listed(&page.items, session.screen.width),
    })?;
    note_more(&session.screen, &page);
    Ok(Exit::Done)
}

fn listed(templates: &[TemplateView], width: Option<u16>) -> String {
    let is_narrow = width.is_some_and(|width| width < WIDE);
    let mut columns = vec![Column::Right("TEMPLATE"), Column::Left("NAME"), Column::Left("CRON")];
    if !is_narrow {
        columns.push(Column::Left("ZONE"));
    }
    columns.extend([Column::Right("AT MOST"), Column::Left("APPROVED BY"), Column::Firm("NEXT (UTC)")]);
    if !is_narrow {
        columns.push(Column::Right("LAST CAMPAIGN"));
    }
    let rows = templates.iter().map(|template| {
        let mut row = vec![template.id.to_string(), template.name.clone(), template.cron.clone()];
        if !is_narrow {
            row.push(template.zone.name().to_owned());
        }
        row.extend([
            number(template.accounts_max),
            template.approved_by.clone().unwrap_or_default(),
            template.next_at.as_ref().map_or("off".into(), instant),
        ]);
        if !is_narrow {
            row.push(template.last_campaign_id.map(|id| id.to_string()).unwrap_or_default());
        }
        row
    });
    table(width, &columns, rows)
}

fn sheet_of(template: &TemplateView, width: Option<u16>) -> String {
    let next = match &template.next_at {
        Some(at) => {
            let local = at.with_timezone(&template.zone).format("%Y-%m-%d %H:%M:%S");
            format!("{local} {} ({} UTC)", template.zone.name(), instant(at))
        }
        None => format!("switched off; `disconnectd campaign template on {}` makes campaigns again", template.id),
    };
    let approval = match &template.approved_by {
        Some(by) => format!("given by {by}: its campaigns start by themselves"),
        None => "none: its campaigns wait for a person".into(),
    };
    let mut pairs = vec![
        ("Template", template.id.to_string()),
        ("Name", template.name.clone()),
        ("Accounts", format!("what matches {}", template.filter)),
        ("At most", format!("{}; a larger campaign waits for a person", accounts(template.accounts_max))),
        ("Cron", format!("{} in {}", template.cron, template.zone.name())),
        ("Next", next),
        ("Approval", approval),
    ];
    if let Some(at) = &template.last_tick_at {
        let campaign = template.last_campaign_id.map(|id| format!(", campaign {id}")).unwrap_or_default();
        let note = template.last_note.as_ref().map(|note| format!("\n{note}")).unwrap_or_default();
        pairs.push(("Last", format!("{} UTC{campaign}{note}", instant(at))));
    }
    pairs.extend(terms::pairs(&template.terms, false));
    pairs.push(("Made", format!("by {} at {} UTC", template.created_by, instant(&template.created_at))));
    if let (Some(by), Some(at)) = (&template.changed_by, &template.changed_at) {
        pairs.push(("Changed", format!("by {by} at {} UTC, the last time", instant(at))));
    }
    sheet(width, &pairs) + "\n"
}

fn sentence(template: &TemplateView, command: Command) -> String {
    let name = format!("Template {} ({})", template.id, plain(&template.name));
    let next = template.next_at.as_ref().map(|at| format!("; the next one at {} UTC", instant(at))).unwrap_or_default();
    match command {
        Command::Approve => {
            let most = accounts(template.accounts_max);
            format!("{name} is approved: campaigns of at most {most} start by themselves{next}.")
        }
        Command::Unapprove => format!("{name} is not approved any more: its campaigns wait for a person{next}."),
        Command::SwitchOn => format!("{name} is on: it makes campaigns{next}."),
        Command::SwitchOff => format!("{name} is off: it makes no more campaigns."),
    }
}
