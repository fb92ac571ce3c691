-- Giving back what an event cost (charging.md section 9); twin of balances/model/refund.py.
-- @use lib/decision
-- @use lib/reached
local refund_events
do

-- A bucket for units that go back to one that is gone: one for each kind and service, for as long as the last refund says.
local function refund_bucket(decision, kind)
  local account, charge = decision.change.account, decision.charge
  local found
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.name] == 'refund' and bucket[BUCKET.kind] == kind and bucket[BUCKET.scope][1] == charge[CHARGE.service]
        and bucket[BUCKET.until_ms] > decision.change.now_ms then
      found = bucket
      break
    end
  end
  if not found then
    found = BUCKET{ id = account[ACCOUNT.next_bucket], kind = kind, amount = 0, scope = { charge[CHARGE.service] },
      name = 'refund' }
    account[ACCOUNT.next_bucket] = account[ACCOUNT.next_bucket] + 1
    table.insert(account[ACCOUNT.buckets], found)
  end
  found[BUCKET.until_ms] = max(found[BUCKET.until_ms], charge[CHARGE.refund_until_ms])
  look_at_end(decision.change, found)
  return found
end

-- To the bucket that paid; to main, or to a bucket of its own for a while, when that one is gone. Returns how much could
-- not be given, because 2^53 would be passed. left: money of it that was not given back so far
local function give_back(decision, id, kind, amount, left)
  local change = decision.change
  local bucket = bucket_of(change.account, id)
  if not bucket or (bucket[BUCKET.until_ms] > 0 and bucket[BUCKET.until_ms] <= change.now_ms) then
    bucket = kind == KIND.MONEY and bucket_of(change.account, MAIN) or refund_bucket(decision, kind)
  end
  local given = min(amount, room_in(change.account, bucket))
  post_entry(change, bucket, given, COUNTERACCOUNT.REVENUE, 'refund', #change.usages, left)
  return amount - given
end

-- Money alone is all of it only where no bundle has paid.
local function is_all(paid, units, money, is_money)
  if not is_money then return units > 0 and units == paid[IDEMPOTENCYRECORD.units] end
  for _, take in ipairs(paid[IDEMPOTENCYRECORD.takes]) do
    if take[PAIDAMOUNT.amount] > 0 and take[PAIDAMOUNT.kind] ~= KIND.MONEY then return false end
  end
  return money > 0 and money == paid[IDEMPOTENCYRECORD.cost]
end

-- Of what an event raised a counter by: where that ends in the same instant it is of the same period or window.
local function return_of(raised, amount)
  local until_ms = raised[COUNTERAMOUNT.until_ms]
  local window_ms = until_ms > 0 and 1 or 0
  return COUNTERRETURN{ key = raised[COUNTERAMOUNT.key], amount = amount, until_ms = until_ms, window_ms = window_ms,
    used_ms = until_ms - window_ms }
end

-- Units and money of what an event paid and raised; changes `paid`, an IDEMPOTENCYRECORD. Returns kinds and amounts that no
-- bucket had room for. given: of the back office, an IDEMPOTENCYRECORD that notes what its reversal brings back; or nil
local function turn_back(decision, paid, units, money, all, given)
  local due, takes, kept = money, paid[IDEMPOTENCYRECORD.takes], {}
  local left_units, left_cost = paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost]
  local left = left_cost
  for i = #takes, 1, -1 do -- last paid, first given back
    local take = takes[i]
    local back = take[PAIDAMOUNT.amount]
    if take[PAIDAMOUNT.kind] == KIND.MONEY then
      if not all then back = min(back, due) end
      due = due - back
    elseif not all then
      back = share(back, units, left_units)
    end
    local rest, kind = 0, take[PAIDAMOUNT.kind]
    if back > 0 then
      rest = give_back(decision, take[PAIDAMOUNT.bucket], kind, back, left)
      kept[#kept + 1] = { kind, rest }
      if kind == KIND.MONEY then left = left - back end
    end
    take[PAIDAMOUNT.amount] = take[PAIDAMOUNT.amount] - back
    if given then
      table.insert(given[IDEMPOTENCYRECORD.takes], 1, PAIDAMOUNT{ bucket = take[PAIDAMOUNT.bucket], amount = back - rest, kind = kind })
      if kind == KIND.MONEY then given[IDEMPOTENCYRECORD.cost] = given[IDEMPOTENCYRECORD.cost] + back - rest end
    end
  end
  for _, raised in ipairs(paid[IDEMPOTENCYRECORD.counted]) do
    local part, whole = units, left_units
    if raised[COUNTERAMOUNT.what] == COUNTED.MONEY then part, whole = money, left_cost end
    local back = all and raised[COUNTERAMOUNT.amount] or share(raised[COUNTERAMOUNT.amount], part, whole)
    local counter = counter_of(decision.change.account, raised[COUNTERAMOUNT.key])
    if counter and counter[COUNTER.until_ms] == raised[COUNTERAMOUNT.until_ms] then -- else of another time
      if given then turn_back_counters(decision.change, { return_of(raised, back) })
      else counter[COUNTER.used] = max(counter[COUNTER.used] - back, 0) end -- it may have begun anew since
    end
    raised[COUNTERAMOUNT.amount] = raised[COUNTERAMOUNT.amount] - back
    if given then
      table.insert(given[IDEMPOTENCYRECORD.counted], COUNTERAMOUNT{ key = raised[COUNTERAMOUNT.key], amount = back,
        what = raised[COUNTERAMOUNT.what], until_ms = raised[COUNTERAMOUNT.until_ms] })
    end
  end
  paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost] = left_units - units, left_cost - money
  if given then
    given[IDEMPOTENCYRECORD.units], given[IDEMPOTENCYRECORD.terms] = units, paid[IDEMPOTENCYRECORD.fingerprint]
      .. string.format(' %d', paid[IDEMPOTENCYRECORD.end_to_end])
  end
  return kept
