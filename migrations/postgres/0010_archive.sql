-- Where events go some time after they have ended, so that the table that the scheduler and the workers live from grows
-- with what is under way and not with the years. SQLite has no such table (there is no vacuum to pay, and one machine's
-- events are few): its migration of the same number and name makes only the view.

-- The columns and the checks of disconnect_events, in the same order.
create table archived_disconnect_events (
    id              bigint primary key,
    -- No foreign keys: accounts and campaigns are never deleted (rule 4), and the check would wait for a worker that holds
    -- the account, with the event locked already.
    account_id      bigint not null,
    -- A failed one is not over: a person has to look at it, and may retry it.
    state           text not null check (state in ('completed', 'cancelled')),
    outcome         text check (outcome in ('disconnected', 'already_disconnected', 'no_longer_eligible')),
    lane            bigint not null,
    due_at          timestamptz not null check (isfinite(due_at)),
    planned_for     text,
    zone            text,
    next_at         timestamptz check (next_at is null),
    attempt         integer not null,
    dispatches      integer not null,
    failures        integer not null,
    failures_max    integer not null check (failures_max > 0),
    last_error      text,
    reason          text,
    requested_by    text not null,
    requested_from  text not null,
    created_at      timestamptz not null,
    ended_at        timestamptz not null,
    agreed          text,
    changed_since   text,
    parent_event_id bigint,
    campaign_id     bigint,
    traceparent     text,
    check ((state = 'completed') = (outcome is not null))
);
-- What the lists, the calendar and the families look events up by, as in disconnect_events. No other index: nothing is
-- claimed from here.
create index archived_disconnect_events_account on archived_disconnect_events (account_id, id);
create index archived_disconnect_events_campaign on archived_disconnect_events (campaign_id, id)
    where campaign_id is not null;
create index archived_disconnect_events_due on archived_disconnect_events (due_at, state);
create index archived_disconnect_events_made_with on archived_disconnect_events (parent_event_id)
    where parent_event_id is not null;
-- Most are completed, and the newest of those are found by the key; the few others are not.
create index archived_disconnect_events_cancelled on archived_disconnect_events (id) where state = 'cancelled';

-- Whoever asks for all there ever were, people's own SQL too.
create view all_disconnect_events as
    select id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
           failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed, changed_since,
           parent_event_id, campaign_id, traceparent
      from disconnect_events
    union all
    select id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
           failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed, changed_since,
           parent_event_id, campaign_id, traceparent
      from archived_disconnect_events;

-- What names an event names one of either table, which no foreign key can say. `doctor` looks for names of none.
alter table invoices drop constraint invoices_event_id_fkey;
alter table account_log drop constraint account_log_event_id_fkey;
alter table family_decisions
    drop constraint family_decisions_event_id_fkey,
    drop constraint family_decisions_child_event_id_fkey;
alter table campaign_members drop constraint campaign_members_event_id_fkey;
alter table disconnect_events drop constraint disconnect_events_parent_event_id_fkey;

-- What those keys kept so far, and more: an event is deleted only where the archive has the very row, and so only once it
-- has ended, and stays there as it is.
create function refuse_loss() returns trigger language plpgsql as $$
declare
    lost bigint;
begin
    -- By the name of its schema: a temporary table of the same name would come first.
    execute format('select o.id from old_rows o
                     where not exists (select from %I.archived_disconnect_events a
                                        where a.id = o.id and row(a.*) is not distinct from row(o.*))
                     limit 1', tg_table_schema) into lost;
    if lost is not null then
        raise exception 'disconnectd keeps all history: delete of event % of disconnect_events is refused', lost
            using errcode = 'restrict_violation';
    end if;
    return null;
end $$;
create trigger disconnect_events_keep after delete on disconnect_events
    referencing old table as old_rows for each statement execute function refuse_loss();
create trigger disconnect_events_keep_all before truncate on disconnect_events
    for each statement execute function refuse_change();
create trigger archived_disconnect_events_keep before delete or update on archived_disconnect_events
    for each row execute function refuse_change();
create trigger archived_disconnect_events_keep_all before truncate on archived_disconnect_events
    for each statement execute function refuse_change();

-- What has ended the longest: the next batch for the archive stands at its beginning, whatever there is behind.
create index disconnect_events_ended on disconnect_events (ended_at) where state in ('completed', 'cancelled');

-- Each event leaves three dead rows: as it is claimed, as it ends, and as it leaves. By PostgreSQL's defaults they would pile
-- up to a fifth of the table before a vacuum, so that each vacuum finds the more to do the larger the table is, and the
-- planner would count the states as they were a tenth of the table ago.
alter table disconnect_events set (
    -- 1,000 dead rows: what a claim passes over at worst in a table of the usual size. And 1% of what there is, no less, since
    -- a vacuum goes through all entries of each index that is not partial, dead or not.
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.01,
    -- A look at a sample costs the same whatever the table holds; 2%, so that a campaign's start is noticed.
    autovacuum_analyze_scale_factor = 0.02
);
-- Nothing is ever dead here. A vacuum only marks pages as visible to all, which is what the calendar reads the index alone
-- by, and freezes them; by the default it would wait for a fifth of the archive, and then read as much at once.
alter table archived_disconnect_events set (
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 1000000
);
