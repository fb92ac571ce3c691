-- Climbing a ladder; twin of tariffs/climb.py, where every rule is explained.
-- @use lib/funds
local ENDLESS = math.huge

local fed_with, tier_of, lapse_ahead, climb
do -- what only a climb uses is named here: a script has room for 200 names

local function affordable(step, available, rest)
  local price, per, rounding = step[STEP.price], step[STEP.per], step[STEP.rounding]
  if price == 0 or available < 0 then return 0 end
  local slack = 0
  if rounding == 1 then slack = per - 1 elseif rounding == 2 then slack = div(per - 1, 2) end
  return max((muldiv(available, per, slack - rest, price, 1)), 0)
end

-- What is due of blocks that come to this, before it is bounded
local function rounded(dues, spent)
  return summing.round_sum(max(spent, 0), dues[STEPDUES.to] or 0, dues[STEPDUES.rounding])
end

-- The most that blocks may come to so that at most this is due of them
local function largest(dues, due)
  return summing.largest_sum(due, dues[STEPDUES.to] or 0, dues[STEPDUES.rounding])
end

-- What further blocks may come to so that at most `money` is due for them
local function within(dues, most, spent, charged, money)
  local due = charged + money
  if due >= most then return ENDLESS end
  if due < dues[STEPDUES.least] then return -1 end
  return min(largest(dues, due) - spent, EXACT_MAX)
end

local NOTHING_DUE = STEPDUES{}
local function dues_of(ladder, step)
  return ladder[LADDER.dues][step[STEP.dues]] or NOTHING_DUE
end

local function most_of(dues)
  return dues[STEPDUES.most] > 0 and dues[STEPDUES.most] or ENDLESS
end

-- What the line feeds a counter with; nil: it does not
function fed_with(ladder, counter)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if count[COUNT.key] == counter then return count[COUNT.what] end
  end
end

-- Money that brings the counter of the step to its bound, after `cost`: no more is ever due in the step
local function left_of(ladder, step, cost, counters)
  local counter = step[STEP.counter]
  if counter ~= '' and fed_with(ladder, counter) == COUNTED.MONEY then
    return step[STEP.counter_reach] - (counters[counter] or 0) - cost
  end
  return ENDLESS
end

local function room_of(ladder, step, need, start, at, left, fee, run, spent, charged, counters, at_ms, ms_per_unit)
  local room = need
  if step[STEP.reach] > 0 then room = min(room, step[STEP.reach] - start - at) end
  if step[STEP.until_ms] > 0 then
    local left_ms = step[STEP.until_ms] - at_ms - at * ms_per_unit
    if left_ms <= 0 then return 0 end
    if ms_per_unit > 0 then room = min(room, blocks_started(left_ms, ms_per_unit)) end
  end
  if step[STEP.counter] ~= '' then
    local counter, reach = step[STEP.counter], step[STEP.counter_reach]
    local fed, value = fed_with(ladder, counter), counters[counter] or 0
    if fed == COUNTED.UNITS then return min(room, reach - value - at) end
    if left <= 0 or value >= reach then return 0 end
    if fed == COUNTED.MONEY and step[STEP.kind] == KIND.MONEY and step[STEP.price] > 0 then
      local dues = dues_of(ladder, step)
      local limit = within(dues, most_of(dues), spent, charged, left - fee - 1)
      if limit < ENDLESS then room = min(room, (affordable(step, limit, run) + 1) * step[STEP.block]) end
    end
  end
  return room
end

local ANYBODY = { false }

-- The counter that both bounds a step and is fed by the line; '' for none
function tier_of(ladder)
  if #ladder[LADDER.counts] == 0 then return '' end
  for _, step in ipairs(ladder[LADDER.steps]) do
    for _, count in ipairs(ladder[LADDER.counts]) do
      if step[STEP.counter] == count[COUNT.key] then return step[STEP.counter] end
    end
  end
  return ''
end

-- One price without bounds, fees and charges, which is most of what there is. It is paid with money: the last step of a ladder
-- is (check_ladder of tariffs/ladder.py).
local function is_plain(ladder)
  local step = ladder[LADDER.steps][1]
  return #ladder[LADDER.steps] == 1 and #ladder[LADDER.dues] == 0 and ladder[LADDER.slack] == 0
    and not step[STEP.single] and not step[STEP.stop] and step[STEP.ends_ms] == 0
end

-- What was paid ahead of a block that ends with its period is nothing any more from then on
function lapse_ahead(line, at_ms)
  local ahead_ms = line[LINE.ahead_ms]
  if ahead_ms > 0 and ahead_ms <= at_ms then line[LINE.paid_ahead], line[LINE.ahead_ms] = 0, 0 end
end

