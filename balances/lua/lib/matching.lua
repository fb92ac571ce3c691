-- Which lines of a session a request is about; twin of balances/model/matching.py.
-- @use lib/amount

local known_line
do

local function is_named(asks, line)
  for _, ask in ipairs(asks) do
    if ask[ASK.rating_group] == line[LINE.rating_group] and ask[ASK.service_id] == line[LINE.service_id] then return true end
  end
  return false
end

-- A report naming only the rating group matches its only live line, or its only one when none is live, unless that is
-- named by another one: a hold that expired, or was not restored, does not make a new line of it.
function known_line(asks, lines, ask, secondary)
  local live, idle
  for _, line in ipairs(lines) do
    if line[LINE.rating_group] == ask[ASK.rating_group] and line[LINE.secondary] == secondary then
      if line[LINE.service_id] == ask[ASK.service_id] then return line end
      if ask[ASK.service_id] < 0 and not is_named(asks, line) then
        if line[LINE.due_ms] > 0 then live = live == nil and line
        else idle = idle == nil and line end
      end
    end
  end
  if live == nil and #ask[ASK.reports] > 0 then live = idle end
  return live
end

end

-- What is settled beside a line is what was granted beside it, whatever the tariff says now (charging.md section 4): a
-- line that was granted with something beside it is settled with that, and one that was granted alone with nothing.
local function with_beside(asks, lines)
  local found = {}
  for index, ask in ipairs(asks) do
    local after, main = asks[index + 1], known_line(asks, lines, ask, 0)
    found[#found + 1] = ask
    if ask[ASK.secondary] == 0 and ask[ASK.set_aside] ~= SUSPENSE.TOO_MANY_LINES and main and main[LINE.ladder] ~= '' then
      local other, both = known_line(asks, lines, ask, 1), after and after[ASK.secondary] == 1
      local together = other and other[LINE.ladder] ~= ''
      if both and not together then after[ASK.reports] = {}
      elseif together and not both then
        local beside, granted = {}, other[LINE.granted]
        for field, value in ipairs(ask) do beside[field] = value end
        beside[ASK.unit], beside[ASK.secondary], beside[ASK.asked], beside[ASK.ladder] = other[LINE.unit], 1, -1, ''
        if granted > 0 then beside[ASK.default], beside[ASK.maximum] = granted, granted end -- not those of another unit
        other[LINE.reach_ms], beside[ASK.known_ms] = 0, 0 -- what would come later is not known any more
        found[#found + 1] = beside
      end
    end
  end
  return found
end

-- What a report of the line names in other units than it counts in. All of it is set aside, once: with the line, and not
-- what is charged beside it, nor again there (charging.md section 2: nothing reported is lost).
local function in_other_units(ask, report, beside)
  local found = {}
  if ask[ASK.secondary] == 1 then return found end
  for unit = KIND.MONEY, KIND.UNITS do
    if report[unit + 1] > 0 and not (beside and beside[LINE.unit] == unit) then
      found[#found + 1] = { unit, report[unit + 1] }
    end
  end
  return found
end
