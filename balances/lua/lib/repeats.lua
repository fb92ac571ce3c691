-- What was seen before: answers that repeats get again, and numbers that were charged; twin of parts of
-- balances/decision.py.
-- @use lib/amount

-- Seen before? (charging.md section 3.) `known` is a list of ANSWER. Returns the stored outcome, or nil to decide
-- (anew); the second result says that the repeat contradicts what was answered, the third what it is flagged with.
local function judge(charge, known)
  local fingerprint, end_to_end = charge[CHARGE.fingerprint], charge[CHARGE.end_to_end]
  local other
  for _, answer in ipairs(known) do
    if answer[ANSWER.key] ~= charge[CHARGE.key] then -- another request
    elseif answer[ANSWER.fingerprint] == fingerprint then
      if answer[ANSWER.moved] or answer[ANSWER.end_to_end] == end_to_end then return answer[ANSWER.outcome], false, 0 end
      return nil, false, 0
    elseif not other or answer[ANSWER.end_to_end] == end_to_end then other = answer end
  end
  if not other then return nil, false, 0 end
  if charge[CHARGE.resend] or other[ANSWER.end_to_end] == end_to_end then return other[ANSWER.outcome], true, 0 end
  return nil, false, FLAG.RENUMBERED
end

local function number_seen(charge, session)
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
