-- Vouchers: batches, their codes as HMAC-SHA-256 under a key that is not here, who redeemed which, wrong tries.
CREATE TABLE voucher_batches (
    id              text PRIMARY KEY,
    kind            smallint NOT NULL,
    amount          bigint NOT NULL CHECK (amount > 0),
    currency        text NOT NULL,
    valid_for_s     bigint,                                -- what is credited, from its redemption or its first use
    from_first_use  boolean NOT NULL,
    priority        int NOT NULL,
    scope           text[] NOT NULL,
    name            text NOT NULL,
    expires_ms      bigint,                                -- the codes
    alphabet        text NOT NULL,                         -- letters, digits, imported
    length          int NOT NULL,
    count           int NOT NULL,                          -- to be made here; 0: all are imported
    made            int NOT NULL DEFAULT 0,                -- vouchers there are, serials 1 ... made
    state           text NOT NULL DEFAULT 'made',          -- made, active, blocked
    reference       text NOT NULL,
    created_ms      bigint NOT NULL,
    created_by      text NOT NULL,
    exported_ms     bigint                                 -- its codes went out, and are not kept any more
);

CREATE TABLE vouchers (
    batch    text NOT NULL REFERENCES voucher_batches,
    serial   int NOT NULL,
    digest   bytea NOT NULL UNIQUE,
    blocked  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (batch, serial)
);
CREATE INDEX vouchers_blocked ON vouchers (batch) WHERE blocked;

-- Codes sealed until they are exported, once; a row for each lot of them.
CREATE TABLE voucher_codes (
    batch   text NOT NULL REFERENCES voucher_batches,
    first   int NOT NULL,
    sealed  text NOT NULL,
    PRIMARY KEY (batch, first)
);

CREATE TABLE voucher_claims (
    batch        text NOT NULL,
    serial       int NOT NULL,
    account      text NOT NULL,
    source       text NOT NULL,
    reference    text NOT NULL,
    claimed_ms   bigint NOT NULL,
    claimed_by   text NOT NULL,
    request      text NOT NULL UNIQUE,
    fingerprint  text NOT NULL,
    seq          bigint,                                   -- the ledger entry, once it is copied
    credited_ms  bigint,
    PRIMARY KEY (batch, serial),
    FOREIGN KEY (batch, serial) REFERENCES vouchers
);
CREATE INDEX voucher_claims_account ON voucher_claims (account);
CREATE INDEX voucher_claims_open ON voucher_claims (claimed_ms) WHERE credited_ms IS NULL;

-- Who tried wrong codes lately: an account, or a source that a caller names.
CREATE TABLE voucher_tries (
    kind       text NOT NULL,
    name       text NOT NULL,
    wrong      int NOT NULL,
    since_ms   bigint NOT NULL,
    locked_ms  bigint NOT NULL,                            -- until then
    PRIMARY KEY (kind, name)
);
