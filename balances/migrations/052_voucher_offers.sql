-- Vouchers whose redemption is a payment by a top-up offer (charging.md section 18). What the offer gave is part of the claim, so
-- that whoever credits it gives the same.
ALTER TABLE voucher_batches ADD COLUMN offer text NOT NULL DEFAULT '';          -- '' none
ALTER TABLE voucher_claims ADD COLUMN gift jsonb;                               -- postings, buckets that end later, limits that begin anew
