-- Counters of a client that show all use since its session began: what they gained since they were counted last
-- (charging.md section 8); twin of balances/model/cumulative.py.
-- @use lib/decision
-- @use lib/courses
local reading_of, counted_in, read_counters, believed_of
do -- a script has room for 200 local names

-- How far a counter of a line with these readings was counted.
function reading_of(readings, counter)
  for _, reading in ipairs(readings) do
    if reading[COUNTERREADING.place] == counter[CUMULATIVE.place] then return reading end
  end
  local reading = COUNTERREADING{ place = counter[CUMULATIVE.place], value = counter[CUMULATIVE.counted], at_ms = 0 }
  readings[#readings + 1] = reading
  return reading
end

-- What a counter can gain in that time.
local function most_in(ms, per_second)
  local seconds = blocks_started(ms, 1000)
  return seconds > div(EXACT_MAX, per_second) and EXACT_MAX or seconds * per_second
end

-- The same of one whose line counts in that unit.
function counted_in(unit, ms, per_second)
  local most = most_in(max(ms, 0), per_second)
  return unit == KIND.SECONDS and min(most + SLACK_S, EXACT_MAX) or most
end

-- What it can show at most by then, -1 where nobody knows.
local function plausible_of(decision, line, counter, at_ms)
  local since_ms = counter[CUMULATIVE.per_second] > 0 and counts_since(decision)
  if not since_ms then return -1 end
  return counted_in(line[LINE.unit], max(decision.change.now_ms, at_ms) - since_ms, counter[CUMULATIVE.per_second])
end

-- What it gained, never below zero, and how much of that is believed; -1: as much as of any other report. One that fell
-- gained nothing, unless it may have wrapped: it can have gained that much since its newest report.
local function gained_by(decision, line, report, counter)
  local shown, at_ms, reading = report[line[LINE.unit] + 1], report[USAGEREPORT.at_ms], reading_of(line[LINE.readings], counter)
  local before, wraps_at = reading[COUNTERREADING.value], counter[CUMULATIVE.wraps_at]
  local gained = shown - (wraps_at > 0 and fmod(before, wraps_at) or before)
  if gained < 0 and wraps_at > 0 and counter[CUMULATIVE.per_second] > 0 and reading[COUNTERREADING.at_ms] > 0 then
    local passed_ms = at_ms - reading[COUNTERREADING.at_ms]
    if passed_ms > 0 and gained + wraps_at <= most_in(passed_ms, counter[CUMULATIVE.per_second]) then gained = gained + wraps_at end
  end
  gained = min(max(gained, 0), EXACT_MAX - before)
  reading[COUNTERREADING.value] = before + gained
  reading[COUNTERREADING.at_ms] = max(reading[COUNTERREADING.at_ms], at_ms)
  local plausible = plausible_of(decision, line, counter, at_ms)
  return gained, plausible < 0 and -1 or min(gained, max(plausible - before, 0))
end

-- Puts what counters gained in the place of what they show; of units that its line does not count in they say nothing.
function read_counters(decision)
  decision.believed = {} -- by report
  for index, ask in ipairs(decision.asks) do
    local line, found = decision.touched[index], {}
    for _, report in ipairs(ask[ASK.reports]) do
      local counter = report[USAGEREPORT.cumulative][1]
      if not counter or not line then found[#found + 1] = report
      elseif report[line[LINE.unit] + 1] >= 0 then
        local gained, believed = gained_by(decision, line, report, counter)
        local counted = USAGEREPORT{ money = -1, octets = -1, seconds = -1, units = -1, at_ms = report[USAGEREPORT.at_ms] }
        counted[line[LINE.unit] + 1] = gained
        decision.believed[counted] = believed
        found[#found + 1] = counted
      end
    end
    ask[ASK.reports] = found
  end
end

-- Beyond this goes to suspense, where any other report would be bound by `bound`.
function believed_of(decision, report, bound)
  local believed = decision.believed[report]
  return believed and believed >= 0 and believed or bound
end

end
