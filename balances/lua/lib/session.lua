-- A request of a session: what it means, what is settled, what is granted, what is kept; twin of balances/model/session.py.
-- @use lib/decision
-- @use lib/repeats
-- @use lib/granting
-- @use lib/facts
-- @use lib/matching
-- @use lib/courses
-- @use lib/cumulative
local decide_session
do

local function fresh_session(decision, incarnation, former)
  local charge = decision.charge
  return SESSION{ version = FORMAT, id = charge[CHARGE.session], subscriber = charge[CHARGE.subscriber],
    service = charge[CHARGE.service], state = 0, peer = charge[CHARGE.peer], realm = charge[CHARGE.realm],
    via = charge[CHARGE.via], opened_ms = decision.change.now_ms, touched_ms = 0, forget_ms = 0, due_ms = 0, seen = {},
    answers = {}, lines = {}, incarnation = incarnation, former = former, origin_state = charge[CHARGE.origin_state] }
end

-- The old incarnation ends: what it still holds is given back, and nothing of it is left but its answers.
local function begin_anew(decision, session)
  local change, is_course = decision.change, decision.charge[CHARGE.course] ~= COURSE.NONE
  for _, line in ipairs(session[SESSION.lines]) do
    if line[LINE.due_ms] > 0 then
      change.usages[#change.usages + 1] = abandoned_usage(line, change.now_ms)
      release(change, line, decision.charge[CHARGE.event_ms])
    end
  end
  local begun = fresh_session(decision, session[SESSION.incarnation] + 1, former_of(session))
  begun[SESSION.touched_ms] = session[SESSION.touched_ms]
  if is_course then begun[SESSION.bygone] = bygones_of(session) end
  return begun
end

-- Which incarnation of its client's session the request is of.
local function enter_incarnation(decision, session)
  local bygone, mark = incarnation_of(decision.charge, session)
  decision.flags = bit.bor(decision.flags, mark)
  if bygone then decision.bygone, decision.of_now = bygone, session[SESSION.lines]
  elseif bygone == nil then decision.session = begin_anew(decision, session) end
end

-- A repeat of what is known gets its answer: returns the reply, or nothing where the request is to be decided.
local function answer_repeat(decision, session, stored)
  local charge, now_ms = decision.charge, decision.change.now_ms
  local known, same = known_answers(charge, session)
  local outcome, contradicts, mark
  local former = not same and former_answer(charge, session, now_ms)
  local is_course = charge[CHARGE.course] ~= COURSE.NONE
  local new = not is_course and is_new(charge, session, known, now_ms)
  local anew = not is_course and holds_again(charge, session, known, now_ms)
  if former then outcome, contradicts, mark = former[ANSWER.outcome], former[ANSWER.fingerprint] ~= charge[CHARGE.fingerprint], 0
  elseif new or anew then mark = 0
  else outcome, contradicts, mark = judge(charge, known) end
  decision.flags = bit.bor(decision.flags, mark)
  if contradicts then
    answer_conflict(decision, outcome, stored)
    return nil
  end
  if outcome then return { 'again', outcome, mark } end
  if is_course then enter_incarnation(decision, session)
  elseif new then
    decision.session, decision.flags = begin_anew(decision, session), bit.bor(decision.flags, FLAG.REUSED)
  elseif not anew and bit.band(decision.flags, FLAG.RENUMBERED) == 0 and number_seen(charge, session) then
    for index, ask in ipairs(decision.asks) do
      decision.outcomes[index] = line_outcome(ask, ask[ASK.unit], RESULT.REMEMBERED, 0, 0, 0, decision.flags)
    end
    decision.result = RESULT.REMEMBERED
    return { 'again', pack_outcome(decision) }
  end
end

-- What the only line reports and asks for is held.
local function is_covered(decision)
  local wanted_units, held = 0, 0
  for _, ask in ipairs(decision.asks) do
    wanted_units = wanted_units + max(ask[ASK.asked], 0)
    for _, report in ipairs(ask[ASK.reports]) do wanted_units = wanted_units + max(report[USAGEREPORT.money], 0) end
  end
  for _, line in ipairs(decision.session[SESSION.lines]) do
    if line[LINE.due_ms] > 0 then held = held + line[LINE.granted] end
  end
  return decision.session[SESSION.state] == SESSIONSTATE.OPEN and wanted_units <= held
end

-- Of an account that does not pay any more: what is no repeat, and no report of what it began.
local function begins_elsewhere(charge, is_new)
  local phase = charge[CHARGE.phase]
  return is_new or ((phase == PHASE.START or phase == PHASE.RECORD) and charge[CHARGE.course] == COURSE.NONE)
end

-- The session that the request is about, begun where there is none. Returns a reply where nothing is to be decided.
local function find_session(decision, stored)
  local charge = decision.charge
  if not stored then
    if charge[CHARGE.seek] then return { 'elsewhere' } end
    decision.session, decision.incarnation = fresh_session(decision, 1, {}), 1
  else
    local session = cmsgpack.unpack(stored)
    decision.session, decision.incarnation = session, session[SESSION.incarnation]
    decision.was_open = session[SESSION.state] == SESSIONSTATE.OPEN
    if not session[SESSION.sums] then fill_session(session) end
    local reply = answer_repeat(decision, session, stored)
    if reply or decision.conflict then return reply end
    local is_new = decision.session ~= session
    session = decision.session
    if charge[CHARGE.moved_rev] > 0 and begins_elsewhere(charge, is_new) then return { 'elsewhere' } end
    decision.incarnation = session[SESSION.incarnation]
    if session[SESSION.subscriber] ~= charge[CHARGE.subscriber] then
      local opens = charge[CHARGE.phase] == PHASE.START and session[SESSION.initial] == ''
      if not opens then return { 'other', session[SESSION.subscriber] } end -- payer and subscriber are those of the opening
      session[SESSION.subscriber] = charge[CHARGE.subscriber]
    end
  end
  -- What a request does not tell is the last one told in its session: if it was not rated by that, it is to be rated again
  -- (charging.md 5).
  local session = decision.session
  local facts = facts_merged(session[SESSION.facts], charge[CHARGE.told])
  if facts ~= charge[CHARGE.facts] then return { 'facts', session[SESSION.facts] } end
  session[SESSION.facts] = facts
  if charge[CHARGE.covered] and not is_covered(decision) then return { 'lapsed' } end
  local bygone = decision.bygone
  if bygone then session[SESSION.lines], decision.incarnation = bygone[BYGONE.lines], bygone[BYGONE.incarnation] end
  local kept_with = bygone or session
  local sums_at = bygone and BYGONE.sums or SESSION.sums
  kept_with[sums_at] = kept_with[sums_at] or {}
  decision.change.sums = kept_with[sums_at]
end

-- What was authorised before the session began holds nothing any more. A session that was heard of before had its own: this
-- one is of somebody who logged in at its port since (charging.md section 8).
local function adopt(decision)
  if decision.session[SESSION.reported_ms] > 0 or decision.bygone then decision.adopted = nil end
  local change, adopted = decision.change, decision.adopted and cmsgpack.unpack(decision.adopted)
  if adopted and release_lines(change, adopted[SESSION.lines], decision.charge[CHARGE.event_ms]) then decision.moved = true end
end

-- What the request means in the state the session is in (charging.md section 3, late and odd order).
local function enter_state(decision)
  local phase, state = decision.charge[CHARGE.phase], decision.session[SESSION.state]
  local marks, may_grant = 0, false
  if decision.bygone then marks = FLAG.LATE
  elseif decision.charge[CHARGE.course] ~= COURSE.NONE then
    if state == SESSIONSTATE.CLOSED and phase == PHASE.UPDATE then decision.result = RESULT.SESSION_UNKNOWN end
    state, may_grant, marks = enter_course(decision.charge, state)
  elseif phase == PHASE.START then
    for _, ask in ipairs(decision.asks) do -- use inside an INITIAL is charged, once under its key
      if has_use(ask) then marks = FLAG.UNMATCHED end
    end
    if state == SESSIONSTATE.CLOSED then decision.refused_as = RESULT.UNABLE
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
    if phase == PHASE.UPDATE then decision.result = RESULT.SESSION_UNKNOWN end
  else
    marks = FLAG.UNMATCHED
    if state == 0 then state = SESSIONSTATE.UNKNOWN end
    if not (phase == PHASE.STOP and state == SESSIONSTATE.REFUSED) then decision.result = RESULT.SESSION_UNKNOWN end
  end
  if phase == PHASE.STOP and not decision.bygone then state = SESSIONSTATE.CLOSED end
  decision.state, decision.may_grant, decision.flags = state, may_grant, bit.bor(decision.flags, marks)
  -- there was a grant to go by
  local is_course = decision.charge[CHARGE.course] ~= COURSE.NONE
  decision.is_measured = marks ~= FLAG.UNMATCHED and marks ~= FLAG.LATE and phase ~= PHASE.RECORD and not is_course
end

-- A line that is matched makes no room for another one of the same request.
local function matched(decision, line)
  decision.since_ms[line] = decision.since_ms[line] or line[LINE.touched_ms]
  line[LINE.touched_ms] = decision.change.now_ms
  return line
end

-- The line of the session that an ask is about; a new one where there is none.
local function line_for(decision, ask)
  local lines, now_ms = decision.session[SESSION.lines], decision.change.now_ms
  local known = ask[ASK.set_aside] ~= SUSPENSE.TOO_MANY_LINES and known_line(decision.asks, lines, ask, ask[ASK.secondary])
  if known then return matched(decision, known) end
  local line = matched(decision, fresh_line(ask, now_ms))
  if ask[ASK.set_aside] == SUSPENSE.TOO_MANY_LINES then
    decision.crowded[line] = true
    return line
  end
  if #lines >= SESSION_LINES_MAX then -- the one that holds nothing and was not touched for longest makes room
    local oldest
    for i, other in ipairs(lines) do
      if other[LINE.due_ms] == 0 and (not oldest or other[LINE.touched_ms] < lines[oldest][LINE.touched_ms]) then
        oldest = i
      end
    end
    if not oldest or lines[oldest][LINE.touched_ms] == now_ms then
      decision.crowded[line] = true -- settled, but neither kept nor granted
      return line
    end
    table.remove(lines, oldest)
  end
  lines[#lines + 1] = line
  return line
end

-- The line of each ask: touched, by index.
local function match_lines(decision)
  local phase = decision.charge[CHARGE.phase]
  if phase == PHASE.UPDATE or phase == PHASE.STOP then
    decision.asks = with_beside(decision.asks, decision.session[SESSION.lines])
  end
  decision.since_ms, decision.crowded, decision.touched = {}, {}, {} -- since_ms: of a line, its last report or grant
  for index, ask in ipairs(decision.asks) do
    if not decision.refused_as or has_use(ask) then decision.touched[index] = line_for(decision, ask) end
  end
end

-- The price of volume may change inside a grant: use is priced as before or after that, or at the cheaper where the
-- client does not know (charging.md section 6).
local function priced_at(decision, line, ladder, report, used, own)
  local at_ms, change_ms, period = report[USAGEREPORT.at_ms], line[LINE.change_ms], report[USAGEREPORT.period]
  if change_ms == 0 then return at_ms end
  local before_ms, after_ms = min(at_ms, change_ms - 1), max(at_ms, change_ms)
  if period == REPORTPERIOD.BEFORE then return before_ms elseif period == REPORTPERIOD.AFTER then return after_ms end
  local function cost_at(instant_ms)
    open_funds(OWN, own)
    funds.used_ms, funds.clock_ms = min(decision.since_ms[line], instant_ms), instant_ms
    local position = position_of(line)
    lapse_ahead(position, funds.used_ms)
    local values = counter_values(decision.change.account, ladder, false, instant_ms)
    local covered, cost = climb(ladder, position, used, values, instant_ms, 0, false)
    return covered == used and cost or EXACT_MAX
  end
  return cost_at(before_ms) <= cost_at(after_ms) and before_ms or after_ms
end

-- What settles a line: the ladder of its hold, or else the one that came with the request; of use by time until when, and
-- what comes then. One that comes with a request for a grant is of that alone.
local function price_of(decision, ask, line, from_ms)
  if line[LINE.ladder] ~= '' then return line[LINE.ladder], line[LINE.reach_ms] end
  local phase = decision.charge[CHARGE.phase]
  local is_of_grant = (phase == PHASE.START or phase == PHASE.UPDATE or next(decision.believed)) and ask[ASK.ladder] ~= ''
  return ask[ASK.ladder], is_of_grant and from_ms or ask[ASK.until_ms]
end

-- What was reported beyond this goes to suspense; use that is on record already has no grant to be measured by.
local function bound_of(decision, ask, granted)
  local charge = decision.charge
  if charge[CHARGE.phase] == PHASE.RECORD then return EXACT_MAX end
  local factor, quota = charge[CHARGE.overrun_factor], ask[ASK.maximum] > 0 and ask[ASK.maximum] or ask[ASK.default]
  return min(granted > 0 and max(factor * granted, quota) or factor * quota, EXACT_MAX)
end

-- From when on reported use by time has no price yet; 0: all of it has.
local function session_longer(decision)
  local longer_ms = 0
  for index, ask in ipairs(decision.asks) do
    local line = decision.touched[index]
    if line and line[LINE.unit] == KIND.SECONDS and ask[ASK.set_aside] == SUSPENSE.NONE then
      for _, report in ipairs(ask[ASK.reports]) do
        local to_ms = report[USAGEREPORT.at_ms]
        local bound = believed_of(decision, report, bound_of(decision, ask, line[LINE.granted]))
        local seconds = min(max(report[USAGEREPORT.seconds], 0), bound)
        local from_ms = to_ms - seconds * 1000
        local packed, reach_ms = price_of(decision, ask, line, from_ms)
        local missing_ms = packed ~= '' and seconds > 0 and unknown_from(reach_ms, ask[ASK.later], from_ms, to_ms) or 0
        if missing_ms > 0 and (longer_ms == 0 or missing_ms < longer_ms) then longer_ms = missing_ms end
      end
    end
  end
  return longer_ms
end

-- What one report says, before it is charged: the units to charge, those to set aside, of which unit and why, and marks.
-- What is not in the unit that was granted is on record, not charged.
local function read_report(decision, index, report, ladder, bound)
  local ask, line = decision.asks[index], decision.touched[index]
  local unit = line[LINE.unit]
  local reported, suspense, why = report[unit + 1], 0, ask[ASK.set_aside]
  local marks = bit.bor(decision.flags, ask[ASK.flags])
  if reported < 0 then
    reported = 0
    if ask[ASK.secondary] == 0 then marks = bit.bor(marks, FLAG.OTHER_UNIT) end
    local next_ask = decision.asks[index + 1]
    local others = in_other_units(ask, report, next_ask and next_ask[ASK.secondary] == 1 and decision.touched[index + 1])
    if #others > 0 and why == SUSPENSE.NONE then why = ladder and SUSPENSE.OTHER_UNIT or SUSPENSE.NO_PRICE end
    for place, other in ipairs(others) do
      if place == #others then unit, suspense = other[1], other[2]
      else
        local usage = note_usage(decision, ask, other[1], 0, other[2], line[LINE.total], 0, 0, RESULT.OK,
          bit.bor(marks, FLAG.SUSPENSE), report[USAGEREPORT.at_ms])
        usage[USAGE.set_aside] = why
      end
    end
  end
  if reported > bound then
    suspense, reported = suspense + reported - bound, bound
    if why == SUSPENSE.NONE then why = ladder and SUSPENSE.OVER_BOUND or SUSPENSE.NO_PRICE end
  end
  return reported, suspense, unit, why, marks
end

-- Charges one report, piece by piece, each as if it had been reported by itself. Returns what is left of the grant.
-- `granted`, `own`: what the hold of the line has for it
local function settle_report(decision, index, report, ladder, own, granted, reported, suspense, unit, why, marks)
  local change, ask, line = decision.change, decision.asks[index], decision.touched[index]
  local at_ms, ms = report[USAGEREPORT.at_ms], ms_per_unit(line[LINE.unit])
  if ladder and ms == 0 then at_ms = priced_at(decision, line, ladder, report, reported, own) end
  local from_ms = at_ms - reported * ms
  local packed, reach_ms = price_of(decision, ask, line, from_ms)
  local later, known_ms, left, going = ask[ASK.later], ask[ASK.known_ms], reported, true
  while going do -- bounded: CUTS_MAX
    local part, until_ms, before, cost, charged, counters, exact = left, 0, packed, 0, 0, nil, 0
    if ms > 0 and left > 0 then
      packed, until_ms = price_at(packed, reach_ms, later, from_ms)
      if packed ~= before and leave_tier(change, line, own, granted, from_ms) then granted = 0 end
      part = before_change(change.account, ladder_of(packed), line, left, from_ms, until_ms, ms)
      if part < left then change.cuts = change.cuts + 1 end
      if change.cuts > CUTS_MAX or (known_ms > 0 and from_ms >= known_ms) then part = 0 end -- what is left has no price
    end
    if ladder then
      local by, _ = ladder_of(packed), nil
      counters = counter_snapshot(change.account, by, from_ms)
      cost, _, charged, exact = settle(change, line, by, part, granted, own, from_ms + part * ms, decision.since_ms[line],
        #change.usages)
      granted, from_ms = max(granted - part, 0), from_ms + charged * ms
    end
    left = left - charged
    going = part > 0 and charged == part and left > 0
    if left > 0 and not going then -- it is set aside
      suspense = suspense + left
      if why == SUSPENSE.NONE then why = charged < part and SUSPENSE.TOO_LARGE or SUSPENSE.NO_PRICE end
    end
    if why ~= SUSPENSE.NONE and not going then marks = bit.bor(marks, FLAG.SUSPENSE) end
    if charged > 0 or (why ~= SUSPENSE.NONE and not going) then decision.moved = true end
    decision.settled_cost[index] = decision.settled_cost[index] + cost
    local usage = note_usage(decision, ask, unit, charged, going and 0 or suspense, line[LINE.total], cost, 0, RESULT.OK,
      marks, ms > 0 and from_ms or at_ms, ladder and packed, counters)
    usage[USAGE.set_aside] = going and SUSPENSE.NONE or why
    if exact ~= cost then usage[USAGE.exact] = exact end
    decision.last_usage[index] = usage
  end
  return granted
end

-- All reports of one line. Returns what is left of the grant.
local function settle_line(decision, index, own, granted)
  local ask, line = decision.asks[index], decision.touched[index]
  local ladder = ladder_of((price_of(decision, ask, line, 0)))
  local is_charged = ladder and ask[ASK.set_aside] == SUSPENSE.NONE
  local bound = is_charged and bound_of(decision, ask, granted) or 0
  for _, report in ipairs(ask[ASK.reports]) do
    local believed = is_charged and believed_of(decision, report, bound) or 0
    local reported, suspense, unit, why, marks = read_report(decision, index, report, ladder, believed)
    bound = max(bound - reported, 0)
    if reported > granted and decision.is_measured then marks = bit.bor(marks, FLAG.OVERRUN) end
    if ask[ASK.free] then marks = bit.bor(marks, FLAG.FREE) end
    granted = settle_report(decision, index, report, ladder, own, granted, reported, suspense, unit, why, marks)
  end
  return granted
end

-- Pass 1: settle every reported line and release its hold, one line after the other: what one line used beyond its
-- grant must not eat what the next one holds. An INITIAL or TERMINATION releases all holds.
local function settle_lines(decision)
  local charge, change, touched = decision.charge, decision.change, decision.touched
  local phase, event_ms = charge[CHARGE.phase], charge[CHARGE.event_ms]
  local owned, open_line = {}, nil
  decision.settled_cost, decision.last_usage = {}, {}
  local function close(line)
    repool(change, line, owned[line][1], owned[line][2], event_ms)
    owned[line] = { {}, 0 }
  end
  for index, ask in ipairs(decision.asks) do
    local line = touched[index]
    decision.settled_cost[index] = 0
    if open_line and open_line ~= line then close(open_line) end
    open_line = line
    if line and not owned[line] then
      local own, granted = release_hold(change, line)
      owned[line] = { own, granted }
      if granted > 0 or next(own) then decision.moved = true end
    end
    if line and (phase ~= PHASE.START or has_use(ask)) then
      owned[line][2] = settle_line(decision, index, owned[line][1], owned[line][2])
      decision.cost = min(decision.cost + decision.settled_cost[index], EXACT_MAX)
    end
  end
  if open_line then close(open_line) end
  local ends = phase == PHASE.STOP or charge[CHARGE.course] == COURSE.ENDS
  if (phase == PHASE.START or ends) and not decision.refused_as then
    if release_lines(change, decision.session[SESSION.lines], event_ms) then decision.moved = true end
  end
  end_grace(change)
  expire_buckets(change)
  decision.balance = check_thresholds(change)
  check_limits(change, decision.asks)
end

-- Passes 2 and 3: the minimum for each asking line, in priority then message order; then a fair part of the rest.
local function grant_lines(decision)
  local touched, asking, asked_for = decision.touched, {}, {}
  for index, ask in ipairs(decision.asks) do
    local why, line = RESULT.NO_GRANT, touched[index]
    if decision.refused_as then why = decision.refused_as
    elseif decision.may_grant and ask[ASK.asked] >= 0 then
      why = (decision.crowded[line] or asked_for[line]) and RESULT.UNABLE or refusal_of(decision, ask)
      asked_for[line] = true
      if why == RESULT.OK then asking[#asking + 1] = asking_line(index, ask, line, wanted(ask)) end
    elseif decision.result == RESULT.SESSION_UNKNOWN then
      why = RESULT.SESSION_UNKNOWN
    end
    decision.outcomes[index] = line_outcome(ask, line and line[LINE.unit] or ask[ASK.unit], why, 0,
      decision.settled_cost[index], line and line[LINE.debited] or 0, decision.flags)
  end
  if grant(decision.change, decision.session[SESSION.lines], asking, decision.outcomes, decision.charge[CHARGE.event_ms]) then
    decision.moved = true
  end
end

-- A line that is refused for what may change is told when it does; a secondary one is refused with its line, or that goes
-- on alone.
local function note_refusals(decision)
  local outcomes = decision.outcomes
  for index, outcome in ipairs(outcomes) do
    local why, line = outcome[LINEOUTCOME.result], decision.touched[index]
    local waits = decision.may_grant and (why == RESULT.CREDIT_LIMIT or why == RESULT.DENIED)
    if waits and line then line[LINE.final] = true end
    if outcome[LINEOUTCOME.secondary] == 1 and why == RESULT.NO_GRANT then
      outcome[LINEOUTCOME.result] = outcomes[index - 1][LINEOUTCOME.result]
      if outcomes[index - 1][LINEOUTCOME.granted] > 0 and line[LINE.due_ms] == 0 then line[LINE.ladder] = '' end
    end
  end
end

-- A session that is only recorded is granted nothing: whether its account could be granted one unit beyond what is paid of a
-- line that goes on is looked at here, so that it waits for money as one does that is refused it (charging.md section 8).
local function note_unpaid(decision)
  local charge, change = decision.charge, decision.change
  local event_ms = charge[CHARGE.event_ms]
  local is_recorded = charge[CHARGE.phase] == PHASE.RECORD and charge[CHARGE.course] ~= COURSE.NONE
  if not is_recorded or decision.bygone or decision.state ~= SESSIONSTATE.OPEN then return end
  for index, ask in ipairs(decision.asks) do
    local line = decision.touched[index]
    if ask[ASK.asked] >= 0 and line and line[LINE.unit] == ask[ASK.unit] then
      local why, packed, reach_ms = refusal_of(decision, ask), price_of(decision, ask, line, event_ms)
      if why == RESULT.OK and packed ~= '' then
        local position = position_of(line)
        lapse_ahead(position, event_ms)
        local least = position[LINE.paid_ahead] + 1
        open_funds(OPEN, {})
        local further = climb_on(change, packed, reach_ms, ask[ASK.later], position, least, true, line, event_ms,
          ms_per_unit(line[LINE.unit]), true, { held = true })
        if further < least then why = RESULT.CREDIT_LIMIT end
      end
      line[LINE.final] = why == RESULT.CREDIT_LIMIT or why == RESULT.DENIED
    end
  end
end

-- A refusal is on record too, at price 0, and so is a grant: on the record of the use it follows, or on one of its own.
local function note_grants(decision)
  local event_ms = decision.charge[CHARGE.event_ms]
  for index, ask in ipairs(decision.asks) do
    local outcome, usage = decision.outcomes[index], decision.last_usage[index]
    local why, granted, unit = outcome[LINEOUTCOME.result], outcome[LINEOUTCOME.granted], outcome[LINEOUTCOME.unit]
    if usage then
      usage[USAGE.granted], usage[USAGE.result] = granted, why
    elseif granted > 0 then
      local total = decision.touched[index][LINE.total]
      note_usage(decision, ask, unit, 0, 0, total, 0, granted, why, decision.flags, event_ms, ask[ASK.ladder])
    elseif why ~= RESULT.OK and why ~= RESULT.NO_GRANT then
      note_usage(decision, ask, unit, 0, 0, 0, 0, 0, why, decision.flags, event_ms)
    end
  end
end

-- Whether the command is refused as a whole; then it releases every hold (RFC 8506 table 6).
local function refuse_command(decision)
  local charge, may_grant = decision.charge, decision.may_grant
  local is_start = charge[CHARGE.phase] == PHASE.START
  if charge[CHARGE.course] ~= COURSE.NONE then return end -- it runs, whatever is answered
  if decision.refused_as then
    decision.result = decision.refused_as
  elseif may_grant and #decision.outcomes > 0 and (is_start or charge[CHARGE.single]) then
    local why, portal = command_result(decision), false
    for _, ask in ipairs(decision.asks) do portal = portal or ask[ASK.portal] end
    if why ~= RESULT.OK and not (portal and why == RESULT.CREDIT_LIMIT) then
      decision.result = why
      decision.state = is_start and SESSIONSTATE.REFUSED or SESSIONSTATE.CLOSED
      if not is_start then
        release_lines(decision.change, decision.session[SESSION.lines], charge[CHARGE.event_ms])
        expire_buckets(decision.change)
      end
    end
  end
end

-- When supervision has to look at the session next. One that is open is the client's that asked last.
local function due_of(decision)
  local charge, session, now_ms = decision.charge, decision.session, decision.change.now_ms
  if decision.state == SESSIONSTATE.OPEN then
    local due_ms = now_ms + charge[CHARGE.idle_ms]
    for _, line in ipairs(session[SESSION.lines]) do
      if line[LINE.due_ms] > 0 then due_ms = min(due_ms, line[LINE.due_ms]) end
    end
    session[SESSION.forget_ms] = 0
    if decision.bygone then return due_ms end
    if charge[CHARGE.origin_state] > 0 or session[SESSION.peer] ~= charge[CHARGE.peer] then
      session[SESSION.origin_state] = charge[CHARGE.origin_state]
    end
    session[SESSION.peer], session[SESSION.realm] = charge[CHARGE.peer], charge[CHARGE.realm]
    session[SESSION.via] = charge[CHARGE.via]
    if charge[CHARGE.identification] ~= '' then session[SESSION.identification] = charge[CHARGE.identification] end
    return due_ms
  end
  if session[SESSION.forget_ms] == 0 or charge[CHARGE.phase] == PHASE.STOP then
    session[SESSION.forget_ms] = now_ms + charge[CHARGE.remember_ms]
  elseif decision.moved then -- remembered for so long after the last that was charged
    session[SESSION.forget_ms] = max(session[SESSION.forget_ms], now_ms + charge[CHARGE.remember_ms])
  end
  return session[SESSION.forget_ms]
end

-- A client that runs its session by itself goes on, whatever is answered: where it waits for money and holds none, or
-- nothing but the rest of a block that is paid, the network has to be told (charging.md section 8).
local function note_depleted(decision)
  if decision.charge[CHARGE.course] == COURSE.NONE or decision.bygone or decision.state ~= SESSIONSTATE.OPEN then return end
  for _, line in ipairs(decision.session[SESSION.lines]) do
    if line[LINE.final] and #line[LINE.hold] == 0 and line[LINE.granted] <= line[LINE.paid_ahead] then
      local due = decision.change.reauthorize
      due[#due + 1] = 'depleted'
      return
    end
  end
end

-- Those it takes the place of are told to end.
local function note_replaced(decision)
  local due = decision.change.reauthorize
  for _, id in ipairs(decision.charge[CHARGE.replaces]) do due[#due + 1] = 'replaced ' .. id end
end

-- What is to be written.
local function keep_session(decision)
  local charge, change, session = decision.charge, decision.change, decision.session
  local due_ms = due_of(decision)
  if session[SESSION.due_ms] == 0 or due_ms < session[SESSION.due_ms] then
    session[SESSION.due_ms], decision.due_ms = due_ms, due_ms
  end
  session[SESSION.state] = decision.state
  if charge[CHARGE.course] ~= COURSE.NONE and not decision.bygone then keep_course(charge, session) end
  session[SESSION.touched_ms] = max(change.now_ms, session[SESSION.touched_ms] + 1) -- names this touch: no other one has it
  decision.outcome = pack_outcome(decision)
  remember_answer(charge, session, decision.outcome, change.now_ms, decision.moved, decision.refused_as)
  decision.record = charge_record(decision, '', 0)
  decision.account, decision.packed_session = cmsgpack.pack(change.account), cmsgpack.pack(session)
  decision.states = { 'a', decision.account, 's', decision.packed_session, 'c', decision.context }
end

-- Decides a request of a session: what is to be written stands in the decision then, or the reply is returned and nothing is
-- to be. stored: the session as it is stored, packed, or false
function decide_session(decision, stored)
  local reply = find_session(decision, stored)
  if reply or decision.conflict then return reply end
  enter_state(decision)
  match_lines(decision)
  read_counters(decision)
  local missing_ms = session_longer(decision)
  if missing_ms > 0 then return longer_reply(missing_ms) end
  adopt(decision)
  settle_lines(decision)
  grant_lines(decision)
  note_refusals(decision)
  note_unpaid(decision)
  note_grants(decision)
  for _, line in ipairs(decision.session[SESSION.lines]) do
    decision.debited = min(decision.debited + line[LINE.debited], EXACT_MAX)
  end
  if decision.bygone then decision.session[SESSION.lines] = decision.of_now end
  refuse_command(decision)
  if decision.moved then activate(decision.change) end
  local opened = decision.state == SESSIONSTATE.OPEN and not decision.was_open
  if opened or decision.charge[CHARGE.phase] == PHASE.STOP then decision.moved = true end
  note_depleted(decision)
  note_replaced(decision)
  keep_session(decision)
end

end
