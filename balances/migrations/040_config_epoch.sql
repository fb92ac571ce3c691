-- The failover epoch of the newest master that was opened is kept for each shard (durability.md rule 5a): in a cluster
-- each primary has its own, and a shard may move from one to another. `store.config_epoch` is not read any more.
ALTER TABLE shards ADD COLUMN config_epoch bigint NOT NULL DEFAULT 0;
UPDATE shards SET config_epoch = (SELECT config_epoch FROM store);
