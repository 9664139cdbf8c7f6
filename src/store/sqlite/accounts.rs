//! Accounts as they are shown, and their log.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use super::campaigns::stands;
use super::failure::failure;
use super::rows::{
    at, currency, cursor, expect_rows, get, json, limit, number, optional_number, saturated, texts, word, zone,
};
use crate::domain::account::{
    AccountFilter, AccountId, AccountNumber, AccountOrder, AccountView, Contact, ContactChange, Group, LogEntry,
    LogKind,
};
use crate::domain::actor::Actor;
use crate::domain::event::EventId;
use crate::domain::glance::GlanceFacts;
use crate::domain::invoice::{InvoiceNumber, InvoiceView};
use crate::domain::money::Money;
use crate::domain::overview::OverviewFacts;
use crate::domain::refusal::Refusal;
use crate::domain::story;
use crate::domain::text::folded;
use crate::store::like::containing;
use crate::store::{Accounts, Page, Paged, StoreError, StoreResult};

/// The ids of the accounts that a filter selects, behind a cursor and in an order. One statement for each order, so that
/// each walks its own index.
macro_rules! accounts_sql {
    ($name:literal, $behind:literal, $order:literal) => {
        accounts_sql!(
            $name,
            "accounts a",
            $behind,
            concat!(
                "(?7 is null or exists (select 1 from disconnect_events e
                                         where e.account_id = a.id and e.state in ('scheduled', 'queued') and ",
                stands!("e"),
                ") = ?7)"
            ),
            $order
        )
    };
    ($name:literal, $from:literal, $behind:literal, $open:expr, $order:literal) => {
        concat!(
            "/* accounts: ",
            $name,
            " */ select a.id from ",
            $from,
            " where ",
            $behind,
            "   and (?2 is null or coalesce(a.searched, lower(a.number || char(10) || a.name)) like ?2 escape '\\'
                     -- The addresses once for all: a look at that of each account took three times as long.
                     or a.id in (select g.account_id from address_assignments g
                                  where g.assigned_until is null
                                    and g.address_id in (select id from serviceable_addresses
                                                          where coalesce(searched, lower(address)) like ?2 escape '\\')))
                and (?3 is null or a.status_id = (select id from account_statuses where name = ?3))
                and (?4 is null or exists (select 1 from account_groups m join groups g on g.id = m.group_id
                                            where m.account_id = a.id and g.name = ?4))
                and (?5 is null or a.parent_id = (select id from accounts where number = ?5))
                and (?6 is null or (a.disconnected_at is not null) = ?6)
                and ",
            $open,
            " order by ",
            $order,
            " limit ?8"
        )
    };
}

#[async_trait]
impl Accounts for SqliteStore {
    async fn account(&self, number: &AccountNumber) -> StoreResult<AccountView> {
        let mut tx = self.read().await?;
        let account = id(&mut tx, number).await?;
        view(&mut tx, account).await
    }

    async fn accounts(&self, filter: &AccountFilter, page: &Page) -> StoreResult<Paged<AccountView>> {
        let mut tx = self.read().await?;
        let listing = match filter.order {
            AccountOrder::Number if filter.open_event == Some(true) => accounts_sql!(
                "list with an open event",
                "disconnect_events e indexed by disconnect_events_open_numbers cross join accounts a on a.id = e.account_id",
                "e.state in ('scheduled', 'queued') and e.account_number > coalesce(?1, '')",
                concat!("?7 and ", stands!("e")),
                "e.account_number"
            ),
            AccountOrder::Number => accounts_sql!("list", "a.number > coalesce(?1, '')", "a.number"),
            AccountOrder::Name => accounts_sql!(
                "list by name",
                "(a.name, a.number) >
                 (coalesce((select n.name from accounts n where n.number = ?1), ''), coalesce(?1, ''))",
                "a.name, a.number"
            ),
        };
        let found: Vec<i64> = sqlx::query_scalar(listing)
            .bind(&page.after)
            .bind(filter.search.as_deref().map(|search| containing(&folded(search))))
            .bind(&filter.status)
            .bind(&filter.group)
            .bind(filter.parent.as_ref().map(AccountNumber::as_str))
            .bind(filter.disconnected)
            .bind(filter.open_event)
            .bind(limit(page))
            .fetch_all(&mut *tx)
            .await
            .map_err(failure)?;
        let views = views(&mut tx, &found).await?;
        Ok(Paged::cut(views, page.limit, |view| view.number.to_string()))
    }

