-- How much of a refund is tax: it is granted with it, so that all refunds of an entry or a session together give back the
-- tax that it contains (charging.md section 4). NULL: granted before this was known, or nothing was said of tax.
ALTER TABLE refunds ADD COLUMN IF NOT EXISTS tax bigint;
