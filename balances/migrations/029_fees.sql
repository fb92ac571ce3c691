-- Recurring fees (charging.md 21). How far a fee is settled is in the account (Account.fees), where money is: this is the
-- index of what is due, and what was known when it was looked at last.

ALTER TABLE tariffs ADD COLUMN fees boolean NOT NULL DEFAULT false;        -- this version has some
ALTER TABLE accounts ADD COLUMN billing_day smallint NOT NULL DEFAULT 1 CHECK (billing_day BETWEEN 1 AND 31);

-- One row for each assignment of a tariff with fees, from its begin to its end; it stays when the assignment is taken away
-- or its subscriber deleted.
CREATE TABLE fee_assignments (
    id               bigint   GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account          text     NOT NULL,
    subscriber       text     NOT NULL,
    tariff           text     NOT NULL,
    from_ms          bigint   NOT NULL,                 -- as the assignment says
    began_ms         bigint   NOT NULL,                 -- and not before it was made
    ended_ms         bigint   NOT NULL DEFAULT 0,       -- 0: it goes on
    begins_by_change boolean  NOT NULL DEFAULT false,   -- another one ended on that instant
    ends_by_change   boolean  NOT NULL DEFAULT false,
    attributes       jsonb,                             -- of a subscriber that is deleted
    change           bigint   NOT NULL,                 -- the newest of its tariff: a catalog that lacks it is no help
    published_ms     bigint,                            -- since when a version may have brought fees that nobody has seen
    progress         jsonb    NOT NULL DEFAULT '{}',    -- fee -> how far it is (ocs/fees/assignment.py)
    due_ms           bigint,                            -- when it is looked at; NULL: nothing more comes
    waiting          boolean  NOT NULL DEFAULT false,   -- for money
    why              text     NOT NULL DEFAULT ''       -- a fee could not be taken, in words
) WITH (fillfactor = 70);
CREATE INDEX fee_assignments_due ON fee_assignments (due_ms, id) WHERE due_ms IS NOT NULL;
CREATE INDEX fee_assignments_subscriber ON fee_assignments (subscriber);
CREATE INDEX fee_assignments_waiting ON fee_assignments (account) WHERE waiting;
CREATE INDEX fee_assignments_account ON fee_assignments (account, id);
CREATE INDEX fee_assignments_tariff ON fee_assignments (tariff);

-- The run that settles what is due. One row; counts are of all time.
CREATE TABLE fee_run (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    paused_by text    NOT NULL DEFAULT '',              -- who stopped it; '': it runs
    paused_ms bigint  NOT NULL DEFAULT 0,
    began_ms  bigint  NOT NULL DEFAULT 0,               -- of the run that is going on, or was the last one
    moved_ms  bigint  NOT NULL DEFAULT 0,               -- when it did something last
    looked    bigint  NOT NULL DEFAULT 0,               -- assignments that were looked at
    taken     bigint  NOT NULL DEFAULT 0,               -- periods that were settled
    short     bigint  NOT NULL DEFAULT 0                -- tries for which money was short
) WITH (fillfactor = 10);
INSERT INTO fee_run DEFAULT VALUES;
