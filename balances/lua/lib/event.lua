-- One-time events: debits and enquiries, decided and settled at once (charging.md section 9); twin of balances/model/event.py.
-- @use lib/decision
-- @use lib/repeats
-- @use lib/refund
local decide_event
do

-- From when on use by time has no price yet; nil: all of it has.
local function event_longer(decision)
  local event_ms = decision.charge[CHARGE.event_ms]
  for _, ask in ipairs(decision.asks) do
    if ask[ASK.unit] == KIND.SECONDS and ask[ASK.ladder] ~= '' then
      local to_ms = event_ms + wanted(ask, true) * ms_per_unit(ask[ASK.unit])
      local missing_ms = unknown_from(ask[ASK.until_ms], ask[ASK.later], event_ms, to_ms)
      if missing_ms > 0 then return missing_ms end
    end
  end
end

-- There is money for both of two parts that are charged side by side.
local function pays_both(decision, main, other)
  open_funds(OPEN, {})
  local sums = summing.copied(decision.change.sums)
  for _, ask in ipairs({ main, other }) do
    local want = wanted(ask, true)
    if ladder_of(ask[ASK.ladder]) then
      local units = climb_on(decision.change, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh_line(ask, 0), want,
        true, nil, decision.charge[CHARGE.event_ms], ms_per_unit(ask[ASK.unit]), true, sums)
      if want > 0 and (units == 0 or (ask[ASK.whole] and units < want)) then return false end
    end
  end
  return true
end

-- Note what was paid and what was counted, for a refund.
local function note_paid(decision, paid, ladder, takes, charged, exact, money)
  local account = decision.change.account
  local paid_takes, counted = paid[IDEMPOTENCYRECORD.takes], paid[IDEMPOTENCYRECORD.counted]
  for _, take in ipairs(takes) do
    paid_takes[#paid_takes + 1] = PAIDAMOUNT{ bucket = take[TAKE.bucket], amount = take[TAKE.amount],
      kind = bucket_of(account, take[TAKE.bucket])[BUCKET.kind] }
  end
  for _, count in ipairs(ladder[LADDER.counts]) do
    local raised = summing.counted(count, charged, exact, money)
    local counter = counter_of(account, count[COUNT.key])
    if raised > 0 and counter then
      counted[#counted + 1] = COUNTERAMOUNT{ key = count[COUNT.key], amount = raised, what = count[COUNT.what],
        until_ms = counter[COUNTER.until_ms] }
    end
  end
end

