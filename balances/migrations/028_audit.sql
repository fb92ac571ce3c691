-- The audit trail (docs/audit.md): who changed money or master data, when, from where, by which operation, from what to what.

CREATE TABLE audit (
    id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid        xid8        NOT NULL DEFAULT pg_current_xact_id(),
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- change: of a row of PostgreSQL, by the transaction that makes it. intent: of a change in the live store, before it
    -- is asked for. outcome: what came of an intent, as it was answered or, where nobody heard the answer, as the ledger says.
    kind       text        NOT NULL CHECK (kind IN ('change', 'intent', 'outcome')),
    request    text        NOT NULL,             -- ties together what one request did; '' for none
    caller     text        NOT NULL,             -- of the API; of whoever uses the database itself: db:<role>
    credential text        NOT NULL,
    address    text        NOT NULL,
    operation  text        NOT NULL,             -- of the API; of a change without one: INSERT, UPDATE, DELETE
    target     text        NOT NULL,             -- method and path; the table
    account    text        NOT NULL,             -- '' for none
    key        text        NOT NULL,             -- once key in the live store; '' for none
    before     jsonb,
    after      jsonb
);
CREATE INDEX audit_order ON audit (xid, id);
CREATE INDEX audit_request ON audit (request) WHERE request <> '';
CREATE INDEX audit_account ON audit (account, id) WHERE account <> '';

-- Each row's hash covers the hash before it: sha256(hash before || digest of the row). Rows are taken in the order of their
-- transactions once all older transactions have ended, so no writer waits for another one, and nothing forks.
CREATE TABLE audit_chain (
    n     bigint PRIMARY KEY,
    xid   xid8   NOT NULL,
    audit bigint NOT NULL UNIQUE,
    hash  bytea  NOT NULL
);

CREATE FUNCTION audit_digest(a audit) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(jsonb_build_array(a.id, a.xid::text, extract(epoch FROM a.at)::text, a.kind, a.request, a.caller,
        a.credential, a.address, a.operation, a.target, a.account, a.key, a.before, a.after)::text, 'UTF8'))
$$;

CREATE FUNCTION audit_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is only ever appended to';
END $$;
CREATE TRIGGER audit_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit EXECUTE FUNCTION audit_is_final();
CREATE TRIGGER audit_chain_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_chain EXECUTE FUNCTION audit_is_final();

-- What a transaction says of itself (`ocs.audit.trail`), or nothing.
CREATE FUNCTION audit_said(what text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT coalesce(current_setting('ocs.' || what, true), '')
$$;

-- Secrets are not shown, not even sealed or hashed; nor is what only serves the projection.
CREATE FUNCTION audit_shown(given jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT given - ARRAY['password', 'secret', 'old_secret', 'digest', 'old_digest', 'document', 'content', 'request', 'answer',
        'change', 'members_change', 'delivered', 'delivered_ms', 'touched', 'last_ms', 'last_address']
$$;

CREATE FUNCTION audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was jsonb;
    now_ jsonb;
    rows_ bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        SELECT count(*) INTO rows_ FROM old_rows;
        IF rows_ BETWEEN 1 AND 100 THEN
            SELECT jsonb_agg(audit_shown(to_jsonb(o))) INTO was FROM old_rows o;
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        SELECT greatest(rows_, count(*)) INTO rows_ FROM new_rows;
        IF rows_ BETWEEN 1 AND 100 THEN
            SELECT jsonb_agg(audit_shown(to_jsonb(n))) INTO now_ FROM new_rows n;
        END IF;
    END IF;
    IF rows_ = 0 OR was = now_ THEN                      -- nothing that is shown has changed
        RETURN NULL;
    END IF;
    IF rows_ > 100 THEN                                  -- of a file: the rows say by whom they were brought
        now_ := jsonb_build_object('rows', rows_);
    END IF;
    INSERT INTO audit (kind, request, caller, credential, address, operation, target, account, key, before, after)
    VALUES ('change', audit_said('request'), coalesce(nullif(audit_said('caller'), ''), 'db:' || session_user),
        audit_said('credential'), audit_said('address'), coalesce(nullif(audit_said('operation'), ''), TG_OP), TG_TABLE_NAME,
        audit_said('account'), '', was, now_);
    RETURN NULL;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['accounts', 'subscribers', 'identities', 'assignments', 'tariffs', 'tariff_files', 'exchange_rates',
        'spending_limits', 'payers', 'webhooks', 'tokens', 'approvals', 'voucher_batches', 'vouchers'] LOOP
        EXECUTE format('CREATE TRIGGER audit_insert AFTER INSERT ON %I REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit_change()', name);
        EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE ON %I REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit_change()', name);
        EXECUTE format('CREATE TRIGGER audit_delete AFTER DELETE ON %I REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION audit_change()', name);
    END LOOP;
    EXECUTE 'CREATE TRIGGER audit_update AFTER UPDATE ON suspense REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION audit_change()';
END $$;
