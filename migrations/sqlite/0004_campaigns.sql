-- Campaigns: many disconnects made, run, paused and reported on as one. The PostgreSQL migration of the same number and
-- name makes the same tables.

create table campaign_templates (
    id                integer primary key autoincrement,
    name              text not null unique check (length(name) between 1 and 200),
    filter            text not null,
    cron              text not null,
    zone              text not null,
    -- A larger cohort than this is made and waits for a person.
    accounts_max      integer not null check (accounts_max > 0),
    -- The terms of its campaigns, as JSON (see domain::campaign::Terms).
    terms             text not null,
    -- Whose standing approval lets its campaigns start by themselves; without one a person starts each.
    approved_by       text,
    -- When the next is made; null while it is switched off.
    next_at           text,
    -- What came of the last tick.
    last_tick_at      text,
    last_note         text,
    created_at        text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    created_by        text not null,
    created_from      text not null,
    -- Who approved it, took that back, or switched it on or off the last time.
    changed_at        text,
    changed_by        text
) strict;
create index campaign_templates_next on campaign_templates (next_at) where next_at is not null;

create table campaigns (
    id                integer primary key autoincrement,
    name              text not null check (length(name) between 1 and 200),
    state             text not null check (state in
                          ('draft', 'awaiting_approval', 'running', 'paused', 'completed', 'aborted')),
    -- Who or what paused it, and in a sentence why.
    pause_cause       text check (pause_cause in ('person', 'canary', 'failures')),
    pause_note        text,
    -- The terms, as JSON (see domain::campaign::Terms): what becomes of children, pace, canary, window.
    terms             text not null,
    -- What selected the accounts; null for a list.
    filter            text,
    failures_max      integer not null check (failures_max > 0),
    -- The cohort: how many members, and what tells this cohort from another.
    accounts          integer not null,
    fingerprint       text not null,
    -- Counts the cohorts and terms that it had; an approval is for one of them.
    revision          integer not null default 1,
    approved_revision integer,
    approved_at       text,
    approved_by       text,
    -- What the dry run showed to the person who approved or started it, as JSON.
    agreed            text,
    -- The members up to this position have become events, or were left out.
    enlisted          integer not null default 0,
    -- Somebody looked at what became of the first accounts, and resumed.
    canary_passed     integer not null default 0 check (canary_passed in (0, 1)),
    -- What had been tried, and what of it was in trouble, when it was last resumed: the share of failures counts from there.
    tried_before      integer not null default 0,
    troubled_before   integer not null default 0,
    -- See domain::pace.
    pace_at           text,
    created_at        text not null default (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    created_by        text not null,
    created_from      text not null,
    -- Who made the cohort or the terms what they are.
    changed_by        text not null,
    started_at        text,
    started_by        text,
    started_from      text,
    ended_at          text,
    -- Who aborted it.
    ended_by          text,
    ended_from        text,
    template_id       integer references campaign_templates,
    tick_at           text,
    -- Each tick makes one campaign at most.
    unique (template_id, tick_at),
    check ((state = 'paused') = (pause_cause is not null)),
    check ((template_id is null) = (tick_at is null)),
    check ((state in ('completed', 'aborted')) = (ended_at is not null))
) strict;
create index campaigns_state on campaigns (state, id);

-- Who is in it, frozen when it was made.
create table campaign_members (
    campaign_id    integer not null references campaigns,
    -- From 1, without gaps, in the order of the list.
    position       integer not null,
    account_number text not null,
    -- Null where there was no such account.
    account_id     integer references accounts,
    -- The member whose child it is, where it is here because of that.
    parent_id      integer references accounts,
    -- Null: when the campaign starts.
    due_at         text,
    planned_for    text,
    zone           text,
    reason         text,
    -- Once its turn came: its event, or why it has none, and what it owed then, in minor units of its currency.
    event_id       integer references disconnect_events,
    left_out       text,
    left_out_note  text,
    expected       integer,
    primary key (campaign_id, position),
    unique (campaign_id, account_number),
    check (event_id is null or left_out is null)
) strict;
-- It stays when the event is brought forward into lane 0. The lane of a campaign is its id; of its canary, its id with a
-- minus.
alter table disconnect_events add column campaign_id integer references campaigns;
-- By age too: of those that are due together, the first of the list comes first.
drop index disconnect_events_lane;
create index disconnect_events_lane on disconnect_events (lane, next_at, id) where state in ('scheduled', 'queued');
create index disconnect_events_campaign on disconnect_events (campaign_id, id) where campaign_id is not null;
-- What campaigns have in flight: bounded by in_flight_max.
create index disconnect_events_in_flight on disconnect_events (campaign_id, next_at)
    where state = 'queued' and campaign_id is not null;
-- What was brought forward, and is asked for by itself.
create index disconnect_events_forward on disconnect_events (campaign_id)
    where lane = 0 and campaign_id is not null and state in ('scheduled', 'queued');
-- What failed at least once, and is not done.
create index disconnect_events_troubled on disconnect_events (campaign_id, state)
    where campaign_id is not null and failures > 0 and state in ('scheduled', 'queued', 'failed');

-- What became of a campaign's members, a row per transaction and kind; they add up. Never a row that is updated for
-- each account. Some are folded into one now and then.
create table campaign_tallies (
    campaign_id integer not null references campaigns,
    -- enlisted, left_out, disconnected, already_disconnected, no_longer_eligible, cancelled
    kind        text not null,
    -- Of the amount.
    currency    text,
    count       integer not null,
    -- Of `enlisted` what was owed, of `disconnected` what was invoiced: minor units, taxes included.
    amount      integer not null default 0,
    invoices    integer not null default 0,
    addresses   integer not null default 0
) strict;
create index campaign_tallies_campaign on campaign_tallies (campaign_id);

-- Who did what with a campaign. What became of its accounts is in theirs.
create table campaign_log (
    id          integer primary key autoincrement,
    campaign_id integer not null references campaigns,
    at          text not null,
    kind        text not null,
    message     text not null,
    actor       text not null,
    source      text not null
) strict;
create index campaign_log_campaign on campaign_log (campaign_id, id);

-- Rule 4, for campaigns too.
create trigger campaign_log_keep before delete on campaign_log
begin select raise(abort, 'disconnectd keeps all history: delete of campaign_log is refused'); end;
create trigger campaign_log_keep_written before update on campaign_log
begin select raise(abort, 'disconnectd keeps all history: update of campaign_log is refused'); end;
create trigger campaign_log_keep_replaced before insert on campaign_log
when exists (select 1 from campaign_log where id = new.id)
begin select raise(abort, 'disconnectd keeps all history: replace of campaign_log is refused'); end;
create trigger campaigns_keep before delete on campaigns begin
    select raise(abort, 'disconnectd keeps all history: delete of campaigns is refused');
end;
