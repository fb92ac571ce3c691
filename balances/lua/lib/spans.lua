-- Use by time, cut where something else prices, pays or counts; twin of balances/model/spans.py.
-- @use lib/ladder
-- @use lib/account
-- @use lib/limits
-- Unpacked once, and kept from call to call: most holds have the ladder that is in force. Nothing ever changes one, so
-- what is kept here decides nothing. Bounded: LADDERS_KEPT, then it begins anew. Ladders with limits are of one subscriber
-- each: a few are kept apart, for the call that needs them several times.
local ladders, ladders_kept, limited_ladders, limited_kept = {}, 0, {}, 0
local function ladder_of(packed)
  if packed == '' then return nil end
  local ladder = ladders[packed] or limited_ladders[packed]
  if not ladder then
    ladder = cmsgpack.unpack(packed)
    if is_limited(ladder) then
      if limited_kept >= CUTS_MAX then limited_ladders, limited_kept = {}, 0 end
      limited_ladders[packed], limited_kept = ladder, limited_kept + 1
      return ladder
    end
    if ladders_kept >= LADDERS_KEPT then ladders, ladders_kept = {}, 0 end
    ladders[packed], ladders_kept = ladder, ladders_kept + 1
  end
  return ladder
end

local function ms_per_unit(unit)
  return unit == KIND.SECONDS and 1000 or 0
end

-- From when on use that ends at `to_ms` is not priced by what is at hand, 0: it is. `reach_ms`: of its first ladder
local function unknown_from(reach_ms, later, from_ms, to_ms)
  if reach_ms == 0 or to_ms <= reach_ms then return 0 end
  local missing_ms = max(reach_ms, from_ms)
  return later[1] and later[1][NEXTPRICE.from_ms] <= missing_ms and 0 or missing_ms
end

-- The packed ladder that prices use by time from an instant on, and until when; 0: for good
local function price_at(packed, reach_ms, later, at_ms)
  if reach_ms == 0 or at_ms < reach_ms then return packed, reach_ms end
  local until_ms = 0
  for _, one in ipairs(later) do
    if one[NEXTPRICE.from_ms] > at_ms then
      until_ms = one[NEXTPRICE.from_ms]
      break
    end
    if one[NEXTPRICE.ladder] ~= '' then packed = one[NEXTPRICE.ladder] end
  end
  return packed, until_ms
end

local before_change, hours_change
do

local function may_pay(ladder, bucket)
  for _, step in ipairs(ladder[LADDER.steps]) do
    if step[STEP.kind] == bucket[BUCKET.kind] then
      local scopes = bucket[BUCKET.scope]
      if #scopes == 0 then return true end
      for _, one in ipairs(scopes) do
        if one == step[STEP.scope] then return true end
      end
    end
  end
  return false
end

-- When hours of a bucket that may pay begin or end next, 0: never (charging.md 22).
function hours_change(account, ladder, at_ms)
  local next_ms = 0
  if #account[ACCOUNT.clock] == 0 then return next_ms end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if #bucket[BUCKET.hours] > 0 and may_pay(ladder, bucket) then
      local _, change_ms = hours_at(bucket[BUCKET.hours], account[ACCOUNT.clock], at_ms)
      if next_ms == 0 or change_ms < next_ms then next_ms = change_ms end
    end
  end
  return next_ms
end

local function asks_counter(ladder, key)
  if fed_with(ladder, key) then return true end
  for _, step in ipairs(ladder[LADDER.steps]) do
    if step[STEP.counter] == key then return true end
  end
  return false
end

-- How many of `units`, used from an instant on, begin before something else prices, pays or counts: another ladder (from
-- `until_ms` on, 0: none), a bucket whose validity begins or ends, a window from first use, a block that ends with its
-- period. To the second: what changes between two of them counts from the next one on (charging.md 5, 6).
function before_change(account, ladder, line, units, at_ms, until_ms, ms)
  local to_ms = at_ms + units * ms
  local function change(ms_then)
    if ms_then > 0 and ms_then > at_ms and ms_then < to_ms then to_ms = ms_then end
  end
  change(until_ms)
  change(hours_change(account, ladder, at_ms))
  if line[LINE.paid_ahead] > 0 then change(line[LINE.ahead_ms]) end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    local begin_ms, end_ms = bucket[BUCKET.from_ms], end_of(bucket)
    if (begin_ms > funds.now_ms or end_ms > 0) and may_pay(ladder, bucket) then
      if begin_ms > funds.now_ms then change(begin_ms) end
      change(end_ms)
    end
  end
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    if counter[COUNTER.window] ~= COUNTERWINDOW.NONE and asks_counter(ladder, counter[COUNTER.key]) then
      change(counter[COUNTER.until_ms])
    end
  end
  for _, count in ipairs(ladder[LADDER.counts]) do
    if count[COUNT.window_ms] > 0 then
      local counter = counter_of(account, count[COUNT.key])
      local end_ms = counter and counter[COUNTER.until_ms] or 0
      if end_ms == 0 or (end_ms <= at_ms and not count[COUNT.once]) then change(at_ms + count[COUNT.window_ms]) end
    end
  end
  return blocks_started(to_ms - at_ms, ms)
