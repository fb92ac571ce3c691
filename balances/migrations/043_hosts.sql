-- The hosts that work on this store (docs/operations/hosts.md): one row for each run of `ocs run`.
CREATE TABLE hosts (
    run        text        PRIMARY KEY,               -- drawn at each start
    name       text        NOT NULL,
    since      timestamptz NOT NULL DEFAULT now(),
    until_at   timestamptz NOT NULL,                  -- its lease: later it is lost, unless it comes back
    left_at    timestamptz,                           -- it stopped in good order
    reads_from smallint    NOT NULL,                  -- stored formats that all its processes read
    reads_to   smallint    NOT NULL,
    libraries  text[]      NOT NULL,                  -- libraries of functions that its processes use
    told       jsonb       NOT NULL,                  -- what else it says of itself
    restart_asked_at timestamptz,                     -- a rolling restart that a person wishes
    restart_began_at timestamptz,                     -- one host at a time
    restart_said     text                             -- what came of the last one
);

-- `format` is what is written. The next one is announced before it is written (docs/operations/upgrade.md).
ALTER TABLE store ADD COLUMN next_format smallint;    -- NULL: none is announced
ALTER TABLE store ADD COLUMN next_at timestamptz;     -- when it was announced
ALTER TABLE store ADD COLUMN format_at timestamptz;   -- when `format` came to be written; NULL: always was
