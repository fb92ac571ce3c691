-- expire: what time alone changes: holds that expired, buckets that expired, sessions to forget.
-- KEYS  account sessions due ledger
-- ARGV  epoch expire
-- EXIT  ok later gone absent fenced full
-- Twin: balances/model/expire.py. `later` and `gone` move no money and write no record.
-- @use lib/lines
local expire = cmsgpack.unpack(ARGV[2])
local session_id, now_ms = expire[EXPIRE.session], expire[EXPIRE.now_ms]
local member = expire[EXPIRE.account] .. '\n' .. session_id

-- read
local packed = redis.call('GET', KEYS[1])
local stored = session_id ~= '' and redis.call('HGET', KEYS[2], session_id)

-- decide
local gone = not packed or (session_id ~= '' and not stored)
local account = packed and cmsgpack.unpack(packed)
local session = stored and cmsgpack.unpack(stored)
if account then begin_call(account, max(account[ACCOUNT.clock_ms], now_ms)) end
local entries, threshold_events, usages = {}, {}, {}
local due_ms, changed_any = 0, false
local reason = 'expired'
if not gone and session then
  local state = session[SESSION.state]
  if state ~= SESSIONSTATE.OPEN then
    due_ms = session[SESSION.forget_ms]
    gone = due_ms <= now_ms
  else
    local idle, ends = true, session[SESSION.touched_ms] == expire[EXPIRE.touched_ms]
    due_ms = session[SESSION.touched_ms] + expire[EXPIRE.idle_ms]
    for _, line in ipairs(session[SESSION.lines]) do
      if line[LINE.due_ms] > 0 and (ends or line[LINE.due_ms] <= now_ms) then
        usages[#usages + 1] = { line[LINE.rating_group], line[LINE.service_id], line[LINE.unit], 0, 0, line[LINE.total], 0,
          0, RESULT.OK, FLAG.ABANDONED, '', now_ms, '', '', {}, line[LINE.secondary], SUSPENSE.NONE }
        release(account, line, now_ms)
        changed_any = true
      elseif line[LINE.due_ms] > 0 then
        idle = false
        due_ms = min(due_ms, line[LINE.due_ms])
      end
    end
    if idle and (changed_any or ends or due_ms <= now_ms) then
      session[SESSION.state] = SESSIONSTATE.ABANDONED
      session[SESSION.forget_ms] = now_ms + expire[EXPIRE.remember_ms]
      due_ms, changed_any, reason = session[SESSION.forget_ms], true, 'abandoned'
      changed.sessions = -1
    end
  end
  session[SESSION.due_ms] = due_ms
end
if not gone then
  local clock_ms = max(account[ACCOUNT.clock_ms], now_ms) -- supervision may look back, an account never does
  account[ACCOUNT.clock_ms] = clock_ms
  expire_buckets(account, entries, clock_ms)
  check_thresholds(account, threshold_events, clock_ms)
  if #entries > 0 then changed_any = true end
  if not session then
    for _, bucket in ipairs(account[ACCOUNT.buckets]) do
      local until_ms = bucket[BUCKET.until_ms]
      if until_ms > now_ms and (due_ms == 0 or until_ms < due_ms) then due_ms = until_ms end
    end
    gone = due_ms == 0
  end
end
local session_packed = session and cmsgpack.pack(session) or ''

-- write
if changed_any then
  local account_packed = cmsgpack.pack(account)
  local nudges = changed.holds ~= 0 and { 'final' } or {} -- others may have waited for what was held
  local record = { 1, 'expire', account[ACCOUNT.id], account[ACCOUNT.currency], session and session[SESSION.subscriber] or '',
    session_id, session and session[SESSION.service] or '', 0, now_ms, now_ms, '', '', 0, entries, usages, '', reason, '',
    threshold_events, nudges, '', 0, '', session and session[SESSION.incarnation] or 0 }
  local failed = append(KEYS[4], ARGV[1], record, 'a', account_packed, 's', session_packed)
  if failed then return { failed } end
  redis.call('SET', KEYS[1], account_packed)
end
if gone then
  redis.call('ZREM', KEYS[3], member)
  if stored then redis.call('HDEL', KEYS[2], session_id) end
  return { changed_any and 'ok' or packed and 'gone' or 'absent', '', 0, 0, 0 }
end
redis.call('ZADD', KEYS[3], due_ms, member)
if session then redis.call('HSET', KEYS[2], session_id, session_packed) end
return { changed_any and 'ok' or 'later', '', changed.sessions, changed.holds, changed.held_micro }
