-- On PostgreSQL, events go to an archive some time after they have ended. Here they stay where they are: there is no vacuum
-- to pay, and what is claimed from is an index of the open ones alone. The view has the same name and columns, so that
-- people's SQL is the same.
create view all_disconnect_events as
    select id, account_id, state, outcome, lane, due_at, planned_for, zone, next_at, attempt, dispatches, failures,
           failures_max, last_error, reason, requested_by, requested_from, created_at, ended_at, agreed, changed_since,
           parent_event_id, campaign_id, traceparent
      from disconnect_events;
