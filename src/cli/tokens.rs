//! `tokens`: create, list and revoke.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::page::{NumberedPageArgs, note_more};
use super::session::{CliError, Exit, Session};
use super::table::{Column, instant, sheet, table};
use super::values;
use crate::domain::token::{NewToken, Role, TokenId, TokenView};
use crate::random;

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    Create(CreateArgs),
    /// List tokens, newest first, revoked ones too; never the tokens themselves
    List {
        #[command(flatten)]
        page: NumberedPageArgs,
    },
    /// Revoke a token, for good: whoever presents it is refused
    Revoke {
        /// The number of the token
        #[arg(value_name = "ID", value_parser = values::token_id)]
        token: TokenId,
    },
}

/// Make a token and show it, this once
#[derive(Debug, Args)]
#[command(after_help = "\
Roles, each of which may do everything that the ones before it may:
  viewer    looks
  operator  imports, disconnects, and changes plans, families and contacts
  approver  approves what others prepared
  admin     changes settings, statuses and tokens

Who can open the database makes the first one. Several tokens may have one owner, so that one can replace another.

Examples:
  disconnectd tokens create --name ada --role operator
  disconnectd --json tokens create --name billing --role viewer | jq -r .token > billing.token")]
pub struct CreateArgs {
    /// Whose it is, as the log is to name them
    #[arg(long, value_name = "NAME", value_parser = values::name, allow_hyphen_values = true)]
    name: String,
    /// viewer, operator, approver or admin
    #[arg(long, value_name = "ROLE", value_parser = Role::parse)]
    role: Role,
}

pub async fn run(command: TokensCommand, session: &Session) -> Result<Exit, CliError> {
    match command {
        TokensCommand::Create(args) => create(args, session).await?,
        TokensCommand::List { page } => list(page, session).await?,
        TokensCommand::Revoke { token } => {
            let token = session.store.revoke_token(token, &session.actor).await?;
            session.answer(&token, || {
                format!("Token {} of {} is good no more: {}.", token.id, token.name, state(&token))
            })?;
        }
    }
    Ok(Exit::Done)
}

/// What `create` answers, and nothing else does.
#[derive(Serialize)]
struct Created {
    #[serde(flatten)]
    view: TokenView,
    token: String,
}

async fn create(args: CreateArgs, session: &Session) -> Result<(), CliError> {
    let secret = random::token_secret().map_err(CliError::Failed)?;
    let token =
        NewToken { name: args.name, role: args.role, hash: secret.hash(), created_by: session.actor.name.clone() };
    let view = session.store.create_token(&token).await?;
    let created = Created { view, token: secret.expose().to_owned() };
    session.answer(&created, || shown(&created))
}

fn shown(created: &Created) -> String {
    let pairs = [
        ("Token", created.token.clone()),
        ("Number", created.view.id.to_string()),
        ("Owner", created.view.name.clone()),
        ("Role", created.view.role.to_string()),
    ];
    // As wide as it comes: a token that is wrapped would be copied with the break.
    format!("{}\n\nIt is not shown again: keep it where its owner alone can read it.", sheet(None, &pairs))
}

async fn list(page: NumberedPageArgs, session: &Session) -> Result<(), CliError> {
    let is_rest = page.after.is_some();
    let page = session.store.tokens(&page.page()).await?;
    session.answer(&page, || match (page.items.is_empty(), is_rest) {
        (true, true) => "There are no more tokens.".into(),
        (true, false) => "There are no tokens yet; make one: disconnectd tokens create --name NAME --role ROLE".into(),
        (false, _) => listed(&page.items, session.screen.width),
    })?;
    note_more(&session.screen, &page);
    Ok(())
}

fn listed(tokens: &[TokenView], width: Option<u16>) -> String {
    let columns = [
        Column::Right("TOKEN"),
        Column::Left("OWNER"),
        Column::Firm("ROLE"),
        Column::Firm("CREATED (UTC)"),
        Column::Left("BY"),
        Column::Left("STATE"),
    ];
    let rows = tokens.iter().map(|token| {
        [
            token.id.to_string(),
            token.name.clone(),
            token.role.to_string(),
            instant(&token.created_at),
            token.created_by.clone(),
            state(token),
        ]
    });
    table(width, &columns, rows)
}

fn state(token: &TokenView) -> String {
    match (&token.revoked_at, &token.revoked_by) {
        (Some(at), Some(by)) => format!("revoked at {} UTC by {by}", instant(at)),
        _ => "good".into(),
    }
}
