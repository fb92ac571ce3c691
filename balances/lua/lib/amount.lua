-- Whole-number arithmetic below 2^53; twin of tariffs/units.py.
-- Of whole numbers below 2^53 a quotient that is no whole number lies at least 1 / b below the next one, and is rounded by less
-- than that: so its whole part is exact. Beyond, fmod is, which takes longer; Lua's % is exact only of 1.
local EXACT_MAX = 9007199254740991
local fmod, min, max = math.fmod, math.min, math.max

local function div(a, b)
  if a > EXACT_MAX or a < -EXACT_MAX then
    local r = fmod(a, b)
    if r < 0 then r = r + b end
    return (a - r) / b
  end
  local quotient = a / b
  return quotient - quotient % 1
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

local function share(amount, part, whole)
  local PER_MAX = 67108864
  while whole > PER_MAX do whole, part = div(whole, 2), div(part, 2) end -- bounded: 27 halvings
  if whole == 0 then return 0 end
  return (muldiv(amount, part, 0, whole, 1))
end
