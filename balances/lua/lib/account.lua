-- What every operation on an account shares: entries, expiry, thresholds, order of payment; twin of balances/model/account.py.
-- @use lib/amount
local function bucket_of(account, id)
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.id] == id then return bucket end
  end
  return nil
end

local function counter_of(account, key)
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    if counter[COUNTER.key] == key then return counter end
  end
  return nil
end

local function counter_made(account, count)
  local counter = counter_of(account, count[COUNT.key])
  if not counter then
    local window = count[COUNT.window_ms] > 0 and (count[COUNT.once] and COUNTERWINDOW.ONCE or COUNTERWINDOW.RENEWS) or COUNTERWINDOW.NONE
    counter = { count[COUNT.key], 0, 0, count[COUNT.until_ms], window, 0, {} }
    local counters = account[ACCOUNT.counters]
    counters[#counters + 1] = counter
  end
  return counter
end

-- Raise a counter. A window begins with its first use, and again with the first one after its end.
local function count_usage(account, count, at_ms, used, held)
  if used == 0 and held == 0 then return end
  local counter = counter_made(account, count)
  if counter[COUNTER.window] ~= COUNTERWINDOW.NONE and (used > 0 or held > 0) then
    local until_ms = counter[COUNTER.until_ms]
    if until_ms > 0 and until_ms <= at_ms and counter[COUNTER.window] == COUNTERWINDOW.RENEWS then
      counter[COUNTER.used], until_ms = 0, 0
    end
    if until_ms == 0 then counter[COUNTER.until_ms] = at_ms + count[COUNT.window_ms] end
  end
  counter[COUNTER.used] = min(counter[COUNTER.used] + used, EXACT_MAX) -- past every bound it says no more
  counter[COUNTER.held] = counter[COUNTER.held] + held
end

-- Value of each counter as a climb of this ladder begins: a grant sees what is held too, but under a cap only what its
-- own line holds; use that happened does not. A window that is over has nothing used in it, or is past every bound.
local NONE = {}
local function money_held(account, line)
  local sum = 0
  for _, take in ipairs(line and line[LINE.hold] or NONE) do
    if bucket_of(account, take[TAKE.bucket])[BUCKET.kind] == KIND.MONEY then sum = sum + take[TAKE.amount] end
  end
  return sum
end

local function is_cap(ladder, key)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if count[COUNT.cap] and count[COUNT.key] == key then return true end
  end
  return false
end

local function counter_values(account, ladder, with_held, at_ms, line)
  if #account[ACCOUNT.counters] == 0 and #ladder[LADDER.counts] == 0 then return NONE end
  local values = {}
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    local value, until_ms = counter[COUNTER.used], counter[COUNTER.until_ms]
    if counter[COUNTER.window] ~= COUNTERWINDOW.NONE and until_ms > 0 and until_ms <= at_ms then
      value = counter[COUNTER.window] == COUNTERWINDOW.ONCE and EXACT_MAX or 0
    end
    local held = with_held and counter[COUNTER.held] or 0
    if held > 0 and is_cap(ladder, counter[COUNTER.key]) then held = money_held(account, line) end
    values[counter[COUNTER.key]] = min(value + held, EXACT_MAX)
  end
  return values
end

-- Change a bucket and write the entry that says so: every amount that moves passes here.
local function post_entry(account, entries, bucket, amount, counter_account, why, line)
  if amount == 0 then return end
  account[ACCOUNT.seq] = account[ACCOUNT.seq] + 1
  bucket[BUCKET.amount] = bucket[BUCKET.amount] + amount
  entries[#entries + 1] = { account[ACCOUNT.seq], bucket[BUCKET.id], bucket[BUCKET.kind], amount,
    bucket[BUCKET.amount], counter_account, why, line, 0, '' }
end

-- The most that may still come into a bucket: what the account has of a kind stays below 2^53 together.
local function room_in(account, bucket)
  local others = 0
  for _, other in ipairs(account[ACCOUNT.buckets]) do
    if other ~= bucket and other[BUCKET.kind] == bucket[BUCKET.kind] and other[BUCKET.amount] > 0 then
      others = others + other[BUCKET.amount]
    end
  end
  return EXACT_MAX - others - bucket[BUCKET.amount]
end

-- What an expired bucket still has and nobody holds lapses; an expired bucket with nothing left is dropped.
local function expire_buckets(account, entries, now_ms)
  local buckets = account[ACCOUNT.buckets]
  for i = #buckets, 1, -1 do
    local bucket = buckets[i]
    if bucket[BUCKET.until_ms] > 0 and bucket[BUCKET.until_ms] <= now_ms then
      local spare = bucket[BUCKET.amount] - bucket[BUCKET.held]
      if spare > 0 then post_entry(account, entries, bucket, -spare, 'expiry', 'expiry', -1) end
      if bucket[BUCKET.amount] == 0 and bucket[BUCKET.held] == 0 then table.remove(buckets, i) end
    end
  end
  local counters = account[ACCOUNT.counters]
  for i = #counters, 1, -1 do
    local counter = counters[i]
    if counter[COUNTER.held] == 0 and counter[COUNTER.sharers] == 0 then
      -- it says no more than one that is not there; a window in which nothing was used has not begun
      local kept_ms = counter[COUNTER.window] == COUNTERWINDOW.NONE and COUNTER_KEPT_MS or 0
      if counter[COUNTER.used] == 0 or (counter[COUNTER.window] ~= COUNTERWINDOW.ONCE and counter[COUNTER.until_ms] > 0
          and counter[COUNTER.until_ms] + kept_ms <= now_ms) then
        table.remove(counters, i)
      end
    end
  end
end

-- Settled money: holds not subtracted, credit limit not added (charging.md section 7)
local function settled(account, now_ms)
  local sum = 0
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.kind] == KIND.MONEY and bucket[BUCKET.from_ms] <= now_ms
        and (bucket[BUCKET.until_ms] == 0 or bucket[BUCKET.until_ms] > now_ms) then
      sum = sum + bucket[BUCKET.amount]
    end
  end
  return sum
