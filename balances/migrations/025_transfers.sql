-- Transfers between accounts (charging.md section 17). The row comes with the copy of the first leg, and each copied leg
-- moves its state on: so what may be done next rests on records that nobody can lose any more.
CREATE TABLE transfers (
    id         text     PRIMARY KEY,             -- made of the account it leaves and the key it was asked for with
    source     text     NOT NULL,                -- the account it leaves
    target     text     NOT NULL,
    amount     bigint   NOT NULL,                -- micro-units
    currency   text     NOT NULL,
    state      smallint NOT NULL,                -- TransferState of balances/ledger/transfers.py
    sent_ms    bigint,                           -- when each leg was made
    ended_ms   bigint,
    sent_seq   bigint,                           -- entry of the account it leaves
    ended_seq  bigint,                           -- entry that took it in, or back
    refused    smallint,                         -- why the other account took nothing (Result)
    actor      text     NOT NULL,
    reason     text     NOT NULL,
    reference  text     NOT NULL
);
CREATE INDEX transfers_open ON transfers (sent_ms) WHERE state < 2;
CREATE INDEX transfers_source ON transfers (source, sent_ms, id);
CREATE INDEX transfers_target ON transfers (target, sent_ms, id);