end

end

-- `climb` of one piece, and last what it came to before its session is rounded; a grant ends where a limit is reached.
-- taken, sums: get what the piece feeds limits and sums with
local function climb_piece(change, ladder, line, units, values, at_ms, ms, grant, grade, most, taken, sums)
  local limited, left_units, left_money = grant and is_limited(ladder), ENDLESS, ENDLESS
  if limited then
    left_units, left_money = limits_left(change.account, ladder)
    units, most = min(units, left_units), min(most or ENDLESS, left_money)
  end
  local priced = funds.priced()
  if funds.is_priced then funds.allowed = most and min(most + funds.paid(), EXACT_MAX) or EXACT_MAX end
  if (ladder[LADDER.sum_to] or 0) == 0 then
    local covered, exact, found = climb(ladder, line, units, values, at_ms, ms, grant, grade, most)
    local cost = exact + funds.priced() - priced
    if limited then add_limited(taken, ladder, covered, cost) end
    return covered, cost, found, exact
  end
  summing.round_by(sums, ladder)
  if not grant then most = most or EXACT_MAX end
  local covered, exact, found = climb(ladder, line, units, values, at_ms, ms, grant, grade, most and summing.within(sums, ladder, most))
  local cost = summing.due(sums, ladder, exact) + funds.priced() - priced
  summing.add(sums, ladder, exact)
  if limited then add_limited(taken, ladder, covered, cost) end
  return covered, cost, found, exact
end

-- `climb` piece by piece, each from where the one before ended. Nothing is kept: counters that a later piece sees are
-- raised for that alone. The cost is what is due. with_held, of_line: see counter_values. sums: of the session, or of a
-- grant; raised
local function climb_on(change, packed, reach_ms, later, line, units, with_held, of_line, at_ms, ms, grant, sums, grade, most)
  local account, ladder = change.account, ladder_of(packed)
  funds.used_ms, funds.granting, funds.clock_ms, funds.timed = ms > 0 and at_ms or 0, grant, at_ms, ms > 0
  if funds.is_priced then funds.held = grant and of_line and of_line[LINE.hold] or NONE end
  lapse_ahead(line, at_ms)
  funds.sums = false
  if ms == 0 and not funds.is_priced and not (grant and is_limited(ladder)) and (ladder[LADDER.sum_to] or 0) == 0 then
    local values = counter_values(account, ladder, with_held, at_ms, of_line)
    return climb(ladder, line, units, values, at_ms, ms, grant, grade, most)
  end
  local taken = {}
  if ms == 0 then
    local values = counter_values(account, ladder, with_held, at_ms, of_line)
    local covered, cost, found = climb_piece(change, ladder, line, units, values, at_ms, ms, grant, grade, most, taken, sums)
    note_counted(taken)
    return covered, cost, found
  end
  local covered, cost, kept = 0, 0, account[ACCOUNT.counters]
  while true do -- bounded: CUTS_MAX
    local until_ms
    packed, until_ms = price_at(packed, reach_ms, later, at_ms)
    ladder = ladder_of(packed)
    local part = before_change(account, ladder, line, units - covered, at_ms, until_ms, ms)
    local values = counter_values(account, ladder, with_held, at_ms, of_line)
    local got, paid, found, exact = climb_piece(change, ladder, line, part, values, at_ms, ms, grant, grade,
      most and most - cost, taken, sums)
    covered, cost, grade = covered + got, cost + paid, found or grade
    if got < part or covered == units or change.cuts >= CUTS_MAX then break end
    change.cuts = change.cuts + 1
    if account[ACCOUNT.counters] == kept then
      local copies = {}
      for i, counter in ipairs(kept) do
        copies[i] = { unpack(counter) }
      end
      account[ACCOUNT.counters] = copies
    end
    for _, count in ipairs(ladder[LADDER.counts]) do
      count_usage(account, count, at_ms, summing.counted(count, got, exact, paid), 0)
    end
    at_ms = at_ms + got * ms
    funds.used_ms, funds.clock_ms = at_ms, at_ms
    lapse_ahead(line, at_ms)
  end
  account[ACCOUNT.counters] = kept
  note_counted(taken)
  return covered, cost, grade
end
