-- Campaigns: many disconnects made, run, paused and reported on as one. The SQLite migration of the same number and name
-- makes the same tables.

create table campaign_templates (
    id                bigint generated always as identity primary key,
    name              text not null unique check (length(name) between 1 and 200),
    filter            text not null,
    cron              text not null,
    zone              text not null,
    -- A larger cohort than this is made and waits for a person.
    accounts_max      bigint not null check (accounts_max > 0),
    -- The terms of its campaigns, as JSON (see domain::campaign::Terms).
    terms             text not null,
    -- Whose standing approval lets its campaigns start by themselves; without one a person starts each.
    approved_by       text,
    -- When the next is made; null while it is switched off.
    next_at           timestamptz,
    -- What came of the last tick.
    last_tick_at      timestamptz,
    last_note         text,
    created_at        timestamptz not null default clock_timestamp(),
    created_by        text not null,
    created_from      text not null,
    -- Who approved it, took that back, or switched it on or off the last time.
    changed_at        timestamptz,
    changed_by        text
);
create index campaign_templates_next on campaign_templates (next_at) where next_at is not null;

create table campaigns (
    id                bigint generated always as identity primary key,
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
    accounts          bigint not null,
    fingerprint       text not null,
    -- Counts the cohorts and terms that it had; an approval is for one of them.
    revision          integer not null default 1,
    approved_revision integer,
    approved_at       timestamptz,
    approved_by       text,
    -- What the dry run showed to the person who approved or started it, as JSON.
    agreed            text,
    -- The members up to this position have become events, or were left out.
    enlisted          bigint not null default 0,
    -- Somebody looked at what became of the first accounts, and resumed.
    canary_passed     boolean not null default false,
    -- What had been tried, and what of it was in trouble, when it was last resumed: the share of failures counts from there.
    tried_before      bigint not null default 0,
    troubled_before   bigint not null default 0,
    -- See domain::pace.
    pace_at           timestamptz,
    created_at        timestamptz not null default clock_timestamp(),
    created_by        text not null,
    created_from      text not null,
    -- Who made the cohort or the terms what they are.
    changed_by        text not null,
    started_at        timestamptz,
    started_by        text,
    started_from      text,
    ended_at          timestamptz,
    -- Who aborted it.
    ended_by          text,
    ended_from        text,
    template_id       bigint references campaign_templates,
    tick_at           timestamptz,
    -- Each tick makes one campaign at most.
    unique (template_id, tick_at),
    check ((state = 'paused') = (pause_cause is not null)),
    check ((template_id is null) = (tick_at is null)),
    check ((state in ('completed', 'aborted')) = (ended_at is not null))
);
create index campaigns_state on campaigns (state, id);

-- Who is in it, frozen when it was made.
create table campaign_members (
    campaign_id    bigint not null references campaigns,
    -- From 1, without gaps, in the order of the list.
    position       bigint not null,
    account_number text collate "C" not null,
    -- Null where there was no such account. Without a foreign key, as the next one: no account is ever deleted (rule 4),
    -- and its check would lock each of a million accounts, in the order of a list, until the whole list is read.
    account_id     bigint,
    -- The member whose child it is, where it is here because of that.
    parent_id      bigint,
    -- Null: when the campaign starts.
    due_at         timestamptz check (isfinite(due_at)),
    planned_for    text,
    zone           text,
    reason         text,
    -- Once its turn came: its event, or why it has none, and what it owed then, in minor units of its currency.
    event_id       bigint references disconnect_events,
    left_out       text,
    left_out_note  text,
    expected       bigint,
    primary key (campaign_id, position),
    unique (campaign_id, account_number),
    check (event_id is null or left_out is null)
);
alter table campaign_members set (fillfactor = 75);

alter table disconnect_events
    -- It stays when the event is brought forward into lane 0. The lane of a campaign is its id; of its canary, its id
    -- with a minus.
    add column campaign_id bigint references campaigns;
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
    campaign_id bigint not null references campaigns,
    -- enlisted, left_out, disconnected, already_disconnected, no_longer_eligible, cancelled
    kind        text not null,
    -- Of the amount.
    currency    text,
    count       bigint not null,
    -- Of `enlisted` what was owed, of `disconnected` what was invoiced: minor units, taxes included.
    amount      bigint not null default 0,
    invoices    bigint not null default 0,
    addresses   bigint not null default 0
);
create index campaign_tallies_campaign on campaign_tallies (campaign_id);

-- Who did what with a campaign. What became of its accounts is in theirs.
create table campaign_log (
    id          bigint generated always as identity primary key,
    campaign_id bigint not null references campaigns,
    at          timestamptz not null,
    kind        text not null,
    message     text not null,
    actor       text not null,
    source      text not null
);
create index campaign_log_campaign on campaign_log (campaign_id, id);

-- Rule 4, for campaigns too.
create trigger campaign_log_keep before delete or update on campaign_log for each row execute function refuse_change();
create trigger campaign_log_keep_all before truncate on campaign_log for each statement execute function refuse_change();
create trigger campaigns_keep before delete on campaigns for each row execute function refuse_change();
create trigger campaigns_keep_all before truncate on campaigns for each statement execute function refuse_change();
