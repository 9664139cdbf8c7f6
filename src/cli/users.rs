//! `users`: who may sign in to the console.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use super::page::note_more;
use super::session::{CliError, Exit, Session};
use super::table::{Column, instant, sheet, table};
use super::values;
use crate::domain::token::Role;
use crate::domain::user::{Ending, LINK_MAX, NewUser, Password, SessionId, Sessions, UserChange, UserView};
use crate::passwords::{self, Passwords};
use crate::random;
use crate::store::Page;

#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    Create(CreateArgs),
    /// List users by name, disabled ones too
    List {
        #[command(flatten)]
        page: super::page::PageArgs,
    },
    /// Set a new password, and end the user's sessions
    Passwd {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// Give another role, and end the user's sessions
    Role {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
        /// viewer, operator, approver or admin
        #[arg(value_name = "ROLE", value_parser = Role::parse)]
        role: Role,
    },
    /// Let a user sign in no more, and end its sessions; its name stays its own
    Disable {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
    },
    /// Let a user sign in again
    Enable {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
    },
    /// List where a user is signed in
    Sessions {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
    },
    /// Sign a user out everywhere, and end its links; or one session alone
    SignOut {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
        /// This session alone; `disconnectd users sessions NAME` shows them
        #[arg(long, value_name = "ID")]
        session: Option<i64>,
    },
    /// Print a link that signs a user in, once, within ten minutes
    Link {
        /// The name of the user; `disconnectd users list` shows them
        #[arg(value_name = "NAME", value_parser = values::name)]
        name: String,
    },
}

/// Make a user, with a password that is given or made up and shown, this once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  disconnectd users create --name ada --role operator
  disconnectd users create --name ada --role operator --password-file - < password")]
pub struct CreateArgs {
    /// As the log is to name them; a name is never given again
    #[arg(long, value_name = "NAME", value_parser = values::name, allow_hyphen_values = true)]
    name: String,
    /// viewer, operator, approver or admin; see `disconnectd tokens create --help`
    #[arg(long, value_name = "ROLE", value_parser = Role::parse)]
    role: Role,
    #[command(flatten)]
    password: PasswordArgs,
}

#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Read the password from the first line of a file, or of standard input (-); without it one is made up and shown
    #[arg(long, value_name = "FILE|-")]
    password_file: Option<PathBuf>,
}

pub async fn run(command: UsersCommand, session: &Session) -> Result<Exit, CliError> {
    let (store, by) = (&session.store, &session.actor);
    match command {
        UsersCommand::Create(CreateArgs { name, role, password }) => {
            let (password, made_up) = password.read()?;
            let hash = hashed(password).await?;
            let user = NewUser { name, role, password: Some(hash), created_by: by.name.clone() };
            let view = store.create_user(&user).await?;
            answer_with_password(session, view, made_up, "made")?;
        }
        UsersCommand::List { page } => list(&page.page(), session).await?,
        UsersCommand::Passwd { name, password } => {
            let (password, made_up) = password.read()?;
            let change = UserChange::Password(hashed(password).await?);
            let view = store.change_user(&name, &change, by).await?;
            answer_with_password(session, view, made_up, "changed")?;
        }
        UsersCommand::Role { name, role } => {
            let view = store.change_user(&name, &UserChange::Role(role), by).await?;
            session.answer(&view, || format!("User {} has the role {} now.", view.name, view.role))?;
        }
        UsersCommand::Disable { name } => {
            let view = store.change_user(&name, &UserChange::Disable, by).await?;
            session.answer(&view, || format!("User {} is {} and can't sign in.", view.name, state(&view)))?;
        }
        UsersCommand::Enable { name } => {
            let view = store.change_user(&name, &UserChange::Enable, by).await?;
            session.answer(&view, || format!("User {} may sign in.", view.name))?;
        }
        UsersCommand::Sessions { name } => {
            let sessions = store.sessions(&name).await?;
            let sessions = SessionsOf { name, of: sessions };
            session.answer(&sessions, || sessions.told(session.screen.width))?;
            if sessions.of.is_cut {
                session.screen.note("only those that were used last are shown; `users sign-out` ends the others too");
            }
        }
        UsersCommand::SignOut { name, session: only } => {
            let which = only.map_or(Ending::All, |id| Ending::One(SessionId(id)));
            let ended = Ended { ended: store.end_sessions(&name, which).await?, name };
            session.answer(&ended, || match ended.ended {
                0 => format!("User {} was not signed in there.", ended.name),
                1 => format!("User {} is signed out: 1 session ended.", ended.name),
                more => format!("User {} is signed out: {more} sessions ended.", ended.name),
            })?;
        }
        UsersCommand::Link { name } => {
            let secret = random::sign_in_secret().map_err(CliError::Failed)?;
            let user = store.create_link(&name, &secret.hash(), by).await?;
            let link = Link { url: crate::console::sign_in_link(&session.console_url, &secret), user };
            let minutes = LINK_MAX.as_secs() / 60;
            session.answer(&link, || {
                format!("{}\n\nIt signs {} in once, within {minutes} minutes.", link.url, link.user.name)
            })?;
        }
    }
    Ok(Exit::Done)
}

