-- Climbing a ladder; twin of tariffs/ladder.py, where every rule is explained.
-- @use lib/purse

local function affordable(step, available, rest)
  local price, per, rounding = step[STEP.price], step[STEP.per], step[STEP.rounding]
  if price == 0 or available < 0 then return 0 end
  local slack = 0
  if rounding == 1 then slack = per - 1 elseif rounding == 2 then slack = div(per - 1, 2) end
  return max((muldiv(available, per, slack - rest, price, 1)), 0)
end

local function room_of(ladder, step, need, start, at, cost, run, counters, at_ms, ms_per_unit)
  local room = need
  if step[STEP.reach] > 0 then room = min(room, step[STEP.reach] - start - at) end
  if step[STEP.until_ms] > 0 then
    local left_ms = step[STEP.until_ms] - at_ms - at * ms_per_unit
    if left_ms <= 0 then return 0 end
    if ms_per_unit > 0 then room = min(room, blocks_started(left_ms, ms_per_unit)) end
  end
  if step[STEP.counter] ~= '' then
    local left, fed = step[STEP.counter_reach] - (counters[step[STEP.counter]] or 0), nil
    for _, count in ipairs(ladder[LADDER.counts]) do
      if count[COUNT.key] == step[STEP.counter] then
        fed = count[COUNT.what]
        break
      end
    end
    if fed == 0 then
      room = min(room, left - at)
    elseif left - (fed == 1 and cost or 0) <= 0 then
      return 0
    elseif fed == 1 and step[STEP.kind] == KIND.MONEY and step[STEP.price] > 0 then
      room = min(room, (affordable(step, left - cost - 1, run) + 1) * step[STEP.block])
    end
  end
  return room
end

-- line: a table with the fields of LINE; returns units covered and money taken, or nil when a price passes 2^53
local function climb(ladder, line, units, counters, at_ms, ms_per_unit, grant)
  local ahead = min(units, line[LINE.paid_ahead])
  local start, at, need, cost = line[LINE.total], ahead, units - ahead, 0
  if need == 0 then
    line[LINE.total], line[LINE.paid_ahead] = start + units, line[LINE.paid_ahead] - ahead
    return units, 0
  end
  local rest, rest_price, rest_per, rest_rounding =
    line[LINE.rest], line[LINE.rest_price], line[LINE.rest_per], line[LINE.rest_rounding]
  local open_units = 0
  local safe_mark, safe_at, safe_cost = purse_mark(), at, cost
  local safe_rest, safe_price, safe_per, safe_rounding = rest, rest_price, rest_per, rest_rounding
  local steps = ladder[LADDER.steps]
  if ladder[LADDER.fee] > 0 and not line[LINE.fee_paid] then
    local scope
    for _, step in ipairs(steps) do
      if step[STEP.kind] == KIND.MONEY then scope = step[STEP.scope] break end
    end
    if grant and purse_available(KIND.MONEY, scope) < ladder[LADDER.fee] then
      line[LINE.total], line[LINE.paid_ahead] = start + at, 0
      return at, 0
    end
    purse_take(KIND.MONEY, scope, ladder[LADDER.fee])
    cost, open_units = ladder[LADDER.fee], 1
  end

  for _, step in ipairs(steps) do
    local run = 0
    if rest_price == step[STEP.price] and rest_per == step[STEP.per] and rest_rounding == step[STEP.rounding] then
      run = rest
    end
    local room = room_of(ladder, step, need, start, at, cost, run, counters, at_ms, ms_per_unit)
    if room > 0 then
      if grant and step[STEP.stop] then break end
      local kind, scope, block = step[STEP.kind], step[STEP.scope], step[STEP.block]
      local blocks = blocks_started(room, block)
      local available = purse_available(kind, scope)
      local amount, left, short
      if kind == KIND.MONEY then
        local price, per, rounding = step[STEP.price], step[STEP.per], step[STEP.rounding]
        amount, left = muldiv(price, blocks, run, per, rounding)
        short = grant and amount > available
        if short then
          blocks = affordable(step, available, run)
          amount, left = muldiv(price, blocks, run, per, rounding)
        end
        if amount > EXACT_MAX then return nil end
        if blocks > 0 then
          purse_take(kind, scope, amount)
          cost = cost + amount
          rest, rest_price, rest_per, rest_rounding = left, price, per, rounding
        end
      else
        amount = step[STEP.price] * blocks
        short = amount > available
        if short then
          blocks = div(available, step[STEP.price])
          amount = step[STEP.price] * blocks
        end
        if blocks > 0 then purse_take(kind, scope, amount) end
      end
      local covered = blocks * block
      at, need, open_units = at + covered, max(need - covered, 0), max(open_units - covered, 0)
      if open_units == 0 then
        safe_mark, safe_at, safe_cost = purse_mark(), at, cost
        safe_rest, safe_price, safe_per, safe_rounding = rest, rest_price, rest_per, rest_rounding
      end
      if need == 0 or (short and kind == KIND.MONEY) then break end
      local part = short and available - amount or 0
      covered = part > 0 and div(part * block, step[STEP.price]) or 0
      if covered > 0 then
        purse_take(kind, scope, part)
        at, need, open_units = at + covered, max(need, block) - covered, max(open_units, block) - covered
      end
    end
  end

  if grant and open_units > 0 then
    purse_undo(safe_mark)
    at, cost, rest = safe_at, safe_cost, safe_rest
    rest_price, rest_per, rest_rounding = safe_price, safe_per, safe_rounding
  end
  if at > ahead then line[LINE.fee_paid] = true end
  line[LINE.rest], line[LINE.rest_price], line[LINE.rest_per], line[LINE.rest_rounding] =
    rest, rest_price, rest_per, rest_rounding
  line[LINE.total], line[LINE.paid_ahead] = start + min(units, at), max(at - units, 0)
  return min(units, at), cost
end
