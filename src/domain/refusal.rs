//! What the rules refuse, each in a sentence that says what to do instead.

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::account::AccountNumber;
use super::campaign::template::TemplateId;
use super::campaign::{self, CampaignId};
use super::event::{EventId, Outcome, State};
use super::token::TokenId;

/// A request that a rule refuses. Nothing happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no account {number}; `disconnectd accounts list --search TEXT` finds one")]
    UnknownAccount { number: AccountNumber },

    #[error("there is no event {event}; `disconnectd events list` shows them")]
    UnknownEvent { event: EventId },

    #[error("there is no invoice {number}; `disconnectd invoices list` shows them")]
    UnknownInvoice { number: String },

    #[error("account {account} has been disconnected since {}, so this can't be done with it any more", instant(.disconnected_at))]
    Disconnected { account: AccountNumber, disconnected_at: DateTime<Utc> },

    #[error(
        "account {account} already has event {event}, {} for {}; reschedule or cancel that one",
        .state.as_str(), instant(.due_at)
    )]
    OpenEvent { account: AccountNumber, event: EventId, state: State, due_at: DateTime<Utc> },

    #[error("event {event} can't be retried while event {other} of the same account is open; cancel that one first")]
    OtherOpenEvent { event: EventId, other: EventId },

    #[error(
        "account {account} has changed since that overview, so nothing was done: {}; look at it again",
        changes.join("; ")
    )]
    StaleDigest { account: AccountNumber, changes: Vec<String> },

    #[error(
        "somebody has to decide what is to become of the children of account {account}: {}; say keep, disconnect or \
         unlink for each (--child NUMBER=...), or for all of them (--children ...)",
        some_of(children.iter().map(UndecidedChild::to_string))
    )]
    UndecidedChildren { account: AccountNumber, children: Vec<UndecidedChild> },

    #[error(
        "account {child} is not among the children that are decided about with account {account}: those are connected \
         children of it, and of children that are disconnected with it"
    )]
    NotAChild { account: AccountNumber, child: AccountNumber },

    #[error(
        "events of children were made with event {event}: {}; say whether the same happens to them \
         (--children along) or whether they stay as they are (--children leave)",
        some_of(events.iter().map(|(event, account)| format!("{event} of {account}")))
    )]
    UndecidedEvents { event: EventId, events: Vec<(EventId, AccountNumber)> },

    #[error(
        "there is nothing to decide about the family of event {event}{}; `disconnectd events show {event}` shows it",
        if *.is_in_question { "" } else { ", which disconnects nobody" }
    )]
    NothingToDecide { event: EventId, is_in_question: bool },

    #[error("{} is in the past (it is now {}); say --late if it is meant", instant(.due_at), instant(.now))]
    PastDate { due_at: DateTime<Utc>, now: DateTime<Utc> },

    #[error(
        "event {event} can't be {wanted}: account {account} {}",
        ended(*.state, *.outcome, .ended_at.as_ref())
    )]
    EventEnded {
        event: EventId,
        account: AccountNumber,
        wanted: &'static str,
        state: State,
        outcome: Option<Outcome>,
        ended_at: Option<DateTime<Utc>>,
    },

    #[error("event {event} is {}; only a failed event can be retried", .state.as_str())]
    NotFailed { event: EventId, state: State },

    #[error(
        "the disconnect status `{name}` is not among the account statuses; \
         `disconnectd settings set disconnect_status NAME` chooses another, `disconnectd statuses list` shows them"
    )]
    DisconnectStatusMissing { name: String },

    #[error(
        "the disconnect status `{name}` activates accounts, so a disconnect can't lead to it; \
         `disconnectd settings set disconnect_status NAME` chooses one that does not"
    )]
    DisconnectStatusActivates { name: String },

    #[error("there is a status `{name}` already; choose another name")]
    StatusExists { name: String },

    #[error("account {child} can't be its own parent")]
    SelfLink { child: AccountNumber },

    #[error("account {child} can't be put under {parent}, because {parent} is below {child}")]
    LinkCycle { child: AccountNumber, parent: AccountNumber },

    #[error("account {child} has no parent to be unlinked from; `disconnectd accounts show {child}` shows it")]
    NotLinked { child: AccountNumber },

    #[error(
        "account {child} has neither an email nor a mailing address, so nobody would get its invoices after it is \
         unlinked from {parent}; `disconnectd accounts contact {child} --email ADDRESS` adds one"
    )]
    UnlinkWithoutContact { child: AccountNumber, parent: AccountNumber },

    #[error("there is no campaign {campaign}; `disconnectd campaign list` shows them")]
    UnknownCampaign { campaign: CampaignId },

    #[error(
        "campaign {campaign} {}, so it can't be {wanted}; `disconnectd campaign show {campaign}` shows it",
        .state.in_words()
    )]
    CampaignState { campaign: CampaignId, wanted: &'static str, state: campaign::State },

    #[error(
        "campaign {campaign} was changed by somebody else meanwhile, so nothing was done; look at it again \
         (`disconnectd campaign show {campaign}`)"
    )]
    CampaignChanged { campaign: CampaignId },

    #[error("{why}, so nothing was done; `disconnectd accounts list` shows what there is")]
    EmptyCohort { why: String },

    #[error(
        "the filter selects every one of the {accounts} connected accounts; if all of them are to be disconnected, say \
         so with --everyone"
    )]
    EveryoneSelected { accounts: i64 },

    #[error(
        "campaign {campaign} has {accounts} accounts, more than {limit}: somebody else than its maker, with the role \
         approver, has to approve it first (`disconnectd campaign approve {campaign}`)"
    )]
    CampaignNotApproved { campaign: CampaignId, accounts: i64, limit: u32 },

    #[error("{maker} made campaign {campaign} what it is; somebody else has to approve it")]
    OwnApproval { campaign: CampaignId, maker: String },

    #[error("an approval needs a token: set DISCONNECTD_TOKEN to one with the role approver")]
    ApprovalNeedsToken,

    #[error(
        "campaign {campaign} has changed since that dry run, so nothing was done: {}; look at it again \
         (`disconnectd campaign dry-run {campaign}`)",
        changes.join("; ")
    )]
    StaleDryRun { campaign: CampaignId, changes: Vec<String> },

    #[error(
        "campaign {campaign} can't be started before somebody has decided what is to become of the children of {} of its \
         accounts: {}; `disconnectd campaign change {campaign} --children keep|unlink|disconnect` decides for all (unlink \
         takes a contact of the child's own), `disconnectd campaign dry-run {campaign}` lists them",
        .accounts,
        some_of(children.iter().cloned())
    )]
    CampaignBlocked { campaign: CampaignId, accounts: i64, children: Vec<String> },

    #[error(
        "campaign {campaign} has nobody to disconnect: all of its accounts would be left out; \
             `disconnectd campaign dry-run {campaign}` says why"
    )]
    NobodyLeft { campaign: CampaignId },

    #[error("nothing of campaign {campaign} has failed")]
    NothingFailed { campaign: CampaignId },

    #[error("the cron expression `{cron}` never fires; give one that does")]
    NeverFires { cron: String },

    #[error("a campaign has at most {max} accounts; make several")]
    CohortTooLarge { max: u64 },

    #[error("there is no campaign template {template}; `disconnectd campaign template list` shows them")]
    UnknownTemplate { template: TemplateId },

    #[error("there is a campaign template `{name}` already; choose another name")]
    TemplateExists { name: String },

    #[error("{maker} made campaign template {template}; somebody else has to approve it")]
    OwnTemplateApproval { template: TemplateId, maker: String },

    #[error("there is no token {token}; `disconnectd tokens list` shows them")]
    UnknownToken { token: TokenId },

    #[error("there is no user `{name}`; `disconnectd users list` shows them")]
    UnknownUser { name: String },

    #[error("there is a user `{name}` already, and a name is never given again; choose another name")]
    UserExists { name: String },

    #[error("`{name}` is the last admin, so it can't be disabled or get another role; make another admin first")]
    LastAdmin { name: String },

    #[error("user `{name}` is disabled; `disconnectd users enable {name}` lets it in again")]
    UserDisabled { name: String },

    #[error("this database holds something else than the demo, so the demo leaves it alone; give it an empty database")]
    NotTheDemo,
}

