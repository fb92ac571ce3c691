-- Whole-number arithmetic below 2^53; twin of tariffs/units.py.
-- fmod is exact, where floor(a / b) and Lua's % are not for large a (they round the quotient first).
local EXACT_MAX = 9007199254740991
local PER_MAX = 67108864
local fmod, min, max = math.fmod, math.min, math.max

local function div(a, b)
  local r = fmod(a, b)
  if r < 0 then r = r + b end
  return (a - r) / b
end

local function blocks_started(units, block)
  return -div(-units, block)
end

-- (a * b + rest) / per, rounded 0 up, 1 down, 2 half up: quotient and new rest
local function muldiv(a, b, rest, per, rounding)
  if per == 1 and rest == 0 then return a * b, 0 end
  local whole, many = div(a, per), div(b, per)
  local part, few = a - whole * per, b - many * per
  local left = part * few + rest
  local quotient
  if rounding == 1 then quotient = div(left, per)
  elseif rounding == 0 then quotient = -div(-left, per)
  else quotient = div(2 * left + per, 2 * per) end
  return whole * b + part * many + quotient, left - quotient * per
end

-- An amount, not below 0, as a multiple of `to`, rounded 0 up, 1 down, 2 half up, 3 half even; to 0: as it is
local function round_sum(amount, to, rounding)
  if to == 0 then return amount end
  local whole = div(amount, to)
  local part, more = amount - whole * to, 0
  if rounding == 0 then more = part > 0 and 1 or 0
  elseif rounding > 1 and (2 * part > to or (2 * part == to and (rounding == 2 or fmod(whole, 2) == 1))) then more = 1 end
  return (whole + more) * to
end

-- The largest amount, up to 2^53, of which at most `due` is due once it is rounded
local function largest_sum(due, to, rounding)
  if to == 0 then return min(due, EXACT_MAX) end
  local whole, more = div(due, to), div(to - 1, 2)
  if rounding == 0 then more = 0
  elseif rounding == 1 then more = to - 1
  elseif rounding == 3 and fmod(whole, 2) == 0 then more = div(to, 2) end
  return min(whole * to + more, EXACT_MAX)
end

local function share(amount, part, whole)
  while whole > PER_MAX do whole, part = div(whole, 2), div(part, 2) end -- bounded: 27 halvings
  if whole == 0 then return 0 end
  return (muldiv(amount, part, 0, whole, 1))
end
