-- A session that its client runs by itself and reports by counters: which incarnation a request is of, and whether it begins
-- a new one (charging.md section 8); twin of balances/model/courses.py.
-- @use lib/repeats
-- @use lib/matching
-- @use lib/account
local fill_session, is_of, bygones_of, incarnation_of, keep_course, counts_since, enter_course
do -- a script has room for 200 local names

-- A session that was stored before it had these fields.
function fill_session(session)
  session[SESSION.origin_state] = session[SESSION.origin_state] or 0
  session[SESSION.token], session[SESSION.began_ms] = session[SESSION.token] or '', session[SESSION.began_ms] or 0
  session[SESSION.lasted_s], session[SESSION.reported_ms] = session[SESSION.lasted_s] or -1, session[SESSION.reported_ms] or 0
  session[SESSION.met_begin], session[SESSION.bygone] = session[SESSION.met_begin] or false, session[SESSION.bygone] or {}
  session[SESSION.identification], session[SESSION.sums] = session[SESSION.identification] or '', {}
end

-- Whether the client restarted between two begins: what begins at that instant begins after it.
local function is_parted(one_ms, other_ms, restarted_ms)
  return (one_ms < restarted_ms) ~= (other_ms < restarted_ms)
end

-- Whether what a request names is what an incarnation is known by: true, false, or nil where they have nothing in common.
function is_of(named, begun_ms, restarted_ms, token, began_ms)
  if named ~= '' and token ~= '' then return named == token end
  if begun_ms == 0 or began_ms == 0 then return nil end
  if is_parted(begun_ms, began_ms, restarted_ms) then return false end
  return math.abs(begun_ms - began_ms) <= SAME_START_MS
end

-- Which counters of a request are below what was counted: all of them, and at least one; and whether all are as far at least.
local function compare_counters(charge, session)
  local below, compared = 0, 0
  for _, ask in ipairs(charge[CHARGE.asks]) do
    local line = known_line(charge[CHARGE.asks], session[SESSION.lines], ask, ask[ASK.secondary])
    for _, report in ipairs(line and ask[ASK.reports] or NONE) do
      local counter, shown = report[USAGEREPORT.cumulative][1], report[line[LINE.unit] + 1]
      for _, reading in ipairs(counter and shown >= 0 and line[LINE.readings] or NONE) do
        if reading[COUNTERREADING.place] == counter[CUMULATIVE.place] then
          compared = compared + 1
          if shown < reading[COUNTERREADING.value] then below = below + 1 end
        end
      end
    end
  end
  return compared > 0 and below == compared, below == 0
end

-- Whether its client restarted: it said so, or it begins later than the last report, or its time or all its counters are below
-- the last ones in a newer report. Else time and counters that go on are the same session. What begins at the instant of a
-- Stop, for clients tell no less than a second, begins after it.
local function is_restarted(charge, session)
  local follows = charge[CHARGE.course] == COURSE.BEGINS and session[SESSION.state] == SESSIONSTATE.CLOSED
  if charge[CHARGE.event_ms] < session[SESSION.reported_ms] + (follows and 0 or 1) then return false end
  local began_ms, known_ms = charge[CHARGE.began_ms], session[SESSION.began_ms]
  if began_ms > 0 and known_ms > 0 and is_parted(began_ms, known_ms, charge[CHARGE.restarted_ms]) then return true end
  local all_below, none_below = compare_counters(charge, session)
  local lasted_s, known_s = charge[CHARGE.lasted_s], session[SESSION.lasted_s]
  if lasted_s > 0 and lasted_s >= known_s and none_below then return false end
  return charge[CHARGE.course] == COURSE.BEGINS or (lasted_s >= 0 and lasted_s < known_s) or all_below
end

-- The incarnation that ends, as it is kept for reports that come late.
function bygones_of(session)
  local kept = { BYGONE{ incarnation = session[SESSION.incarnation], token = session[SESSION.token],
    began_ms = session[SESSION.began_ms], lines = session[SESSION.lines], sums = session[SESSION.sums] } }
  for _, bygone in ipairs(session[SESSION.bygone]) do
    if #kept < BYGONES_KEPT then kept[#kept + 1] = bygone end
  end
  return kept
end

-- What a request is of a session that is known: false of its incarnation, nil begins a new one, else the bygone it is of. Last
-- comes what it is flagged with. A reference says more than a begin.
function incarnation_of(charge, session)
  local named, begun_ms, restarted_ms = charge[CHARGE.token], charge[CHARGE.began_ms], charge[CHARGE.restarted_ms]
  for _, bygone in ipairs(named ~= '' and named ~= session[SESSION.token] and session[SESSION.bygone] or NONE) do
    if bygone[BYGONE.token] == named then return bygone, 0 end
  end
  if is_of(named, begun_ms, restarted_ms, session[SESSION.token], session[SESSION.began_ms]) ~= false then return false, 0 end
  for _, bygone in ipairs(session[SESSION.bygone]) do
    if is_of(named, begun_ms, restarted_ms, bygone[BYGONE.token], bygone[BYGONE.began_ms]) then return bygone, 0 end
  end
  if is_restarted(charge, session) then return nil, FLAG.REUSED end
  return false, FLAG.CLOCK
end

-- What the newest report says of the session.
function keep_course(charge, session)
  if charge[CHARGE.course] == COURSE.BEGINS then session[SESSION.met_begin] = true end
  if charge[CHARGE.lasted_s] < 0 and charge[CHARGE.token] == '' then return end -- it says nothing of it
  if charge[CHARGE.event_ms] < session[SESSION.reported_ms] then return end
  session[SESSION.reported_ms] = charge[CHARGE.event_ms]
  if charge[CHARGE.token] ~= '' then session[SESSION.token] = charge[CHARGE.token] end
  if charge[CHARGE.began_ms] > 0 then session[SESSION.began_ms] = charge[CHARGE.began_ms] end
  if charge[CHARGE.lasted_s] >= 0 then session[SESSION.lasted_s] = charge[CHARGE.lasted_s] end
end

-- Since when a counter counts, nil where nobody knows.
function counts_since(decision)
  local charge, session, bygone = decision.charge, decision.session, decision.bygone
  if bygone then return bygone[BYGONE.began_ms] > 0 and bygone[BYGONE.began_ms] or nil end
  if charge[CHARGE.course] == COURSE.NONE then return session[SESSION.initial] ~= '' and session[SESSION.opened_ms] or nil end
  if not session[SESSION.met_begin] then return nil end
  local began_ms = session[SESSION.began_ms]
  return began_ms > 0 and min(began_ms, session[SESSION.opened_ms]) or session[SESSION.opened_ms]
end

-- What the request means in the state of such a session: it goes on, whatever it was granted. Returns state, whether it may
-- be granted something, and marks.
function enter_course(charge, state)
  local course, phase, marks = charge[CHARGE.course], charge[CHARGE.phase], 0
  if state == SESSIONSTATE.CLOSED then return state, false, FLAG.LATE end
  if state == SESSIONSTATE.ABANDONED then marks = FLAG.REOPENED
  elseif state ~= SESSIONSTATE.OPEN and course ~= COURSE.BEGINS then marks = FLAG.UNMATCHED end
  if course == COURSE.ENDS then return SESSIONSTATE.CLOSED, false, marks end
  return SESSIONSTATE.OPEN, phase == PHASE.START or phase == PHASE.UPDATE, marks
end

end
