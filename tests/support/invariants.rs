//! What must hold after every test, whatever it did. Looked at with plain SQL, and by the store itself.

use super::database::TestDatabase;

/// What may never be, and the query that counts it.
const NEVER: [(&str, &str); 15] = [
    (
        "rule 3: a disconnected account has an uninvoiced debit",
        "select count(*) from debits d join accounts a on a.id = d.account_id \
         where a.disconnected_at is not null and d.invoice_id is null",
    ),
    (
        "rule 3: a disconnected account has an open address assignment",
        "select count(*) from address_assignments s join accounts a on a.id = s.account_id \
         where a.disconnected_at is not null and s.assigned_until is null",
    ),
    (
        "rule 2: an account was disconnected by no event, or by several",
        "select count(*) from accounts a where \
         (select count(*) from all_disconnect_events e where e.account_id = a.id and e.outcome = 'disconnected') \
         <> case when a.disconnected_at is null then 0 else 1 end",
    ),
    (
        "rule 1: a disconnect stands in the log not at all, or twice",
        "select count(*) from accounts a where \
         (select count(*) from account_log l where l.account_id = a.id and l.kind = 'disconnected') \
         <> case when a.disconnected_at is null then 0 else 1 end",
    ),
    (
        "rule 2: an account has several final invoices",
        "select count(*) from (select account_id from invoices where kind = 'final' \
         group by account_id having count(*) > 1) several",
    ),
    (
        "a final invoice is another account's than its event",
        "select count(*) from invoices i join all_disconnect_events e on e.id = i.event_id \
         where e.account_id <> i.account_id or e.outcome <> 'disconnected'",
    ),
    (
        "the lines of an invoice do not add up to it",
        "select count(*) from invoices i where (i.amount, i.tax, i.total) <> \
         (select coalesce(sum(l.amount), 0), coalesce(sum(l.tax), 0), coalesce(sum(l.total), 0) \
          from invoice_lines l where l.invoice_id = i.id)",
    ),
    (
        "a debit and its invoice line disagree",
        "select count(*) from debits d left join invoice_lines l on l.debit_id = d.id \
         where coalesce(d.invoice_id, 0) <> coalesce(l.invoice_id, 0) \
            or (l.debit_id is not null and (d.amount <> l.amount or d.tax <> l.tax))",
    ),
    (
        "rule 7: an open event that nothing will look at again",
        "select count(*) from disconnect_events where state in ('scheduled', 'queued') and next_at is null",
    ),
    (
        "something of a campaign that does not run is in the queue",
        "select count(*) from disconnect_events e join campaigns c on c.id = e.campaign_id \
         where e.state = 'queued' and e.lane <> 0 and c.state <> 'running'",
    ),
    (
        "an event stands in a lane that is not its campaign's",
        "select count(*) from disconnect_events where campaign_id is not null and lane not in (0, campaign_id, -campaign_id)",
    ),
    (
        // Both are as many as there are pairs. Set against set, since nothing looks a member up by its event.
        "a campaign's event has no member, or several",
        "select e.events + m.members - 2 * p.pairs \
         from (select count(*) as events from all_disconnect_events where campaign_id is not null) e, \
              (select count(*) as members from campaign_members where event_id is not null) m, \
              (select count(distinct e.id) as pairs from campaign_members m join all_disconnect_events e \
                   on e.id = m.event_id and e.campaign_id = m.campaign_id and e.account_id = m.account_id) p",
    ),
    (
        "a member has the event of another campaign",
        "select count(*) from campaign_members m join all_disconnect_events e on e.id = m.event_id \
         where coalesce(e.campaign_id, 0) <> m.campaign_id",
    ),
    (
        "members are taken out of their order, or twice",
        "select count(*) from campaign_members m join campaigns c on c.id = m.campaign_id \
         where (m.position <= c.enlisted) <> (m.event_id is not null or m.left_out is not null)",
    ),
    (
        "a campaign has another number of members than it says, or a gap among them",
        "select count(*) from campaigns c where (c.accounts, c.accounts) <> \
         (select count(*), coalesce(max(m.position), 0) from campaign_members m where m.campaign_id = c.id)",
    ),
];

pub async fn check(db: &TestDatabase) {
    if db.store.check_schema().await.is_err() {
        return; // a test of the migrations left no schema to look at
    }
    for (what, sql) in NEVER {
        assert_eq!(db.number(sql).await, 0, "{what}");
    }
    db.check_campaigns().await;
    assert_eq!(db.store.inspect().await.unwrap(), Vec::<String>::new(), "what the doctor finds");
}
