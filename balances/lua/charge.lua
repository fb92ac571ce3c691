-- charge: settle what was used, hold what is asked, debit events; once per request.
-- KEYS  account due ledger once renumbered original
-- ARGV  epoch charge context adopts limited
-- EXIT  ok again absent stale facts longer fenced full elsewhere other crowded untold lapsed
-- `elsewhere`: the account does not have the session; `other`: it was opened for another subscriber, who is the outcome.
-- `longer`: use by time has no price from the instant on that is the outcome.
-- `lapsed`: less is held than what is reported and asked for.
-- Twin: balances/model/charge.py. Sessions pass three keys; events also the keys of their answers.
-- `crowded`: as many sessions of its subscriber are open as may be. `untold`: it does not know yet that it pays no more.
-- @use lib/session
-- @use lib/event
-- @use lib/steady
-- @use lib/crowd
local _, _, _, session_id, _, phase = cmsgpack.unpack_limit(ARGV[2], CHARGE.phase, 3)
local is_event = phase == PHASE.EVENT

-- read
local all = ARGV[4] and redis.call('HMGET', KEYS[1], ACCOUNTFIELD.ACCOUNT, session_id, ARGV[4])
  or redis.call('HMGET', KEYS[1], ACCOUNTFIELD.ACCOUNT, session_id)
local packed, stored, adopted = all[1], not is_event and all[2], all[3]
if not packed then return { 'absent' } end
local answer = is_event and redis.call('GET', KEYS[4])
local renumbered = answer and redis.call('GET', KEYS[5])
local original = is_event and KEYS[6] and redis.call('GET', KEYS[6])
local beside = ARGV[5] and redis.call('HGETALL', KEYS[1])

-- decide
if beside and is_crowded(cmsgpack.unpack(ARGV[2]), beside) then return { 'crowded' } end
local usual = not beside and steady(ARGV[2], phase, packed, stored, answer, adopted)
if usual then return steady_write(KEYS, ARGV, usual) end
local charge = cmsgpack.unpack(ARGV[2])
local decision = decision_of(charge, packed, ARGV[3])
local change = decision.change
decision.adopted = adopted
if change.account[ACCOUNT.profile_rev] > charge[CHARGE.profile_rev] then return { 'stale' } end
if change.account[ACCOUNT.profile_rev] < charge[CHARGE.moved_rev] then return { 'untold' } end
local reply
if is_event then reply = decide_event(decision, answer, renumbered, original)
else reply = decide_session(decision, stored) end
if reply then return reply end

-- write
local failed = append(KEYS[3], ARGV[1], decision.record, unpack(decision.states))
if failed then return { failed } end
if decision.conflict then return { 'again', decision.conflict, FLAG.CONFLICT } end
if is_event then
  redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, decision.account)
  redis.call('SET', KEYS[decision.is_renumbered and 5 or 4], decision.answer, 'PX', charge[CHARGE.remember_ms])
  if decision.source ~= '' then redis.call('SET', KEYS[6], decision.source, 'PX', charge[CHARGE.remember_ms]) end
else
  redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, decision.account, session_id, decision.packed_session)
  if decision.adopted then redis.call('HDEL', KEYS[1], ARGV[4]) end
  if decision.due_ms then look_by(KEYS[2], charge[CHARGE.account], session_id, decision.due_ms) end
end
if change.due_ms > 0 then look_by(KEYS[2], charge[CHARGE.account], '', change.due_ms) end
return { 'ok', decision.outcome, decision.flags, urgency(change) }