end

local function has_state(account, bits)
  return bit.band(account[ACCOUNT.state], bits) ~= 0
end

-- Suspend or resume for credit; appends the crossing, returns the settled balance.
local function check_thresholds(account, threshold_events, now_ms)
  local balance = settled(account, now_ms)
  if has_state(account, SUSPENDREASONS.CREDIT) then
    if balance >= account[ACCOUNT.resume_at] then
      account[ACCOUNT.state] = account[ACCOUNT.state] - SUSPENDREASONS.CREDIT
      threshold_events[#threshold_events + 1] = 'resume'
    end
  elseif balance < account[ACCOUNT.suspend_below] then
    account[ACCOUNT.state] = account[ACCOUNT.state] + SUSPENDREASONS.CREDIT
    threshold_events[#threshold_events + 1] = 'suspend'
  end
  return balance
end

local function pays_before(a, b)
  if a[BUCKET.priority] ~= b[BUCKET.priority] then return a[BUCKET.priority] < b[BUCKET.priority] end
  local a_until, b_until = a[BUCKET.until_ms], b[BUCKET.until_ms]
  if a_until == 0 then a_until = EXACT_MAX end
  if b_until == 0 then b_until = EXACT_MAX end
  if a_until ~= b_until then return a_until < b_until end
  return a[BUCKET.id] < b[BUCKET.id]
end

-- The first write of every script: an older epoch is refused here, with nothing written (durability.md rule 1).
-- The rest are further fields of the stream entry (structs/record.py says which). Returns false, or why it failed.
local function append_packed(ledger, epoch, record, ...)
  local reply = redis.pcall('XADD', ledger, epoch .. '-*', 'r', record, ...)
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'equal or smaller', 1, true) then return 'fenced' end
    error(reply)
  end
  return false
end

-- 1 where somebody acts on what the record says: the caller then wakes who reads the streams (Reply.urgent).
local function urgency(threshold_events, nudges)
  return (threshold_events[1] or nudges[1]) and 1 or 0
end

local function append(ledger, epoch, record, ...)
  return append_packed(ledger, epoch, cmsgpack.pack(record), ...)
end

-- Supervision looks at a member no later than its score.
local function look_by(due, member, at_ms)
  redis.call('ZADD', due, 'LT', at_ms, member)
end
