-- What was seen before: answers that repeats get again, and numbers that were charged; twin of balances/model/repeats.py.
-- @use lib/amount
local judge, known_answers, former_answer, is_new, holds_again, abandoned_usage, former_of, number_seen, remember_answer
do -- a script has room for 200 local names

-- Seen before? (charging.md section 3.) `known` is a list of ANSWER. Returns the stored outcome, or nil to decide
-- (anew); the second result says that the repeat contradicts what was answered, the third what it is flagged with.
function judge(charge, known)
  local fingerprint, end_to_end = charge[CHARGE.fingerprint], charge[CHARGE.end_to_end]
  local other
  for _, answer in ipairs(known) do
    if answer[ANSWER.key] ~= charge[CHARGE.key] then -- another request
    elseif answer[ANSWER.fingerprint] == fingerprint then
      if answer[ANSWER.end_to_end] == end_to_end then return answer[ANSWER.outcome], false, 0 end
      if not answer[ANSWER.moved] then return nil, false, 0 end
      return answer[ANSWER.outcome], false, charge[CHARGE.resend] and 0 or FLAG.EQUAL
    elseif not other or answer[ANSWER.end_to_end] == end_to_end then other = answer end
  end
  if not other then return nil, false, 0 end
  if charge[CHARGE.resend] or other[ANSWER.end_to_end] == end_to_end then
    return other[ANSWER.outcome], true, FLAG.CONFLICT
  end
  return nil, false, FLAG.RENUMBERED
end

-- The answers of this incarnation under the key of the request, and whether one was to its End-to-End-Id.
function known_answers(charge, session)
  local key, known, same = charge[CHARGE.key], {}, false
  local function look(packed)
    if not string.find(packed, key, 1, true) then return end -- unpack few: the key stands in it as it is
    local answer = cmsgpack.unpack(packed)
    known[#known + 1] = answer
    same = same or (answer[ANSWER.key] == key and answer[ANSWER.end_to_end] == charge[CHARGE.end_to_end])
  end
  if charge[CHARGE.phase] == PHASE.START then look(session[SESSION.initial]) end
  for _, packed in ipairs(session[SESSION.answers]) do look(packed) end
  return known, same
end

local function is_same(charge, answer, now_ms)
  return answer[ANSWER.end_to_end] == charge[CHARGE.end_to_end]
    and (charge[CHARGE.resend] or now_ms - answer[ANSWER.at_ms] <= SAME_MS)
end

-- What a repeat was answered in an earlier incarnation, nil when it is none (charging.md section 3, incarnations).
function former_answer(charge, session, now_ms)
  for _, packed in ipairs(session[SESSION.former]) do
    local answer = cmsgpack.unpack(packed)
    if answer[ANSWER.key] == charge[CHARGE.key] and is_same(charge, answer, now_ms) then return answer end
  end
  return nil
end

-- An INITIAL that is no repeat of one before. known: the answers under its key.
local function is_another(charge, session, known, now_ms)
  if charge[CHARGE.phase] ~= PHASE.START or charge[CHARGE.resend] or session[SESSION.initial] == '' then return false end
  for _, answer in ipairs(known) do
    if is_same(charge, answer, now_ms) then return false end
  end
  return not is_same(charge, cmsgpack.unpack(session[SESSION.initial]), now_ms)
end

-- It begins a new incarnation once something came after the last one, or for somebody else (charging.md section 3,
-- incarnations).
function is_new(charge, session, known, now_ms)
  if not is_another(charge, session, known, now_ms) then return false end
  return session[SESSION.reported] or session[SESSION.subscriber] ~= charge[CHARGE.subscriber]
end

-- Before any use it only replaces what is held, and so does an equal one when that has expired.
function holds_again(charge, session, known, now_ms)
  return session[SESSION.state] == SESSIONSTATE.ABANDONED and not session[SESSION.reported]
    and is_another(charge, session, known, now_ms)
end

function abandoned_usage(line, now_ms)
  return USAGE{ rating_group = line[LINE.rating_group], service_id = line[LINE.service_id], secondary = line[LINE.secondary],
    unit = line[LINE.unit], used = 0, suspense = 0, total = line[LINE.total], cost = 0, granted = 0, result = RESULT.OK,
    flags = FLAG.ABANDONED, tag = '', at_ms = now_ms }
end

-- The answers of an incarnation that ends, before those of earlier ones. It may have begun without an INITIAL.
function former_of(session)
  local former = { session[SESSION.initial] ~= '' and session[SESSION.initial] or nil }
  for i = #session[SESSION.answers], 1, -1 do former[#former + 1] = session[SESSION.answers][i] end
  for _, packed in ipairs(session[SESSION.former]) do
    if #former < FORMER_KEPT then former[#former + 1] = packed end
  end
  return former
end

function number_seen(charge, session)
  if not charge[CHARGE.countable] then return false end
  local number, seen = charge[CHARGE.phase] * 4294967296 + charge[CHARGE.number], session[SESSION.seen]
  for i = 1, #seen, 2 do
    if number >= seen[i] and number <= seen[i + 1] then return true end
  end
  return false
end

local function remember_number(charge, session)
  if not charge[CHARGE.countable] or number_seen(charge, session) then return end
  local number, seen = charge[CHARGE.phase] * 4294967296 + charge[CHARGE.number], session[SESSION.seen]
  local at = 1
  while at <= #seen and seen[at + 1] < number - 1 do at = at + 2 end -- bounded: by the intervals kept
  if at <= #seen and seen[at] <= number + 1 then
    seen[at], seen[at + 1] = min(seen[at], number), max(seen[at + 1], number)
    if seen[at + 2] and seen[at + 2] <= seen[at + 1] + 1 then
      seen[at + 1] = seen[at + 3]
      table.remove(seen, at + 2)
      table.remove(seen, at + 2)
    end
  else
    table.insert(seen, at, number)
    table.insert(seen, at + 1, number)
    if #seen > 2 * INTERVALS_MAX then -- the gap longest ago counts as seen: better not charged than charged twice
      table.remove(seen, 2)
      table.remove(seen, 2)
    end
  end
end

-- The request was decided anew: its old refusal is worth nothing.
local function is_replaced(packed, charge)
  if not string.find(packed, charge[CHARGE.fingerprint], 1, true) then return false end
  local old = cmsgpack.unpack(packed)
  return old[ANSWER.key] == charge[CHARGE.key] and old[ANSWER.fingerprint] == charge[CHARGE.fingerprint]
end

-- Keep the answer and the number. late: an INITIAL after its TERMINATION, which begins nothing
function remember_answer(charge, session, outcome, now_ms, moved, late)
  local answer = cmsgpack.pack(ANSWER{ key = charge[CHARGE.key], fingerprint = charge[CHARGE.fingerprint],
    end_to_end = charge[CHARGE.end_to_end], moved = moved, outcome = outcome, at_ms = now_ms })
  local answers, opens = session[SESSION.answers], charge[CHARGE.phase] == PHASE.START and not late
  if opens then -- the INITIAL before it is kept as any other request is
    session[SESSION.initial], answer = answer, session[SESSION.initial]
  end
  for i = #answers, 1, -1 do
    if is_replaced(answers[i], charge) then table.remove(answers, i) end
  end
  if not opens or (answer ~= '' and not is_replaced(answer, charge)) then answers[#answers + 1] = answer end
  if #answers > ANSWERS_KEPT then table.remove(answers, 1) end
  if charge[CHARGE.phase] ~= PHASE.START then session[SESSION.reported] = true end
  if moved then remember_number(charge, session) end
end

end
