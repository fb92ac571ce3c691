-- transfer: an amount from one bucket of an account to another one of the same kind, once per key.
-- KEYS  account once due ledger
-- ARGV  epoch transfer
-- EXIT  ok again conflict refused absent fenced full
-- Twin: balances/model/transfer.py.
-- @use lib/posting
local transfer = cmsgpack.unpack(ARGV[2])

-- read
local packed, answer = read_posting(KEYS, transfer)

-- decide
local change, reply = begin_posting(packed, answer, transfer)
if reply then return reply end

local function move()
  local amount = transfer[TRANSFER.amount]
  local source = bucket_of(change.account, transfer[TRANSFER.source])
  local target = bucket_of(change.account, transfer[TRANSFER.target])
  if not source or not target then return RESULT.NOT_FOUND end
  if amount <= 0 or source == target or source[BUCKET.kind] ~= target[BUCKET.kind] then return RESULT.INVALID end
  -- one that has ended is only there for what is held of it: what came into it would lapse at once
  if target[BUCKET.until_ms] > 0 and target[BUCKET.until_ms] <= change.now_ms then return RESULT.NOT_FOUND end
  local why = refusal_of_move(change, source, -amount, true, true)
  if why ~= RESULT.OK then return why end
  post_entry(change, source, -amount, COUNTERACCOUNT.TRANSIT, 'transfer', -1)
  why = refusal_of_move(change, target, amount, true, true)
  if why ~= RESULT.OK then return why end
  post_entry(change, target, amount, COUNTERACCOUNT.TRANSIT, 'transfer', -1)
  fill(target)
  return RESULT.OK
end

local refused = end_posting(change, transfer, 'transfer', move())
if refused then return refused end
change.record[RECORD.tags] = transfer[TRANSFER.tags]

-- write
return write_posting(KEYS, ARGV[1], transfer, change)
