//! Arguments, read into what they mean.

use crate::domain::campaign::template::TemplateId;
use crate::domain::campaign::{self, CampaignId};
use crate::domain::event::{Along, EventId, State};
use crate::domain::invoice::InvoiceNumber;
pub use crate::domain::text::{parse_name as name, parse_text as text};
use crate::domain::token::TokenId;

pub fn event_id(text: &str) -> Result<EventId, String> {
    text.parse()
        .map(EventId)
        .map_err(|_| format!("`{text}` is not the number of an event; `disconnectd events list` shows them"))
}

pub fn invoice_number(text: &str) -> Result<InvoiceNumber, String> {
    text.parse()
        .map(InvoiceNumber)
        .map_err(|_| format!("`{text}` is not the number of an invoice; `disconnectd invoices list` shows them"))
}

pub fn token_id(text: &str) -> Result<TokenId, String> {
    text.parse()
        .map(TokenId)
        .map_err(|_| format!("`{text}` is not the number of a token; `disconnectd tokens list` shows them"))
}

pub fn campaign_id(text: &str) -> Result<CampaignId, String> {
    text.parse()
        .map(CampaignId)
        .map_err(|_| format!("`{text}` is not the number of a campaign; `disconnectd campaign list` shows them"))
}

pub fn template_id(text: &str) -> Result<TemplateId, String> {
    text.parse().map(TemplateId).map_err(|_| {
        format!("`{text}` is not the number of a campaign template; `disconnectd campaign template list` shows them")
    })
}

pub fn campaign_state(text: &str) -> Result<campaign::State, String> {
    campaign::State::parse(text).ok_or_else(|| {
        let states: Vec<_> = campaign::State::ALL.into_iter().map(campaign::State::as_str).collect();
        format!("there is no state `{text}`; there are {}", states.join(", "))
    })
}

pub fn state(text: &str) -> Result<State, String> {
    State::parse(text).ok_or_else(|| {
        let states: Vec<_> = State::ALL.into_iter().map(State::as_str).collect();
        format!("there is no state `{text}`; there are {}", states.join(", "))
    })
}

pub fn along(text: &str) -> Result<Along, String> {
    match text {
        "along" => Ok(Along::Along),
        "leave" => Ok(Along::Leave),
        _ => Err("it is `along` (the same happens to them) or `leave` (they stay as they are)".into()),
    }
}
