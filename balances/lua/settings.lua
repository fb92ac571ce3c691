-- settings: change an account's versioned fields, or tell it that a subscriber of it changed.
-- KEYS  account due ledger
-- ARGV  epoch settings
-- EXIT  ok revision refused absent fenced full
-- Twin: balances/model/settings.py. Fields that are nil stay as they are.
-- @use lib/life
local asked = cmsgpack.unpack(ARGV[2])

-- read
local packed = redis.call('HGET', KEYS[1], ACCOUNTFIELD.ACCOUNT)
if not packed then return { 'absent' } end

-- decide
local account = cmsgpack.unpack(packed)
local if_rev = asked[ACCOUNTSETTINGS.if_rev]
if if_rev and if_rev ~= account[ACCOUNT.rev] then return { 'revision', packed } end
local change, due = open_change(account, asked[ACCOUNTSETTINGS.now_ms]), {}
local profile_rev = asked[ACCOUNTSETTINGS.profile_rev]
if profile_rev and profile_rev > account[ACCOUNT.profile_rev] then
  due.members, due.final = true, true -- a member may be served no more, or again, or at another price
  account[ACCOUNT.profile_rev] = profile_rev
  due.limited = asked[ACCOUNTSETTINGS.limited]
end
local limit = asked[ACCOUNTSETTINGS.credit_limit]
if limit then
  if limit < account[ACCOUNT.credit_limit] then due.all = true end
  if limit > account[ACCOUNT.credit_limit] then due.final = true end
  account[ACCOUNT.credit_limit] = limit
end
account[ACCOUNT.suspend_below] = asked[ACCOUNTSETTINGS.suspend_below] or account[ACCOUNT.suspend_below]
account[ACCOUNT.resume_at] = asked[ACCOUNTSETTINGS.resume_at] or account[ACCOUNT.resume_at]
for _, amount in ipairs({ account[ACCOUNT.credit_limit], account[ACCOUNT.suspend_below], account[ACCOUNT.resume_at] }) do
  if amount < -EXACT_MAX or amount > EXACT_MAX then return { 'refused', packed } end
end
if account[ACCOUNT.resume_at] < account[ACCOUNT.suspend_below] then return { 'refused', packed } end
local thresholds, services = asked[ACCOUNTSETTINGS.thresholds], asked[ACCOUNTSETTINGS.services]
if not may_watch(thresholds or {}) or not may_suspend(services or {}) then return { 'refused', packed } end
local before = account[ACCOUNT.state]
if bit.band(asked[ACCOUNTSETTINGS.clear_state], SUSPENDREASONS.CREATED) ~= 0 then activate(change) end
account[ACCOUNT.state] = bit.band(bit.bor(account[ACCOUNT.state], asked[ACCOUNTSETTINGS.set_state]), bit.bnot(asked[ACCOUNTSETTINGS.clear_state]))
if bit.band(account[ACCOUNT.state], bit.bnot(before), REFUSING) ~= 0 then due.all = true end
if bit.band(before, bit.bnot(account[ACCOUNT.state]), REFUSING) ~= 0 then due.final = true end
local grace_ms = account[ACCOUNT.grace_until_ms]
account[ACCOUNT.grace_until_ms] = has_state(account, SUSPENDREASONS.GRACE) and (asked[ACCOUNTSETTINGS.grace_until_ms] or grace_ms) or 0
look_at_grace(change)
if thresholds then set_thresholds(change, thresholds) end
if services then
  set_services(change, services)
  due.final, due.all = true, true -- one may be served again, or no more
end
for _, one in ipairs(asked[ACCOUNTSETTINGS.buckets]) do
  local bucket = bucket_of(account, one[BUCKETSETTING.bucket])
  if not bucket or bucket[BUCKET.id] == MAIN then return { 'refused', packed } end
  if bucket[BUCKET.blocker] ~= one[BUCKETSETTING.blocker] then due[one[BUCKETSETTING.blocker] and 'all' or 'final'] = true end
  bucket[BUCKET.blocker] = one[BUCKETSETTING.blocker]
end
if asked[ACCOUNTSETTINGS.clock][1] then account[ACCOUNT.clock] = asked[ACCOUNTSETTINGS.clock] end
check_thresholds(change)
for _, crossing in ipairs(change.threshold_events) do
  if crossing[CROSSING.kind] == CROSSINGKIND.RESUME then due.final = true end
end
if due.members or due.all or due.final then raise_generation(change) end
for _, kind in ipairs({ 'members', 'final', 'all' }) do
  if due[kind] then change.reauthorize[#change.reauthorize + 1] = kind end
end
for _, subscriber in ipairs(due.limited or {}) do
  change.reauthorize[#change.reauthorize + 1] = 'limits ' .. subscriber
end
if limit or asked[ACCOUNTSETTINGS.suspend_below] or asked[ACCOUNTSETTINGS.resume_at] or thresholds or services
    or asked[ACCOUNTSETTINGS.buckets][1] or account[ACCOUNT.state] ~= before or account[ACCOUNT.grace_until_ms] ~= grace_ms then
  account[ACCOUNT.rev] = account[ACCOUNT.rev] + 1
end
local account_packed = cmsgpack.pack(account)
local record = change_record(change, 'settings', asked[ACCOUNTSETTINGS.actor], asked[ACCOUNTSETTINGS.reason])

-- write
local failed = append(KEYS[3], ARGV[1], record, 'a', account_packed)
if failed then return { failed } end
redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, account_packed)
if change.due_ms > 0 then look_by(KEYS[2], account[ACCOUNT.id], '', change.due_ms) end
return { 'ok', account_packed }
