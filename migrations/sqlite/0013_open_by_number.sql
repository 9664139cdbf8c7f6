-- The list of accounts with an open event goes through those events in the order of the list.
alter table disconnect_events add column account_number text;
-- Those that are open or may be again. Ended events are never listed by it, and keep a null from before.
update disconnect_events set account_number = (select number from accounts where id = account_id)
 where state in ('scheduled', 'queued', 'failed');
create index disconnect_events_open_numbers on disconnect_events (account_number) where state in ('scheduled', 'queued');

-- An account's number never changes. The program writes it with the event; for those who insert by hand it is looked up.
create trigger disconnect_events_fill after insert on disconnect_events when new.account_number is null
begin
    update disconnect_events set account_number = (select number from accounts where id = new.account_id)
     where id = new.id;
end;

drop view all_disconnect_events;
create view all_disconnect_events as
    select id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
           failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed, changed_since,
           parent_event_id, campaign_id, traceparent, account_number
      from disconnect_events;
