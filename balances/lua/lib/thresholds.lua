-- The balances that are compared after every change: the account's own line, the lines of services, notification
-- thresholds (charging.md section 7); twin of balances/model/thresholds.py.
-- @use lib/watched

-- Note that an amount passed a level: kind and of as structs/thresholds.py has them.
local function note_crossing(change, kind, of, name, level, value, unit, bucket)
  change.threshold_events[#change.threshold_events + 1] = CROSSING{ kind = kind, of = of, name = name, level = level,
    value = value, unit = unit, bucket = bucket }
  if of ~= CROSSINGOF.THRESHOLD and of ~= CROSSINGOF.LIMIT and of ~= CROSSINGOF.LIFE then raise_generation(change) end
end

local check_thresholds
do

-- Suspend or resume the account for credit.
local function check_account(change, balance)
  local account = change.account
  local below, resume_at = account[ACCOUNT.suspend_below], account[ACCOUNT.resume_at]
  if has_state(account, SUSPENDREASONS.CREDIT) then
    if balance >= resume_at then
      account[ACCOUNT.state] = account[ACCOUNT.state] - SUSPENDREASONS.CREDIT
      note_crossing(change, CROSSINGKIND.RESUME, CROSSINGOF.ACCOUNT, '', resume_at, balance, KIND.MONEY, '')
    end
  elseif balance < below then
    account[ACCOUNT.state] = account[ACCOUNT.state] + SUSPENDREASONS.CREDIT
    note_crossing(change, CROSSINGKIND.SUSPEND, CROSSINGOF.ACCOUNT, '', below, balance, KIND.MONEY, '')
  end
end

-- Suspend or resume one service.
local function check_service(change, line, balance)
  local name, below, resume_at = line[SERVICESUSPENSION.service], line[SERVICESUSPENSION.suspend_below], line[SERVICESUSPENSION.resume_at]
  if line[SERVICESUSPENSION.suspended_ms] > 0 then
    if balance >= resume_at then
      line[SERVICESUSPENSION.suspended_ms] = 0
      note_crossing(change, CROSSINGKIND.RESUME, CROSSINGOF.SERVICE, name, resume_at, balance, KIND.MONEY, '')
    end
  elseif balance < below then
    line[SERVICESUSPENSION.suspended_ms] = max(change.now_ms, 1)
    note_crossing(change, CROSSINGKIND.SUSPEND, CROSSINGOF.SERVICE, name, below, balance, KIND.MONEY, '')
  end
end

local function check_threshold(change, threshold)
  local value, filled = watched(threshold, change.account[ACCOUNT.buckets], change.now_ms)
  local below, rearm = levels_of(threshold, filled)
  if not below then return end
  local kind, level
  if threshold[THRESHOLD.crossed_ms] > 0 then
    if value < rearm then return end
    threshold[THRESHOLD.crossed_ms], kind, level = 0, CROSSINGKIND.ABOVE, rearm
  else
    if value >= below then return end
    threshold[THRESHOLD.crossed_ms], kind, level = max(change.now_ms, 1), CROSSINGKIND.BELOW, below
  end
  note_crossing(change, kind, CROSSINGOF.THRESHOLD, threshold[THRESHOLD.name], level, value, threshold[THRESHOLD.kind],
    threshold[THRESHOLD.bucket])
end

-- Notes what was crossed; returns the settled balance.
function check_thresholds(change)
  local account = change.account
  local balance = settled(account, change.now_ms)
  check_account(change, balance)
  for _, line in ipairs(account[ACCOUNT.services]) do check_service(change, line, balance) end
  for _, threshold in ipairs(account[ACCOUNT.thresholds]) do check_threshold(change, threshold) end
  return balance
end

end

-- The line of a service, if it has one of its own.
local function service_line(account, service)
  for _, line in ipairs(account[ACCOUNT.services]) do
    if line[SERVICESUSPENSION.service] == service then return line end
  end
  return nil
end

-- Whether a service is suspended for want of money: for a fee that is not paid all are, for credit the service's own line
-- says so in the place of the account's.
local function is_suspended(account, service)
  if has_state(account, SUSPENDREASONS.FEE) then return true end
  local line = service_line(account, service)
  if line then return line[SERVICESUSPENSION.suspended_ms] > 0 end
  return has_state(account, SUSPENDREASONS.CREDIT)
end

-- From which balance on a service is served again; below it the network is told that money is low.
local function resumes_at(account, service)
  local line = service_line(account, service)
  return line and line[SERVICESUSPENSION.resume_at] or account[ACCOUNT.resume_at]
end

local function named(list, at, name)
  for _, one in ipairs(list) do
    if one[at] == name then return one end
  end
  return nil
end

-- Whether these may be the thresholds of an account: not too many, each name once, amounts that can be counted, and no
-- lower level for the way back.
local function may_watch(thresholds)
  if #thresholds > THRESHOLDS_MAX then return false end
  local names = {}
  for _, one in ipairs(thresholds) do
    local name, below, rearm = one[THRESHOLD.name], one[THRESHOLD.below], one[THRESHOLD.rearm]
    local percent = one[THRESHOLD.percent]
    if names[name] or percent < 0 or percent > 100 then return false end
    if below < -EXACT_MAX or rearm > (percent > 0 and 100 or EXACT_MAX) or rearm < (percent > 0 and percent or below) then return false end
    names[name] = true
  end
  return true
end

local function may_suspend(services)
  if #services > THRESHOLDS_MAX then return false end
  local names = {}
  for _, one in ipairs(services) do
    local name, below, resume_at = one[SERVICESUSPENSION.service], one[SERVICESUSPENSION.suspend_below], one[SERVICESUSPENSION.resume_at]
    if names[name] or below < -EXACT_MAX or resume_at > EXACT_MAX or resume_at < below then return false end
    names[name] = true
  end
  return true
end

-- One that stays as it was keeps its state, whoever brings it; any other begins as crossed where it is below, and nobody is told.
local function set_thresholds(change, wanted)
  local account = change.account
  for _, one in ipairs(wanted) do
    local old = named(account[ACCOUNT.thresholds], THRESHOLD.name, one[THRESHOLD.name])
    local is_same = old ~= nil
    for at = THRESHOLD.name, THRESHOLD.crossed_ms - 1 do
      if is_same and old[at] ~= one[at] then is_same = false end
    end
    if is_same then one[THRESHOLD.crossed_ms] = old[THRESHOLD.crossed_ms]
    else one[THRESHOLD.crossed_ms] = is_below(one, account[ACCOUNT.buckets], change.now_ms) and max(change.now_ms, 1) or 0 end
  end
  account[ACCOUNT.thresholds] = wanted
end

-- A line that is moved keeps its state, and is compared with the rest; one that is taken away while it is crossed ends so.
local function set_services(change, wanted)
  local account = change.account
  for _, one in ipairs(wanted) do
    local old = named(account[ACCOUNT.services], SERVICESUSPENSION.service, one[SERVICESUSPENSION.service])
    one[SERVICESUSPENSION.suspended_ms] = old and old[SERVICESUSPENSION.suspended_ms] or 0
  end
  for _, old in ipairs(account[ACCOUNT.services]) do
    local name = old[SERVICESUSPENSION.service]
    if old[SERVICESUSPENSION.suspended_ms] > 0 and not named(wanted, SERVICESUSPENSION.service, name) then
      note_crossing(change, CROSSINGKIND.RESUME, CROSSINGOF.SERVICE, name, old[SERVICESUSPENSION.resume_at],
        settled(account, change.now_ms), KIND.MONEY, '')
    end
  end
  account[ACCOUNT.services] = wanted
end
