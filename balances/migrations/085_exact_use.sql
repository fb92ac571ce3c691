-- What a line came to before its session was rounded, which counters that prices depend on counted (docs/charging.md
-- section 4): a refund turns back that. NULL: its cost.
ALTER TABLE usage_records ADD COLUMN exact bigint;
