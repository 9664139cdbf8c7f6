-- What is coming, the soonest first.
create index disconnect_events_coming on disconnect_events (due_at, id) where state in ('scheduled', 'queued');
