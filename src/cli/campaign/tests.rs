use super::*;
use crate::domain::campaign::{CampaignView, Counts, State, Terms, Totals};

/// One that was just made.
pub fn campaign() -> CampaignView {
    let at = "2026-11-24T09:00:00Z".parse().unwrap();
    CampaignView {
        id: CampaignId(7),
        name: "leavers".into(),
        state: State::Draft,
        pause_cause: None,
        pause_note: None,
        counts: Counts::default(),
        totals: Totals::default(),
        terms: Terms { pause_percent: 10, ..Terms::default() },
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
