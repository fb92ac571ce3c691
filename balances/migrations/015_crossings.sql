-- A crossing says what was crossed, where and by how much: objects with the fields of Crossing
-- (balances/structs/thresholds.py), `unit` as a word. Those on record say only that the account was suspended or resumed.
CREATE FUNCTION crossings_of(words text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_agg(jsonb_build_object('kind', word, 'of', 'account', 'name', '', 'level', 0, 'value', 0,
                                        'unit', 'money', 'bucket', '')) FROM unnest(words) AS word
$$;
ALTER TABLE calls
    ALTER COLUMN threshold_events TYPE jsonb USING crossings_of(threshold_events),
    ADD COLUMN generation bigint NOT NULL DEFAULT 0;  -- of the account, where this call raised it; else 0 (durability.md rule 10)
DROP FUNCTION crossings_of(text[]);
