-- What the network has to be told, and what became of it (charging.md section 7, durability.md rule 10). An intent comes in
-- the transaction that copies its record, so it is there exactly once whatever is killed in between; the keeper makes one
-- job of it for each session concerned, and tries until the network has obeyed or nothing more can be done.
CREATE TABLE intents (
    shard      smallint NOT NULL,
    epoch      bigint   NOT NULL,
    n          bigint   NOT NULL,
    account    text     NOT NULL,
    generation bigint   NOT NULL,               -- of the account after the record (Account.generation)
    kinds      text[]   NOT NULL,               -- balances/ledger/intents.py
    session    text     NOT NULL,               -- which made the record; '' for none
    short      jsonb,                           -- what is short, and others hold (Short)
    crossed_ms bigint   NOT NULL,               -- when the call was made
    jobs       integer,                         -- how many came of it; NULL: nobody has looked yet
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, epoch, n)
);
CREATE INDEX intents_open ON intents (at) WHERE jobs IS NULL;
CREATE INDEX intents_looked_at ON intents (at) WHERE jobs IS NOT NULL;

CREATE TABLE jobs (
    id              text     PRIMARY KEY,        -- made of its intent, session and incarnation: they have one job
    shard           smallint NOT NULL,
    epoch           bigint   NOT NULL,
    n               bigint   NOT NULL,           -- its intent
    session         text     NOT NULL,
    incarnation     integer  NOT NULL,
    account         text     NOT NULL,
    subscriber      text     NOT NULL,
    service         text     NOT NULL,
    peer            text     NOT NULL,           -- Origin-Host of the client
    cause           text     NOT NULL,           -- why: ocs/enforcement/job.py
    action          text     NOT NULL,           -- what is tried now
    generation      bigint   NOT NULL,           -- newest one of the account that confirmed it
    state           text     NOT NULL,           -- ocs/enforcement/machine.py
    why             text     NOT NULL,           -- it is in that state, where that needs saying
    attempts        integer  NOT NULL,
    result          text     NOT NULL,           -- of the last attempt
    touched_ms      bigint   NOT NULL,           -- of the session when the job was made
    bound_micro     bigint   NOT NULL,           -- money the session held then
    used_micro      bigint   NOT NULL,           -- money debited for its use since
    crossed_ms      bigint   NOT NULL,
    made_ms         bigint   NOT NULL,
    due_ms          bigint   NOT NULL,
    sent_ms         bigint,                      -- the first attempt
    acknowledged_ms bigint,
    effective_ms    bigint,
    ended_ms        bigint,                      -- NULL: it is open
    wish            text     NOT NULL DEFAULT '',    -- of a person, until the keeper has seen it: retry, cancel
    wished_by       text     NOT NULL DEFAULT ''
);
CREATE INDEX jobs_open ON jobs (made_ms, id) WHERE ended_ms IS NULL;
CREATE INDEX jobs_ended ON jobs (ended_ms) WHERE ended_ms IS NOT NULL;
CREATE INDEX jobs_order ON jobs (made_ms, id);
CREATE INDEX jobs_session ON jobs USING hash (session);     -- a Session-Id may be longer than a b-tree takes
CREATE INDEX jobs_account ON jobs (account, made_ms);
CREATE INDEX jobs_wished ON jobs (id) WHERE wish <> '';

CREATE TABLE job_attempts (
    job      text     NOT NULL REFERENCES jobs ON DELETE CASCADE,
    number   integer  NOT NULL,                  -- from 1
    action   text     NOT NULL,
    at_ms    bigint   NOT NULL,
    ended_ms bigint   NOT NULL,
    result   text     NOT NULL,                  -- Result-Code, Error-Cause, no-route, timeout
    host     text     NOT NULL,                  -- it was sent to
    by       text     NOT NULL,                  -- Origin-Host of the answer
    PRIMARY KEY (job, number)
);
