-- needs: 039: of a voucher with an offer a build that does not know offers would give the amount alone, and a claim is never taken back
-- Such a build, beside this one while hosts are upgraded, is refused that one claim, as if PostgreSQL were away for a moment
-- (57P03): it answers 503, the voucher stays redeemable, and the next try, or a newer process, takes it. What recovery brings
-- back was credited already (charging.md section 18).
CREATE FUNCTION claim_has_its_gift() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.gift IS NULL AND NEW.credited_ms IS NULL
            AND EXISTS (SELECT FROM voucher_batches WHERE id = NEW.batch AND offer <> '') THEN
        RAISE EXCEPTION 'voucher % % has an offer, which this version does not know: upgrade it', NEW.batch, NEW.serial
            USING ERRCODE = '57P03';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER claim_gift BEFORE INSERT ON voucher_claims FOR EACH ROW EXECUTE FUNCTION claim_has_its_gift();
