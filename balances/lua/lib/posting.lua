-- The posting frame: what every operation of the back office shares that moves amounts of one account, all or none, once per
-- key; twin of balances/model/posting.py. KEYS of such a script are account, once, due and ledger; its input is a struct
-- that begins with the fields of ACCOUNTOPERATION.
-- @use lib/life

-- The account and the answer under the key, as they are stored; false where there is none.
local function read_posting(keys, operation)
  local packed = redis.call('HGET', keys[1], ACCOUNTFIELD.ACCOUNT)
  return packed, packed and operation[ACCOUNTOPERATION.key] ~= '' and redis.call('GET', keys[2])
end

-- The account to be changed, at its clock, what has expired gone; or nil and the reply.
local function begin_posting(packed, answer, operation)
  if not packed then return nil, { 'absent' } end
  if answer then
    local known = cmsgpack.unpack(answer)
    if known[IDEMPOTENCYRECORD.fingerprint] ~= operation[ACCOUNTOPERATION.fingerprint] then return nil, { 'conflict' } end
    return nil, { 'again', known[IDEMPOTENCYRECORD.outcome] }
  end
  local change = open_change(cmsgpack.unpack(packed), operation[ACCOUNTOPERATION.now_ms])
  end_grace(change)
  expire_buckets(change)
  return change
end

local add_bucket
do

-- The first bucket that has nothing, holds nothing and blocks nothing makes room, with its units or money where these have
-- nothing either.
local function drop_spent(buckets)
  for _, one in ipairs(buckets) do
    local whole, spent = whole_of(one), one[BUCKET.id] ~= MAIN
    for _, part in ipairs(buckets) do
      if whole_of(part) == whole and (part[BUCKET.amount] ~= 0 or part[BUCKET.held] ~= 0 or part[BUCKET.blocker]) then
        spent = false
      end
    end
    if spent then
      for i = #buckets, 1, -1 do
        if whole_of(buckets[i]) == whole then table.remove(buckets, i) end
      end
      return
    end
  end
end