-- `climb` of such a ladder, which is what it comes to there
local function climb_plain(step, line, units, ahead, grant, grade, most)
  local need, block = units - ahead, step[STEP.block]
  local price, per, rounding = step[STEP.price], step[STEP.per], step[STEP.rounding]
  local start, spent, charged = line[LINE.total], line[LINE.spent], line[LINE.charged]
  local blocks, run = blocks_started(need, block), 0
  if line[LINE.rest_price] == price and line[LINE.rest_per] == per and line[LINE.rest_rounding] == rounding then
    run = line[LINE.rest]
  end
  if start + ahead + blocks * block > EXACT_MAX then blocks = div(EXACT_MAX - start - ahead, block) end
  local amount, left = muldiv(price, blocks, run, per, rounding)
  local available = most or grant and ENDLESS or EXACT_MAX
  if grant then
    if grade and grade ~= step[STEP.grade] then blocks = 0 end
    available = min(available, funds_available(KIND.MONEY, step[STEP.scope], false))
  end
  local limit = min(min(available + charged, EXACT_MAX) - spent, EXACT_MAX)
  if blocks > 0 and price > 0 and amount > limit then
    blocks = affordable(step, limit, run)
    amount, left = muldiv(price, blocks, run, per, rounding)
  end
  if blocks == 0 then
    line[LINE.total], line[LINE.paid_ahead] = start + ahead, 0
    return ahead, 0, grade
  end
  spent = spent + amount
  local due = price > 0 and max(spent, charged) or charged -- what rounding left of another ladder is not due for nothing
  funds_take(KIND.MONEY, step[STEP.scope], due - charged, false)
  if price > 0 then
    line[LINE.rest], line[LINE.rest_price], line[LINE.rest_per], line[LINE.rest_rounding] = left, price, per, rounding
  end
  line[LINE.spent], line[LINE.charged], line[LINE.fee_paid], line[LINE.ahead_ms] = spent, due, true, 0
  local at = ahead + blocks * block
  line[LINE.total], line[LINE.paid_ahead] = start + min(units, at), max(at - units, 0)
  return min(units, at), due - charged, grade or step[STEP.grade]
end

