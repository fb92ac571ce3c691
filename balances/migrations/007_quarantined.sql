-- Records that cannot be copied, and the later ones of their accounts (durability.md rule 6). Written in the
-- transaction that moves the cursor, so that none is skipped. A person replays them or confirms the difference; what was
-- decided stays here.
CREATE TABLE quarantined (
    shard      smallint NOT NULL,
    epoch      bigint   NOT NULL,
    n          bigint   NOT NULL,
    position   bigint   NOT NULL,               -- its place among the calls of the shard
    account    text     NOT NULL,
    why        text     NOT NULL,               -- '': nothing, it only comes after one that is broken
    entry      bytea    NOT NULL,               -- the whole stream entry: msgpack of [name, value, name, value ...]
    at         timestamptz NOT NULL DEFAULT now(),
    settled_at timestamptz,                     -- NULL: its account is in quarantine
    settled_as text,                            -- replayed, recovered
    settled_by text,
    reason     text,
    PRIMARY KEY (shard, epoch, n)
);
CREATE INDEX quarantined_open ON quarantined (account, position) WHERE settled_at IS NULL;