    async fn groups(&self, page: &Page) -> StoreResult<Paged<Group>> {
        self.list_groups(page).await
    }

    async fn overview_facts(&self, number: &AccountNumber) -> StoreResult<OverviewFacts> {
        self.load_overview(number).await
    }

    async fn glance_facts(&self, number: &AccountNumber) -> StoreResult<GlanceFacts> {
        self.load_glance(number).await
    }

    async fn invoices(&self, account: Option<&AccountNumber>, page: &Page) -> StoreResult<Paged<InvoiceView>> {
        self.list_invoices(account, page).await
    }

    async fn invoice(&self, number: InvoiceNumber) -> StoreResult<InvoiceView> {
        self.load_invoice(number).await
    }

    async fn log(&self, number: &AccountNumber, page: &Page) -> StoreResult<Paged<LogEntry>> {
        let mut tx = self.read().await?;
        let account = id(&mut tx, number).await?;
        let rows = sqlx::query(
            "/* log: list */ select id, at, kind, message, actor, source, event_id, reason from account_log
              where account_id = ?1 and id > ?2 order by id limit ?3",
        )
        .bind(account.0)
        .bind(cursor(page)?.unwrap_or(0))
        .bind(limit(page))
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let entry = LogEntry {
                at: get(row, "at")?,
                kind: word(row, "kind", LogKind::parse)?,
                message: get(row, "message")?,
                actor: get(row, "actor")?,
                source: get(row, "source")?,
                event_id: get::<Option<i64>, _>(row, "event_id")?.map(EventId),
                reason: get(row, "reason")?,
            };
            entries.push((get::<i64, _>(row, "id")?, entry));
        }
        let page = Paged::cut(entries, page.limit, |(id, _)| id.to_string());
        let items = page.items.into_iter().map(|(_, entry)| entry).collect();
        Ok(Paged { items, next_cursor: page.next_cursor })
    }

    async fn link(&self, child: &AccountNumber, parent: &AccountNumber, by: &Actor) -> StoreResult<AccountView> {
        self.put_under(child, parent, by).await
    }

    async fn unlink(&self, child: &AccountNumber, by: &Actor) -> StoreResult<AccountView> {
        self.take_from_parent(child, by).await
    }

    async fn change_contact(
        &self,
        number: &AccountNumber,
        change: &ContactChange,
        by: &Actor,
    ) -> StoreResult<AccountView> {
        let mut tx = self.write().await?;
        let account = id(&mut tx, number).await?;
        let before = view(&mut tx, account).await?;
        let contact = change.of(&before.contact);
        if before.contact == contact {
            return Ok(before);
        }
        let written =
            sqlx::query("/* contact: set */ update accounts set email = ?2, mailing_address = ?3 where id = ?1")
                .bind(account.0)
                .bind(&contact.email)
                .bind(&contact.mailing_address)
                .execute(&mut *tx)
                .await
                .map_err(failure)?;
        expect_rows(&written, 1, "contact: set")?;
        let message = story::contact_changed(&before.contact, &contact);
        let entry = Entry { account, kind: LogKind::Changed, message, by, event: None, reason: None };
        self.write_log(&mut tx, entry).await?;
        let after = view(&mut tx, account).await?;
        tx.commit().await.map_err(failure)?;
        Ok(after)
    }
}

/// One entry to be written.
pub struct Entry<'a> {
    pub account: AccountId,
    pub kind: LogKind,
    pub message: String,
    pub by: &'a Actor,
    pub event: Option<EventId>,
    pub reason: Option<&'a str>,
}

