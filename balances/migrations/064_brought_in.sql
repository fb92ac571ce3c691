-- What was used of limits and tiers where an account comes from (docs/import.md).
ALTER TABLE accounts ADD COLUMN opening_counters jsonb NOT NULL DEFAULT '[]';
