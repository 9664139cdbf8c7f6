-- What was confirmed with an event, and what was decided about the children of its account. The SQLite migration of the
-- same number and name makes the same tables.

alter table disconnect_events
    -- What was true when it was confirmed, as a digest (see src/domain/digest.rs). None for an event of a campaign.
    add column agreed text,
    -- What had changed since then when it was executed: sentences, as a JSON array.
    add column changed_since text,
    -- The parent's event that it was made with.
    add column parent_event_id bigint references disconnect_events;
create index disconnect_events_made_with on disconnect_events (parent_event_id) where parent_event_id is not null;

create table family_decisions (
    event_id       bigint not null references disconnect_events,
    child_id       bigint not null references accounts,
    disposition    text not null check (disposition in ('keep', 'unlink', 'disconnect')),
    -- The child's own event, where it is to be disconnected.
    child_event_id bigint references disconnect_events,
    -- Whether the child had a contact of its own.
    had_contact    boolean not null,
    decided_at     timestamptz not null,
    decided_by     text not null,
    decided_from   text not null,
    primary key (event_id, child_id),
    check ((disposition = 'disconnect') = (child_event_id is not null))
);
create index family_decisions_child on family_decisions (child_id);
