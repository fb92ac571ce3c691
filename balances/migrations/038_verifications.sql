-- What whole proofs of the ledger came to (ocs ledger verify, and the keeper's daily one).
CREATE TABLE verifications (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    began_ms bigint NOT NULL,
    ended_ms bigint NOT NULL,
    by       text   NOT NULL,
    accounts bigint NOT NULL,
    entries  bigint NOT NULL,
    findings bigint NOT NULL,
    text     text   NOT NULL                    -- the first of them, for people
);
