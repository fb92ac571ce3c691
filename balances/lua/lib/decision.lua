-- One charge being decided: what its outcome, its usage records and its record are made of; twin of
-- balances/model/decision.py.
-- @use lib/lines
-- @use lib/life
-- @use lib/reached

-- What is known of a charge so far. `packed` and `context` are kept for the record: the account as it is stored, and the
-- inputs of rating.
local function decision_of(charge, packed, context)
  local change = open_change(cmsgpack.unpack(packed), charge[CHARGE.now_ms])
  funds.subscriber = charge[CHARGE.subscriber]
  return { charge = charge, change = change, packed = packed, context = context, asks = charge[CHARGE.asks],
    flags = charge[CHARGE.flags], outcomes = {}, result = RESULT.OK, moved = false, cost = 0, debited = 0, balance = 0,
    enough = true, incarnation = 0 }
end

-- Why an asking line gets nothing before money is looked at; OK when it may ask.
local function refusal_of(decision, ask)
  local account = decision.change.account
  if ask[ASK.refusal] ~= RESULT.OK then return ask[ASK.refusal] end
  if ask[ASK.emergency] then return RESULT.OK end
  if has_state(account, REFUSING) then return RESULT.DENIED end
  if is_suspended(account, decision.charge[CHARGE.service]) and not ask[ASK.free] then return RESULT.CREDIT_LIMIT end
  return RESULT.OK
end

-- Note a usage record, and return it. packed: the ladder that priced it
local function note_usage(decision, ask, unit, used, suspense, total, cost, granted, why, marks, at_ms, packed, counters)
  local usages, ladder = decision.change.usages, packed and ladder_of(packed)
  local usage = USAGE{ rating_group = ask[ASK.rating_group], service_id = ask[ASK.service_id],
    secondary = ask[ASK.secondary], unit = unit, used = used, suspense = suspense, total = total, cost = cost,
    granted = granted, result = why, flags = marks, at_ms = at_ms, tag = ladder and ladder[LADDER.tag] or '',
    terms = ladder and ladder[LADDER.terms] or '', ladder = packed or '', counters = counters or {},
    set_aside = suspense ~= 0 and SUSPENSE.TOO_LARGE or SUSPENSE.NONE, priced = decision.change.priced }
  decision.change.priced = 0
  usages[#usages + 1] = usage
  return usage
end

local function pack_outcome(decision)
  return cmsgpack.pack(OUTCOME{ result = decision.result, lines = decision.outcomes, cost = decision.cost,
    debited = decision.debited, balance = decision.balance, enough = decision.enough,
    low = decision.balance < resumes_at(decision.change.account, decision.charge[CHARGE.service]) })
end

local function charge_record(decision, once_key, once_until_ms)
  local charge, change = decision.charge, decision.change
  return RECORD{ version = FORMAT, kind = 'charge', account = change.account[ACCOUNT.id],
    currency = change.account[ACCOUNT.currency], subscriber = charge[CHARGE.subscriber], session = charge[CHARGE.session],
    service = charge[CHARGE.service], phase = charge[CHARGE.phase], at_ms = change.now_ms,
    event_ms = charge[CHARGE.event_ms], key = charge[CHARGE.key], fingerprint = charge[CHARGE.fingerprint],
    end_to_end = charge[CHARGE.end_to_end], entries = change.entries, usages = change.usages,
    actor = charge[CHARGE.actor], reason = charge[CHARGE.reason], reference = charge[CHARGE.reference],
    threshold_events = change.threshold_events, reauthorize = change.reauthorize, once_key = once_key,
    once_until_ms = once_until_ms, refund_of = charge[CHARGE.refund_of], incarnation = decision.incarnation,
    short = change.short, generation = change.generation }
end

-- A conflicting repeat is answered as before and put on record, with the states as they are stored; nothing else moves.
local function answer_conflict(decision, outcome, stored)
  for _, ask in ipairs(decision.asks) do
    note_usage(decision, ask, ask[ASK.unit], 0, 0, 0, 0, 0, RESULT.OK, FLAG.CONFLICT, decision.change.now_ms)
  end
  decision.conflict, decision.record = outcome, charge_record(decision, '', 0)
  decision.states = { 'a', decision.packed, 's', stored, 'c', decision.context }
end

local function fresh_line(ask, now_ms)
  return LINE{ rating_group = ask[ASK.rating_group], service_id = ask[ASK.service_id], unit = ask[ASK.unit],
    secondary = ask[ASK.secondary], touched_ms = now_ms }
end

local function line_outcome(ask, unit, why, granted, cost, debited, marks)
  return LINEOUTCOME{ rating_group = ask[ASK.rating_group], service_id = ask[ASK.service_id],
    secondary = ask[ASK.secondary], unit = unit, result = why, granted = granted, validity_ms = 0, change_ms = 0,
    final = false, cost = cost, debited = debited, flags = marks }
end

local function wanted(ask, is_event)
  local want = ask[ASK.asked]
  if is_event and want < 0 then return 0 end -- an amount of zero was named
  if want <= 0 then want = ask[ASK.default] end
  if not is_event then want = max(want, ask[ASK.minimum]) end
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
local function command_result(decision)
  local outcomes = decision.outcomes
  for _, line in ipairs(outcomes) do
    local why = line[LINEOUTCOME.result]
    if why == RESULT.OK or why == RESULT.NOT_APPLICABLE or why == RESULT.NO_GRANT then return RESULT.OK end
  end
  return outcomes[1] and outcomes[1][LINEOUTCOME.result] or RESULT.OK
end

-- Nothing was written: use by time has no price from there on, it is rated and the request comes again.
local function longer_reply(missing_ms)
  return { 'longer', string.format('%d', missing_ms) }
end
