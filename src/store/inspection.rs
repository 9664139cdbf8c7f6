//! What should never be, for `doctor`: the same checks in the same words on both engines, which bring the SQL.

/// How many examples a finding names.
pub const EXAMPLES_MAX: usize = 5;

/// One thing that should never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    UninvoicedDebit,
    OpenAssignment,
    NotByOneEvent,
    NotDisconnected,
    InvoiceOfAnother,
    LinesAndInvoice,
    DebitWithoutLine,
    CampaignCounts,
    MissingEvent,
    OpenUnderAnother,
}

impl Check {
    pub const ALL: [Self; 10] = [
        Self::UninvoicedDebit,
        Self::OpenAssignment,
        Self::NotByOneEvent,
        Self::NotDisconnected,
        Self::InvoiceOfAnother,
        Self::LinesAndInvoice,
        Self::DebitWithoutLine,
        Self::CampaignCounts,
        Self::MissingEvent,
        Self::OpenUnderAnother,
    ];

    /// What `examples` name: account numbers, event ids, invoice numbers, debits' references, or campaign ids.
    fn what(self) -> &'static str {
        match self {
            Self::UninvoicedDebit => "disconnected accounts with an uninvoiced debit",
            Self::OpenAssignment => "disconnected accounts with an address still assigned",
            Self::NotByOneEvent => "disconnected accounts that no event disconnected, or more than one",
            Self::NotDisconnected => "completed events that say disconnected, of accounts that are not",
            Self::InvoiceOfAnother => "final invoices of another account than their event's",
            Self::LinesAndInvoice => "invoices that their lines do not add up to",
            Self::DebitWithoutLine => "invoiced debits without their line on that invoice",
            Self::CampaignCounts => "campaigns whose counts do not agree with their events",
            Self::MissingEvent => {
                "events that an invoice, a log, a decision, a member or an event names, and that are missing"
            }
            Self::OpenUnderAnother => "open events that do not bear their account's number",
        }
    }

    /// The sentence, where there are any. `examples`: the first few, at most [`EXAMPLES_MAX`].
    #[must_use]
    pub fn finding(self, count: i64, examples: &[String]) -> String {
        let more = usize::try_from(count).is_ok_and(|count| count > examples.len());
        let examples = examples.join(", ");
        format!("{}, {count} in all: {examples}{}", self.what(), if more { ", ..." } else { "" })
    }
}
