-- fee: one period of a recurring fee with the units that it includes, or its end; once, by the days that are settled.
-- KEYS  account due ledger
-- ARGV  epoch fee
-- EXIT  ok again refused stale absent fenced full
-- Twin: balances/model/fee.py.
-- @use lib/posting
-- @use lib/lines
local fee = cmsgpack.unpack(ARGV[2])
local key = fee[FEE.key]
fee[FEE.key] = '' -- it only names the period: what is settled is known for ever, an answer is not

-- read
local packed = redis.call('HGET', KEYS[1], ACCOUNTFIELD.ACCOUNT)

-- decide
local change, reply = begin_posting(packed, false, fee)
if reply then return reply end
local account = change.account
funds.subscriber = fee[FEE.subscriber]

local function mark_of(chain)
  for _, mark in ipairs(account[ACCOUNT.fees]) do
    if mark[FEEMARK.chain] == chain then return mark end
  end
  return nil
end

-- Marks of assignments that ended long ago go.
local function drop_ended()
  local fees = account[ACCOUNT.fees]
  for i = #fees, 1, -1 do
    local ended_ms = fees[i][FEEMARK.ended_ms]
    if ended_ms > 0 and ended_ms + FEE_KEPT_MS <= change.now_ms then table.remove(fees, i) end
  end
end

-- The sum of what buckets paid of the period.
local function paid_of(mark)
  local sum = 0
  for _, take in ipairs(mark[FEEMARK.paid]) do sum = sum + take[TAKE.amount] end
  return sum
end

-- What a bucket may pay: nothing that is held.
local function free_for_fee(bucket)
  local free = free_of(bucket, OPEN)
  if bucket[BUCKET.id] == MAIN and fee[FEE.funds] == FEEFUNDS.OWN then free = free - funds.limit end
  return free
end

-- Hours are hours of use: what has some pays no fee.
local function pays_fees(bucket)
  return #bucket[BUCKET.hours] == 0 and pays(bucket, KIND.MONEY, 'fee', OPEN)
end

