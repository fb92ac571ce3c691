-- Who is granted what, when there may not be enough for all; twin of balances/model/granting.py.
-- @use lib/lines
local asking_line, grant
do -- what only a grant uses is named here: a script has room for 200 names

-- A line that may be granted units. PRICED_BY: the ladder that prices the grant; GRADE: of what was granted, nil before;
-- IS_OUT: it is granted nothing, whatever becomes free; SUMS: what is held for it, before its session is rounded
local INDEX, ASKED, LINE_OF, WANT, GOT, POSITION, LADDER_OF, PRICED_BY, GRADE, IS_OUT, SUMS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11

function asking_line(index, ask, line, want)
  return { index, ask, line, want, 0, [SUMS] = { held = true } }
end

-- Climb on from where the line's position stands and hold what that takes; `keep` false only measures.
local function extend(change, one, units, keep, event_ms)
  local ask = one[ASKED]
  local ms = ms_per_unit(ask[ASK.unit])
  local position = keep and one[POSITION] or position_of(one[POSITION])
  units = countable(change.account, one[LADDER_OF], units)
  local covered, _, grade = climb_on(change, one[PRICED_BY], 0, NONE, position, units, true, one[LINE_OF],
    event_ms + one[GOT] * ms, ms, keep, keep and one[SUMS] or summing.copied(one[SUMS]), one[GRADE])
  if keep and covered > 0 then
    one[GOT] = one[GOT] + covered
    one[GRADE] = grade or one[GRADE]
    hold(change, one[LINE_OF], funds_takes(), covered, one[LADDER_OF], ask[ASK.ladder], event_ms,
      change.now_ms + 2 * ask[ASK.validity_ms])
    one[LINE_OF][LINE.reach_ms] = ms > 0 and ask[ASK.until_ms] or 0
  end
  return covered
end

-- How many further units of a line the funds that is open covers.
local function covered_of(change, one, units, event_ms, grade)
  local ms = ms_per_unit(one[ASKED][ASK.unit])
  return (climb_on(change, one[PRICED_BY], 0, NONE, position_of(one[POSITION]), units, true, one[LINE_OF],
    event_ms + one[GOT] * ms, ms, true, summing.copied(one[SUMS]), grade))
end

local function is_hungry(one)
  return not one[IS_OUT] and one[GOT] >= min(one[WANT], one[ASKED][ASK.minimum]) and one[GOT] < one[WANT]
end

local function give_up(change, one, event_ms)
  if one[GOT] > 0 then release(change, one[LINE_OF], event_ms) end
  one[GOT], one[IS_OUT] = 0, true
end

local function money_of(account, takes)
  local sum = 0
  for _, take in ipairs(takes) do
    if bucket_of(account, take[TAKE.bucket])[BUCKET.kind] == KIND.MONEY then sum = sum + take[TAKE.amount] end
  end
  return sum
end

-- The part of each limit that a line gets, where all of them together want more than it leaves. fed: what each would feed
-- its limits with, by line; sums: all of them
local function rations_of(change, one, fed, sums)
  local rations = false
  for _, count in ipairs(one[LADDER_OF][LADDER.counts]) do
    local key = count[COUNT.key]
    local mine = fed[one][key]
    if mine then
      local left = max(left_of_limit(change.account, count), 0)
      if sums[key] > left then
        rations = rations or {}
        rations[key] = share(left, mine, sums[key])
      end
    end
  end
  return rations
end

-- Each bucket, and each limit, in proportion to what each line would take of it; returns the units granted.
local function share_rest(change, asking, event_ms)
  local sums, alone, granted = {}, {}, 0
  local fed, fed_sums, rations = {}, {}, {}
  for _, one in ipairs(asking) do
    if is_hungry(one) then
      open_funds(OPEN, {})
      local units = extend(change, one, one[WANT] - one[GOT], false, event_ms)
      alone[one], fed[one] = funds_takes(), {}
      for _, take in ipairs(alone[one]) do
        sums[take[TAKE.bucket]] = (sums[take[TAKE.bucket]] or 0) + take[TAKE.amount]
      end
      add_limited(fed[one], one[LADDER_OF], units, money_of(change.account, alone[one]))
      for key, amount in pairs(fed[one]) do fed_sums[key] = (fed_sums[key] or 0) + amount end
    end
  end
  local free = {}
  open_funds(OPEN, {})
  for id in pairs(sums) do free[id] = max(free_of(bucket_of(change.account, id), OPEN), 0) end
  for one in pairs(alone) do rations[one] = rations_of(change, one, fed, fed_sums) end
  for _, one in ipairs(asking) do
    if alone[one] then
      open_funds(OPEN, {})
      local caps, scarce = {}, false
      for _, take in ipairs(alone[one]) do
        local id = take[TAKE.bucket]
        caps[id] = take[TAKE.amount]
        if sums[id] > free[id] then caps[id], scarce = share(free[id], take[TAKE.amount], sums[id]), true end
      end
      funds.caps, funds.rations = scarce and caps, rations[one]
      granted = granted + extend(change, one, one[WANT] - one[GOT], true, event_ms)
    end
  end
  return granted
