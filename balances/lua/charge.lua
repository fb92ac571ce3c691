-- charge: settle what was used, hold what is asked, debit events; once per request.
-- KEYS  account sessions due ledger once renumbered original
-- ARGV  epoch charge context
-- EXIT  ok again absent stale facts longer fenced full elsewhere other
-- `elsewhere`: the account does not have the session; `other`: it was opened for another subscriber, who is the outcome.
-- `longer`: use by time has no price from the instant on that is the outcome.
-- Twin: balances/model/charge.py. Sessions pass four keys; events also the keys of their answers.
-- @use lib/granting
-- @use lib/refund
-- @use lib/repeats
-- @use lib/facts
-- @use lib/matching
-- @use lib/steady
local _, _, _, session_id, _, phase = cmsgpack.unpack_limit(ARGV[2], CHARGE.phase, 3)

-- read
local packed = redis.call('GET', KEYS[1])
if not packed then return { 'absent' } end
local stored
if phase ~= PHASE.EVENT then stored = redis.call('HGET', KEYS[2], session_id) end
local once, renumbered, original
if phase == PHASE.EVENT then
  once = redis.call('GET', KEYS[5])
  renumbered = once and redis.call('GET', KEYS[6])
  original = KEYS[7] and redis.call('GET', KEYS[7])
end

-- decide
local usual = steady(ARGV[2], phase, packed, stored, once)
if usual then return steady_write(KEYS, ARGV, usual) end
local charge = cmsgpack.unpack(ARGV[2])
local account = cmsgpack.unpack(packed)
if account[ACCOUNT.profile_rev] > charge[CHARGE.profile_rev] then return { 'stale' } end
local now_ms = max(charge[CHARGE.now_ms], account[ACCOUNT.clock_ms])
account[ACCOUNT.clock_ms] = now_ms
begin_call(account, now_ms)

local entries, usages, threshold_events, nudges, short = {}, {}, {}, {}, {}
local outcomes = {}
local flags = charge[CHARGE.flags]
local asks = charge[CHARGE.asks]
local fingerprint, end_to_end = charge[CHARGE.fingerprint], charge[CHARGE.end_to_end]
local result, moved, cost_all, debited_all, enough = RESULT.OK, false, 0, 0, true
local balance = 0
local incarnation = 0 -- of the session

local blocked = has_state(account, SUSPENDREASONS.BARRED + SUSPENDREASONS.FRAUD + SUSPENDREASONS.OPERATOR + SUSPENDREASONS.CLOSED)

-- Why an asking line gets nothing before money is looked at; OK when it may ask.
local function refusal_of(ask)
  if ask[ASK.refusal] ~= RESULT.OK then return ask[ASK.refusal] end
  if ask[ASK.emergency] then return RESULT.OK end
  if blocked then return RESULT.DENIED end
  if has_state(account, SUSPENDREASONS.CREDIT) and not ask[ASK.free] then return RESULT.CREDIT_LIMIT end
  return RESULT.OK
end