/// What `sessions` answers.
#[derive(Serialize)]
struct SessionsOf {
    name: String,
    #[serde(flatten)]
    of: Sessions,
}

impl SessionsOf {
    fn told(&self, width: Option<u16>) -> String {
        if self.of.sessions.is_empty() {
            return format!("User {} is signed in nowhere.", self.name);
        }
        let columns = [
            Column::Firm("SESSION"),
            Column::Firm("SIGNED IN (UTC)"),
            Column::Firm("LAST USED (UTC)"),
            Column::Firm("ENDS (UTC)"),
            Column::Left("BROWSER"),
        ];
        let rows = self.of.sessions.iter().map(|session| {
            [
                session.id.0.to_string(),
                instant(&session.begun_at),
                instant(&session.last_seen_at),
                instant(&session.ends_at),
                session.browser.clone().unwrap_or_default(),
            ]
        });
        table(width, &columns, rows)
    }
}

/// What `sign-out` answers.
#[derive(Serialize)]
struct Ended {
    name: String,
    /// How many sessions were good until now.
    ended: u64,
}

/// What `link` answers, and nothing else does.
#[derive(Serialize)]
struct Link {
    #[serde(flatten)]
    user: UserView,
    url: String,
}

/// What `create` and `passwd` answer; the password is there where it was made up.
#[derive(Serialize)]
struct WithPassword {
    #[serde(flatten)]
    user: UserView,
    password: Option<String>,
}

fn answer_with_password(
    session: &Session,
    user: UserView,
    made_up: Option<Password>,
    what: &str,
) -> Result<(), CliError> {
    let answer = WithPassword { user, password: made_up.map(|password| password.expose().to_owned()) };
    session.answer(&answer, || {
        let mut pairs = vec![("User", answer.user.name.clone()), ("Role", answer.user.role.to_string())];
        match &answer.password {
            None => format!("{}\n\nThe password is {what}.", sheet(None, &pairs)),
            Some(password) => {
                pairs.insert(1, ("Password", password.clone()));
                format!("{}\n\nIt is not shown again: give it to its owner alone.", sheet(None, &pairs))
            }
        }
    })
}

impl PasswordArgs {
    /// The password, and the same once more where it was made up.
    fn read(&self) -> Result<(Password, Option<Password>), CliError> {
        let Some(path) = &self.password_file else {
            let password = passwords::generated().map_err(CliError::Failed)?;
            return Ok((password.clone(), Some(password)));
        };
        let text = first_line(path).map_err(|error| {
            CliError::Failed(format!("the password can't be read from {}: {error}", path.display()))
        })?;
        Password::chosen(&text).map(|password| (password, None)).map_err(CliError::Usage)
    }
}

fn first_line(path: &Path) -> std::io::Result<String> {
    /// Longer than any password that is taken.
    const READ_MAX: u64 = 4_096;
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().take(READ_MAX).read_to_string(&mut text)?;
    } else {
        std::fs::File::open(path)?.take(READ_MAX).read_to_string(&mut text)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

async fn hashed(password: Password) -> Result<crate::domain::user::PasswordHash, CliError> {
    Passwords::new().map_err(CliError::Failed)?.hash(password).await.map_err(CliError::Failed)
}

async fn list(page: &Page, session: &Session) -> Result<(), CliError> {
    let is_rest = page.after.is_some();
    let users = session.store.users(page).await?;
    session.answer(&users, || match (users.items.is_empty(), is_rest) {
        (true, true) => "There are no more users.".into(),
        (true, false) => "There are no users yet; make one: disconnectd users create --name NAME --role ROLE".into(),
        (false, _) => listed(&users.items, session.screen.width),
    })?;
    note_more(&session.screen, &users);
    Ok(())
}

fn listed(users: &[UserView], width: Option<u16>) -> String {
    let columns = [
        Column::Left("USER"),
        Column::Firm("ROLE"),
        Column::Firm("CREATED (UTC)"),
        Column::Left("BY"),
        Column::Left("STATE"),
    ];
    let rows = users.iter().map(|user| {
        [user.name.clone(), user.role.to_string(), instant(&user.created_at), user.created_by.clone(), state(user)]
    });
    table(width, &columns, rows)
}

fn state(user: &UserView) -> String {
    match (&user.disabled_at, &user.disabled_by) {
        (Some(at), Some(by)) => format!("disabled since {} UTC by {by}", instant(at)),
        _ => "good".into(),
    }
}
