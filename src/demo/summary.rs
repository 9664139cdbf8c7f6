//! What the demo came to, counted from the database.

use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::{Customer, Loaded, Run};
use crate::domain::account::AccountFilter;
use crate::domain::invoice::InvoiceKind;
use crate::domain::money::{Currency, Money};
use crate::store::{PAGE_MAX, Page, Store, StoreResult};

#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub customers: usize,
    pub disconnected: usize,
    pub final_invoices: usize,
    pub final_invoices_total: Money,
    pub addresses_freed: usize,
    pub children_left_connected: usize,
    pub failed: i64,
    /// From the start of scheduler and worker until the last one, those due later included.
    pub seconds: f64,
    /// Of those that were due at once.
    pub disconnects_per_second: f64,
    /// An account to look at.
    pub example: Option<String>,
    /// A parent that is disconnected and whose child is not.
    pub example_family: Option<String>,
}

impl Summary {
    pub(super) async fn count(store: &dyn Store, customers: &[Customer], run: Run) -> StoreResult<Self> {
        let mut accounts = Vec::new();
        let mut page = Page { after: None, limit: PAGE_MAX };
        loop {
            let part = store.accounts(&AccountFilter::default(), &page).await?;
            accounts.extend(part.items);
            page.after = part.next_cursor;
            if page.after.is_none() {
                break;
            }
        }
        let mut final_invoices = 0;
        let mut total = 0;
        loop {
            let part = store.invoices(None, &page).await?;
            for invoice in part.items.iter().filter(|invoice| invoice.kind == InvoiceKind::Final) {
                final_invoices += 1;
                total += invoice.total.minor;
            }
            page.after = part.next_cursor;
            if page.after.is_none() {
                break;
            }
        }
        let gone: HashSet<_> = accounts.iter().filter(|a| a.disconnected_at.is_some()).map(|a| &a.number).collect();
        let left = accounts.iter().filter(|account| {
            account.disconnected_at.is_none() && account.parent_number.as_ref().is_some_and(|p| gone.contains(p))
        });
        let left: Vec<_> = left.collect();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand, for people")]
        let disconnects_per_second = run.at_once as f64 / run.at_once_took.as_secs_f64().max(0.001);
        Ok(Self {
            customers: accounts.len(),
            disconnected: gone.len(),
            final_invoices,
            final_invoices_total: Money::new(total, Currency::USD),
            // Every customer had one.
            addresses_freed: customers.len() - accounts.iter().filter(|account| account.address.is_some()).count(),
            children_left_connected: left.len(),
            failed: store.open_counts().await?.failed,
            seconds: run.took.as_secs_f64(),
            disconnects_per_second,
            example: customers.iter().find(|customer| customer.leaves).map(|customer| customer.number.to_string()),
            example_family: left.first().and_then(|child| child.parent_number.as_ref()).map(ToString::to_string),
        })
    }
}

impl Summary {
    /// What to try on that database.
    #[must_use]
    pub fn next_commands(&self, program: &str, in_its_own_file: bool) -> String {
        let example = self.example.as_deref().unwrap_or("NUMBER");
        let family = self.example_family.as_deref().unwrap_or(example);
        let export = format!("  export DISCONNECTD_DATABASE_URL={}\n", super::DATABASE_URL);
        format!(
            "\nTry on this database:\n{}  {program} accounts show {example}\n  {program} invoices list --account {example}\n  \
             {program} log {example}\n  {program} accounts show {family}      # a parent that left, its child stays\n  \
             {program} overview 7590-VHVEG            # what a disconnect would do\n  \
             {program} disconnect 7590-VHVEG\n  {program} doctor\n",
            if in_its_own_file { &export } else { "" }
        )
    }
}

impl Loaded {
    /// What to try next.
    #[must_use]
    pub fn next_commands(&self, program: &str, in_its_own_file: bool) -> String {
        let export = format!("  export DISCONNECTD_DATABASE_URL={}\n", super::DATABASE_URL);
        format!(
            "\nNobody is disconnected; the {} who leave are in the group `{}`. Try on this database:\n{}  \
             {program} overview 7590-VHVEG\n  \
             {program} campaign create --name Leavers --where 'group = \"{}\"' --children keep\n",
            self.leaving,
            self.group,
            if in_its_own_file { &export } else { "" },
            self.group,
        )
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        writeln!(f, "  customers                           {:>14}", self.customers)?;
        writeln!(f, "  disconnected                        {:>14}", self.disconnected)?;
        writeln!(f, "  final invoices                      {:>14}", self.final_invoices)?;
        writeln!(f, "    their sum                         {:>14}", self.final_invoices_total.to_string())?;
        writeln!(f, "  addresses freed                     {:>14}", self.addresses_freed)?;
        writeln!(f, "  children left connected under a")?;
        writeln!(f, "    disconnected parent               {:>14}", self.children_left_connected)?;
        writeln!(f, "  failed                              {:>14}", self.failed)?;
        writeln!(f, "  time, waiting for the later ones    {:>12.1} s", self.seconds)?;
        write!(f, "  rate of those due at once           {:>12.0}/s", self.disconnects_per_second)
    }
}
