-- Notification thresholds that tariffs bring for the accounts of their subscribers (charging.md 7).

-- Of each version, as its document says: [{name, kind, below, rearm, percent, bucket, service, currency}].
ALTER TABLE tariffs ADD COLUMN thresholds jsonb NOT NULL DEFAULT '[]';

-- Accounts whose thresholds are to be compared with what their tariffs bring: now, because a tariff or a subscriber changed, or
-- when an assignment or a version begins or ends.
CREATE TABLE default_thresholds_due (
    account text PRIMARY KEY,
    due_ms  bigint NOT NULL,        -- 0: now
    change  bigint NOT NULL         -- number of the last change of master data that asked for it
);
CREATE INDEX default_thresholds_due_ms ON default_thresholds_due (due_ms, account);
