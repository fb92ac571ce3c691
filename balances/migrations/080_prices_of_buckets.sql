-- What of the cost of use is for the price that a bucket has of its own (docs/charging.md 22).
ALTER TABLE usage_records ADD COLUMN priced bigint NOT NULL DEFAULT 0;