end

-- Bucket by bucket: a line that has its part of one may want more of the next. What rounding leaves is for the first.
local function share_all(change, asking, event_ms)
  for _ = 1, SHARINGS_MAX do
    if share_rest(change, asking, event_ms) == 0 then break end
  end
  for _, one in ipairs(asking) do
    if is_hungry(one) then
      open_funds(OPEN, {})
      extend(change, one, one[WANT] - one[GOT], true, event_ms)
    end
  end
end

-- In priority then message order, and each from where its line stands.
local function line_up(asking, event_ms)
  table.sort(asking, function(a, b)
    if a[ASKED][ASK.priority] ~= b[ASKED][ASK.priority] then return a[ASKED][ASK.priority] < b[ASKED][ASK.priority] end
    return a[INDEX] < b[INDEX]
  end)
  for _, one in ipairs(asking) do
    local ask, line = one[ASKED], one[LINE_OF]
    if line[LINE.unit] ~= ask[ASK.unit] then -- counted in another unit from here on: nothing carries over
      line[LINE.unit], line[LINE.total], line[LINE.paid_ahead], line[LINE.rest] = ask[ASK.unit], 0, 0, 0
      line[LINE.ahead_ms] = 0
    end
    one[POSITION], one[LADDER_OF] = position_of(line), ladder_of(ask[ASK.ladder])
    one[PRICED_BY] = ask[ASK.dearest] ~= '' and ask[ASK.dearest] or ask[ASK.ladder]
    lapse_ahead(one[POSITION], event_ms)
    one[GRADE] = one[POSITION][LINE.paid_ahead] > 0 and line[LINE.grade] or nil
  end
end

-- The least for each line: its minimum, and all that it wants where it asks alone or is served whole. Of the latter
-- nothing is held that is not all: the next line may have it. Then a fair part of the rest.
local function share_out(change, asking, event_ms)
  for _, one in ipairs(asking) do
    local ask, least = one[ASKED], one[WANT]
    if #asking > 1 and not ask[ASK.whole] then least = min(least, ask[ASK.minimum]) end
    if not one[IS_OUT] and one[GOT] < least then
      open_funds(OPEN, {})
      if ask[ASK.whole] and covered_of(change, one, least, event_ms, one[GRADE]) < least then give_up(change, one, event_ms)
      else
        open_funds(OPEN, {})
        extend(change, one, least - one[GOT], true, event_ms)
        if ask[ASK.whole] and one[GOT] < least then give_up(change, one, event_ms) end
      end
    end
  end
  if #asking > 1 then share_all(change, asking, event_ms) end
end

-- Of two that are charged side by side both are granted, or neither is. Returns whether one was given up.
local function give_up_halves(change, asking, beside, event_ms)
  local any = false
  for _, other in ipairs(asking) do
    local one = other[ASKED][ASK.secondary] == 1 and beside[other[INDEX] - 1]
    if one and (one[GOT] > 0) ~= (other[GOT] > 0) then
      give_up(change, one, event_ms)
      give_up(change, other, event_ms)
      any = true
    end
  end
  return any
end

-- Whether limits of units leave room for these, which cost nothing more.
local function leaves(change, one, units)
  open_funds(OPEN, {})
  return (limits_left(change.account, one[LADDER_OF])) >= units
end

-- Up to the end of a block, where a line wants it so.
local function round_off(change, asking, event_ms)
  for _, one in ipairs(asking) do
    local ask = one[ASKED]
    if ask[ASK.blocks] and one[GOT] > 0 then
      local ahead = one[POSITION][LINE.paid_ahead]
      if ahead > 0 and (ask[ASK.maximum] == 0 or one[GOT] + ahead <= ask[ASK.maximum])
          and countable(change.account, one[LADDER_OF], ahead) == ahead and leaves(change, one, ahead) then
        one[POSITION][LINE.total], one[POSITION][LINE.paid_ahead] = one[POSITION][LINE.total] + ahead, 0
        one[GOT] = one[GOT] + ahead
        hold(change, one[LINE_OF], {}, ahead, one[LADDER_OF], ask[ASK.ladder], event_ms, one[LINE_OF][LINE.due_ms])
      end
    end
  end
end

local function partner_of(one, beside)
  local other = beside[one[INDEX] + (one[ASKED][ASK.secondary] == 1 and -1 or 1)]
  return other and other[GOT] > 0 and other[ASKED][ASK.secondary] ~= one[ASKED][ASK.secondary] and other or nil