/// A child that nobody has decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndecidedChild {
    pub number: AccountNumber,
    pub name: String,
    pub parent_number: AccountNumber,
}

impl fmt::Display for UndecidedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number, self.name)
    }
}

/// How many a sentence names; the others are counted.
const NAMED_MAX: usize = 20;

fn some_of(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMED_MAX);
    let named = all.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{named} and {more} more") } else { named }
}

impl Refusal {
    /// A stable name for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownAccount { .. } => "unknown_account",
            Self::UnknownEvent { .. } => "unknown_event",
            Self::UnknownInvoice { .. } => "unknown_invoice",
            Self::Disconnected { .. } => "account_disconnected",
            Self::OpenEvent { .. } => "open_event",
            Self::OtherOpenEvent { .. } => "other_open_event",
            Self::StaleDigest { .. } | Self::StaleDryRun { .. } => "stale_digest",
            Self::UndecidedChildren { .. } => "undecided_children",
            Self::NotAChild { .. } => "not_a_child",
            Self::UndecidedEvents { .. } => "undecided_events",
            Self::NothingToDecide { .. } => "nothing_to_decide",
            Self::PastDate { .. } => "past_date",
            Self::EventEnded { .. } => "event_ended",
            Self::NotFailed { .. } => "event_not_failed",
            Self::DisconnectStatusMissing { .. } => "disconnect_status_missing",
            Self::DisconnectStatusActivates { .. } => "disconnect_status_activates",
            Self::StatusExists { .. } => "status_exists",
            Self::SelfLink { .. } => "self_link",
            Self::LinkCycle { .. } => "link_cycle",
            Self::NotLinked { .. } => "not_linked",
            Self::UnlinkWithoutContact { .. } => "unlink_without_contact",
            Self::UnknownCampaign { .. } => "unknown_campaign",
            Self::CampaignState { .. } => "campaign_state",
            Self::CampaignChanged { .. } => "campaign_changed",
            Self::EmptyCohort { .. } => "empty_cohort",
            Self::EveryoneSelected { .. } => "everyone_selected",
            Self::CampaignNotApproved { .. } => "campaign_not_approved",
            Self::OwnApproval { .. } | Self::OwnTemplateApproval { .. } => "own_approval",
            Self::ApprovalNeedsToken => "approval_needs_token",
            Self::CampaignBlocked { .. } => "campaign_blocked",
            Self::NobodyLeft { .. } => "nobody_left",
            Self::NothingFailed { .. } => "nothing_failed",
            Self::NeverFires { .. } => "never_fires",
            Self::CohortTooLarge { .. } => "cohort_too_large",
            Self::UnknownTemplate { .. } => "unknown_template",
            Self::TemplateExists { .. } => "template_exists",
            Self::UnknownToken { .. } => "unknown_token",
            Self::UnknownUser { .. } => "unknown_user",
            Self::UserExists { .. } => "user_exists",
            Self::LastAdmin { .. } => "last_admin",
            Self::UserDisabled { .. } => "user_disabled",
            Self::NotTheDemo => "not_the_demo",
        }
    }
}

/// RFC 3339 to the second, for sentences.
pub(crate) fn instant(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn ended(state: State, outcome: Option<Outcome>, at: Option<&DateTime<Utc>>) -> String {
    let at = at.map(|at| format!(" at {}", instant(at))).unwrap_or_default();
    match (state, outcome) {
        (State::Completed, Some(Outcome::Disconnected)) => format!("was disconnected by it{at}"),
        (State::Completed, Some(Outcome::AlreadyDisconnected)) => {
            format!("was already disconnected when its turn came{at}")
        }
        (State::Completed, _) => format!("was not eligible any more when its turn came{at}"),
        (State::Cancelled, _) => format!("keeps its service: the event was cancelled{at}"),
        (State::Failed, _) => {
            format!("was not disconnected: the event failed{at}; `disconnectd events retry` tries again")
        }
        (State::Scheduled | State::Queued, _) => format!("has it {} still", state.as_str()),
    }
}
