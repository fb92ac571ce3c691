-- open: bring an account in, new with its opening balances or restored from PostgreSQL, only if Redis does not have it.
-- KEYS  account due ledger once...
-- ARGV  epoch opening
-- EXIT  ok exists fenced full
-- Twin: balances/model/open.py (durability.md rule 8).
-- @use lib/life
-- @use lib/reached
local opening = cmsgpack.unpack(ARGV[2])

-- read
if redis.call('HEXISTS', KEYS[1], ACCOUNTFIELD.ACCOUNT) == 1 then return { 'exists' } end

-- decide
local account_packed = opening[ACCOUNTOPENING.account]
local account = cmsgpack.unpack(account_packed)
local change = open_change(account, 0)
change.entries = opening[ACCOUNTOPENING.entries]
local record = change_record(change, opening[ACCOUNTOPENING.kind], opening[ACCOUNTOPENING.actor], '')
record[RECORD.at_ms], record[RECORD.event_ms] = opening[ACCOUNTOPENING.now_ms], opening[ACCOUNTOPENING.now_ms]
for _, bucket in ipairs(account[ACCOUNT.buckets]) do look_at_end(change, bucket) end
local room_ms = limits_due(account, 0) -- also one that is past: nobody was told yet that there is room (charging.md 15)
if room_ms > 0 and (change.due_ms == 0 or room_ms < change.due_ms) then change.due_ms = room_ms end

look_at_grace(change)

-- write
local failed = append(KEYS[3], ARGV[1], record, 'a', account_packed)
if failed then return { failed } end
redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, account_packed)
for _, session in ipairs(opening[ACCOUNTOPENING.sessions]) do
  redis.call('HSET', KEYS[1], session[RESTOREDKEY.key], session[RESTOREDKEY.packed])
  redis.call('ZADD', KEYS[2], session[RESTOREDKEY.until_ms], account[ACCOUNT.id] .. '\n' .. session[RESTOREDKEY.key])
end
for i, once in ipairs(opening[ACCOUNTOPENING.answers]) do
  redis.call('SET', KEYS[3 + i], once[RESTOREDKEY.packed], 'PX', max(once[RESTOREDKEY.until_ms] - opening[ACCOUNTOPENING.now_ms], 1))
end
if change.due_ms > 0 then look_by(KEYS[2], account[ACCOUNT.id], '', change.due_ms) end
return { 'ok', account_packed }
