-- What the lines of a session come to before it is rounded (charging.md section 4); twin of balances/model/sums.py.
-- @use lib/amount
-- A list of ROUNDEDSUM, one for each rounding. `held`: of a grant; the sum may stand anywhere when it is used, and what that
-- costs at most is held.
local summing = { EXACT = -1 } -- one name: a script has room for 200. EXACT: in the place of a bucket, what is not rounded
do

-- An amount as a multiple of `to`, in a direction of SumRounding; 0: as it is
function summing.round_sum(amount, to, rounding)
  if to == 0 then return amount end
  local whole = div(amount, to)
  local part, more = amount - whole * to, 0
  if rounding == SUMROUNDING.UP then more = part > 0 and 1 or 0
  elseif rounding ~= SUMROUNDING.DOWN
      and (2 * part > to or (2 * part == to and (rounding == SUMROUNDING.HALF_UP or fmod(whole, 2) == 1))) then more = 1 end
  return (whole + more) * to
end

-- The largest amount of which at most this is due once it is rounded
function summing.largest_sum(due, to, rounding)
  if to == 0 then return min(due, EXACT_MAX) end
  local whole, more = div(due, to), div(to - 1, 2)
  if rounding == SUMROUNDING.UP then more = 0
  elseif rounding == SUMROUNDING.DOWN then more = to - 1
  elseif rounding == SUMROUNDING.HALF_EVEN and fmod(whole, 2) == 0 then more = div(to, 2) end
  return min(whole * to + more, EXACT_MAX)
end

-- From one tie to another one an odd number of multiples away: one of them is rounded down, the other one up
local function passes_a_tie(multiples, to, rounding)
  return rounding == SUMROUNDING.HALF_EVEN and fmod(to, 2) == 0 and fmod(multiples, 2) == 1
end

-- The most that a sum which is rounded so can grow by while it grows by `amount`, wherever it stands
local function most_rounded(amount, to, rounding)
  local whole = div(amount, to)
  if amount > whole * to or passes_a_tie(whole, to, rounding) then whole = whole + 1 end
  return whole * to
end

-- The largest amount of which that is at most `money`
local function largest_covered(money, to, rounding)
  local whole = div(min(money, EXACT_MAX), to)
  return whole * to - (passes_a_tie(whole, to, rounding) and 1 or 0)
end

local function entry_of(sums, ladder)
  for _, one in ipairs(sums) do
    if one[ROUNDEDSUM.to] == ladder[LADDER.sum_to] and one[ROUNDEDSUM.rounding] == ladder[LADDER.sum_rounding] then return one end
  end
end

local function sum_of(sums, ladder)
  local one = entry_of(sums, ladder)
  return one and one[ROUNDEDSUM.exact] or 0
end

-- What is due of what the ladder's line comes to further, after `more` that is in no sum yet
function summing.due(sums, ladder, exact, more)
  local to, rounding = ladder[LADDER.sum_to] or 0, ladder[LADDER.sum_rounding]
  if to == 0 then return exact end
  local rounded, begun = sums.held and most_rounded or summing.round_sum, sum_of(sums, ladder) + (more or 0)
  return rounded(begun + exact, to, rounding) - rounded(begun, to, rounding)
end

-- What the line may come to further so that at most `money` is due of it
function summing.within(sums, ladder, money, more)
  local to, rounding = ladder[LADDER.sum_to] or 0, ladder[LADDER.sum_rounding]
  if to == 0 then return money end
  local begun = sum_of(sums, ladder) + (more or 0)
  if sums.held then return largest_covered(most_rounded(begun, to, rounding) + money, to, rounding) - begun end
  return summing.largest_sum(min(summing.round_sum(begun, to, rounding) + money, EXACT_MAX), to, rounding) - begun
end

function summing.add(sums, ladder, exact)
  if (ladder[LADDER.sum_to] or 0) == 0 or exact == 0 then return end
  local one = entry_of(sums, ladder)
  if one then one[ROUNDEDSUM.exact] = one[ROUNDEDSUM.exact] + exact
  else
    sums[#sums + 1] = ROUNDEDSUM{ to = ladder[LADDER.sum_to], rounding = ladder[LADDER.sum_rounding], exact = exact }
  end
end

function summing.copied(sums)
  local copies = { held = sums.held }
  for i, one in ipairs(sums) do copies[i] = { unpack(one) } end
  return copies
end

-- What use feeds a counter with. Of money that is what is charged for a limit; for prices, what the line comes to before its
-- session is rounded, so that they are the same however the session is cut (charging.md section 4).
function summing.counted(count, units, exact, charged)
  if count[COUNT.what] == COUNTED.UNITS then return units end
  return (count[COUNT.limit] or -1) >= 0 and charged or exact
end

end