-- line: a table with the fields of LINE; most: money that may be taken, or nil; returns units covered, money taken and
-- the grade of the first block that was paid (nil: none)
function climb(ladder, line, units, counters, at_ms, ms_per_unit, grant, grade, most)
  local ahead = min(units, line[LINE.paid_ahead])
  local start, at, need, cost = line[LINE.total], ahead, units - ahead, 0
  if need == 0 then
    line[LINE.total], line[LINE.paid_ahead] = start + units, line[LINE.paid_ahead] - ahead
    return units, 0
  end
  if ladder.plain == nil then ladder.plain = is_plain(ladder) end
  if ladder.plain then return climb_plain(ladder[LADDER.steps][1], line, units, ahead, grant, grade, most) end
  local rest, rest_price, rest_per, rest_rounding =
    line[LINE.rest], line[LINE.rest_price], line[LINE.rest_per], line[LINE.rest_rounding]
  local spent, charged, fee_paid = line[LINE.spent], line[LINE.charged], line[LINE.fee_paid]
  local open_units, ahead_ms = 0, line[LINE.ahead_ms]
  local safe_ahead_ms = ahead_ms
  local safe_mark, safe_at, safe_cost = funds_mark(), at, cost
  local safe_rest, safe_price, safe_per, safe_rounding = rest, rest_price, rest_per, rest_rounding
  local safe_spent, safe_charged, safe_fee_paid, safe_grade = spent, charged, fee_paid, grade
  local steps, slack = ladder[LADDER.steps], grant and ladder[LADDER.slack] or 0
  local payable, blocked = most or grant and ENDLESS or EXACT_MAX, false

  for _, step in ipairs(steps) do
    local kind, scope, block, price = step[STEP.kind], step[STEP.scope], step[STEP.block], step[STEP.price]
    local per, rounding, single, dues = step[STEP.per], step[STEP.rounding], step[STEP.single], dues_of(ladder, step)
    local short, ended, waived = false, false, dues[STEPDUES.waived]
    for _, payer in ipairs(single and funds_payers(kind, scope, kind == KIND.MONEY and not grant) or ANYBODY) do
      local run, left = 0, left_of(ladder, step, cost, counters)
      local fee = fee_paid and 0 or min(dues[STEPDUES.fee], left)
      local begun = rest_price > 0 and spent or 0 - (dues[STEPDUES.off] or 0) -- no block with a price was paid yet
      if rest_price == price and rest_per == per and rest_rounding == rounding then run = rest end
      short, ended = false, false
      local room = room_of(ladder, step, need, start, at, left, fee, run, begun, charged, counters, at_ms, ms_per_unit)
      if room <= 0 then break end
      local available = blocked and 0 or funds_available(kind, scope, payer)
      local nothing = kind ~= KIND.MONEY and (single and available or available * block) < price
      if grant and (step[STEP.stop] or (grade and grade ~= step[STEP.grade] and open_units == 0 and not nothing)
          or (dues[STEPDUES.ends] and rounded(dues, begun) >= dues[STEPDUES.most])) then
        ended = true
        break
      end
      local upfront = (nothing or waived) and 0 or fee
      if upfront > 0 then
        local money_scope
        for _, one in ipairs(steps) do
          if one[STEP.kind] == KIND.MONEY then money_scope = one[STEP.scope] break end
        end
        local there = blocked and 0 or funds_available(KIND.MONEY, money_scope, false)
        if payable - cost < upfront or (grant and there < upfront) then
          ended = true
          break
        end
        funds_take(KIND.MONEY, money_scope, upfront, false)
        cost, open_units = cost + upfront, max(open_units, 1)
        left, fee = left - upfront, 0
        available = funds_available(kind, scope, payer)
        room = room_of(ladder, step, need, start, at, left, fee, run, begun, charged, counters, at_ms, ms_per_unit)
      end
      fee_paid = fee_paid or not (waived or nothing)
      if room <= 0 then break end
      local blocks, amount = blocks_started(room, block), 0
      local full = start + at + blocks * block > EXACT_MAX -- no line counts further than that
      if full then blocks = div(EXACT_MAX - start - at, block) end
      if kind ~= KIND.MONEY then
        short = price * blocks > available
        if short then blocks = div(available, price) end
        amount = price * blocks
        if blocks > 0 then payable = payable - funds_take(kind, scope, amount, payer) end
      elseif price > 0 then
        if grant and dues[STEPDUES.ends] then
          local last = affordable(step, largest(dues, dues[STEPDUES.most] - 1) - begun, run) + 1
          ended = blocks > last
          blocks = min(blocks, last)
        end
        if grant and payer then available = min(available, funds_available(kind, scope, false))
        elseif not grant and not payer then available = ENDLESS end
        available = min(available, payable - cost)
        local plateau, over = min(most_of(dues), charged + left - fee), nil
        local spare = charged >= plateau and 0 or slack -- nothing more is due there, whatever the price becomes
        local limit = within(dues, plateau, begun, charged, available - fee - spare)
        limit = min(limit, plateau <= EXACT_MAX and EXACT_MAX or largest(dues, EXACT_MAX) - max(begun, 0))
        amount, over = muldiv(price, blocks, run, per, rounding)
        short = amount > limit
        if short then
          blocks = affordable(step, limit, run)
          amount, over = muldiv(price, blocks, run, per, rounding)
        end
        if blocks > 0 then
          spent = min(begun + amount, EXACT_MAX)
          local due = max(rounded(dues, spent), dues[STEPDUES.least])
          if due >= plateau then due, spent = plateau, max(min(spent, plateau), min(begun, charged)) end -- the rest is forgiven
          due = max(due, charged)
          local taken = fee + spare + due - charged
          funds_take(kind, scope, taken, payer)
          cost, charged, fee_paid, slack = cost + taken, due, true, slack - spare
          rest, rest_price, rest_per, rest_rounding = over, price, per, rounding
        end
      end
      local covered = blocks * block
      at, need, open_units = at + covered, max(need - covered, 0), max(open_units - covered, 0)
      if covered > 0 then grade, ahead_ms = grade or step[STEP.grade], step[STEP.ends_ms] end
      if open_units == 0 then
        safe_ahead_ms = ahead_ms
        safe_mark, safe_at, safe_cost = funds_mark(), at, cost
        safe_rest, safe_price, safe_per, safe_rounding = rest, rest_price, rest_per, rest_rounding
        safe_spent, safe_charged, safe_fee_paid, safe_grade = spent, charged, fee_paid, grade
      end
      if need == 0 or full then
        ended = true
        break
      end
      local part = short and kind ~= KIND.MONEY and not single and available - amount or 0
      covered = part > 0 and div(part * block, price) or 0
      if covered > 0 then
        payable = payable - funds_take(kind, scope, part, false)
        at, need, open_units = at + covered, max(need, block) - covered, max(open_units, block) - covered
        grade = grade or step[STEP.grade]
      end
    end
    if ended or (short and kind == KIND.MONEY) then break end
    blocked = blocked or (grant and short and funds_block(kind, scope))
  end

  if grant and open_units > 0 then
    funds_undo(safe_mark)
    at, cost, rest = safe_at, safe_cost, safe_rest
    rest_price, rest_per, rest_rounding = safe_price, safe_per, safe_rounding
    spent, charged, fee_paid, grade = safe_spent, safe_charged, safe_fee_paid, safe_grade
    ahead_ms = safe_ahead_ms
  end
  if at > ahead then line[LINE.fee_paid] = fee_paid end
  line[LINE.rest], line[LINE.rest_price], line[LINE.rest_per], line[LINE.rest_rounding] =
    rest, rest_price, rest_per, rest_rounding
  line[LINE.spent], line[LINE.charged], line[LINE.ahead_ms] = spent, charged, ahead_ms
  line[LINE.total], line[LINE.paid_ahead] = start + min(units, at), max(at - units, 0)
  return min(units, at), cost, grade
end

end
