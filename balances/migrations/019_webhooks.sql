-- Webhooks: where events are delivered to. What a webhook wants, and how far it is, is its row of `event_consumers`
-- ('webhook:<id>').
CREATE TABLE webhooks (
    id           text    PRIMARY KEY,
    url          text    NOT NULL,
    description  text    NOT NULL,
    secret       text    NOT NULL,                -- sealed (ocs/events/webhooks/sealed_secrets.py)
    old_secret   text,                            -- signs too, until old_until_ms
    old_until_ms bigint  NOT NULL DEFAULT 0,
    paused_for   text    NOT NULL DEFAULT '' CHECK (paused_for IN ('', 'person', 'failing', 'gone')),
    why          text    NOT NULL DEFAULT '',     -- it is paused, or its last attempt failed, in words
    failing_ms   bigint  NOT NULL DEFAULT 0,      -- since when its receiver is down; 0: it is not
    delivered    bigint  NOT NULL DEFAULT 0,      -- deliveries that arrived
    delivered_ms bigint  NOT NULL DEFAULT 0,      -- the last of them
    version      integer NOT NULL DEFAULT 1,      -- raised by people's changes
    touched      bigint  NOT NULL DEFAULT 1,      -- raised by what who delivers has to read again
    created_ms   bigint  NOT NULL,
    created_by   text    NOT NULL
) WITH (fillfactor = 50);

-- A row for each event that is to be delivered, made in the transaction that moves the webhook's number past the event.
-- One that arrives at the first attempt is deleted; those that needed more, and tests, stay for a while.
CREATE TABLE webhook_deliveries (
    seq          bigint  GENERATED ALWAYS AS IDENTITY,   -- the order within a webhook
    webhook      text    NOT NULL REFERENCES webhooks ON DELETE CASCADE,
    event        text    NOT NULL,                -- id of the event: the same at every attempt
    type         text    NOT NULL,
    account      text    NOT NULL,                -- '' for none
    body         bytea   NOT NULL,                -- as it is sent, the same at every attempt
    state        text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts     integer NOT NULL DEFAULT 0,
    made_ms      bigint  NOT NULL,
    failed_ms    bigint  NOT NULL DEFAULT 0,      -- the first failure
    next_ms      bigint  NOT NULL DEFAULT 0,
    last_ms      bigint  NOT NULL DEFAULT 0,      -- the last attempt
    answered     boolean NOT NULL DEFAULT false,  -- it had an answer
    result       text    NOT NULL DEFAULT '',     -- of it, in words
    PRIMARY KEY (webhook, event)
);
CREATE INDEX webhook_deliveries_order ON webhook_deliveries (webhook, state, seq);
CREATE INDEX webhook_deliveries_over ON webhook_deliveries (last_ms) WHERE state <> 'waiting';
