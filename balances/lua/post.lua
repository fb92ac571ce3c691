-- post: top-up, adjustment, refund, payout, write-off or fee of the back office, or one leg of a transfer between accounts: all
-- its postings or none, once per key.
-- KEYS  account once due ledger original
-- ARGV  epoch post
-- EXIT  ok again conflict refused absent fenced full
-- Twin: balances/model/post.py.
-- @use lib/posting
-- @use lib/reached
-- @use lib/refunded_again
local post = cmsgpack.unpack(ARGV[2])

-- read
local packed, answer = read_posting(KEYS, post)
local original = KEYS[5] and redis.call('GET', KEYS[5])

-- decide
local change, reply = begin_posting(packed, answer, post)
if reply then return reply end

local whole -- the bucket that was made last, whose money may follow
local is_short = false -- less was moved than was posted

-- One posting, to a bucket that is there or is made for it. `up_to`: as much as there is, so it is never refused.
local function move(posting)
  local amount, up_to, bucket = posting[POSTING.amount], posting[POSTING.up_to], nil
  if posting[POSTING.bucket] >= 0 then
    bucket = bucket_of(change.account, posting[POSTING.bucket])
    if not bucket then
      is_short = true
      return up_to and RESULT.OK or RESULT.NOT_FOUND
    end
  else
    bucket = add_bucket(change, BUCKET{ id = 0, kind = posting[POSTING.kind], amount = 0,
      priority = posting[POSTING.priority], from_ms = posting[POSTING.from_ms], until_ms = posting[POSTING.until_ms],
      scope = posting[POSTING.scope], name = posting[POSTING.name], window_ms = posting[POSTING.window_ms],
      bonus = posting[POSTING.bonus], member = posting[POSTING.member], blocker = posting[POSTING.blocker],
      hours = posting[POSTING.hours], part_of = posting[POSTING.is_part] and whole or 0,
      price = posting[POSTING.price] or 0, per = posting[POSTING.per] or 1 })
    if #posting[POSTING.hours] > 0 then change.account[ACCOUNT.clock] = post[POST.clock] end
    if not bucket then return RESULT.TOO_MUCH end
    if not posting[POSTING.is_part] then whole = bucket[BUCKET.id] end
  end
  if up_to then amount = as_much_as_there_is(bucket, amount) end
  if amount ~= posting[POSTING.amount] then is_short = true end
  -- what takes back a bonus takes it from where it went
  local own_only = post[POST.own_only] and not ((bucket[BUCKET.bonus] or bucket[BUCKET.price] > 0) and posting[POSTING.original] > 0)
  local why = refusal_of_move(change, bucket, amount, own_only, post[POST.keeps_held], post[POST.permits_debt])
  if why ~= RESULT.OK then return why end
  local entry = post_entry(change, bucket, amount, posting[POSTING.counter_account], posting[POSTING.why], -1)
  if entry then entry[ENTRY.original], entry[ENTRY.terms] = posting[POSTING.original], posting[POSTING.terms] end
  if amount > 0 and (posting[POSTING.bucket] < 0 or fills(posting[POSTING.counter_account])) then fill(bucket) end
  look_at_end(change, bucket)
  return RESULT.OK
end

local result, before = refusal_of_post(change, post), #change.entries
for _, extension in ipairs(post[POST.extends]) do extend_buckets(change, extension) end
prolong_grace(change, post[POST.grace_until_ms])
reset_limits(change, post[POST.resets])
turn_back_counters(change, post[POST.returns])
for _, posting in ipairs(post[POST.postings]) do
  if result == RESULT.OK then result = move(posting) end
end
if result == RESULT.OK and #change.entries == before and is_up_to(post) then result = RESULT.INVALID end
if result == RESULT.OK and moves_too_much(change, post[POST.moves_max]) then result = RESULT.LIMITED end
local refused = end_posting(change, post, 'post', result)
if refused and (not post[POST.final] or post[POST.key] == '') then return refused end

-- write
if refused then return write_refusal(KEYS, ARGV[1], post, change, packed) end
name_post(change, post)
if post[POST.refund_of] ~= '' and not is_short then change.source = refundable_again(post, original) end
if change.source then change.record[RECORD.refund_of] = post[POST.refund_of] end
return write_posting(KEYS, ARGV[1], post, change)
