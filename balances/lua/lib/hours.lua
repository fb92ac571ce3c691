-- Hours of the week on the clock of an account: whether they are now, and until when; twin of balances/model/hours.py.
-- @use lib/amount
local hours_at
do

local DAY_S, THURSDAY = 86400, 3 -- the day on which 1970 began

-- Whether an instant is within the hours, and until when that is so at least. It is looked at again where the clock is moved,
-- and after a week.
function hours_at(hours, clock, at_ms)
  local at_s, offset, moves_s = div(at_ms, 1000), clock[1] or 0, nil
  for i = 2, #clock, 2 do
    if at_s < clock[i] then moves_s = clock[i] break end
    offset = clock[i + 1]
  end
  local day = div(at_s + offset, DAY_S)
  local clock_s, open_s, begin_s = at_s + offset - day * DAY_S, 0, nil -- from now on, until when it is open and when it opens
  for ahead = -1, 7 do
    for _, one in ipairs(hours) do
      if bit.band(bit.rshift(one[WEEKHOURS.days], fmod(day + THURSDAY + ahead, 7)), 1) == 1 then
        local from_s = ahead * DAY_S + one[WEEKHOURS.from_s] - clock_s
        if from_s <= open_s then open_s = max(open_s, from_s + one[WEEKHOURS.until_s] - one[WEEKHOURS.from_s])
        else begin_s = begin_s or from_s end
      end
    end
  end
  local change_s = at_s + (open_s > 0 and open_s or begin_s or 0)
  return open_s > 0, 1000 * (moves_s and min(change_s, moves_s) or change_s)
end

end
