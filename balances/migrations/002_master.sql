-- Who is charged, and by what: accounts, subscribers with their identities and tariff assignments, tariffs.
--
-- PostgreSQL is the master of these; balances and an account's live settings are not here but in Redis and its records.
-- ocs/master projects this into Redis, where the workers read it: a worker starts and charges without PostgreSQL.

-- The change number. Every writing transaction begins by raising it and holds this row until it commits, so the order of
-- numbers is the order of commits: a reader that has seen n never meets a smaller one later. A sequence would not do:
-- its numbers are drawn before the commit, and a poll would pass over the one that commits late.
CREATE TABLE master (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    change   bigint NOT NULL
);
INSERT INTO master (change) VALUES (0);

CREATE TABLE accounts (
    id             text PRIMARY KEY,
    currency       text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    time_zone      text NOT NULL,
    -- As the account was opened: what Redis gets when there is no record of it yet (a crash between the two stores).
    -- From then on the account in Redis, and its last record, say what is so.
    credit_limit   bigint NOT NULL,
    suspend_below  bigint,
    resume_at      bigint,
    created_at     timestamptz NOT NULL DEFAULT now(),
    change         bigint NOT NULL,
    -- Last change of a subscriber of this account, also of one that moved away: charges that know less are `stale`.
    members_change bigint NOT NULL
);
CREATE INDEX accounts_members_change ON accounts (members_change, id);

CREATE TABLE subscribers (
    id         text PRIMARY KEY,
    account    text NOT NULL REFERENCES accounts (id),
    -- For RADIUS. CHAP needs it as it is: who may read this table may read it.
    password   text,
    barred     boolean NOT NULL,
    -- When it got another account: sessions that were open then are settled where they began.
    moved_ms   bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    change     bigint NOT NULL
);
CREATE INDEX subscribers_account ON subscribers (account);

-- An identity belongs to one subscriber at a time. A row without one is the trace of a removed identity: it tells the
-- projection to delete it in Redis, in the same feed and by the same number as everything else. Every subscriber also
-- has `subscriber:<id>`, which no network sends.
CREATE TABLE identities (
    identity   text PRIMARY KEY,
    subscriber text REFERENCES subscribers (id),
    change     bigint NOT NULL
);
CREATE INDEX identities_subscriber ON identities (subscriber);
CREATE INDEX identities_change ON identities (change, identity);

-- Which tariff prices a subscriber, from when until when (Unix milliseconds, 0: open), in the order given.
CREATE TABLE assignments (
    subscriber text NOT NULL REFERENCES subscribers (id) ON DELETE CASCADE,
    place      integer NOT NULL,
    tariff     text NOT NULL,
    from_ms    bigint NOT NULL,
    until_ms   bigint NOT NULL,
    PRIMARY KEY (subscriber, place)
);
CREATE INDEX assignments_tariff ON assignments (tariff);

-- Tariff documents as they were published. A version is never changed: what was charged by it can always be shown.
CREATE TABLE tariffs (
    id           text NOT NULL,
    version      integer NOT NULL,
    media_type   text NOT NULL,
    document     bytea NOT NULL,
    valid_from_ms bigint NOT NULL,      -- as the document says; 0: always
    published_at timestamptz NOT NULL DEFAULT now(),
    change       bigint NOT NULL,
    PRIMARY KEY (id, version)
);
CREATE INDEX tariffs_change ON tariffs (change);
