-- People who sign in to the console. The SQLite migration of the same number and name makes the same tables.

create table users (
    id            bigint generated always as identity primary key,
    -- As the log names them.
    name          text not null unique check (length(name) between 1 and 64),
    role          text not null check (role in ('viewer', 'operator', 'approver', 'admin')),
    -- Argon2id, in PHC form. None: signs in by links alone.
    password_hash text,
    created_at    timestamptz not null default clock_timestamp(),
    created_by    text not null,
    disabled_at   timestamptz,
    disabled_by   text,
    check ((disabled_at is null) = (disabled_by is null))
);

-- Rule 4, for users too: the log names them. One is disabled, never deleted, and nobody else gets its name.
create trigger users_keep before delete on users for each row execute function refuse_change();
create trigger users_keep_all before truncate on users for each statement execute function refuse_change();
create trigger users_keep_made before update on users for each row
    when ((new.id, new.name, new.created_at, new.created_by)
          is distinct from (old.id, old.name, old.created_at, old.created_by))
    execute function refuse_change();

-- No history: what has ended for long is deleted.
create table console_sessions (
    id           bigint generated always as identity primary key,
    user_id      bigint not null references users,
    -- SHA-256 of what the browser's cookie holds.
    hash         bytea not null unique check (length(hash) = 32),
    browser      text,
    created_at   timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at   timestamptz not null,
    revoked_at   timestamptz
);
create index console_sessions_user on console_sessions (user_id) where revoked_at is null;
create index console_sessions_expired on console_sessions (expires_at);

-- Each good for one sign-in. No history either.
create table sign_in_links (
    id         bigint generated always as identity primary key,
    user_id    bigint not null references users,
    hash       bytea not null unique check (length(hash) = 32),
    created_by text not null,
    expires_at timestamptz not null,
    used_at    timestamptz
);
create index sign_in_links_expired on sign_in_links (expires_at);
create index sign_in_links_user on sign_in_links (user_id);

-- Sign-ins that came to nothing, for known and unknown names alike, so that neither can be told from the other.
create table sign_in_attempts (
    -- SHA-256 of the name.
    name_hash     bytea primary key check (length(name_hash) = 32),
    failures      integer not null,
    last_at       timestamptz not null,
    -- Nobody is let try before.
    blocked_until timestamptz not null
);
create index sign_in_attempts_last on sign_in_attempts (last_at);

-- The list of accounts by name.
create index accounts_name on accounts (name collate "C", number);
