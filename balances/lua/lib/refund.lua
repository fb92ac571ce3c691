-- Giving back what an event cost; twin of balances/model/refund.py.
-- @use lib/lines

-- To the bucket that paid; to main, or to a bucket of its own for a while, when that one is gone. Returns how much was
-- given, less than `amount` where 2^53 would be passed, and the end of the bucket made for it, or 0.
local function give_back(account, entries, charge, id, kind, amount, line)
  local bucket, until_ms, now_ms = bucket_of(account, id), 0, account[ACCOUNT.clock_ms]
  if not bucket or (bucket[BUCKET.until_ms] > 0 and bucket[BUCKET.until_ms] <= now_ms) then
    if kind == KIND.MONEY then
      bucket = bucket_of(account, MAIN)
    else
      bucket = nil
      for _, other in ipairs(account[ACCOUNT.buckets]) do
        if other[BUCKET.name] == 'refund' and other[BUCKET.kind] == kind and other[BUCKET.until_ms] > now_ms
            and other[BUCKET.scope][1] == charge[CHARGE.service] then
          bucket = other
          break
        end
      end
      if not bucket then
        bucket = { account[ACCOUNT.next_bucket], kind, 0, 0, 100, 0, 0, { charge[CHARGE.service] }, 'refund', 0 }
        account[ACCOUNT.next_bucket] = account[ACCOUNT.next_bucket] + 1
        table.insert(account[ACCOUNT.buckets], bucket)
      end
      until_ms = max(bucket[BUCKET.until_ms], charge[CHARGE.refund_until_ms])
      bucket[BUCKET.until_ms] = until_ms
    end
  end
  local given = min(amount, room_in(account, bucket))
  post_entry(account, entries, bucket, given, 'revenue', 'refund', line)
  return given, until_ms
end

-- Money alone is all of it only where no bundle has paid.
local function is_all(paid, units, money, is_money)
  if not is_money then return units > 0 and units == paid[IDEMPOTENCYRECORD.units] end
  for _, take in ipairs(paid[IDEMPOTENCYRECORD.takes]) do
    if take[TAKE.amount] > 0 and take[PAIDAMOUNT.kind] ~= KIND.MONEY then return false end
  end
  return money > 0 and money == paid[IDEMPOTENCYRECORD.cost]
end

-- Units and money of what an event paid and raised; changes `paid`, a Once; adds to `kept` what could not be given.
-- Returns the end of a bucket made for it, or 0.
local function turn_back(account, entries, charge, paid, units, money, all, line, kept)
  local due, takes, until_ms = money, paid[IDEMPOTENCYRECORD.takes], 0
  local left_units, left_cost = paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost]
  for i = #takes, 1, -1 do -- last paid, first given back
    local take = takes[i]
    local back = take[TAKE.amount]
    if take[PAIDAMOUNT.kind] == KIND.MONEY then
      if not all then back = min(back, due) end
      due = due - back
    elseif not all then
      back = share(back, units, left_units)
    end
    if back > 0 then
      local given, made_ms = give_back(account, entries, charge, take[PAIDAMOUNT.bucket], take[PAIDAMOUNT.kind], back, line)
      kept[#kept + 1] = { take[PAIDAMOUNT.kind], back - given }
      until_ms = max(until_ms, made_ms)
    end
    take[TAKE.amount] = take[TAKE.amount] - back
  end
  for _, fed in ipairs(paid[IDEMPOTENCYRECORD.counted]) do
    local part, whole = units, left_units
    if fed[COUNTERAMOUNT.what] == 1 then part, whole = money, left_cost end
    local back = all and fed[COUNTERAMOUNT.amount] or share(fed[COUNTERAMOUNT.amount], part, whole)
    local counter = counter_of(account, fed[COUNTERAMOUNT.key])
    if counter and counter[COUNTER.until_ms] == fed[COUNTERAMOUNT.until_ms] then -- else of another time: nothing to turn back
      counter[COUNTER.used] = counter[COUNTER.used] - back
    end
    fed[COUNTERAMOUNT.amount] = fed[COUNTERAMOUNT.amount] - back
  end
  paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost] = left_units - units, left_cost - money
  return until_ms
end