-- Take so much, in the order of payment; returns what was taken. owes: what is missing becomes debt of the main bucket.
local function take(mark, wanted, owes)
  local left, paid = wanted, mark[FEEMARK.paid]
  local function pay(bucket, amount)
    if amount <= 0 then return end
    begin_use(change, bucket)
    local entry = post_entry(change, bucket, -amount, COUNTERACCOUNT.FEE, 'fee', -1, paid_of(mark))
    entry[ENTRY.terms] = fee[FEE.terms]
    paid[#paid + 1] = TAKE{ bucket = bucket[BUCKET.id], amount = amount }
    left = left - amount
  end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if pays_fees(bucket) then pay(bucket, min(free_for_fee(bucket), left)) end
  end
  if owes then pay(bucket_of(account, MAIN), left) end
  return wanted - left
end

-- All that may pay: debt of the main bucket counts against the others.
local function available()
  local sum = 0
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if pays_fees(bucket) then sum = sum + free_for_fee(bucket) end
  end
  return max(sum, 0)
end

-- What is left of earlier periods beyond what may be carried lapses, the oldest first.
local function lapse_beyond(mark, units)
  if units[FEEUNITS.carried_max] < 0 then return end
  local left = -units[FEEUNITS.carried_max]
  local carried = {}
  for _, given in ipairs(mark[FEEMARK.buckets]) do
    local bucket = given[FEEBUCKET.name] == units[FEEUNITS.name] and bucket_of(account, given[FEEBUCKET.bucket])
    if bucket then
      carried[#carried + 1] = bucket
      left = left + bucket[BUCKET.amount]
    end
  end
  for _, bucket in ipairs(carried) do
    local part = min(left, bucket[BUCKET.amount] - bucket[BUCKET.held])
    if part > 0 then
      post_entry(change, bucket, -part, COUNTERACCOUNT.EXPIRY, 'expiry', -1)
      left = left - part
    end
  end
end

-- Give what a period includes, but for what would have ended; why that is not possible, or OK.
local function give(mark)
  local whole = 0 -- the bucket of units that was made last, whose money may follow
  for _, units in ipairs(fee[FEE.units]) do
    if not units[FEEUNITS.is_part] then whole = 0 end
    local until_ms = units[FEEUNITS.until_ms]
    if units[FEEUNITS.amount] > 0 and (until_ms == 0 or until_ms > change.now_ms) then
      lapse_beyond(mark, units)
      local bucket = add_bucket(change, BUCKET{ id = 0, kind = units[FEEUNITS.kind], amount = 0,
        priority = units[FEEUNITS.priority], until_ms = until_ms, scope = units[FEEUNITS.scope], name = units[FEEUNITS.name],
        member = units[FEEUNITS.member], blocker = units[FEEUNITS.blocker], hours = units[FEEUNITS.hours],
        part_of = whole, price = units[FEEUNITS.price], per = units[FEEUNITS.per] })
      if #units[FEEUNITS.hours] > 0 then account[ACCOUNT.clock] = fee[FEE.clock] end
      if not bucket or units[FEEUNITS.amount] > room_in(account, bucket) then return RESULT.TOO_MUCH end
      post_entry(change, bucket, units[FEEUNITS.amount], COUNTERACCOUNT.FEE, 'allowance', -1)
      fill(bucket)
      look_at_end(change, bucket)
      if not units[FEEUNITS.is_part] then
        local buckets = mark[FEEMARK.buckets]
        buckets[#buckets + 1], whole = FEEBUCKET{ name = units[FEEUNITS.name], bucket = bucket[BUCKET.id] }, bucket[BUCKET.id]
      end
    end
  end
  mark[FEEMARK.given] = true
  return RESULT.OK
end

-- Buckets that are gone need not be known any more.
local function forget_gone(mark)
  local buckets = mark[FEEMARK.buckets]
  for i = #buckets, 1, -1 do
    if not bucket_of(account, buckets[i][FEEBUCKET.bucket]) then table.remove(buckets, i) end
  end
end

-- Suspend or resume the account, as what is not paid says.
local function check_suspension(missing)
  local suspends = false
  for _, mark in ipairs(account[ACCOUNT.fees]) do suspends = suspends or mark[FEEMARK.suspends] end
  local is_suspended = has_state(account, SUSPENDREASONS.FEE)
  if suspends == is_suspended then return end
  account[ACCOUNT.state] = account[ACCOUNT.state] + (suspends and SUSPENDREASONS.FEE or -SUSPENDREASONS.FEE)
  note_crossing(change, suspends and CROSSINGKIND.SUSPEND or CROSSINGKIND.RESUME, CROSSINGOF.ACCOUNT, 'fee', missing,
    settled(account, change.now_ms), KIND.MONEY, '')
end

-- The period is settled: the next one begins on its last day.
local function settle(mark, suspends)
  mark[FEEMARK.day], mark[FEEMARK.short], mark[FEEMARK.suspends] = fee[FEE.until_day], false, suspends
end

-- Take the period; why not, and whether anything of the account changes.
local function take_period(mark)
  if not (mark[FEEMARK.short] and mark[FEEMARK.day] == fee[FEE.from_day]) then
    mark[FEEMARK.paid], mark[FEEMARK.given], mark[FEEMARK.short] = {}, false, false
  end
  local was_short, was_suspending = mark[FEEMARK.short], mark[FEEMARK.suspends]
  mark[FEEMARK.day], mark[FEEMARK.from_day], mark[FEEMARK.price] = fee[FEE.from_day], fee[FEE.from_day], fee[FEE.price]
  if has_state(account, SUSPENDREASONS.CLOSED) then
    settle(mark, false)
    check_suspension(0)
    return RESULT.DENIED, true
  end
  local paid = paid_of(mark)
  local wanted, owes = max(fee[FEE.amount] - paid, 0), fee[FEE.funds] == FEEFUNDS.DEBT
  local is_untouched = paid == 0 and not mark[FEEMARK.given]
  local covered, taken = available(), 0
  if covered >= wanted or owes then
    if owes and bucket_of(account, MAIN)[BUCKET.amount] - wanted < -EXACT_MAX then return RESULT.TOO_MUCH, false end
    taken = take(mark, wanted, owes)
  elseif fee[FEE.is_partial] and not (fee[FEE.lapses] and is_untouched) then
    taken = take(mark, covered, false)
  end
  local is_paid = taken == wanted
  if (is_paid or fee[FEE.gives_first]) and not mark[FEEMARK.given] then
    local why = give(mark)
    if why ~= RESULT.OK then return why, false end
    is_untouched = false
  end
  if is_paid then
    settle(mark, false)
  elseif fee[FEE.lapses] and is_untouched and taken == 0 then
    settle(mark, was_suspending or fee[FEE.suspends])
  else
    mark[FEEMARK.short], mark[FEEMARK.suspends] = true, was_suspending or fee[FEE.suspends]
  end
  check_suspension(wanted - taken)
  local changes = is_paid or not was_short or taken > 0 or #change.entries > 0 or not mark[FEEMARK.short]
    or mark[FEEMARK.suspends] ~= was_suspending
  return is_paid and RESULT.OK or RESULT.CREDIT_LIMIT, changes
end

-- Give back what was paid for days after the end, what was taken last first; what would go to a bucket that is gone lapses.
local function give_back(mark)
  local kept, paid = paid_of(mark), mark[FEEMARK.paid]
  local left = kept - fee[FEE.amount]
  for i = #paid, 1, -1 do
    local part = min(paid[i][TAKE.amount], left)
    if part > 0 then
      local bucket = bucket_of(account, paid[i][TAKE.bucket])
      local given = bucket and min(part, room_in(account, bucket)) or 0
      if given > 0 then
        local entry = post_entry(change, bucket, given, COUNTERACCOUNT.FEE, 'fee', -1, kept)
        entry[ENTRY.terms] = fee[FEE.terms]
      end
      left, kept = left - part, kept - part
    end
  end
end

-- The assignment is settled for good. What a closed account has paid and does not get back stays in the mark: so who asks again is
-- told that a refund may give it (charging.md section 21).
local function end_fee(mark)
  if not has_state(account, SUSPENDREASONS.CLOSED) then
    give_back(mark)
    mark[FEEMARK.paid] = {}
  end
  if fee[FEE.takes_back] then
    for _, given in ipairs(mark[FEEMARK.buckets]) do
      for _, bucket in ipairs(account[ACCOUNT.buckets]) do
        local until_ms = bucket[BUCKET.until_ms]
        if whole_of(bucket) == given[FEEBUCKET.bucket] and (until_ms == 0 or until_ms > change.now_ms) then
          bucket[BUCKET.until_ms] = change.now_ms
        end
      end
    end
    expire_buckets(change)
  end
  mark[FEEMARK.buckets], mark[FEEMARK.ended_ms] = {}, max(change.now_ms, 1)
  mark[FEEMARK.short], mark[FEEMARK.suspends], mark[FEEMARK.price] = false, false, ''
  check_suspension(0)
  return RESULT.OK, true
end

local mark = mark_of(fee[FEE.chain])
local function told(status, result, entries)
  return { status, cmsgpack.pack(FEEOUTCOME{ result = result, entries = entries, balance = settled(account, change.now_ms),
    state = account[ACCOUNT.state], mark = mark or FEEMARK{ chain = fee[FEE.chain], day = 0 } }) }
end

if mark and (mark[FEEMARK.ended_ms] > 0 or (fee[FEE.step] == FEESTEP.TAKE and fee[FEE.from_day] < mark[FEEMARK.day])) then
  return told('again', RESULT.OK, {})
end
if not mark then
  if change.now_ms - fee[FEE.now_ms] > FEE_STALE_MS then return { 'stale' } end
end
-- a failover has lost what the account said before: whoever asks goes back to the day that is not settled
if (mark and mark[FEEMARK.day] or 0) < (fee[FEE.known_day] or 0) then return told('again', RESULT.OK, {}) end
if not mark and fee[FEE.step] == FEESTEP.END then return told('again', RESULT.OK, {}) end
drop_ended()
if not mark then
  if #account[ACCOUNT.fees] >= FEES_MAX then return told('refused', RESULT.TOO_MUCH, {}) end
  mark = FEEMARK{ chain = fee[FEE.chain], day = fee[FEE.from_day] }
  account[ACCOUNT.fees][#account[ACCOUNT.fees] + 1] = mark
end
forget_gone(mark)
local result, changes
if fee[FEE.step] == FEESTEP.TAKE then result, changes = take_period(mark) else result, changes = end_fee(mark) end
if not changes then return told('refused', result, {}) end
end_posting(change, fee, 'fee', RESULT.OK)
change.record[RECORD.key], change.record[RECORD.once_until_ms] = key, 0
change.record[RECORD.subscriber], change.record[RECORD.service] = fee[FEE.subscriber], 'fee'
change.record[RECORD.event_ms] = fee[FEE.event_ms]

-- write
local failed = append(KEYS[3], ARGV[1], change.record, 'a', change.packed)
if failed then return { failed } end
redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, change.packed)
if change.due_ms > 0 then look_by(KEYS[2], fee[FEE.account], '', change.due_ms) end
return told('ok', result, change.entries)
