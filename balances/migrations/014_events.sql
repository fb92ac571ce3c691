-- Events to the world (docs/events.md). Those that follow from a record are written in the transaction that copies it, so
-- an event is here if and only if its record is; all others go through the outbox.

-- Number of the last event. Whoever appends raises it last thing before its commit, and so holds its lock until then:
-- numbers have no gap and become visible in their order. A reader that has read up to a number has missed nothing.
CREATE TABLE event_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO event_head DEFAULT VALUES;

CREATE TABLE events (
    seq     bigint PRIMARY KEY,
    id      text   NOT NULL,
    type    text   NOT NULL,
    account text   NOT NULL,                    -- '' for none; as record.fit writes it
    service text   NOT NULL,                    -- '' for none
    subject text   NOT NULL,
    at_ms   bigint NOT NULL,
    data    json   NOT NULL,
    CONSTRAINT events_id UNIQUE (id)            -- the same event twice is refused here
);

-- Events that are no record of the ledger, put here by the transaction that does what they tell. The keeper moves them to
-- `events`, which gives them their numbers.
CREATE TABLE event_outbox (
    place   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      text   NOT NULL,
    type    text   NOT NULL,
    account text   NOT NULL,
    service text   NOT NULL,
    subject text   NOT NULL,
    at_ms   bigint NOT NULL,
    data    json   NOT NULL
);

-- Who reads events, and how far. A type that is not kept anyway is written while a row here asks for it.
CREATE TABLE event_consumers (
    name       text PRIMARY KEY,                -- 'webhook:<id>', 'redis', 'sse:<hash>'
    kind       text   NOT NULL,
    types      text[] NOT NULL,                 -- empty: every type that need not be asked for by name
    accounts   text[] NOT NULL,                 -- empty: all
    services   text[] NOT NULL,                 -- empty: all, and events of none
    seq        bigint NOT NULL,                 -- last event that is done with
    holds      boolean NOT NULL,                -- events after it are kept for it, however old they are
    until      timestamptz,                     -- NULL: for ever; it asks for nothing after that
    created_at timestamptz NOT NULL DEFAULT now(),
    moved_at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
