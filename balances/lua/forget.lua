-- forget: at an opening, drop an account of which only one side has every record (durability.md rule 5c).
-- KEYS  account ledger
-- ARGV  head
-- EXIT  ok moved
-- Refused when the stream has moved since its head was read: somebody else opened the shard. Writes no record: the
-- account comes back by `open`, which does.

-- read
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
local head = last[1] and last[1][1] or ''

-- decide
if head ~= ARGV[1] then return { 'moved' } end

-- write
redis.call('UNLINK', KEYS[1])
return { 'ok' }
