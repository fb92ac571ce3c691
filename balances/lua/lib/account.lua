-- What every operation on an account shares: entries, expiry, thresholds, order of payment; twin of balances/model/account.py.
-- @use lib/funds

-- The bucket that a bucket is, or is the money of (charging.md section 22).
local function whole_of(bucket)
  return bucket[BUCKET.part_of] > 0 and bucket[BUCKET.part_of] or bucket[BUCKET.id]
end

local open_change
do

-- An older version stored it: it lacks a field, or a bucket does.
local function is_older(account)
  if not account[ACCOUNT.clock] then return true end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if not bucket[BUCKET.rest] then return true end
  end
end

-- What an account lacks that an older version stored: the defaults of balances/structs/account.py.
local function grow(account)
  account[ACCOUNT.thresholds] = account[ACCOUNT.thresholds] or {}
  account[ACCOUNT.services] = account[ACCOUNT.services] or {}
  account[ACCOUNT.generation] = account[ACCOUNT.generation] or 0
  account[ACCOUNT.grace_until_ms], account[ACCOUNT.activated_ms] = account[ACCOUNT.grace_until_ms] or 0, account[ACCOUNT.activated_ms] or 0
  account[ACCOUNT.fees], account[ACCOUNT.clock] = account[ACCOUNT.fees] or {}, account[ACCOUNT.clock] or {}
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    bucket[BUCKET.filled], bucket[BUCKET.bonus], bucket[BUCKET.member] = bucket[BUCKET.filled] or 0, bucket[BUCKET.bonus] or false, bucket[BUCKET.member] or ''
    bucket[BUCKET.blocker], bucket[BUCKET.hours] = bucket[BUCKET.blocker] or false, bucket[BUCKET.hours] or {}
    bucket[BUCKET.part_of] = bucket[BUCKET.part_of] or 0
    bucket[BUCKET.price], bucket[BUCKET.per], bucket[BUCKET.rest] = bucket[BUCKET.price] or 0, bucket[BUCKET.per] or 1, bucket[BUCKET.rest] or 0
  end
end

-- What one call changes of an account, noted from here on. Time never runs backwards for an account. Nothing of it is kept
-- from call to call. due_ms: when supervision has to look at the buckets, 0: no sooner than it knows; cuts: how often use
-- by time was cut; sums: of the session that is charged; priced: of what was settled last, for prices of buckets.
function open_change(account, now_ms)
  if is_older(account) then grow(account) end
  now_ms = max(now_ms, account[ACCOUNT.clock_ms])
  account[ACCOUNT.clock_ms] = now_ms
  funds_of(account, now_ms)
  return { account = account, now_ms = now_ms, entries = {}, usages = {}, threshold_events = {}, reauthorize = {}, short = {},
    due_ms = 0, cuts = 0, generation = 0, sums = {}, priced = 0 }
end

end

-- What the network may do changes: by this call once (durability.md rule 10).
local function raise_generation(change)
  if change.generation > 0 then return end
  change.generation = change.account[ACCOUNT.generation] + 1
  change.account[ACCOUNT.generation] = change.generation
end

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
    counter = COUNTER{ key = count[COUNT.key], used = 0, held = 0, until_ms = count[COUNT.until_ms], window = window }
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

local counter_values
do

local function is_cap(ladder, key)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if count[COUNT.cap] and count[COUNT.key] == key then return true end
  end
  return false
end

function counter_values(account, ladder, with_held, at_ms, line)
  if #account[ACCOUNT.counters] == 0 and #ladder[LADDER.counts] == 0 then return NONE end
  local values = {}
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    local value, until_ms = counter[COUNTER.used], counter[COUNTER.until_ms]
    if counter[COUNTER.window] ~= COUNTERWINDOW.NONE and until_ms > 0 and until_ms <= at_ms then
      value = counter[COUNTER.window] == COUNTERWINDOW.ONCE and EXACT_MAX or 0
    end
    local held = with_held and counter[COUNTER.held] or 0
    if held > 0 and is_cap(ladder, counter[COUNTER.key]) then
      held = money_held(account, line) - (line and funds.price_held(account, line[LINE.hold], NONE) or 0)
    end
    values[counter[COUNTER.key]] = min(value + held, EXACT_MAX)
  end
  return values
end

end

