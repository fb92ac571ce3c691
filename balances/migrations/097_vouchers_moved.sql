-- needs: 039: to a build before, a batch that was moved is one that is blocked; it would unblock one without asking
-- Batches whose vouchers went to another server (docs/import.md): here they are blocked.
ALTER TABLE voucher_batches ADD COLUMN moved_state text,    -- its state before, that it has there; NULL: it was not moved
                            ADD COLUMN moved_ms bigint;