-- Counters the steps of a ladder depend on, as they stand: with them its price can be shown later
local function counter_snapshot(ladder, at_ms)
  local found, values = {}, nil
  for _, step in ipairs(ladder and ladder[LADDER.steps] or NONE) do
    if step[STEP.counter] ~= '' and (#found == 0 or found[#found][COUNTERAMOUNT.key] ~= step[STEP.counter]) then
      values = values or counter_values(account, ladder, false, at_ms)
      found[#found + 1] = { step[STEP.counter], values[step[STEP.counter]] or 0 }
    end
  end
  return found
end

local function usage(ask, unit, used, suspense, total, cost, granted, why, marks, at_ms, packed, counters)
  local ladder = packed and ladder_of(packed)
  usages[#usages + 1] = { ask[ASK.rating_group], ask[ASK.service_id], unit, used, suspense, total, cost, granted, why,
    marks, ladder and ladder[LADDER.tag] or '', at_ms, ladder and ladder[LADDER.terms] or '', packed or '',
    counters or {}, ask[ASK.secondary], suspense ~= 0 and SUSPENSE.TOO_LARGE or SUSPENSE.NONE }
end

local function pack_outcome()
  return cmsgpack.pack({ result, outcomes, cost_all, debited_all, balance, enough,
    balance < account[ACCOUNT.resume_at] })
end

local function record_of(once_key, once_until_ms)
  return { 1, 'charge', account[ACCOUNT.id], account[ACCOUNT.currency], charge[CHARGE.subscriber], session_id,
    charge[CHARGE.service], phase, now_ms, charge[CHARGE.event_ms], charge[CHARGE.key], fingerprint, end_to_end,
    entries, usages, charge[CHARGE.actor], charge[CHARGE.reason], charge[CHARGE.reference], threshold_events, nudges, once_key,
    once_until_ms, charge[CHARGE.refund_of], incarnation, short }
end

-- A conflicting repeat is answered as before and put on record; nothing else moves.
local function record_conflict(outcome)
  for _, ask in ipairs(asks) do
    usage(ask, ask[ASK.unit], 0, 0, 0, 0, 0, RESULT.OK, FLAG.CONFLICT, now_ms)
  end
  -- write
  local failed = append(KEYS[4], ARGV[1], record_of('', 0), 'a', packed, 's', stored or '', 'c', ARGV[3])
  if failed then return { failed } end
  return { 'again', outcome, 0, 0, 0, FLAG.CONFLICT }
end

local function fresh(ask)
  return { ask[ASK.rating_group], ask[ASK.service_id], ask[ASK.unit], 0, 0, 0, 0, 0, 0, false, 0, 0, {}, '', 0, false,
    now_ms, 0, 0, 0, '', ask[ASK.secondary], 0, 0 }
end

local function line_outcome(ask, unit, why, granted, cost, debited, marks)
  return { ask[ASK.rating_group], ask[ASK.service_id], unit, why, granted, 0, 0, false, cost, debited, marks, '',
    ask[ASK.secondary] }
end

local function wanted(ask)
  local want = ask[ASK.asked]
  if phase == PHASE.EVENT and want < 0 then return 0 end -- an amount of zero was named
  if want <= 0 then want = ask[ASK.default] end
  if phase ~= PHASE.EVENT then want = max(want, ask[ASK.minimum]) end
  if ask[ASK.maximum] > 0 then want = min(want, ask[ASK.maximum]) end
  return want
end

local function has_use(ask)
  if ask[ASK.set_aside] ~= SUSPENSE.NONE then return true end
  for _, report in ipairs(ask[ASK.reports]) do
    for unit = KIND.MONEY, KIND.UNITS do
      if report[unit + 1] > 0 then return true end
    end
  end
  return false
end

-- A command is refused when all its lines are.
local function command_result()
  for _, line in ipairs(outcomes) do
    local why = line[LINEOUTCOME.result]
    if why == RESULT.OK or why == RESULT.NOT_APPLICABLE or why == RESULT.NO_GRANT then return RESULT.OK end
  end
  return outcomes[1] and outcomes[1][LINEOUTCOME.result] or RESULT.OK
end

---------------------------------------------------------------------------------------------------- one-time events
if phase == PHASE.EVENT then
  -- There is money for both of two parts that are charged side by side
  local function pays(main, other)
    local event_ms = charge[CHARGE.event_ms]
    open_funds(OPEN, {})
    for _, ask in ipairs({ main, other }) do
      local want, ladder = wanted(ask), ladder_of(ask[ASK.ladder])
      if ladder then
        local units = climb_on(account, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh(ask), want, true, nil,
          event_ms, ms_per_unit(ask[ASK.unit]), true)
        if want > 0 and (units == 0 or (ask[ASK.whole] and units < want)) then return false end
      end
    end
    return true
  end

  local function debit_event(ask, why)
    local line, event_ms = fresh(ask), charge[CHARGE.event_ms]
    local want, units, cost, takes, ms = wanted(ask), 0, 0, {}, ms_per_unit(ask[ASK.unit])
    local packed, reach_ms, later = ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later]
    local ladder = ladder_of(packed)
    local terms = ladder and ladder[LADDER.terms] or ''
    local marks = ask[ASK.free] and bit.bor(flags, FLAG.FREE) or flags
    local feeds = {}
    if why == RESULT.OK and want == 0 then moved = true -- costs nothing, and is on record (charging.md section 9)
    elseif why == RESULT.OK and ladder then
      open_funds(OPEN, {})
      units = climb_on(account, packed, reach_ms, later, position_of(line), countable(account, ladder, want), true, nil,
        event_ms, ms, true, nil, payable(account, line))
      if units == 0 or (ask[ASK.whole] and units < want) then
        why, units = RESULT.CREDIT_LIMIT, 0
      else -- granted and settled at once: on a tier it costs what comes next, whatever others hold
        hold(account, line, funds_takes(), units, ladder, packed, event_ms, now_ms)
        local own = release_hold(account, line)
        local from_ms, granted, suspense = event_ms, units, 0
        while line[LINE.total] + suspense < units do -- bounded: climb_on went the same way
          local until_ms, before, left = 0, packed, units - line[LINE.total]
          if ms > 0 then packed, until_ms = price_at(packed, reach_ms, later, from_ms) end
          if packed ~= before and leave_tier(account, line, own, left, from_ms) then granted = 0 end
          ladder = ladder_of(packed)
          local part = ms > 0 and before_change(account, ladder, line, left, from_ms, until_ms, ms) or left
          local counters = counter_snapshot(ladder, from_ms)
          local paid, taken, charged = settle(account, entries, line, ladder, part, min(granted, part), own,
            from_ms + part * ms, now_ms, 'usage', #usages)
          from_ms, granted, cost = from_ms + charged * ms, max(granted - part, 0), cost + paid
          if charged < part then suspense = left - charged end
          usage(ask, ask[ASK.unit], charged, suspense, line[LINE.total], paid, charged, why,
            suspense > 0 and bit.bor(marks, FLAG.SUSPENSE) or marks, from_ms, packed, counters)
          if suspense > 0 then usages[#usages][USAGE.set_aside] = SUSPENSE.TOO_LARGE end
          for _, take in ipairs(taken) do takes[#takes + 1] = take end
          for _, count in ipairs(ladder[LADDER.counts]) do
            local raised, counter = count[COUNT.what] == 0 and charged or paid, counter_of(account, count[COUNT.key])
            if raised > 0 and counter then
              feeds[#feeds + 1] = { count[COUNT.key], raised, count[COUNT.what], counter[COUNTER.until_ms] }
            end
          end
        end
        repool(account, line, own, 0, from_ms)
        moved = true
      end
    end
    if line[LINE.total] == 0 then
      usage(ask, ask[ASK.unit], 0, 0, 0, 0, 0, why, marks, event_ms, packed ~= '' and packed, counter_snapshot(ladder, event_ms))
    end
    outcomes[#outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, units, cost, cost, marks)
    cost_all, debited_all = cost_all + cost, debited_all + cost
    return units, cost, takes, feeds, terms
  end

  local refund_until_ms = 0

  -- Refund a part (money, or units of the original), or all that is left; changes `paid`, a Once.
  local function refund_event(ask, paid)
    local why, units, money, kept = RESULT.OK, 0, 0, {} -- kept: kind and amount that no bucket had room for
    local asked, is_money = ask[ASK.asked], ask[ASK.unit] == KIND.MONEY
    if paid and asked < 0 then -- nothing was asked back: on record
    elseif not paid then -- RFC 8506 section 6.4: RSU money, or what the units asked would cost
      local worth, ladder = asked, ladder_of(ask[ASK.ladder])
      if not is_money then
        worth = 0
        if ladder and asked > 0 then
          open_funds(OPEN, {})
          local priced, cost = climb_on(account, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh(ask), asked,
            false, nil, charge[CHARGE.event_ms], ms_per_unit(ask[ASK.unit]), false)
          worth = priced == asked and cost or 0
        end
      end
      if worth > 0 and worth <= charge[CHARGE.refund_free] then
        kept[1] = { KIND.MONEY, worth - give_back(account, entries, charge, MAIN, KIND.MONEY, worth, #usages) }
        money = worth
        if not is_money then units = asked end
      else
        why = RESULT.NOT_FOUND
      end
    else
      local left_units, left_cost = paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost]
      if asked == 0 then units = left_units
      elseif is_money then money = asked
      else units = asked end
      if units > left_units or money > left_cost or (left_units == 0 and left_cost == 0) then
        why, units, money = RESULT.TOO_MUCH, 0, 0
      else
        local all = is_all(paid, units, money, is_money and asked > 0)
        if all then units, money = left_units, left_cost
        elseif money == 0 then money = share(left_cost, units, left_units) end
        refund_until_ms = max(refund_until_ms,
          turn_back(account, entries, charge, paid, units, money, all, #usages, kept))
      end
    end
    if why == RESULT.OK then moved = true end
    local marks = bit.bor(flags, FLAG.REFUND)
    for _, rest in ipairs(kept) do
      if rest[1] == KIND.MONEY then money = money - rest[2] end
    end
    usage(ask, ask[ASK.unit], -units, 0, 0, -money, 0, why, marks, charge[CHARGE.event_ms])
    local ladder = not paid and not is_money and ladder_of(ask[ASK.ladder])
    usages[#usages][USAGE.terms] = paid and paid[IDEMPOTENCYRECORD.terms] or ladder and ladder[LADDER.terms] or ''
    for _, rest in ipairs(kept) do -- given up to 2^53, the rest is owed (charging.md section 2)
      if rest[2] > 0 then
        usage(ask, rest[1], 0, -rest[2], 0, 0, 0, why, bit.bor(marks, FLAG.SUSPENSE), charge[CHARGE.event_ms])
        usages[#usages][USAGE.set_aside] = SUSPENSE.TOO_LARGE
      end
    end
    outcomes[#outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, is_money and money or units, -money, -money, marks)
    cost_all, debited_all = cost_all - money, debited_all - money
  end

  -- CHECK_BALANCE holds nothing, PRICE_ENQUIRY does not even look at the money; neither writes. One funds for all lines.
  local function enquire(ask)
    local why, units, cost = RESULT.OK, 0, 0
    local ladder = ladder_of(ask[ASK.ladder])
    local check = charge[CHARGE.action] == ACTION.CHECK
    if ask[ASK.refusal] ~= RESULT.OK then why = ask[ASK.refusal] end
    if ladder and why == RESULT.OK then
      units, cost = climb_on(account, ask[ASK.ladder], ask[ASK.until_ms], ask[ASK.later], fresh(ask), wanted(ask), true,
        nil, charge[CHARGE.event_ms], ms_per_unit(ask[ASK.unit]), check)
      local covered = units >= wanted(ask)
      enough = enough and covered
      if not covered and not check then why, units, cost = RESULT.TOO_MUCH, 0, 0 end -- a price beyond 2^53
    end
    if check and refusal_of(ask) ~= RESULT.OK then enough = false end
    outcomes[#outcomes + 1] = line_outcome(ask, ask[ASK.unit], why, units, cost, cost, flags)
    cost_all = min(cost_all + cost, EXACT_MAX)
  end

  local function event_longer() -- see `longer` below
    local event_ms = charge[CHARGE.event_ms]
    for _, ask in ipairs(asks) do
      if ask[ASK.unit] == KIND.SECONDS and ask[ASK.ladder] ~= '' then
        local to_ms = event_ms + wanted(ask) * ms_per_unit(ask[ASK.unit])
        local missing_ms = unknown_from(ask[ASK.until_ms], ask[ASK.later], event_ms, to_ms)
        if missing_ms > 0 then return string.format('%d', missing_ms) end
      end
    end
  end

  local action = charge[CHARGE.action]
  if action == ACTION.CHECK or action == ACTION.PRICE then
    local missing = event_longer()
    if missing then return { 'longer', missing, 0, 0, 0 } end
    open_funds(OPEN, {})
    for _, ask in ipairs(asks) do enquire(ask) end
    balance = settled(account, now_ms)
    result = command_result()
    return { 'ok', pack_outcome(), 0, 0, 0 }
  end
  local once_key, slot, known = charge[CHARGE.once_key], KEYS[5], {}
  if once then
    local first = cmsgpack.unpack(once)
    known[1] = { charge[CHARGE.key], first[IDEMPOTENCYRECORD.fingerprint], first[IDEMPOTENCYRECORD.end_to_end], first[IDEMPOTENCYRECORD.moved], first[IDEMPOTENCYRECORD.outcome] }
    if first[IDEMPOTENCYRECORD.fingerprint] ~= fingerprint then -- another request under the same number has its own place
      once_key, slot = once_key .. ' ' .. fingerprint, KEYS[6]
      if renumbered then
        local second = cmsgpack.unpack(renumbered)
        known[2] = { charge[CHARGE.key], second[IDEMPOTENCYRECORD.fingerprint], second[IDEMPOTENCYRECORD.end_to_end], second[IDEMPOTENCYRECORD.moved], second[IDEMPOTENCYRECORD.outcome] }
      end
    end
  end
  local answered, contradicts, mark = judge(charge, known)
  flags = bit.bor(flags, mark)
  if contradicts then return record_conflict(answered) end
  if answered then return { 'again', answered, 0, 0, 0, mark } end
  local missing = event_longer()
  if missing then return { 'longer', missing, 0, 0, 0 } end
  local paid_units, paid_cost, paid_takes, paid_feeds, paid_terms = 0, 0, {}, {}, ''
  local paid
  if action == ACTION.REFUND then
    if original then paid = cmsgpack.unpack(original)
    elseif charge[CHARGE.original] ~= '' then paid = cmsgpack.unpack(charge[CHARGE.original]) end
  end
  local refusals = {}
  for index, ask in ipairs(asks) do
    refusals[index] = refusal_of(ask)
    if action ~= ACTION.REFUND and ask[ASK.secondary] == 1 and index > 1 and refusals[index] == RESULT.OK
        and refusals[index - 1] == RESULT.OK then
      if not pays(asks[index - 1], ask) then refusals[index - 1], refusals[index] = RESULT.CREDIT_LIMIT, RESULT.CREDIT_LIMIT end
    end
  end
  for index, ask in ipairs(asks) do
    if action == ACTION.REFUND then
      refund_event(ask, paid)
    else
      local units, cost, takes, feeds, terms = debit_event(ask, refusals[index])
      if ask[ASK.secondary] == 0 then paid_units = min(paid_units + units, EXACT_MAX) end -- what is charged beside goes back with it
      paid_cost = paid_cost + cost
      for _, take in ipairs(takes) do
        paid_takes[#paid_takes + 1] = { take[1], take[2], bucket_of(account, take[1])[BUCKET.kind] }
      end
      for _, fed in ipairs(feeds) do paid_feeds[#paid_feeds + 1] = fed end
      if paid_terms == '' then paid_terms = terms end
    end
  end
  if action == ACTION.REFUND and moved then nudges[1] = 'final' end
  expire_buckets(account, entries, now_ms)
  balance = check_thresholds(account, threshold_events, now_ms)
  result = command_result()
  local outcome = pack_outcome()
  local answer = cmsgpack.pack({ 1, fingerprint, end_to_end, moved, outcome, paid_units, paid_cost, paid_takes,
    paid_feeds, paid_terms })
  table.sort(account[ACCOUNT.buckets], pays_before)
  local account_packed = cmsgpack.pack(account)
  local until_ms = now_ms + charge[CHARGE.remember_ms]
  local original_packed = paid and moved and cmsgpack.pack(paid) or ''
  -- write
  local failed = append(KEYS[4], ARGV[1], record_of(once_key, until_ms), 'a', account_packed, 'o', answer, 'c', ARGV[3],
    'p', original_packed)
  if failed then return { failed } end
  redis.call('SET', KEYS[1], account_packed)
  redis.call('SET', slot, answer, 'PX', charge[CHARGE.remember_ms])
  local bucket_ms = refund_until_ms > 0 and refund_until_ms or changed.begun_ms
  if bucket_ms > 0 then look_by(KEYS[3], account[ACCOUNT.id] .. '\n', bucket_ms) end
  if original_packed ~= '' then redis.call('SET', KEYS[7], original_packed, 'PX', charge[CHARGE.remember_ms]) end
  return { 'ok', outcome, 0, 0, changed.held_micro, flags, urgency(threshold_events, nudges) }
end

--------------------------------------------------------------------------------------------------------- sessions
local function fresh_session(times, former)
  return { 1, session_id, charge[CHARGE.subscriber], charge[CHARGE.service], 0, charge[CHARGE.peer],
    charge[CHARGE.realm], charge[CHARGE.via], now_ms, 0, 0, 0, {}, {}, {}, '', times, '', false, former,
    charge[CHARGE.origin_state] }
end

-- The old incarnation ends: what it still holds is given back, and nothing of it is left but its answers.
local function ended(session)
  for _, line in ipairs(session[SESSION.lines]) do
    if line[LINE.due_ms] > 0 then
      usages[#usages + 1] = { line[LINE.rating_group], line[LINE.service_id], line[LINE.unit], 0, 0, line[LINE.total], 0, 0,
        RESULT.OK, FLAG.ABANDONED, '', now_ms, '', '', {}, line[LINE.secondary], SUSPENSE.NONE }
      release(account, line, charge[CHARGE.event_ms])
    end
  end
  local begun = fresh_session(session[SESSION.incarnation] + 1, former_of(session))
  begun[SESSION.touched_ms] = session[SESSION.touched_ms]
  return begun
end

local session = stored and cmsgpack.unpack(stored)
local was_open = session and session[SESSION.state] == SESSIONSTATE.OPEN
if session then
  incarnation = session[SESSION.incarnation]
  local known, same = known_answers(charge, session)
  local outcome, contradicts, mark
  local former = not same and former_answer(charge, session, now_ms)
  local new, anew = is_new(charge, session, known, now_ms), holds_again(charge, session, known, now_ms)
  if former then outcome, contradicts, mark = former[ANSWER.outcome], former[ANSWER.fingerprint] ~= fingerprint, 0
  elseif new or anew then mark = 0
  else outcome, contradicts, mark = judge(charge, known) end
  flags = bit.bor(flags, mark)
  if contradicts then return record_conflict(outcome) end
  if outcome then return { 'again', outcome, 0, 0, 0, mark } end
  if new then
    session, flags = ended(session), bit.bor(flags, FLAG.REUSED)
    incarnation = session[SESSION.incarnation]
  elseif not anew and bit.band(flags, FLAG.RENUMBERED) == 0 and number_seen(charge, session) then
    for _, ask in ipairs(asks) do
      outcomes[#outcomes + 1] = line_outcome(ask, ask[ASK.unit], RESULT.REMEMBERED, 0, 0, 0, flags)
    end
    result = RESULT.REMEMBERED
    return { 'again', pack_outcome(), 0, 0, 0, 0 }
  end
  if session[SESSION.subscriber] ~= charge[CHARGE.subscriber] then
    local opens = phase == PHASE.START and session[SESSION.initial] == ''
    if not opens then return { 'other', session[SESSION.subscriber] } end -- payer and subscriber are those of the opening
    session[SESSION.subscriber] = charge[CHARGE.subscriber]
  end
else
  if charge[CHARGE.seek] then return { 'elsewhere' } end
  session, incarnation = fresh_session(1, {}), 1
end

-- What a request does not tell is the last one told in its session: if it was not rated by that, it is to be rated again
-- (charging.md 5).
local facts = facts_merged(session[SESSION.facts], charge[CHARGE.told])
if facts ~= charge[CHARGE.facts] then return { 'facts', session[SESSION.facts] } end
session[SESSION.facts] = facts

-- What the request means in the state the session is in (charging.md section 3, late and odd order).
local state = session[SESSION.state]
local marks, may_grant, refused_as = 0, false, nil
if phase == PHASE.START then
  for _, ask in ipairs(asks) do -- use inside an INITIAL is charged, once under its key
    if has_use(ask) then marks = FLAG.UNMATCHED end
  end
  if state == SESSIONSTATE.CLOSED then refused_as = RESULT.UNABLE
  else
    may_grant, state = true, SESSIONSTATE.OPEN
  end
elseif phase == PHASE.RECORD then -- it has happened: charged in any state, and no session is made of it
  if state == 0 then state = SESSIONSTATE.CLOSED end
elseif state == SESSIONSTATE.OPEN then
  may_grant = phase == PHASE.UPDATE
elseif state == SESSIONSTATE.ABANDONED then
  may_grant, marks = phase == PHASE.UPDATE, FLAG.REOPENED
  state = SESSIONSTATE.OPEN
elseif state == SESSIONSTATE.CLOSED then
  marks = FLAG.LATE
  if phase == PHASE.UPDATE then result = RESULT.SESSION_UNKNOWN end
else
  marks = FLAG.UNMATCHED
  if state == 0 then state = SESSIONSTATE.UNKNOWN end
  if not (phase == PHASE.STOP and state == SESSIONSTATE.REFUSED) then result = RESULT.SESSION_UNKNOWN end
end
if phase == PHASE.STOP then state = SESSIONSTATE.CLOSED end
flags = bit.bor(flags, marks)

local lines = session[SESSION.lines]
local crowded = {}

local since = {} -- when what a line reports began: its last report or grant

-- A line that is matched makes no room for another one of the same request.
local function matched(line)
  since[line] = since[line] or line[LINE.touched_ms]
  line[LINE.touched_ms] = now_ms
  return line
end

if phase == PHASE.UPDATE or phase == PHASE.STOP then asks = with_beside(asks, lines) end

local function line_for(ask)
  if ask[ASK.set_aside] == SUSPENSE.TOO_MANY_LINES then
    local line = matched(fresh(ask))
    crowded[line] = true
    return line
  end
  local known = known_line(asks, lines, ask, ask[ASK.secondary])
  if known then return matched(known) end
  local line = matched(fresh(ask))
  if #lines >= SESSION_LINES_MAX then -- the one that holds nothing and was not touched for longest makes room
    local oldest
    for i, other in ipairs(lines) do
      if other[LINE.due_ms] == 0 and (not oldest or other[LINE.touched_ms] < lines[oldest][LINE.touched_ms]) then
        oldest = i
      end
    end
    if not oldest or lines[oldest][LINE.touched_ms] == now_ms then
      crowded[line] = true -- settled, but neither kept nor granted
      return line
    end
    table.remove(lines, oldest)
  end
  lines[#lines + 1] = line
  return line
end

-- The price of volume may change inside a grant: use is priced as before or after that, or at the cheaper where the
-- client does not know (charging.md section 6).
local function priced_at(line, ladder, report, used, own)
  local at_ms, change_ms, period = report[USAGEREPORT.at_ms], line[LINE.change_ms], report[USAGEREPORT.period]
  if change_ms == 0 then return at_ms end
  local before_ms, after_ms = min(at_ms, change_ms - 1), max(at_ms, change_ms)
  if period == REPORTPERIOD.BEFORE then return before_ms elseif period == REPORTPERIOD.AFTER then return after_ms end
  local function cost_at(instant_ms)
    open_funds(OWN, own)
    funds.used_ms = min(since[line], instant_ms)
    local position = position_of(line)
    lapse_ahead(position, funds.used_ms)
    local covered, cost = climb(ladder, position, used, counter_values(account, ladder, false, instant_ms), instant_ms, 0,
      false)
    return covered == used and cost or EXACT_MAX
  end
  return cost_at(before_ms) <= cost_at(after_ms) and before_ms or after_ms
end

-- Pass 1: settle every reported line and release its hold, one line after the other: what one line used beyond its
-- grant must not eat what the next one holds. An INITIAL or TERMINATION releases all holds.
local touched, owned = {}, {}
for index, ask in ipairs(asks) do
  if not refused_as or has_use(ask) then touched[index] = line_for(ask) end
end

-- What settles a line: the ladder of its hold, or else the one that came with the request; of use by time until when, and
-- what comes then. One that comes with a request for a grant is of that alone.
local function settled_by(ask, line, from_ms)
  if line[LINE.ladder] ~= '' then return line[LINE.ladder], line[LINE.reach_ms] end
  local is_of_grant = (phase == PHASE.START or phase == PHASE.UPDATE) and ask[ASK.ladder] ~= ''
  return ask[ASK.ladder], is_of_grant and from_ms or ask[ASK.until_ms]
end

-- What was reported beyond this goes to suspense; use that is on record already has no grant to be measured by.
local function bound_of(ask, granted)
  if phase == PHASE.RECORD then return EXACT_MAX end
  local factor, quota = charge[CHARGE.overrun_factor], ask[ASK.maximum] > 0 and ask[ASK.maximum] or ask[ASK.default]
  return min(granted > 0 and max(factor * granted, quota) or factor * quota, EXACT_MAX)
end

-- Use by time beyond that is rated first, and the request comes again: nothing was written yet.
local longer_ms = 0
for index, ask in ipairs(asks) do
  local line = touched[index]
  if line and line[LINE.unit] == KIND.SECONDS and ask[ASK.set_aside] == SUSPENSE.NONE then
    for _, report in ipairs(ask[ASK.reports]) do
      local to_ms, seconds = report[USAGEREPORT.at_ms], min(max(report[USAGEREPORT.seconds], 0), bound_of(ask, line[LINE.granted]))
      local from_ms = to_ms - seconds * 1000
      local packed, reach_ms = settled_by(ask, line, from_ms)
      local missing_ms = packed ~= '' and seconds > 0 and unknown_from(reach_ms, ask[ASK.later], from_ms, to_ms) or 0
      if missing_ms > 0 and (longer_ms == 0 or missing_ms < longer_ms) then longer_ms = missing_ms end
    end
  end
end
if longer_ms > 0 then return { 'longer', string.format('%d', longer_ms), 0, 0, 0 } end

local settled_cost, settled_usage = {}, {}
local function close(line)
  repool(account, line, owned[line][1], owned[line][2], charge[CHARGE.event_ms])
  owned[line] = { {}, 0 }
end
local open_line
local measured = marks ~= FLAG.UNMATCHED and marks ~= FLAG.LATE and phase ~= PHASE.RECORD -- there was a grant to go by
for index, ask in ipairs(asks) do
  local line = touched[index]
  settled_cost[index] = 0
  if open_line and open_line ~= line then close(open_line) end
  open_line = line
  if line and not owned[line] then
    local own, granted = release_hold(account, line)
    owned[line] = { own, granted }
    if granted > 0 or next(own) then moved = true end
  end
  if line and (phase ~= PHASE.START or has_use(ask)) then
    local own, granted = owned[line][1], owned[line][2]
    local ladder = ladder_of((settled_by(ask, line, 0)))
    local bound = ladder and ask[ASK.set_aside] == SUSPENSE.NONE and bound_of(ask, granted) or 0
    for _, report in ipairs(ask[ASK.reports]) do
      local _
      local unit = line[LINE.unit]
      local reported = report[unit + 1]
      local mark = bit.bor(flags, ask[ASK.flags])
      local suspense, why = 0, ask[ASK.set_aside]
      if reported < 0 then -- not in the unit that was granted: on record, not charged
        reported = 0
        if ask[ASK.secondary] == 0 then mark = bit.bor(mark, FLAG.OTHER_UNIT) end
        local next_ask = asks[index + 1]
        local others = in_other_units(ask, report, next_ask and next_ask[ASK.secondary] == 1 and touched[index + 1])
        if #others > 0 and why == SUSPENSE.NONE then why = ladder and SUSPENSE.OTHER_UNIT or SUSPENSE.NO_PRICE end
        for place, other in ipairs(others) do
          if place == #others then unit, suspense = other[1], other[2]
          else
            usage(ask, other[1], 0, other[2], line[LINE.total], 0, 0, RESULT.OK, bit.bor(mark, FLAG.SUSPENSE),
              report[USAGEREPORT.at_ms])
            usages[#usages][USAGE.set_aside] = why
          end
        end
      end
      if reported > bound then
        suspense, reported = suspense + reported - bound, bound
        if why == SUSPENSE.NONE then why = ladder and SUSPENSE.OVER_BOUND or SUSPENSE.NO_PRICE end
      end
      bound = bound - reported
      if reported > granted and measured then mark = bit.bor(mark, FLAG.OVERRUN) end
      if ask[ASK.free] then mark = bit.bor(mark, FLAG.FREE) end
      local at_ms, ms = report[USAGEREPORT.at_ms], ms_per_unit(line[LINE.unit])
      if ladder and ms == 0 then at_ms = priced_at(line, ladder, report, reported, own) end
      local from_ms = at_ms - reported * ms
      local packed, reach_ms = settled_by(ask, line, from_ms)
      local later, known_ms, left, going = ask[ASK.later], ask[ASK.known_ms], reported, true
      while going do -- bounded: CUTS_MAX; piece by piece, each as if it had been reported by itself
        local part, until_ms, before, cost, charged, counters = left, 0, packed, 0, 0, nil
        if ms > 0 and left > 0 then
          packed, until_ms = price_at(packed, reach_ms, later, from_ms)
          if packed ~= before and leave_tier(account, line, own, granted, from_ms) then granted = 0 end
          part = before_change(account, ladder_of(packed), line, left, from_ms, until_ms, ms)
          if part < left then cuts = cuts + 1 end
          if cuts > CUTS_MAX or (known_ms > 0 and from_ms >= known_ms) then part = 0 end -- what is left has no price
        end
        if ladder then
          local by = ladder_of(packed)
          counters = counter_snapshot(by, from_ms)
          cost, _, charged = settle(account, entries, line, by, part, granted, own, from_ms + part * ms, since[line], 'usage',
            #usages)
          granted = max(granted - part, 0)
          owned[line][2] = granted
          from_ms = from_ms + charged * ms
        end
        left = left - charged
        going = part > 0 and charged == part and left > 0
        if left > 0 and not going then -- it is set aside
          suspense = suspense + left
          if why == SUSPENSE.NONE then why = charged < part and SUSPENSE.TOO_LARGE or SUSPENSE.NO_PRICE end
        end
        if why ~= SUSPENSE.NONE and not going then mark = bit.bor(mark, FLAG.SUSPENSE) end
        settled_cost[index] = settled_cost[index] + cost
        usage(ask, unit, charged, going and 0 or suspense, line[LINE.total], cost, 0, RESULT.OK, mark,
          ms > 0 and from_ms or at_ms, ladder and packed, counters)
        usages[#usages][USAGE.set_aside] = going and SUSPENSE.NONE or why
        settled_usage[index] = usages[#usages]
      end
      if reported > 0 or why ~= SUSPENSE.NONE then moved = true end
    end
    cost_all = min(cost_all + settled_cost[index], EXACT_MAX)
  end
end
if open_line then close(open_line) end
if (phase == PHASE.START or phase == PHASE.STOP) and not refused_as then
  for _, line in ipairs(lines) do
    if line[LINE.due_ms] > 0 then
      release(account, line, charge[CHARGE.event_ms])
      moved = true
    end
  end
end
expire_buckets(account, entries, now_ms)
balance = check_thresholds(account, threshold_events, now_ms)

-- Passes 2 and 3: the minimum for each asking line, in priority then message order; then a fair part of the rest.
local asking, asked_for = {}, {}
for index, ask in ipairs(asks) do
  local why, line = RESULT.NO_GRANT, touched[index]
  if refused_as then why = refused_as
  elseif may_grant and ask[ASK.asked] >= 0 then
    why = (crowded[line] or asked_for[line]) and RESULT.UNABLE or refusal_of(ask)
    asked_for[line] = true
    if why == RESULT.OK then
      asking[#asking + 1] = asking_line(index, ask, line, wanted(ask))
    end
  elseif result == RESULT.SESSION_UNKNOWN then
    why = RESULT.SESSION_UNKNOWN
  end
  outcomes[index] = line_outcome(ask, line and line[LINE.unit] or ask[ASK.unit], why, 0, settled_cost[index],
    line and line[LINE.debited] or 0, flags)
end

local event_ms = charge[CHARGE.event_ms]
local granted_any, lacking = grant(account, lines, asking, outcomes, event_ms, now_ms)
moved, short = moved or granted_any, lacking
if #short > 0 then nudges[1] = 'holder' end
for index, outcome in ipairs(outcomes) do -- refused for what may change: its session is told when it does
  local why = outcome[LINEOUTCOME.result]
  local waits = may_grant and (why == RESULT.CREDIT_LIMIT or why == RESULT.DENIED)
  if waits and touched[index] then touched[index][LINE.final] = true end
  if outcome[LINEOUTCOME.secondary] == 1 and why == RESULT.NO_GRANT then -- it is refused with its line, or that goes on alone
    outcome[LINEOUTCOME.result] = outcomes[index - 1][LINEOUTCOME.result]
    local line = touched[index]
    if outcomes[index - 1][LINEOUTCOME.granted] > 0 and line[LINE.due_ms] == 0 then line[LINE.ladder] = '' end
  end
end

-- A refusal is on record too, at price 0, and so is a grant: on the record of the use it follows, or on one of its own.
for index, ask in ipairs(asks) do
  local outcome = outcomes[index]
  local why, granted = outcome[LINEOUTCOME.result], outcome[LINEOUTCOME.granted]
  if settled_usage[index] then
    settled_usage[index][USAGE.granted], settled_usage[index][USAGE.result] = granted, why
  elseif granted > 0 then
    usage(ask, outcome[LINEOUTCOME.unit], 0, 0, touched[index][LINE.total], 0, granted, why, flags, event_ms, ask[ASK.ladder])
  elseif why ~= RESULT.OK and why ~= RESULT.NO_GRANT then
    usage(ask, outcome[LINEOUTCOME.unit], 0, 0, 0, 0, 0, why, flags, event_ms)
  end
end
for _, line in ipairs(lines) do debited_all = min(debited_all + line[LINE.debited], EXACT_MAX) end

if refused_as then
  result = refused_as
elseif may_grant and #outcomes > 0 and (phase == PHASE.START or charge[CHARGE.single]) then
  local why = command_result()
  if why ~= RESULT.OK then
    local portal = false
    for _, ask in ipairs(asks) do portal = portal or ask[ASK.portal] end
    if not (portal and why == RESULT.CREDIT_LIMIT) then
      result = why
      if phase == PHASE.START then
        state = SESSIONSTATE.REFUSED
      else -- a command-level failure releases every hold
        state = SESSIONSTATE.CLOSED
        for _, line in ipairs(lines) do
          if line[LINE.due_ms] > 0 then release(account, line, event_ms) end
        end
        expire_buckets(account, entries, now_ms)
      end
    end
  end
end
if state == SESSIONSTATE.OPEN and not was_open then moved = true end
if phase == PHASE.STOP then moved = true end

-- When supervision has to look at the session next.
local due_ms
if state == SESSIONSTATE.OPEN then
  due_ms = now_ms + charge[CHARGE.idle_ms]
  for _, line in ipairs(lines) do
    if line[LINE.due_ms] > 0 then due_ms = min(due_ms, line[LINE.due_ms]) end
  end
  session[SESSION.forget_ms] = 0
  if charge[CHARGE.origin_state] > 0 or session[SESSION.peer] ~= charge[CHARGE.peer] then
    session[SESSION.origin_state] = charge[CHARGE.origin_state]
  end
  session[SESSION.peer], session[SESSION.realm] = charge[CHARGE.peer], charge[CHARGE.realm]
  session[SESSION.via] = charge[CHARGE.via]
else
  if session[SESSION.forget_ms] == 0 or phase == PHASE.STOP then
    session[SESSION.forget_ms] = now_ms + charge[CHARGE.remember_ms]
  elseif moved then -- remembered for so long after the last that was charged
    session[SESSION.forget_ms] = max(session[SESSION.forget_ms], now_ms + charge[CHARGE.remember_ms])
  end
  due_ms = session[SESSION.forget_ms]
end
if was_open and state ~= SESSIONSTATE.OPEN then changed.sessions = -1
elseif not was_open and state == SESSIONSTATE.OPEN then changed.sessions = 1 end
local due_sooner = session[SESSION.due_ms] == 0 or due_ms < session[SESSION.due_ms]
if due_sooner then session[SESSION.due_ms] = due_ms end
session[SESSION.state] = state
session[SESSION.touched_ms] = max(now_ms, session[SESSION.touched_ms] + 1) -- names this touch: no other one has it

local outcome = pack_outcome()
local answer = cmsgpack.pack({ charge[CHARGE.key], fingerprint, end_to_end, moved, outcome, now_ms })
local function is_replaced(packed) -- decided anew: the old refusal is worth nothing
  if not string.find(packed, fingerprint, 1, true) then return false end
  local old = cmsgpack.unpack(packed)
  return old[ANSWER.key] == charge[CHARGE.key] and old[ANSWER.fingerprint] == fingerprint
end
local answers, opens = session[SESSION.answers], phase == PHASE.START and not refused_as
if opens then -- the INITIAL before it is kept as any other request is
  session[SESSION.initial], answer = answer, session[SESSION.initial]
end
for i = #answers, 1, -1 do
  if is_replaced(answers[i]) then table.remove(answers, i) end
end
if not opens or (answer ~= '' and not is_replaced(answer)) then answers[#answers + 1] = answer end
if #answers > ANSWERS_KEPT then table.remove(answers, 1) end
if phase ~= PHASE.START then session[SESSION.reported] = true end
if moved then remember_number(charge, session) end
local account_packed, session_packed = cmsgpack.pack(account), cmsgpack.pack(session)

-- write
local failed = append(KEYS[4], ARGV[1], record_of('', 0), 'a', account_packed, 's', session_packed, 'c', ARGV[3])
if failed then return { failed } end
redis.call('SET', KEYS[1], account_packed)
redis.call('HSET', KEYS[2], session_id, session_packed)
if due_sooner then look_by(KEYS[3], account[ACCOUNT.id] .. '\n' .. session_id, due_ms) end
if changed.begun_ms > 0 then look_by(KEYS[3], account[ACCOUNT.id] .. '\n', changed.begun_ms) end
return { 'ok', outcome, changed.sessions, changed.holds, changed.held_micro, flags, urgency(threshold_events, nudges) }
