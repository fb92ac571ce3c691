-- What limits leave of a grant (charging.md 15); twin of balances/model/limits.py.
-- @use lib/ladder
-- @use lib/account
-- A limit is a counter that a line feeds and that nothing is granted beyond: `limit` minus what is used and what is held of it.
-- The funds that is open knows what was taken by it and is not held yet (`counted`), what the line itself holds where that
-- of others does not count (`own_counted`, ALONE), and the parts of a limit that several lines share (`rations`).

local function is_limited(ladder)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if (count[COUNT.limit] or -1) >= 0 then return true end
  end
  return false
end

-- What one limit leaves; below zero once it was passed.
local function left_of_limit(account, count)
  local key = count[COUNT.key]
  local counter, left = counter_of(account, key), count[COUNT.limit]
  if counter then left = left - counter[COUNTER.used] end
  if funds.mode == ALONE then left = left - (funds.own_counted and funds.own_counted[key] or 0)
  elseif counter then left = left - counter[COUNTER.held] end
  local ration = funds.rations and funds.rations[key]
  if ration then left = min(left, ration) end
  return left - (funds.counted and funds.counted[key] or 0)
end

-- Units and money that may be granted by a ladder.
local function limits_left(account, ladder)
  local units, money = ENDLESS, ENDLESS
  if funds.unlimited then return units, money end
  for _, count in ipairs(ladder[LADDER.counts]) do
    if (count[COUNT.limit] or -1) >= 0 then
      local left = max(left_of_limit(account, count), 0)
      if count[COUNT.what] == COUNTED.UNITS then units = min(units, left) else money = min(money, left) end
    end
  end
  return units, money
end

-- Add what a line feeds its limits with to `sums`, by the key of the counter.
local function add_limited(sums, ladder, units, money)
  for _, count in ipairs(ladder[LADDER.counts]) do
    if (count[COUNT.limit] or -1) >= 0 then
      local key, amount = count[COUNT.key], count[COUNT.what] == COUNTED.UNITS and units or money
      sums[key] = (sums[key] or 0) + amount
    end
  end
end

-- What a climb took and nobody holds yet counts for the next one of the same funds.
local function note_counted(taken)
  if not next(taken) then return end
  funds.counted = funds.counted or {}
  for key, amount in pairs(taken) do funds.counted[key] = (funds.counted[key] or 0) + amount end
end
