-- What an account goes through without being told to: its first use, the end of its grace (charging.md section 16); twin of
-- balances/model/life.py.
-- @use lib/thresholds

-- Whether a grace has ended: the account is suspended then, and the network may do less.
local function end_grace(change)
  local account = change.account
  local until_ms = account[ACCOUNT.grace_until_ms]
  if until_ms == 0 or until_ms > change.now_ms then return false end
  account[ACCOUNT.state] = bit.band(bit.bor(account[ACCOUNT.state], SUSPENDREASONS.OVERDUE), bit.bnot(SUSPENDREASONS.GRACE))
  account[ACCOUNT.grace_until_ms] = 0
  account[ACCOUNT.rev] = account[ACCOUNT.rev] + 1
  note_crossing(change, CROSSINGKIND.OVERDUE, CROSSINGOF.LIFE, '', 0, settled(account, change.now_ms), KIND.MONEY, '')
  raise_generation(change)
  return true
end

-- A grace ends no sooner than then; none is begun, none that has ended is undone (charging.md 23). Supervision looks when it
-- would have ended, and again then.
local function prolong_grace(change, until_ms)
  local account = change.account
  if has_state(account, SUSPENDREASONS.GRACE) and account[ACCOUNT.grace_until_ms] < until_ms then
    account[ACCOUNT.grace_until_ms] = until_ms
    account[ACCOUNT.rev] = account[ACCOUNT.rev] + 1
  end
end

-- An account that was created is active from now on.
local function activate(change)
  local account = change.account
  if not has_state(account, SUSPENDREASONS.CREATED) then return end
  account[ACCOUNT.state] = account[ACCOUNT.state] - SUSPENDREASONS.CREATED
  account[ACCOUNT.activated_ms] = change.now_ms
  note_crossing(change, CROSSINGKIND.ACTIVATED, CROSSINGOF.LIFE, '', 0, settled(account, change.now_ms), KIND.MONEY, '')
end

-- Supervision looks at the account when its grace ends.
local function look_at_grace(change)
  local until_ms = change.account[ACCOUNT.grace_until_ms] or 0
  if until_ms > 0 and (change.due_ms == 0 or until_ms < change.due_ms) then change.due_ms = until_ms end
end
