-- A due run claims what it looks at, and holds no lock while the live store answers; what the end of a recurring fee gives
-- back is granted where refunds are (charging.md section 21).
ALTER TABLE fee_assignments ADD COLUMN hurry boolean NOT NULL DEFAULT false;   -- claimed when it had got money it waited for
ALTER TABLE refunds ADD COLUMN period text;                             -- of a fee, whose end this is; NULL: of a refund
CREATE INDEX refunds_period ON refunds (account, period) WHERE period IS NOT NULL;
