-- Vouchers that were redeemed on the server that they were brought from (docs/import.md): nothing is credited for these here.
ALTER TABLE vouchers ADD COLUMN redeemed_ms bigint,                     -- NULL: not, or here (voucher_claims)
                     ADD COLUMN redeemed_by text NOT NULL DEFAULT '';   -- the account that did