-- Change a bucket and write the entry that says so: every amount that moves passes here.
-- before: money charged so far of what it is of
local function post_entry(change, bucket, amount, counter_account, why, line, before)
  if amount == 0 then return end
  local account, entries = change.account, change.entries
  account[ACCOUNT.seq] = account[ACCOUNT.seq] + 1
  bucket[BUCKET.amount] = bucket[BUCKET.amount] + amount
  entries[#entries + 1] = ENTRY{ seq = account[ACCOUNT.seq], bucket = bucket[BUCKET.id], kind = bucket[BUCKET.kind],
    amount = amount, after = bucket[BUCKET.amount], counter_account = counter_account, why = why, line = line,
    before = before or 0 }
  return entries[#entries]
end

-- Supervision looks at a bucket that was made, or has begun, when it ends.
local function look_at_end(change, bucket)
  local until_ms = bucket[BUCKET.until_ms]
  if until_ms > 0 and (change.due_ms == 0 or until_ms < change.due_ms) then change.due_ms = until_ms end
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

local expire_buckets
do

-- Units and their money end together, also where an older version let one of them begin alone.
local function end_parts(change, ended)
  for _, bucket in ipairs(change.account[ACCOUNT.buckets]) do
    if bucket[BUCKET.window_ms] > 0 and whole_of(bucket) == whole_of(ended) then
      bucket[BUCKET.until_ms], bucket[BUCKET.window_ms] = ended[BUCKET.until_ms], 0
      look_at_end(change, bucket)
    end
  end
end

-- What an expired bucket still has and nobody holds lapses; an expired bucket with nothing left is dropped.
function expire_buckets(change)
  local account, now_ms = change.account, change.now_ms
  local buckets = account[ACCOUNT.buckets]
  for i = #buckets, 1, -1 do
    local bucket = buckets[i]
    if bucket[BUCKET.until_ms] > 0 and bucket[BUCKET.until_ms] <= now_ms then
      local spare = bucket[BUCKET.amount] - bucket[BUCKET.held]
      if spare > 0 then post_entry(change, bucket, -spare, COUNTERACCOUNT.EXPIRY, 'expiry', -1) end
      end_parts(change, bucket)
      if bucket[BUCKET.blocker] then bucket[BUCKET.blocker], change.reauthorize[1] = false, 'final' end -- what is behind it pays from now on
      if bucket[BUCKET.amount] == 0 and bucket[BUCKET.held] == 0 then table.remove(buckets, i) end
    end
  end
  local counters = account[ACCOUNT.counters]
  for i = #counters, 1, -1 do
    local counter = counters[i]
    if counter[COUNTER.held] == 0 and counter[COUNTER.sharers] == 0 and (counter[COUNTER.reached_ms] or 0) == 0 then
      -- it says no more than one that is not there; a window in which nothing was used has not begun
      local kept_ms = counter[COUNTER.window] == COUNTERWINDOW.NONE and COUNTER_KEPT_MS or 0
      if (counter[COUNTER.used] == 0 and (kept_ms == 0 or (counter[COUNTER.turned] or 0) == 0)) or (counter[COUNTER.window] ~= COUNTERWINDOW.ONCE and counter[COUNTER.until_ms] > 0
          and counter[COUNTER.until_ms] + kept_ms <= now_ms) then
        table.remove(counters, i)
      end
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

-- Counters that the steps of a ladder depend on, as they stand: with them its price can be shown later.
local function counter_snapshot(account, ladder, at_ms)
  local found, values = {}, nil
  for _, step in ipairs(ladder and ladder[LADDER.steps] or NONE) do
    local key = step[STEP.counter]
    if key ~= '' and (#found == 0 or found[#found][COUNTERAMOUNT.key] ~= key) then
      values = values or counter_values(account, ladder, false, at_ms)
      found[#found + 1] = COUNTERAMOUNT{ key = key, amount = values[key] or 0 }
    end
  end
  return found
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

local function append(ledger, epoch, record, ...)
  return append_packed(ledger, epoch, cmsgpack.pack(record), ...)
end

-- The record of a call that is no charge, so far.
local function change_record(change, kind, actor, reason)
  return RECORD{ version = FORMAT, kind = kind, account = change.account[ACCOUNT.id],
    currency = change.account[ACCOUNT.currency], at_ms = change.now_ms, event_ms = change.now_ms,
    entries = change.entries, usages = change.usages, actor = actor, reason = reason,
    threshold_events = change.threshold_events, reauthorize = change.reauthorize, generation = change.generation }
end

-- 1 where somebody acts on what the record says: the caller then wakes who reads the streams (Reply.urgent).
local function urgency(change)
  return (change.threshold_events[1] or change.reauthorize[1]) and 1 or 0
end

-- Supervision looks at a session, or at the buckets of an account (''), no later than then.
local function look_by(due, account_id, session_id, at_ms)
  redis.call('ZADD', due, 'LT', at_ms, account_id .. '\n' .. session_id)
end