end

-- Another session of the account holds something. On a tier money is held by the counter: there its sharers are counted.
local function others_hold(change, lines)
  local account, mine, sharing = change.account, {}, {}
  for _, line in ipairs(lines) do
    local tier = line[LINE.due_ms] > 0 and tier_of(ladder_of(line[LINE.ladder])) or ''
    sharing[tier] = (sharing[tier] or 0) + 1
    for _, take in ipairs(line[LINE.hold]) do
      local id = take[TAKE.bucket]
      if tier == '' or bucket_of(account, id)[BUCKET.kind] ~= KIND.MONEY then mine[id] = (mine[id] or 0) + take[TAKE.amount] end
    end
  end
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    if counter[COUNTER.sharers] > (sharing[counter[COUNTER.key]] or 0) then return true end
    for _, take in ipairs(counter[COUNTER.pool]) do
      mine[take[TAKE.bucket]] = (mine[take[TAKE.bucket]] or 0) + take[TAKE.amount]
    end
  end
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.held] > (mine[bucket[BUCKET.id]] or 0) then return true end
  end
  return false
end

-- A grant of octets or seconds that would leave less than a minimum takes that rest too, unless somebody else could use
-- it: so nothing is left that buys blocks and cannot be had (charging.md section 5).
local function take_rests(change, lines, asking, beside, event_ms)
  local short, shorts = nil, 0
  for _, one in ipairs(asking) do
    if one[GOT] < one[WANT] then short, shorts = one, shorts + 1 end
  end
  for _, one in ipairs(asking) do
    local ask, least = one[ASKED], one[ASKED][ASK.minimum]
    if one[GOT] > 0 and (ask[ASK.unit] == KIND.OCTETS or ask[ASK.unit] == KIND.SECONDS) and not ask[ASK.whole]
        and (shorts == 0 or (shorts == 1 and short == one)) and not partner_of(one, beside) then
      open_funds(OPEN, {})
      local rest = covered_of(change, one, least, event_ms, one[GRADE])
      local within = ask[ASK.maximum] > 0 and min(rest, ask[ASK.maximum] - one[GOT]) or rest
      if within > 0 and rest < least and not others_hold(change, lines) then
        open_funds(OPEN, {})
        extend(change, one, within, true, event_ms)
      end
      if short == one and one[GOT] >= one[WANT] then shorts = shorts - 1 end
    end
  end
end

-- How much of the least that could be granted further is covered by the funds that is open, and that least: one unit,
-- which takes a block, or all that is wanted of what is served whole.
local function further_of(change, one, event_ms)
  local least = one[ASKED][ASK.whole] and one[WANT] or 1
  return covered_of(change, one, least, event_ms), least
end

-- Whether limits stop a line: there is money for what it lacks of the least, or for one unit more.
local function is_stopped(change, one, event_ms)
  if not is_limited(one[LADDER_OF]) then return false end
  local ask = one[ASKED]
  local lacks = max((ask[ASK.whole] and one[WANT] or min(one[WANT], ask[ASK.minimum])) - one[GOT], 1)
  open_funds(OPEN, {})
  funds.unlimited = true
  return covered_of(change, one, lacks, event_ms) >= lacks
end

-- Limits that would leave more to this line, if others did not hold it.
local function note_limits(change, one)
  local short, own = change.short, {}
  add_limited(own, one[LADDER_OF], one[LINE_OF][LINE.granted], money_held(change.account, one[LINE_OF]))
  for _, count in ipairs(one[LADDER_OF][LADDER.counts]) do
    local key = count[COUNT.key]
    local counter = own[key] and counter_of(change.account, key)
    local noted = not counter or counter[COUNTER.held] <= own[key]
    for _, other in ipairs(short) do noted = noted or other[SHORT.counter] == key end
    if not noted then
      short[#short + 1] = SHORT{ bucket = -1, counter = key,
        kind = count[COUNT.what] == COUNTED.MONEY and KIND.MONEY or one[ASKED][ASK.unit] }
    end
  end
end

