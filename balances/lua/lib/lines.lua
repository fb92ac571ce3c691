-- Lines of a session: releasing, settling, holding; twin of balances/model/lines.py.
-- @use lib/spans
-- Where a line stands on its ladder: what a climb moves, without the rest of the line
local function position_of(line)
  local position = { 0, 0, 0, line[LINE.total], line[LINE.paid_ahead], line[LINE.rest], line[LINE.rest_price],
    line[LINE.rest_per], line[LINE.rest_rounding], line[LINE.fee_paid] }
  position[LINE.spent], position[LINE.charged], position[LINE.ahead_ms] =
    line[LINE.spent], line[LINE.charged], line[LINE.ahead_ms]
  return position
end

local function pool_hold(counter, bucket, amount)
  bucket[BUCKET.held] = bucket[BUCKET.held] + amount
  for _, take in ipairs(counter[COUNTER.pool]) do
    if take[TAKE.bucket] == bucket[BUCKET.id] then
      take[TAKE.amount] = take[TAKE.amount] + amount
      return
    end
  end
  local pool = counter[COUNTER.pool]
  pool[#pool + 1] = TAKE{ bucket = bucket[BUCKET.id], amount = amount }
end

-- Take the hold of a line up; returns what may pay its use (bucket id -> amount) and the units granted. On a tier that
-- is the money of all lines that share it: `repool` leaves them what they need.
local function release_hold(change, line)
  local account, own, granted, money = change.account, {}, line[LINE.granted], 0
  local priced = funds.price_held(account, line[LINE.hold], NONE)
  local ladder = (granted > 0 or #line[LINE.hold] > 0) and ladder_of(line[LINE.ladder])
  local tier = ladder and tier_of(ladder) or ''
  for _, take in ipairs(line[LINE.hold]) do
    local bucket = bucket_of(account, take[TAKE.bucket])
    local is_money = bucket[BUCKET.kind] == KIND.MONEY
    if is_money then money = money + take[TAKE.amount] end
    if not is_money or tier == '' then
      own[take[TAKE.bucket]] = take[TAKE.amount]
      bucket[BUCKET.held] = bucket[BUCKET.held] - take[TAKE.amount]
    end
  end
  local counter = tier ~= '' and counter_of(account, tier)
  if counter then
    for _, take in ipairs(counter[COUNTER.pool]) do
      local bucket = bucket_of(account, take[TAKE.bucket])
      own[take[TAKE.bucket]] = take[TAKE.amount]
      bucket[BUCKET.held] = bucket[BUCKET.held] - take[TAKE.amount]
    end
    counter[COUNTER.pool] = {}
    if line[LINE.due_ms] > 0 then counter[COUNTER.sharers] = counter[COUNTER.sharers] - 1 end
  end
  for _, count in ipairs(ladder and ladder[LADDER.counts] or NONE) do
    count_usage(account, count, 0, 0, 0 - summing.counted(count, granted, money - priced, money))
  end
  line[LINE.hold], line[LINE.granted], line[LINE.due_ms], line[LINE.final] = {}, 0, 0, false
  return own, granted
end

-- Give back what is left of `own`. While other lines hold on the same tier, their money stays with its counter: all but
-- what granting the `unused` units again would cost now.
local function repool(change, line, own, unused, at_ms)
  if not next(own) then return end
  local account = change.account
  local ladder = ladder_of(line[LINE.ladder])
  local counter = ladder and counter_of(account, tier_of(ladder))
  if not counter or counter[COUNTER.sharers] == 0 then return end
  local keep = 0
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.kind] == KIND.MONEY then keep = keep + (own[bucket[BUCKET.id]] or 0) end
  end
  if unused > 0 then
    open_funds(ALONE, {})
    local _, cost = climb_on(change, line[LINE.ladder], 0, NONE, position_of(line), unused, true, nil, at_ms,
      ms_per_unit(line[LINE.unit]), false, { held = true })
    keep = keep - cost
  end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    local part = bucket[BUCKET.kind] == KIND.MONEY and min(own[bucket[BUCKET.id]] or 0, keep) or 0
    if part > 0 then
      pool_hold(counter, bucket, part)
      keep = keep - part
    end
  end
end

local function release(change, line, at_ms)
  local own, granted = release_hold(change, line)
  repool(change, line, own, granted, at_ms)
end

-- What the lines of a session hold; whether there was any.
local function release_lines(change, lines, at_ms)
  local any = false
  for _, line in ipairs(lines) do
    if line[LINE.due_ms] > 0 then
      release(change, line, at_ms)
      any = true
    end
  end
  return any
end

-- The validity of a bucket may begin with its first use; that of units and their money begins for both.
local function begin_use(change, bucket)
  if bucket[BUCKET.window_ms] == 0 then return end
  local until_ms, parts = change.now_ms + bucket[BUCKET.window_ms], {}
  for _, part in ipairs(change.account[ACCOUNT.buckets]) do
    if whole_of(part) == whole_of(bucket) then
      parts[#parts + 1] = part
      if part[BUCKET.window_ms] == 0 and part[BUCKET.until_ms] > 0 then until_ms = part[BUCKET.until_ms] end -- an older version began it
    end
  end
  for _, part in ipairs(parts) do
    part[BUCKET.until_ms], part[BUCKET.window_ms] = until_ms, 0
    look_at_end(change, part)
  end
end

local function hold(change, line, takes, units, ladder, packed, at_ms, due_ms)
  local account, money = change.account, 0
  for _, take in ipairs(takes) do
    if bucket_of(account, take[TAKE.bucket])[BUCKET.kind] == KIND.MONEY then money = money + take[TAKE.amount] end
  end
  local tier, counter = tier_of(ladder), nil
  local priced = funds.price_held(account, line[LINE.hold], takes) - funds.price_held(account, line[LINE.hold], NONE)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if count[COUNT.key] == tier then counter = counter_made(account, count) end
    count_usage(account, count, at_ms, 0, summing.counted(count, units, money - priced, money))
  end
  if counter and line[LINE.due_ms] == 0 then counter[COUNTER.sharers] = counter[COUNTER.sharers] + 1 end
  for _, take in ipairs(takes) do
    local bucket, known = bucket_of(account, take[TAKE.bucket]), false
    begin_use(change, bucket)
    if counter and bucket[BUCKET.kind] == KIND.MONEY then pool_hold(counter, bucket, take[TAKE.amount])
    else bucket[BUCKET.held] = bucket[BUCKET.held] + take[TAKE.amount] end
    for _, held in ipairs(line[LINE.hold]) do
      if held[TAKE.bucket] == take[TAKE.bucket] then
        held[TAKE.amount] = held[TAKE.amount] + take[TAKE.amount]
        known = true
      end
    end
    if not known then
      local holds = line[LINE.hold]
      holds[#holds + 1] = TAKE{ bucket = take[TAKE.bucket], amount = take[TAKE.amount] }
    end
  end
  line[LINE.granted] = line[LINE.granted] + units
  line[LINE.ladder], line[LINE.due_ms] = packed, due_ms
end

-- Debit what the funds gave
-- before: money that the line was debited so far
local function debit(change, takes, index, before)
  for _, take in ipairs(takes) do
    local bucket = bucket_of(change.account, take[TAKE.bucket])
    begin_use(change, bucket)
    if bucket[BUCKET.price] > 0 then
      _, bucket[BUCKET.rest] = muldiv(bucket[BUCKET.price], take[TAKE.amount], bucket[BUCKET.rest], bucket[BUCKET.per], 0)
    end
    post_entry(change, bucket, -take[TAKE.amount], COUNTERACCOUNT.REVENUE, 'usage', index, before)
    if bucket[BUCKET.kind] == KIND.MONEY then before = before + take[TAKE.amount] end
  end
end

local function pay_from(own)
  local takes = funds_takes()
  for _, take in ipairs(takes) do
    local id = take[TAKE.bucket]
    if own[id] then own[id] = max(own[id] - take[TAKE.amount], 0) end
  end
  return takes
end

-- Money that a line may still be charged: neither the debt of the account nor what the line has paid passes 2^53
local function payable(account, line)
  return min(EXACT_MAX, bucket_of(account, MAIN)[BUCKET.amount] + EXACT_MAX, EXACT_MAX - line[LINE.debited])
end

-- How many of `units` can be held: the counters they feed stay below 2^53
local function countable(account, ladder, units)
  for _, count in ipairs(ladder[LADDER.counts]) do
    local counter = count[COUNT.what] == COUNTED.UNITS and counter_of(account, count[COUNT.key])
    if counter then units = min(units, EXACT_MAX - counter[COUNTER.held]) end
  end
  return units
end

-- Use by time goes on where the ladder of its hold does not price it. On a tier the hold is of that ladder's counter: what
-- it has left for the `unused` units is free again. Returns whether it was left.
local function leave_tier(change, line, own, unused, at_ms)
  local ladder = ladder_of(line[LINE.ladder])
  if not ladder or tier_of(ladder) == '' then return false end
  repool(change, line, own, unused, at_ms)
  for id in pairs(own) do own[id] = nil end
  return true
end

-- Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond from
-- whatever is free, and then from the main bucket. Of time they are a piece in which nothing changes (lib/spans). Returns
-- the money, who paid, and the units charged: fewer where an amount would pass 2^53 (charging.md section 2); and what they
-- came to before the session is rounded.
local function settle(change, line, ladder, used, granted, own, at_ms, since_ms, index)
  local account = change.account
  local ms = ms_per_unit(line[LINE.unit])
  local from_ms = at_ms - used * ms
  local within = min(used, granted)
  open_funds(OWN, own)
  funds.used_ms = ms > 0 and from_ms or min(since_ms, at_ms) -- volume: some time since the last report
  funds.clock_ms, funds.timed = from_ms, ms > 0
  local beyond_ms = ms > 0 and from_ms + within * ms or at_ms -- and what no grant is there for counts when it is reported
  lapse_ahead(line, within > 0 and funds.used_ms or beyond_ms)
  local values = counter_values(account, ladder, false, from_ms)
  local sums, most = change.sums, payable(account, line)
  summing.round_by(sums, ladder)
  funds.allowed = most
  local covered, exact = climb(ladder, line, within, values, from_ms, ms, false, nil, funds.payable(sums, ladder, most))
  local due = summing.due(sums, ladder, exact)
  local cost = due + funds.priced()
  summing.add(sums, ladder, exact)
  local takes = pay_from(own)
  if used > within and covered == within then
    repool(change, line, own, 0, at_ms) -- others' money on the same tier must not pay it
    for id in pairs(own) do own[id] = nil end
    open_funds(OPEN, {})
    lapse_ahead(line, beyond_ms)
    funds.used_ms, funds.clock_ms = ms > 0 and from_ms or 0, from_ms + within * ms
    for _, take in ipairs(takes) do note(take[TAKE.bucket], take[TAKE.amount]) end
    for _, count in ipairs(ladder[LADDER.counts]) do
      local value = (values[count[COUNT.key]] or 0) + summing.counted(count, within, exact, cost)
      values[count[COUNT.key]] = min(value, EXACT_MAX)
    end
    summing.round_by(sums, ladder)
    funds.allowed = most
    local more, extra = climb(ladder, line, used - within, values, from_ms + within * ms, ms, false, nil,
      funds.payable(sums, ladder, most - cost))
    covered, exact, due, takes = covered + more, exact + extra, due + summing.due(sums, ladder, extra), funds_takes()
    cost = due + funds.priced()
    summing.add(sums, ladder, extra)
  end
  change.priced = funds.priced()
  debit(change, takes, index, line[LINE.debited])
  for _, count in ipairs(ladder[LADDER.counts]) do
    count_usage(account, count, from_ms, summing.counted(count, covered, exact, cost), 0)
  end
  line[LINE.debited] = line[LINE.debited] + cost
  return cost, takes, covered, exact
end
