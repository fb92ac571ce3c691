-- Limits that were reached, and that have room again (charging.md 15); twin of balances/model/reached.py.
-- @use lib/spans
-- @use lib/thresholds

-- Notes limits of the lines that are asked about: reached by use that is settled, or not any more; once each.
-- gives_back: it is a refund, which reaches none
local function check_limits(change, asks, gives_back)
  for _, ask in ipairs(asks) do
    local ladder = ladder_of(ask[ASK.ladder])
    for _, count in ipairs(ladder and ladder[LADDER.counts] or NONE) do
      local limit, counter = count[COUNT.limit] or -1, counter_of(change.account, count[COUNT.key])
      local until_ms = counter and counter[COUNTER.until_ms] or 0
      if limit >= 0 and counter and (until_ms == 0 or until_ms > change.now_ms) then
        local used, reached_ms = counter[COUNTER.used], counter[COUNTER.reached_ms] or 0
        local unit = count[COUNT.what] == COUNTED.MONEY and KIND.MONEY or ask[ASK.unit]
        if reached_ms == 0 and used > 0 and used >= limit and not gives_back then
          counter[COUNTER.reached_ms] = change.now_ms
          note_crossing(change, CROSSINGKIND.REACHED, CROSSINGOF.LIMIT, counter[COUNTER.key], limit, used, unit, '')
          if until_ms > 0 and (change.due_ms == 0 or until_ms < change.due_ms) then change.due_ms = until_ms end
        elseif reached_ms > 0 and used < limit then
          counter[COUNTER.reached_ms] = 0
          note_crossing(change, CROSSINGKIND.ROOM, CROSSINGOF.LIMIT, counter[COUNTER.key], limit, used, unit, '')
        end
      end
    end
  end
end

local reset_limits, end_limits, turn_back_counters
do -- a script has room for 200 local names
  -- A limit that was reached has room again.
  local function make_room(change, counter)
    counter[COUNTER.reached_ms] = 0
    note_crossing(change, CROSSINGKIND.ROOM, CROSSINGOF.LIMIT, counter[COUNTER.key], 0, 0, KIND.MONEY, '')
  end

  -- Limits begin anew in their period: what is held of them stays (charging.md 23).
  function reset_limits(change, keys)
    for _, key in ipairs(keys) do
      local counter = counter_of(change.account, key)
      if counter then
        counter[COUNTER.used], counter[COUNTER.reached_ms], counter[COUNTER.turned] = 0, counter[COUNTER.reached_ms] or 0, 0
        if (counter[COUNTER.reached_ms] or 0) > 0 then make_room(change, counter) end
      end
    end
  end

  -- A period has one name on all clocks, and ends when the midnight of one of them comes (charging.md 6).
  local CLOCKS_APART_MS = 93600000

  local function is_of(counter, returned)
    local until_ms, window_ms = counter[COUNTER.until_ms], returned[COUNTERRETURN.window_ms]
    if window_ms > 0 then
      local used_ms = returned[COUNTERRETURN.used_ms]
      return until_ms - window_ms <= used_ms and used_ms < until_ms
    end
    local returned_ms = returned[COUNTERRETURN.until_ms]
    if until_ms == 0 or returned_ms == 0 then return until_ms == returned_ms end
    return math.abs(until_ms - returned_ms) <= CLOCKS_APART_MS
  end

  -- So much was not used, as far as it is counted. Below zero: so much counts again, as far as it was turned back since the
  -- counter began, or began anew; a window begins anew only where it ends, and then `is_of` says so.
  local function turn_back_counter(counter, amount)
    local used, turned = counter[COUNTER.used], counter[COUNTER.turned] or 0
    local back = amount
    if amount > 0 then back = min(amount, used)
    elseif counter[COUNTER.window] == COUNTERWINDOW.NONE then back = -min(-amount, turned) end
    counter[COUNTER.used] = min(used - back, EXACT_MAX)
    counter[COUNTER.reached_ms] = counter[COUNTER.reached_ms] or 0 -- one of before has neither
    counter[COUNTER.turned] = min(max(turned + back, 0), EXACT_MAX)
  end

  -- What a refund gives back was not used, in the same period only (charging.md 9).
  function turn_back_counters(change, returns)
    for _, one in ipairs(returns) do
      local counter, amount = counter_of(change.account, one[COUNTERRETURN.key]), one[COUNTERRETURN.amount]
      if counter and is_of(counter, one) then
        turn_back_counter(counter, amount)
        if (counter[COUNTER.reached_ms] or 0) > 0 and amount > 0 and counter[COUNTER.used] < one[COUNTERRETURN.limit] then
          make_room(change, counter)
        end
      end
    end
  end

  -- A period has ended in which a limit was reached: there is room again. Returns whether there was one.
  function end_limits(change)
    local any = false
    for _, counter in ipairs(change.account[ACCOUNT.counters]) do
      local until_ms = counter[COUNTER.until_ms]
      if (counter[COUNTER.reached_ms] or 0) > 0 and until_ms > 0 and until_ms <= change.now_ms then
        make_room(change, counter)
        any = true
      end
    end
    return any
  end
end

-- When the first of these periods ends; 0: there is none.
local function limits_due(account, now_ms)
  local due_ms = 0
  for _, counter in ipairs(account[ACCOUNT.counters]) do
    local until_ms = counter[COUNTER.until_ms]
    if (counter[COUNTER.reached_ms] or 0) > 0 and until_ms > now_ms and (due_ms == 0 or until_ms < due_ms) then
      due_ms = until_ms
    end
  end
  return due_ms
end
