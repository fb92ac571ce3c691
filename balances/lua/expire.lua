-- expire: what time alone changes: holds that expired, buckets that expired, sessions to forget.
-- KEYS  account due ledger
-- ARGV  epoch expire
-- EXIT  ok later gone absent fenced full
-- Twin: balances/model/expire.py. `later` and `gone` move no money and write no record.
-- @use lib/life
-- @use lib/lines
-- @use lib/reached
-- @use lib/repeats
-- @use lib/thresholds
local asked = cmsgpack.unpack(ARGV[2])
local session_id, now_ms = asked[EXPIRE.session], asked[EXPIRE.now_ms]

-- read
local both = redis.call('HMGET', KEYS[1], ACCOUNTFIELD.ACCOUNT, session_id)
local packed, stored = both[1], both[2]

-- decide
local gone = not packed or (session_id ~= '' and not stored)
local account, session = packed and cmsgpack.unpack(packed), stored and cmsgpack.unpack(stored)
local change = account and open_change(account, now_ms) -- supervision may look back, an account never does
local due_ms, changed_any, reason = 0, false, 'expired'

-- What a session that is open holds no longer, and whether it is still open.
local function expire_session()
  local idle, ends = true, session[SESSION.touched_ms] == asked[EXPIRE.touched_ms]
  due_ms = session[SESSION.touched_ms] + asked[EXPIRE.idle_ms]
  for _, line in ipairs(session[SESSION.lines]) do
    if line[LINE.due_ms] > 0 and (ends or line[LINE.due_ms] <= now_ms) then
      change.usages[#change.usages + 1] = abandoned_usage(line, now_ms)
      release(change, line, now_ms)
      change.reauthorize[1], changed_any = 'final', true -- others may have waited for what was held
    elseif line[LINE.due_ms] > 0 then
      idle, due_ms = false, min(due_ms, line[LINE.due_ms])
    end
  end
  if idle and (changed_any or ends or due_ms <= now_ms) then
    session[SESSION.state] = SESSIONSTATE.ABANDONED
    session[SESSION.forget_ms] = now_ms + asked[EXPIRE.remember_ms]
    due_ms, changed_any, reason = session[SESSION.forget_ms], true, 'abandoned'
  end
end

if not gone and session then
  if session[SESSION.state] == SESSIONSTATE.OPEN then expire_session()
  else
    due_ms = session[SESSION.forget_ms]
    gone = due_ms <= now_ms
  end
  session[SESSION.due_ms] = due_ms
end
if not gone then
  if end_grace(change) then changed_any = true end
  expire_buckets(change)
  check_thresholds(change)
  if end_limits(change) then change.reauthorize[1], changed_any = 'final', true end -- there is room again
  if #change.entries > 0 or change.reauthorize[1] then changed_any = true end
  if not session then
    for _, bucket in ipairs(account[ACCOUNT.buckets]) do
      local until_ms = bucket[BUCKET.until_ms]
      if until_ms > now_ms and (due_ms == 0 or until_ms < due_ms) then due_ms = until_ms end
    end
    for _, other_ms in ipairs({ limits_due(account, now_ms), account[ACCOUNT.grace_until_ms] }) do
      if other_ms > 0 and (due_ms == 0 or other_ms < due_ms) then due_ms = other_ms end
    end
    gone = due_ms == 0
  end
end
local session_packed = session and cmsgpack.pack(session) or ''
local account_packed = changed_any and cmsgpack.pack(account)
local record = changed_any and change_record(change, 'expire', '', reason)
if record then
  record[RECORD.at_ms], record[RECORD.event_ms], record[RECORD.session] = now_ms, now_ms, session_id
  if session then
    record[RECORD.subscriber], record[RECORD.service] = session[SESSION.subscriber], session[SESSION.service]
    record[RECORD.incarnation] = session[SESSION.incarnation]
  end
end

-- write
if changed_any then
  local failed = append(KEYS[3], ARGV[1], record, 'a', account_packed, 's', session_packed)
  if failed then return { failed } end
  redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, account_packed)
end
if gone then
  redis.call('ZREM', KEYS[2], asked[EXPIRE.account] .. '\n' .. session_id)
  if stored then redis.call('HDEL', KEYS[1], session_id) end
  return { changed_any and 'ok' or packed and 'gone' or 'absent' }
end
redis.call('ZADD', KEYS[2], due_ms, asked[EXPIRE.account] .. '\n' .. session_id)
if session then redis.call('HSET', KEYS[1], session_id, session_packed) end
return { changed_any and 'ok' or 'later' }
