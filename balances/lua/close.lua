-- close: an account is closed, with what it still has, once per key.
-- KEYS  account once due ledger
-- ARGV  epoch close
-- EXIT  ok again conflict refused held remains absent fenced full
-- `held`: a bucket is held; `remains`: what it still has was not said to go anywhere. Neither writes anything.
-- Twin: balances/model/close.py (charging.md section 16).
-- @use lib/posting
local close = cmsgpack.unpack(ARGV[2])

-- read
local packed, answer = read_posting(KEYS, close)

-- decide
local change, reply = begin_posting(packed, answer, close)
if reply then return reply end
local account = change.account

-- The counter-account that what a bucket still has goes to; nil: it stays, and the account is not closed.
local function rest_of(bucket)
  local rest = close[ACCOUNTCLOSING.rest]
  if rest == CLOSINGREST.TRANSIT then return COUNTERACCOUNT.TRANSIT end
  if rest == CLOSINGREST.PAYOUT and bucket[BUCKET.kind] == KIND.MONEY and not bucket[BUCKET.bonus] then
    return bucket[BUCKET.amount] >= 0 and COUNTERACCOUNT.PAYOUT or nil
  end
  return rest ~= CLOSINGREST.REFUSED and COUNTERACCOUNT.WRITE_OFF or nil
end

-- Nothing is granted from here on, and only the main bucket is left.
local function shut()
  local buckets = account[ACCOUNT.buckets]
  for i = #buckets, 1, -1 do
    if buckets[i][BUCKET.id] ~= MAIN then table.remove(buckets, i) end
  end
  if not has_state(account, SUSPENDREASONS.CLOSED) then
    account[ACCOUNT.rev] = account[ACCOUNT.rev] + 1
    raise_generation(change)
  end
  account[ACCOUNT.state] = bit.band(bit.bor(account[ACCOUNT.state], SUSPENDREASONS.CLOSED),
    bit.bnot(SUSPENDREASONS.GRACE + SUSPENDREASONS.CREATED))
  account[ACCOUNT.grace_until_ms] = 0
end

for _, bucket in ipairs(account[ACCOUNT.buckets]) do
  if bucket[BUCKET.held] > 0 then return { 'held' } end
end
local left = {}
for _, bucket in ipairs(account[ACCOUNT.buckets]) do
  local goes_to = rest_of(bucket)
  if bucket[BUCKET.amount] ~= 0 and not goes_to then return { 'remains' } end
  if goes_to == COUNTERACCOUNT.TRANSIT and bucket[BUCKET.amount] ~= 0 then left[#left + 1] = { unpack(bucket) } end
  if goes_to then
    post_entry(change, bucket, -bucket[BUCKET.amount], goes_to, goes_to == COUNTERACCOUNT.TRANSIT and 'merge' or goes_to, -1)
  end
end
shut()
local refused = end_posting(change, close, 'close',
  moves_too_much(change, close[ACCOUNTCLOSING.moves_max]) and RESULT.LIMITED or RESULT.OK)
if refused then return refused end
local record = change.record
record[RECORD.transfer], record[RECORD.counterpart] = close[ACCOUNTCLOSING.transfer], close[ACCOUNTCLOSING.counterpart]
record[RECORD.left], record[RECORD.tags] = left, close[ACCOUNTCLOSING.tags]

-- write
return write_posting(KEYS, ARGV[1], close, change)
