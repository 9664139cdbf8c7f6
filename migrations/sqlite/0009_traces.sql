-- The trace of the request that made an event, as its `traceparent`. Only where it is sampled, and never of a campaign's.
alter table disconnect_events add column traceparent text;