impl SqliteStore {
    pub(super) async fn write_log(&self, connection: &mut SqliteConnection, entry: Entry<'_>) -> StoreResult<()> {
        let written = sqlx::query(
            "/* log: write */ insert into account_log (account_id, at, kind, message, actor, source, event_id, reason)
             values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(entry.account.0)
        .bind(at(self.now()))
        .bind(entry.kind.as_str())
        .bind(entry.message)
        .bind(&entry.by.name)
        .bind(entry.by.source.as_str())
        .bind(entry.event.map(|event| event.0))
        .bind(entry.reason)
        .execute(connection)
        .await
        .map_err(failure)?;
        expect_rows(&written, 1, "log: write")
    }
}

pub async fn id(connection: &mut SqliteConnection, number: &AccountNumber) -> StoreResult<AccountId> {
    let found: Option<i64> = sqlx::query_scalar("/* accounts: id */ select id from accounts where number = ?1")
        .bind(number.as_str())
        .fetch_optional(connection)
        .await
        .map_err(failure)?;
    found.map(AccountId).ok_or_else(|| Refusal::UnknownAccount { number: number.clone() }.into())
}

pub async fn view(connection: &mut SqliteConnection, account: AccountId) -> StoreResult<AccountView> {
    let found = views(connection, &[account.0]).await?.pop();
    found.ok_or_else(|| StoreError::Rejected("an account vanished while it was read".into()))
}

/// In the order asked.
async fn views(connection: &mut SqliteConnection, ids: &[i64]) -> StoreResult<Vec<AccountView>> {
    let rows = sqlx::query(concat!(
        "/* accounts: view */ select a.id, a.number, a.name, s.name as status, a.disconnected_at,
                p.number as parent_number, (select count(*) from accounts c where c.parent_id = a.id) as children,
                sa.address, a.currency, a.zone, a.email, a.mailing_address,
                (select json_group_array(g.name) from account_groups m join groups g on g.id = m.group_id
                  where m.account_id = a.id) as member_of,
                -- In halves of 32 bits, since sum() fails where an integer overflows.
                (select sum((d.amount >> 32) + (d.tax >> 32)) from debits d
                  where d.account_id = a.id and d.invoice_id is null) as uninvoiced_high,
                (select sum((d.amount & 4294967295) + (d.tax & 4294967295)) from debits d
                  where d.account_id = a.id and d.invoice_id is null) as uninvoiced_low,
                (select e.id from disconnect_events e
                  where e.account_id = a.id and e.state in ('scheduled', 'queued') and ",
        stands!("e"),
        ") as open_event
           from json_each(?1) as asked cross join accounts a on a.id = asked.value
           join account_statuses s on s.id = a.status_id
           left join accounts p on p.id = a.parent_id
           left join address_assignments g on g.account_id = a.id and g.assigned_until is null
           left join serviceable_addresses sa on sa.id = g.address_id"
    ))
    .bind(json(ids)?)
    .fetch_all(connection)
    .await
    .map_err(failure)?;
    let mut views = HashMap::with_capacity(rows.len());
    for row in &rows {
        let currency = currency(row, "currency")?;
        let high: Option<i64> = get(row, "uninvoiced_high")?;
        let low: Option<i64> = get(row, "uninvoiced_low")?;
        let view = AccountView {
            number: number(row, "number")?,
            name: get(row, "name")?,
            status: get(row, "status")?,
            disconnected_at: get(row, "disconnected_at")?,
            parent_number: optional_number(row, "parent_number")?,
            children: get(row, "children")?,
            address: get(row, "address")?,
            currency,
            zone: zone(row, "zone")?,
            contact: Contact { email: get(row, "email")?, mailing_address: get(row, "mailing_address")? },
            groups: texts(row, "member_of")?,
            uninvoiced: Money::new(saturated(high.unwrap_or(0), low.unwrap_or(0)), currency),
            open_event: get::<Option<i64>, _>(row, "open_event")?.map(EventId),
        };
        views.insert(get::<i64, _>(row, "id")?, view);
    }
    Ok(ids.iter().filter_map(|id| views.remove(id)).collect())
}
