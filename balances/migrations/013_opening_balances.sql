-- What an account had when it was opened, and who said so: given with its first record, by whoever opens it (import, or
-- the first call that finds it absent). It stands here before the account is in the live store, so that a crash between
-- the two neither loses it nor gives it twice.
ALTER TABLE accounts
    ADD COLUMN opening_balance bigint NOT NULL DEFAULT 0,       -- of the main bucket, micro-units
    ADD COLUMN opening_buckets jsonb NOT NULL DEFAULT '[]',     -- the others, in order (ocs.master.accounts)
    ADD COLUMN opened_by       text NOT NULL DEFAULT '';
