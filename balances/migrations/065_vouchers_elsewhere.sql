-- needs: 039: a build that does not know what is added here would redeem a voucher again that was redeemed elsewhere
-- Vouchers that were redeemed on the server that they were brought from (docs/import.md): nothing is credited for these here.
ALTER TABLE vouchers ADD COLUMN redeemed_ms bigint,                     -- NULL: not, or here (voucher_claims)
                     ADD COLUMN redeemed_by text NOT NULL DEFAULT '';   -- the account that did

-- A build that does not know of it, beside this one while hosts are upgraded, would redeem one again: its claim is refused, as if
-- PostgreSQL were away for a moment (57P03).
CREATE FUNCTION claim_of_elsewhere() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM vouchers WHERE batch = NEW.batch AND serial = NEW.serial AND redeemed_ms IS NOT NULL) THEN
        RAISE EXCEPTION 'voucher % % was redeemed on another server', NEW.batch, NEW.serial USING ERRCODE = '57P03';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_elsewhere BEFORE INSERT ON voucher_claims FOR EACH ROW EXECUTE FUNCTION claim_of_elsewhere();
