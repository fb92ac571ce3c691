-- What a refund turned back of the counters that the use had raised (charging.md section 9): by counter, so that the next
-- one goes on from there, and a reversal raises them again. NULL: nothing.
ALTER TABLE refunds ADD COLUMN turned jsonb;
-- Limits that the use counted: key, what, until when, and the limit. They are no part of the price, so no ladder has them.
ALTER TABLE usage_records ADD COLUMN limits jsonb;
