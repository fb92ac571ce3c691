-- Lines of a session: releasing, settling, holding; twin of balances.model.Lines.
-- @use lib/ladder
-- @use lib/account
local changed = { sessions = 0, holds = 0, held_micro = 0 }

local ladders = {} -- unpacked once: the ladder of a hold is mostly the one in force
local function ladder_of(packed)
  if packed == '' then return nil end
  local ladder = ladders[packed]
  if not ladder then
    ladder = cmsgpack.unpack(packed)
    ladders[packed] = ladder
  end
  return ladder
end

-- Give the hold back; returns what it was (bucket id -> amount) and the units granted.
local function release(account, line)
  local own, granted, money = {}, line[LINE.granted], 0
  for _, take in ipairs(line[LINE.hold]) do
    local bucket = bucket_of(account, take[TAKE.bucket])
    own[take[TAKE.bucket]] = take[TAKE.amount]
    bucket[BUCKET.held] = bucket[BUCKET.held] - take[TAKE.amount]
    if bucket[BUCKET.kind] == KIND.MONEY then money = money + take[TAKE.amount] end
  end
  local ladder = (granted > 0 or money > 0) and ladder_of(line[LINE.ladder])
  if ladder then
    for _, count in ipairs(ladder[LADDER.counts]) do
      feed(account, count[COUNT.key], count[COUNT.until_ms], 0, count[COUNT.what] == 0 and -granted or -money)
    end
  end
  if line[LINE.due_ms] > 0 then changed.holds = changed.holds - 1 end
  changed.held_micro = changed.held_micro - money
  line[LINE.hold], line[LINE.granted], line[LINE.due_ms], line[LINE.final] = {}, 0, 0, false
  return own, granted
end

local function hold(account, line, takes, units, ladder, packed, due_ms)
  local money = 0
  for _, take in ipairs(takes) do
    local bucket = bucket_of(account, take[TAKE.bucket])
    bucket[BUCKET.held] = bucket[BUCKET.held] + take[TAKE.amount]
    if bucket[BUCKET.kind] == KIND.MONEY then money = money + take[TAKE.amount] end
    local known = false
    for _, held in ipairs(line[LINE.hold]) do
      if held[TAKE.bucket] == take[TAKE.bucket] then
        held[TAKE.amount] = held[TAKE.amount] + take[TAKE.amount]
        known = true
      end
    end
    if not known then
      local holds = line[LINE.hold]
      holds[#holds + 1] = { take[TAKE.bucket], take[TAKE.amount] }
    end
  end
  for _, count in ipairs(ladder[LADDER.counts]) do
    feed(account, count[COUNT.key], count[COUNT.until_ms], 0, count[COUNT.what] == 0 and units or money)
  end
  if line[LINE.due_ms] == 0 then changed.holds = changed.holds + 1 end
  changed.held_micro = changed.held_micro + money
  line[LINE.granted] = line[LINE.granted] + units
  line[LINE.ladder], line[LINE.due_ms] = packed, due_ms
end

-- Debit what the purse took; returns the money debited
local function debit(account, entries, takes, why, index)
  local money = 0
  for _, take in ipairs(takes) do
    local bucket = bucket_of(account, take[TAKE.bucket])
    if bucket[BUCKET.kind] == KIND.MONEY then money = money + take[TAKE.amount] end
    enter(account, entries, bucket, -take[TAKE.amount], 'revenue', why, index)
  end
  return money
end

-- Turn `used` units into a debit: what was granted is paid from the buckets its hold named, what goes beyond from
-- whatever is free, and then from the main bucket. Returns the money, or nil when a price passes 2^53.
local function settle(account, entries, line, ladder, used, granted, own, at_ms, since_ms, why, index)
  local ms = line[LINE.unit] == KIND.SECONDS and 1000 or 0
  local from_ms = at_ms - used * ms
  local within = min(used, granted)
  purse_open(OWN, own)
  purse.used_ms = ms > 0 and from_ms or min(since_ms, at_ms) -- volume: some time since the last report
  local values = counter_values(account, ladder, false)
  local covered, cost = climb(ladder, line, within, values, from_ms, ms, false)
  if not covered then return nil end
  if used > within then
    purse.mode = OPEN
    for _, count in ipairs(ladder[LADDER.counts]) do
      values[count[COUNT.key]] = (values[count[COUNT.key]] or 0) + (count[COUNT.what] == 0 and within or cost)
    end
    local more, extra = climb(ladder, line, used - within, values, from_ms + within * ms, ms, false)
    if not more then return nil end
    cost = cost + extra
  end
  local takes = purse_takes()
  for _, take in ipairs(takes) do
    if own[take[TAKE.bucket]] then
      own[take[TAKE.bucket]] = max(own[take[TAKE.bucket]] - take[TAKE.amount], 0)
    end
  end
  debit(account, entries, takes, why, index)
  for _, count in ipairs(ladder[LADDER.counts]) do
    feed(account, count[COUNT.key], count[COUNT.until_ms], count[COUNT.what] == 0 and used or cost, 0)
  end
  line[LINE.debited] = line[LINE.debited] + cost
  return cost, takes
end
