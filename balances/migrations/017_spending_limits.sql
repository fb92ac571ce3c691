-- Limits of what a subscriber may spend, or all subscribers of an account together (charging.md 15). What is used and held of
-- them is not here: those are counters of the account in Redis and its records.

CREATE TABLE spending_limits (
    -- One of both: of all its subscribers together, or of one.
    account     text REFERENCES accounts (id),
    subscriber  text REFERENCES subscribers (id) ON DELETE CASCADE,
    name        text NOT NULL,
    kind        smallint NOT NULL,              -- tariffs.units.Kind
    amount      bigint NOT NULL CHECK (amount >= 0),
    period      text NOT NULL,                  -- day, week, month, month from 15, year, ever
    services    text[] NOT NULL DEFAULT '{}',   -- empty: all
    visited     text[] NOT NULL DEFAULT '{}',   -- networks, "262*" or "26201"; empty: all
    not_visited text[] NOT NULL DEFAULT '{}',
    CHECK ((account IS NULL) <> (subscriber IS NULL))
);
CREATE UNIQUE INDEX spending_limits_account ON spending_limits (account, name) WHERE account IS NOT NULL;
CREATE UNIQUE INDEX spending_limits_subscriber ON spending_limits (subscriber, name) WHERE subscriber IS NOT NULL;

-- Last change of what limits it, also of those of its account: its sessions are asked to report.
ALTER TABLE subscribers ADD COLUMN limits_change bigint NOT NULL DEFAULT 0;
CREATE INDEX subscribers_limits_change ON subscribers (account, limits_change);