-- Buckets that could pay this line, of which something is held, or limits (charging.md 5: whom RAR goes to)
local function note_short(change, one, event_ms)
  if is_stopped(change, one, event_ms) then return note_limits(change, one) end
  local short, steps = change.short, ladder_of(one[PRICED_BY])[LADDER.steps]
  funds.used_ms, funds.granting, funds.clock_ms = 0, true, event_ms
  for _, bucket in ipairs(change.account[ACCOUNT.buckets]) do
    local noted = bucket[BUCKET.held] <= 0
    for _, other in ipairs(short) do noted = noted or other[SHORT.bucket] == bucket[BUCKET.id] end
    for _, step in ipairs(steps) do
      if not noted and (pays(bucket, step[STEP.kind], step[STEP.scope], OPEN)
          or (funds.asks_money(step[STEP.kind], step[STEP.scope]) and pays(bucket, KIND.MONEY, step[STEP.scope], OPEN))) then
        short[#short + 1], noted = SHORT{ bucket = bucket[BUCKET.id], kind = bucket[BUCKET.kind] }, true
      end
      if funds_block(step[STEP.kind], step[STEP.scope]) then break end
    end
  end
end

-- What a line holds of its limits, with the one beside it.
local function own_counted(change, one, other)
  local own = {}
  for _, each in ipairs({ one, other }) do
    add_limited(own, each[LADDER_OF], each[LINE_OF][LINE.granted], money_held(change.account, each[LINE_OF]))
  end
  return own
end

-- Validity-Time and Final-Unit-Indication of a grant, written into its outcome (RFC 8506 section 5.6). Returns whether it is
-- short only because others hold what it lacks.
local function seal(change, one, outcome, beside, event_ms)
  local ask, line, now_ms = one[ASKED], one[LINE_OF], change.now_ms
  local validity_ms, own = ask[ASK.validity_ms], {}
  if ask[ASK.until_ms] > 0 then validity_ms = max(min(validity_ms, ask[ASK.until_ms] - now_ms), 1000) end
  if ask[ASK.unit] == KIND.SECONDS then
    for _, step in ipairs(ladder_of(one[PRICED_BY])[LADDER.steps]) do
      local until_ms = step[STEP.until_ms]
      if until_ms > 0 and until_ms < now_ms + validity_ms then
        -- held is what it costs from now on: used later, more of it would be of the next band
        validity_ms = min(validity_ms, one[GOT] * 1000)
        break
      end
    end
  end
  for _, held in ipairs(line[LINE.hold]) do
    own[held[TAKE.bucket]] = held[TAKE.amount]
    local until_ms = bucket_of(change.account, held[TAKE.bucket])[BUCKET.until_ms]
    if until_ms > 0 then validity_ms = max(min(validity_ms, until_ms - now_ms), 1000) end
  end
  local ends_ms = hours_change(change.account, ladder_of(one[PRICED_BY]), event_ms)
  if ends_ms > 0 then validity_ms = max(min(validity_ms, ends_ms - now_ms), 1000) end
  line[LINE.due_ms] = now_ms + 2 * validity_ms
  line[LINE.change_ms], line[LINE.grade] = ask[ASK.change_ms], one[GRADE] or line[LINE.grade]
  local other = partner_of(one, beside)
  for _, held in ipairs(other and other[LINE_OF][LINE.hold] or NONE) do
    own[held[TAKE.bucket]] = (own[held[TAKE.bucket]] or 0) + held[TAKE.amount]
  end
  open_funds(ALONE, own)
  if is_limited(one[LADDER_OF]) or (other and is_limited(other[LADDER_OF])) then
    funds.own_counted = own_counted(change, one, other)
  end
  if other then further_of(change, other, event_ms) end -- both go on, or neither
  local further, least = further_of(change, one, event_ms)
  line[LINE.final] = further < least
  outcome[LINEOUTCOME.granted], outcome[LINEOUTCOME.validity_ms] = one[GOT], validity_ms
  outcome[LINEOUTCOME.change_ms] = ask[ASK.dearest] ~= '' and ask[ASK.change_ms] or 0
  outcome[LINEOUTCOME.final], outcome[LINEOUTCOME.grade] = line[LINE.final], line[LINE.grade]
  return one[GOT] < min(one[WANT], ask[ASK.minimum]) and not line[LINE.final]
end

-- Grants, written into the outcomes. Returns whether there is any.
function grant(change, lines, asking, outcomes, event_ms)
  line_up(asking, event_ms)
  share_out(change, asking, event_ms)
  local beside, granted_any = {}, false
  for _, one in ipairs(asking) do beside[one[INDEX]] = one end
  while give_up_halves(change, asking, beside, event_ms) do -- bounded: by the lines; what they held is for the others
    share_out(change, asking, event_ms)
  end
  round_off(change, asking, event_ms)
  take_rests(change, lines, asking, beside, event_ms)
  for _, one in ipairs(asking) do
    local outcome = outcomes[one[INDEX]]
    outcome[LINEOUTCOME.unit] = one[ASKED][ASK.unit]
    local is_short = true
    if one[GOT] > 0 then
      is_short, granted_any = seal(change, one, outcome, beside, event_ms), true
    else
      outcome[LINEOUTCOME.result] = RESULT.CREDIT_LIMIT
    end
    if is_short then note_short(change, one, event_ms) end
    one[LINE_OF][LINE.touched_ms] = change.now_ms
  end
  if #change.short > 0 then change.reauthorize[#change.reauthorize + 1] = 'holder' end
  return granted_any
end

end
