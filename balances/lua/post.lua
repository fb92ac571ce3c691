-- post: top-up, adjustment, refund or fee of the back office: all its postings or none, once per key.
-- KEYS  account once due ledger
-- ARGV  epoch post
-- EXIT  ok again conflict refused absent fenced full
-- Twin: balances/model/post.py.
-- @use lib/account
local post = cmsgpack.unpack(ARGV[2])

-- read
local packed = redis.call('GET', KEYS[1])
if not packed then return { 'absent' } end
local once = post[POST.key] ~= '' and redis.call('GET', KEYS[2])

-- decide
if once then
  local known = cmsgpack.unpack(once)
  if known[IDEMPOTENCYRECORD.fingerprint] == post[POST.fingerprint] then return { 'again', known[IDEMPOTENCYRECORD.outcome] } end
  return { 'conflict' }
end
local account = cmsgpack.unpack(packed)
local now_ms = max(post[POST.now_ms], account[ACCOUNT.clock_ms])
account[ACCOUNT.clock_ms] = now_ms
local entries, threshold_events, nudges = {}, {}, {}
local result, next_due = RESULT.OK, 0
expire_buckets(account, entries, now_ms)

-- A new bucket, in the place of an empty one where the account is full; nil when there is none.
local function new_bucket(posting)
  local buckets = account[ACCOUNT.buckets]
  if #buckets >= BUCKETS_MAX then
    for i, bucket in ipairs(buckets) do
      if bucket[BUCKET.id] ~= MAIN and bucket[BUCKET.amount] == 0 and bucket[BUCKET.held] == 0 then
        table.remove(buckets, i)
        break
      end
    end
  end
  if #buckets >= BUCKETS_MAX then return nil end
  local bucket = { account[ACCOUNT.next_bucket], posting[POSTING.kind], 0, 0, posting[POSTING.priority],
    posting[POSTING.from_ms], posting[POSTING.until_ms], posting[POSTING.scope], posting[POSTING.name],
    posting[POSTING.window_ms] }
  account[ACCOUNT.next_bucket] = account[ACCOUNT.next_bucket] + 1
  buckets[#buckets + 1] = bucket
  return bucket
end

for _, posting in ipairs(post[POST.postings]) do
  local bucket, amount = nil, posting[POSTING.amount]
  if posting[POSTING.bucket] < 0 then bucket = new_bucket(posting)
  else bucket = bucket_of(account, posting[POSTING.bucket]) end
  if result ~= RESULT.OK then -- all or none
  elseif not bucket then
    result = posting[POSTING.bucket] < 0 and RESULT.TOO_MUCH or RESULT.NOT_FOUND
  elseif amount < 0 and (post[POST.own_only] or bucket[BUCKET.id] ~= MAIN)
      and bucket[BUCKET.amount] - bucket[BUCKET.held] + amount < 0 then
    result = RESULT.CREDIT_LIMIT
  elseif amount < 0 and post[POST.keeps_held] and bucket[BUCKET.id] == MAIN
      and bucket[BUCKET.amount] - bucket[BUCKET.held] + account[ACCOUNT.credit_limit] + amount < 0 then
    result = RESULT.CREDIT_LIMIT
  elseif amount > room_in(account, bucket) or bucket[BUCKET.amount] + amount < -EXACT_MAX then
    result = RESULT.TOO_MUCH
  else
    post_entry(account, entries, bucket, amount, posting[POSTING.counter_account], posting[POSTING.why], -1)
    if amount ~= 0 and (posting[POSTING.original] > 0 or posting[POSTING.terms] ~= '') then
      local entry = entries[#entries]
      entry[ENTRY.original], entry[ENTRY.terms] = posting[POSTING.original], posting[POSTING.terms]
    end
    if amount > 0 then nudges[1] = 'final' end
    local until_ms = bucket[BUCKET.until_ms]
    if until_ms > 0 and (next_due == 0 or until_ms < next_due) then next_due = until_ms end
  end
end
local balance = check_thresholds(account, threshold_events, now_ms)
local outcome = cmsgpack.pack({ result, result == RESULT.OK and entries or {}, balance, account[ACCOUNT.state] })
if result ~= RESULT.OK then return { 'refused', outcome } end
table.sort(account[ACCOUNT.buckets], pays_before)
local account_packed = cmsgpack.pack(account)
local answer = cmsgpack.pack({ 1, post[POST.fingerprint], 0, true, outcome, 0, 0, {}, {}, '' })
local record = { 1, 'post', account[ACCOUNT.id], account[ACCOUNT.currency], '', '', '', 0, now_ms, now_ms,
  post[POST.key], post[POST.fingerprint], 0, entries, {}, post[POST.actor], post[POST.reason], post[POST.reference],
  threshold_events, nudges, post[POST.key], now_ms + post[POST.remember_ms], '' }

-- write
local failed
if post[POST.key] == '' then failed = append(KEYS[4], ARGV[1], record, 'a', account_packed)
else failed = append(KEYS[4], ARGV[1], record, 'a', account_packed, 'o', answer) end
if failed then return { failed } end
redis.call('SET', KEYS[1], account_packed)
if post[POST.key] ~= '' then redis.call('SET', KEYS[2], answer, 'PX', post[POST.remember_ms]) end
if next_due > 0 then look_by(KEYS[3], account[ACCOUNT.id] .. '\n', next_due) end
return { 'ok', outcome }