-- A new bucket, in the place of an empty one where the account is full; nil when there is none. bucket: a BUCKET whose id is
-- given here
function add_bucket(change, bucket)
  local account = change.account
  local buckets = account[ACCOUNT.buckets]
  if #buckets >= BUCKETS_MAX then drop_spent(buckets) end
  if #buckets >= BUCKETS_MAX then return nil end
  bucket[BUCKET.id] = account[ACCOUNT.next_bucket]
  account[ACCOUNT.next_bucket] = account[ACCOUNT.next_bucket] + 1
  buckets[#buckets + 1] = bucket
  return bucket
end

end

-- Why an amount cannot be moved; OK when it can. Nobody takes what is held, but from the main bucket, which may go below
-- zero: there own_only refuses what free own money does not cover, and everywhere what was given as bonus; keeps_held refuses
-- what free own money and the credit limit do not cover, with permits_debt only while some of it is held.
local function refusal_of_move(change, bucket, amount, own_only, keeps_held, permits_debt)
  local account, is_main = change.account, bucket[BUCKET.id] == MAIN
  local free = bucket[BUCKET.amount] - bucket[BUCKET.held] + amount
  if amount < 0 and own_only and (bucket[BUCKET.bonus] or bucket[BUCKET.price] > 0) then return RESULT.CREDIT_LIMIT end
  if amount < 0 and (own_only or not is_main) and free < 0 then return RESULT.CREDIT_LIMIT end
  keeps_held = keeps_held and not (permits_debt and bucket[BUCKET.held] == 0)
  if amount < 0 and keeps_held and is_main and free + account[ACCOUNT.credit_limit] < 0 then return RESULT.CREDIT_LIMIT end
  if amount > room_in(account, bucket) or bucket[BUCKET.amount] + amount < -EXACT_MAX then return RESULT.TOO_MUCH end
  return RESULT.OK
end

-- What came in by a top-up, a transfer or with a new bucket: percentages are of what it has now (charging.md section 7).
local function fill(bucket)
  bucket[BUCKET.filled] = max(bucket[BUCKET.amount], 0)
end

-- Of a posting `up_to`: what is free of a debit, what is owed of a credit; charging.md 17.
local function as_much_as_there_is(bucket, amount)
  if amount < 0 then return -min(-amount, max(bucket[BUCKET.amount] - bucket[BUCKET.held], 0)) end
  return min(amount, max(-bucket[BUCKET.amount], 0))
end

-- Whether only what there is decides how much is moved: then a post that comes to nothing is none.
local function is_up_to(post)
  for _, posting in ipairs(post[POST.postings]) do
    if not posting[POSTING.up_to] then return false end
  end
  return true
end

local function fills(counter_account)
  return counter_account == COUNTERACCOUNT.TOP_UP or counter_account == COUNTERACCOUNT.VOUCHER
    or counter_account == COUNTERACCOUNT.TRANSIT
end

-- Buckets of a name end no sooner than an instant: no end comes nearer, none is made, none that has passed is undone
-- (charging.md 23).
local function extend_buckets(change, extension)
  for _, bucket in ipairs(change.account[ACCOUNT.buckets]) do
    local until_ms = bucket[BUCKET.until_ms]
    if bucket[BUCKET.name] == extension[BUCKETEXTENSION.name] and until_ms > change.now_ms then
      bucket[BUCKET.until_ms] = max(until_ms, extension[BUCKETEXTENSION.until_ms])
      look_at_end(change, bucket)
    end
  end
end

local refusal_of_post
do -- a script has room for 200 local names

-- Money that a post takes from its account.
local function money_taken(post)
  local sum = 0
  for _, posting in ipairs(post[POST.postings]) do
    if posting[POSTING.kind] == KIND.MONEY then sum = sum - posting[POSTING.amount] end
  end
  return max(sum, 0)
end

-- Whether it begins with one. What a voucher gives besides comes from there too, but in behind what it is worth, and a claim is
-- refused by nobody (charging.md section 18).
local function is_top_up(post)
  local first = post[POST.postings][1]
  return first and first[POSTING.counter_account] == COUNTERACCOUNT.TOP_UP
end

-- Why nothing of a post may be done; OK, and its counters are raised.
function refusal_of_post(change, post)
  local account = change.account
  if has_state(account, post[POST.denied_in]) then return RESULT.DENIED end
  if is_top_up(post) and has_state(account, SUSPENDREASONS.CLOSED) then return RESULT.DENIED end
  for _, count in ipairs(post[POST.counts]) do
    local counter, amount = counter_of(account, count[COUNT.key]), count[COUNT.what] == COUNTED.UNITS and 1 or money_taken(post)
    local limit = count[COUNT.limit]
    if limit >= 0 and amount + (counter and counter[COUNTER.used] or 0) > limit then return RESULT.LIMITED end
    count_usage(account, count, change.now_ms, amount, 0)
  end
  return RESULT.OK
end

end

-- More of some kind than its caller may; what has lapsed was moved by nobody (charging.md 17).
local function moves_too_much(change, moves_max)
  if #moves_max == 0 then return false end
  local moved = {}
  for _, entry in ipairs(change.entries) do
    local kind = entry[ENTRY.kind]
    if entry[ENTRY.why] ~= 'expiry' then moved[kind] = (moved[kind] or 0) + math.abs(entry[ENTRY.amount]) end
  end
  for place, most in ipairs(moves_max) do
    if most >= 0 and (moved[place - 1] or 0) > most then return true end
  end
  return false
end

-- The outcome as it is kept under the key.
local function answer_of(change, operation)
  return cmsgpack.pack(IDEMPOTENCYRECORD{ version = FORMAT, fingerprint = operation[ACCOUNTOPERATION.fingerprint],
    end_to_end = 0, moved = true, outcome = change.outcome })
end

-- What the record says of who asked for what.
local function name_operation(change, operation)
  local record = change.record
  record[RECORD.key], record[RECORD.fingerprint] = operation[ACCOUNTOPERATION.key], operation[ACCOUNTOPERATION.fingerprint]
  record[RECORD.once_key] = operation[ACCOUNTOPERATION.key]
  record[RECORD.once_until_ms] = change.now_ms + operation[ACCOUNTOPERATION.remember_ms]
  record[RECORD.reference] = operation[ACCOUNTOPERATION.reference]
end

-- Of which transfer between accounts a post is a leg, and its tags.
local function name_post(change, post)
  local record = change.record
  record[RECORD.transfer], record[RECORD.counterpart] = post[POST.transfer], post[POST.counterpart]
  record[RECORD.tags] = post[POST.tags]
end

-- What is to be written stands in the change then; or the reply of a refusal is returned, and nothing is to be written.
-- result: of all that was moved
local function end_posting(change, operation, kind, result)
  local account, entries = change.account, change.entries
  for _, entry in ipairs(entries) do
    if entry[ENTRY.amount] > 0 then change.reauthorize[1] = 'final' end
  end
  local balance = check_thresholds(change)
  local is_ok = result == RESULT.OK
  change.outcome = cmsgpack.pack(POSTINGOUTCOME{ result = result, entries = is_ok and entries or {}, balance = balance,
    state = account[ACCOUNT.state] })
  if not is_ok then return { 'refused', change.outcome } end
  table.sort(account[ACCOUNT.buckets], pays_before)
  change.packed = cmsgpack.pack(account)
  change.answer = answer_of(change, operation)
  change.record = change_record(change, kind, operation[ACCOUNTOPERATION.actor], operation[ACCOUNTOPERATION.reason])
  name_operation(change, operation)
end

local function write_posting(keys, epoch, operation, change)
  local failed
  if operation[ACCOUNTOPERATION.key] == '' then failed = append(keys[4], epoch, change.record, 'a', change.packed)
  elseif change.source then
    failed = append(keys[4], epoch, change.record, 'a', change.packed, 'o', change.answer, 'p', change.source)
  else failed = append(keys[4], epoch, change.record, 'a', change.packed, 'o', change.answer) end
  if failed then return { failed } end
  if change.source then redis.call('SET', keys[5], change.source, 'PX', operation[ACCOUNTOPERATION.remember_ms]) end
  redis.call('HSET', keys[1], ACCOUNTFIELD.ACCOUNT, change.packed)
  if operation[ACCOUNTOPERATION.key] ~= '' then redis.call('SET', keys[2], change.answer, 'PX', operation[ACCOUNTOPERATION.remember_ms]) end
  if change.due_ms > 0 then look_by(keys[3], operation[ACCOUNTOPERATION.account], '', change.due_ms) end
  return { 'ok', change.outcome }
end

-- A refusal for good: on record and kept under the key, and the account stays as it was. packed: as it is stored
local function write_refusal(keys, epoch, operation, change, packed)
  change.entries, change.threshold_events, change.reauthorize, change.generation = {}, {}, {}, 0
  change.answer = answer_of(change, operation)
  change.record = change_record(change, 'refuse', operation[ACCOUNTOPERATION.actor], operation[ACCOUNTOPERATION.reason])
  name_operation(change, operation)
  name_post(change, operation)
  local failed = append(keys[4], epoch, change.record, 'a', packed, 'o', change.answer)
  if failed then return { failed } end
  redis.call('SET', keys[2], change.answer, 'PX', operation[ACCOUNTOPERATION.remember_ms])
  return { 'refused', change.outcome }
end