-- All that was granted, piece by piece; returns the money.
local function settle_event(decision, ask, line, units, own, marks, paid)
  local change, ms = decision.change, ms_per_unit(ask[ASK.unit])
  local packed, reach_ms, later = ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later]
  local from_ms, granted, suspense, cost = decision.charge[CHARGE.event_ms], units, 0, 0
  while line[LINE.total] + suspense < units do -- bounded: climb_on went the same way
    local until_ms, before, left = 0, packed, units - line[LINE.total]
    if ms > 0 then packed, until_ms = price_at(packed, reach_ms, later, from_ms) end
    if packed ~= before and leave_tier(change, line, own, left, from_ms) then granted = 0 end
    local ladder = ladder_of(packed)
    local part = ms > 0 and before_change(change.account, ladder, line, left, from_ms, until_ms, ms) or left
    local counters = counter_snapshot(change.account, ladder, from_ms)
    local money, taken, charged, exact = settle(change, line, ladder, part, min(granted, part), own, from_ms + part * ms,
      change.now_ms, #change.usages)
    from_ms, granted, cost = from_ms + charged * ms, max(granted - part, 0), cost + money
    if charged < part then suspense = left - charged end
    note_usage(decision, ask, ask[ASK.unit], charged, suspense, line[LINE.total], money, charged, RESULT.OK,
      suspense > 0 and bit.bor(marks, FLAG.SUSPENSE) or marks, from_ms, packed, counters)
    note_paid(decision, paid, ladder, taken, charged, exact, money)
  end
  repool(change, line, own, 0, from_ms)
  return cost
end

-- why: a refusal, or OK. What it paid is noted in `paid`, an IDEMPOTENCYRECORD.
local function debit_event(decision, ask, why, paid)
  local change, event_ms = decision.change, decision.charge[CHARGE.event_ms]
  local account, line = change.account, fresh_line(ask, change.now_ms)
  local want, units, cost, ms, packed = wanted(ask, true), 0, 0, ms_per_unit(ask[ASK.unit]), ask[ASK.ladder]
  local ladder = ladder_of(packed)
  local marks = ask[ASK.free] and bit.bor(decision.flags, FLAG.FREE) or decision.flags
  if ladder and paid[IDEMPOTENCYRECORD.terms] == '' then paid[IDEMPOTENCYRECORD.terms] = ladder[LADDER.terms] end
  if why == RESULT.OK and want == 0 then
    decision.moved = true -- costs nothing, and is on record (charging.md section 9)
  elseif why == RESULT.OK and ladder then
    open_funds(OPEN, {})
    units = climb_on(change, packed, ask[ASK.until_ms], ask[ASK.later], position_of(line), countable(account, ladder, want),
      true, nil, event_ms, ms, true, summing.copied(change.sums), nil, payable(account, line))
    if units == 0 or (ask[ASK.whole] and units < want) then
      why, units = RESULT.CREDIT_LIMIT, 0
    else -- granted and settled at once: on a tier it costs what comes next, whatever others hold
      hold(change, line, funds_takes(), units, ladder, packed, event_ms, change.now_ms)
      line[LINE.debited] = paid[IDEMPOTENCYRECORD.cost] -- of an event all lines are one sum: so it is given back
      cost = settle_event(decision, ask, line, units, (release_hold(change, line)), marks, paid)
      decision.moved = true
    end
  end
  if line[LINE.total] == 0 then
    note_usage(decision, ask, ask[ASK.unit], 0, 0, 0, 0, 0, why, marks, event_ms, packed ~= '' and packed,
      counter_snapshot(account, ladder, event_ms))
  end
  decision.outcomes[#decision.outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, units, cost, cost, marks)
  decision.cost, decision.debited = decision.cost + cost, decision.debited + cost
  if ask[ASK.secondary] == 0 then -- what is charged beside it goes back with it
    paid[IDEMPOTENCYRECORD.units] = min(paid[IDEMPOTENCYRECORD.units] + units, EXACT_MAX)
  end
  paid[IDEMPOTENCYRECORD.cost] = paid[IDEMPOTENCYRECORD.cost] + cost
end

-- Of two parts that are charged side by side both are paid, or neither is.
local function debit_events(decision, paid)
  local refusals, asks = {}, decision.asks
  for index, ask in ipairs(asks) do
    refusals[index] = refusal_of(decision, ask)
    if ask[ASK.secondary] == 1 and index > 1 and refusals[index] == RESULT.OK and refusals[index - 1] == RESULT.OK
        and not pays_both(decision, asks[index - 1], ask) then
      refusals[index - 1], refusals[index] = RESULT.CREDIT_LIMIT, RESULT.CREDIT_LIMIT
    end
  end
  for index, ask in ipairs(asks) do debit_event(decision, ask, refusals[index], paid) end
end

-- CHECK_BALANCE holds nothing, PRICE_ENQUIRY does not even look at the money; neither writes.
local function enquire_one(decision, ask)
  local why, units, cost = ask[ASK.refusal], 0, 0
  local check = decision.charge[CHARGE.action] == ACTION.CHECK
  if ladder_of(ask[ASK.ladder]) and why == RESULT.OK then
    units, cost = climb_on(decision.change, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh_line(ask, 0),
      wanted(ask, true), true, nil, decision.charge[CHARGE.event_ms], ms_per_unit(ask[ASK.unit]), check,
      decision.change.sums)
    local covered = units >= wanted(ask, true)
    decision.enough = decision.enough and covered
    if not covered and not check then why, units, cost = RESULT.TOO_MUCH, 0, 0 end -- a price beyond 2^53
  end
  if check and refusal_of(decision, ask) ~= RESULT.OK then decision.enough = false end
  decision.outcomes[#decision.outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, units, cost, cost, decision.flags)
  decision.cost = min(decision.cost + cost, EXACT_MAX)
end

-- One funds for all lines.
local function enquire(decision)
  open_funds(OPEN, {})
  for _, ask in ipairs(decision.asks) do enquire_one(decision, ask) end
  decision.balance = settled(decision.change.account, decision.change.now_ms)
  decision.result = command_result(decision)
  return { 'ok', pack_outcome(decision) }
end

-- The stored answers to this event, and to another one under the same number, as list of ANSWER.
local function event_answers(charge, answer, renumbered)
  local known = {}
  for i, packed in ipairs({ answer or nil, renumbered or nil }) do
    local one = cmsgpack.unpack(packed)
    known[i] = ANSWER{ key = charge[CHARGE.key], fingerprint = one[IDEMPOTENCYRECORD.fingerprint],
      end_to_end = one[IDEMPOTENCYRECORD.end_to_end], moved = one[IDEMPOTENCYRECORD.moved],
      outcome = one[IDEMPOTENCYRECORD.outcome] }
    if known[1][ANSWER.fingerprint] == charge[CHARGE.fingerprint] then break end
  end
  return known
end

-- Decides an event: what is to be written stands in the decision then, or the reply is returned and nothing is to be.
-- answer, renumbered, original: stored IDEMPOTENCYRECORDs, packed, or false
function decide_event(decision, answer, renumbered, original)
  local charge, change = decision.charge, decision.change
  local action = charge[CHARGE.action]
  if action == ACTION.CHECK or action == ACTION.PRICE then
    local missing_ms = event_longer(decision)
    return missing_ms and longer_reply(missing_ms) or enquire(decision)
  end
  local known = event_answers(charge, answer, renumbered)
  local answered, contradicts, mark = judge(charge, known)
  decision.flags = bit.bor(decision.flags, mark)
  if contradicts then return answer_conflict(decision, answered, '') end
  if answered then return { 'again', answered, mark } end
  if charge[CHARGE.moved_rev] > 0 and not (action == ACTION.REFUND and (original or charge[CHARGE.original] ~= '')) then
    return { 'elsewhere' } -- it pays no more, and gives back what it was paid
  end
  local missing_ms = event_longer(decision)
  if missing_ms then return longer_reply(missing_ms) end

  local paid = IDEMPOTENCYRECORD{ version = FORMAT, fingerprint = charge[CHARGE.fingerprint],
    end_to_end = charge[CHARGE.end_to_end], moved = false, outcome = '' }
  local source
  end_grace(change)
  if action == ACTION.REFUND then
    source = refund_events(decision, original, paid)
  else
    debit_events(decision, paid)
  end
  expire_buckets(change)
  decision.balance = check_thresholds(change)
  check_limits(change, decision.asks, action == ACTION.REFUND)
  if decision.moved then activate(change) end
  decision.result = command_result(decision)
  decision.outcome = pack_outcome(decision)
  paid[IDEMPOTENCYRECORD.moved], paid[IDEMPOTENCYRECORD.outcome] = decision.moved, decision.outcome
  table.sort(change.account[ACCOUNT.buckets], pays_before)

  local is_other = known[1] and known[1][ANSWER.fingerprint] ~= charge[CHARGE.fingerprint] -- it has its own place
  local key = is_other and charge[CHARGE.once_key] .. ' ' .. charge[CHARGE.fingerprint] or charge[CHARGE.once_key]
  decision.is_renumbered = is_other
  decision.record = charge_record(decision, key, change.now_ms + charge[CHARGE.remember_ms])
  decision.account, decision.answer = cmsgpack.pack(change.account), cmsgpack.pack(paid)
  decision.source = source and decision.moved and cmsgpack.pack(source) or ''
  decision.states = { 'a', decision.account, 'o', decision.answer, 'c', decision.context, 'p', decision.source }
end

end
