-- What a notification threshold looks at, and where it is crossed (charging.md section 7); twin of balances/watched.py.
-- @use lib/account

local function is_watched(threshold, bucket, now_ms)
  local name, service = threshold[THRESHOLD.bucket], threshold[THRESHOLD.service]
  if bucket[BUCKET.kind] ~= threshold[THRESHOLD.kind] or (name ~= '' and bucket[BUCKET.name] ~= name) then return false end
  if bucket[BUCKET.from_ms] > now_ms or (bucket[BUCKET.until_ms] > 0 and bucket[BUCKET.until_ms] <= now_ms) then return false end
  if service == '' or #bucket[BUCKET.scope] == 0 then return true end
  for _, one in ipairs(bucket[BUCKET.scope]) do
    if one == service then return true end
  end
  return false
end

-- The settled amount of the buckets it looks at, and what they had after their last fill.
local function watched(threshold, buckets, now_ms)
  local value, filled = 0, 0
  for _, bucket in ipairs(buckets) do
    if is_watched(threshold, bucket, now_ms) then
      value = value + bucket[BUCKET.amount]
      filled = min(filled + bucket[BUCKET.filled], EXACT_MAX)
    end
  end
  return value, filled
end

-- So many percent of an amount, rounded up: what is below it is below the percentage.
local function part_of(amount, percent)
  return math.floor(amount / 100) * percent + math.ceil(amount % 100 * percent / 100)
end

-- Crossed below the first amount, and armed again from the second one on; nil: a percentage of buckets that were never
-- filled says nothing.
local function levels_of(threshold, filled)
  local percent = threshold[THRESHOLD.percent]
  if percent == 0 then return threshold[THRESHOLD.below], threshold[THRESHOLD.rearm] end
  if filled <= 0 then return nil end
  return part_of(filled, percent), part_of(filled, threshold[THRESHOLD.rearm])
end

-- Whether one that is set now begins as crossed.
local function is_below(threshold, buckets, now_ms)
  local value, filled = watched(threshold, buckets, now_ms)
  local below = levels_of(threshold, filled)
  return below ~= nil and value < below
end
