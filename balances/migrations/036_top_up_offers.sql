-- Offers that top-ups name: what a payment gives besides itself, by bands of its amount (charging.md 23).

CREATE TABLE top_up_offers (
    name       text PRIMARY KEY,
    version    int NOT NULL DEFAULT 1,      -- raised by each change; what it was before is on the audit trail
    currency   text NOT NULL,
    bands      jsonb NOT NULL,              -- as ocs/master/offers.py has them, in whole numbers
    text       text NOT NULL,               -- for people
    changed_ms bigint NOT NULL,
    changed_by text NOT NULL
);

CREATE TRIGGER audit_insert AFTER INSERT ON top_up_offers REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change();
CREATE TRIGGER audit_update AFTER UPDATE ON top_up_offers REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change();
CREATE TRIGGER audit_delete AFTER DELETE ON top_up_offers REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION audit_change();
