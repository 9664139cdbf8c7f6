-- The calendar: how many events are due on a day, by state, from the index alone.
create index disconnect_events_due on disconnect_events (due_at, state);
