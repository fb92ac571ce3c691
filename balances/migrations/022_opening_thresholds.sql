-- Notification thresholds and lines of services that an account was opened with: balances/structs/thresholds.py, in order.
ALTER TABLE accounts
    ADD COLUMN opening_thresholds jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN opening_services   jsonb NOT NULL DEFAULT '[]';
