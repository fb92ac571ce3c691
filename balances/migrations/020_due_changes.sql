-- What time alone changes for sessions that are open, until they were looked at (docs/enforcement.md).

-- When an assignment next begins or ends, until the sessions of its subscriber were looked at for that; NULL: never, or
-- done. It is written with the assignment, so it is due exactly once, whoever looks and however late.
ALTER TABLE assignments ADD COLUMN due_ms bigint;
UPDATE assignments a SET due_ms = found.due_ms FROM (
    SELECT subscriber, place, (
        SELECT min(instant) FROM unnest(ARRAY[from_ms, until_ms]) AS instant
        WHERE instant > extract(epoch FROM now()) * 1000) AS due_ms
    FROM assignments) found
WHERE a.subscriber = found.subscriber AND a.place = found.place AND found.due_ms IS NOT NULL;
CREATE INDEX assignments_due ON assignments (due_ms) WHERE due_ms IS NOT NULL;

-- The next change of the grade of a tariff: one row, however many have the tariff.
CREATE TABLE grade_changes (
    tariff   text   NOT NULL,
    zone     text   NOT NULL,               -- of the accounts whose clock it is; '' where the tariff has its own
    at_ms    bigint,                        -- NULL: none is known
    since_ms bigint,                        -- the first one that not all were looked at for; at_ms, unless it is late
    reached  text   NOT NULL DEFAULT '',    -- accounts up to this one were looked at for at_ms
    told_ms  bigint NOT NULL DEFAULT 0,     -- the last one that is done
    PRIMARY KEY (tariff, zone)
);
CREATE INDEX grade_changes_due ON grade_changes (at_ms) WHERE at_ms IS NOT NULL;

-- Their intents have numbers of their own, with epoch 0, which no record has.
CREATE SEQUENCE due_intents;
CREATE INDEX accounts_time_zone ON accounts (time_zone);