end

-- What the units asked back would cost (RFC 8506 section 6.4); 0: nothing prices all of them.
local function worth_of(decision, ask)
  if not ladder_of(ask[ASK.ladder]) or ask[ASK.asked] <= 0 then return 0 end
  open_funds(OPEN, {})
  local priced, cost = climb_on(decision.change, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh_line(ask, 0),
    ask[ASK.asked], false, nil, decision.charge[CHARGE.event_ms], ms_per_unit(ask[ASK.unit]), false, {})
  return priced == ask[ASK.asked] and cost or 0
end

-- Without the original: RSU money, or what the units asked would cost, as far as the service allows (RFC 8506 section 6.4).
-- Returns why, units, money, kept.
local function refund_free(decision, ask, is_money)
  local worth = is_money and ask[ASK.asked] or worth_of(decision, ask)
  if worth <= 0 or worth > decision.charge[CHARGE.refund_free] then return RESULT.NOT_FOUND, 0, 0, {} end
  local kept = { { KIND.MONEY, give_back(decision, MAIN, KIND.MONEY, worth, 0) } }
  return RESULT.OK, is_money and 0 or ask[ASK.asked], worth, kept
end

-- Of the original a part (money, or units), or all that is left. Returns why, units, money, kept.
local function refund_paid(decision, ask, is_money, paid, given)
  local left_units, left_cost = paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost]
  local asked, units, money = ask[ASK.asked], 0, 0
  if asked < 0 then return RESULT.OK, 0, 0, {} end -- nothing was asked back: on record
  if asked == 0 then units = left_units
  elseif is_money then money = asked
  else units = asked end
  if units > left_units or money > left_cost or (left_units == 0 and left_cost == 0) then return RESULT.TOO_MUCH, 0, 0, {} end
  local all = is_all(paid, units, money, is_money and asked > 0)
  if all then units, money = left_units, left_cost
  elseif money == 0 then money = share(left_cost, units, left_units) end
  return RESULT.OK, units, money, turn_back(decision, paid, units, money, all, given)
end

-- paid: the original, an IDEMPOTENCYRECORD, which changes; or nil. own: the record of this refund
local function refund_event(decision, ask, paid, own)
  local noted = decision.charge[CHARGE.actor] ~= '' and own or nil -- of the network none is reversed
  local is_money, event_ms = ask[ASK.unit] == KIND.MONEY, decision.charge[CHARGE.event_ms]
  local why, units, money, kept
  if paid then why, units, money, kept = refund_paid(decision, ask, is_money, paid, noted)
  else why, units, money, kept = refund_free(decision, ask, is_money) end
  if why == RESULT.OK then decision.moved = true end
  local marks = bit.bor(decision.flags, FLAG.REFUND)
  for _, rest in ipairs(kept) do
    if rest[1] == KIND.MONEY then money = money - rest[2] end
  end
  local usage = note_usage(decision, ask, ask[ASK.unit], -units, 0, 0, -money, 0, why, marks, event_ms)
  local ladder = not paid and not is_money and ladder_of(ask[ASK.ladder])
  usage[USAGE.terms] = paid and paid[IDEMPOTENCYRECORD.terms] or ladder and ladder[LADDER.terms] or ''
  for _, rest in ipairs(kept) do -- given up to 2^53, the rest is owed (charging.md section 2)
    if rest[2] > 0 then
      note_usage(decision, ask, rest[1], 0, -rest[2], 0, 0, 0, why, bit.bor(marks, FLAG.SUSPENSE), event_ms)
    end
  end
  local given = is_money and money or units
  decision.outcomes[#decision.outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, given, -money, -money, marks)
  decision.cost, decision.debited = decision.cost - money, decision.debited - money
end

-- Returns the original as it is after that, an IDEMPOTENCYRECORD; nil: there is none.
-- original: as it is stored, packed, or false; the request may bring it too. own: the record of this refund
function refund_events(decision, original, own)
  local given, paid = decision.charge[CHARGE.original], nil
  if original then paid = cmsgpack.unpack(original)
  elseif given ~= '' then paid = cmsgpack.unpack(given) end
  for _, ask in ipairs(decision.asks) do refund_event(decision, ask, paid, own) end
  if decision.moved then decision.change.reauthorize[1] = 'final' end
  return paid
end

end
