-- The balances a climb may use; twin of balances/model/funds.py.
-- @use lib/hours
-- @use lib/sums
-- What is taken is only noted here; the caller makes it a hold or a debit.
local OPEN, OWN, ALONE = 1, 2, 3
-- They are of one account from `funds_of` on, and nothing of them is kept from call to call.
local funds = {}

-- The funds of this account from here on. Credit is given as far as it can be counted: with all the money it stays below
-- 2^53, and so does what is held.
local function funds_of(account, now_ms)
  local has = 0
  funds.blocked = false -- there is a blocker
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.blocker] then funds.blocked = true end
    if bucket[BUCKET.kind] == KIND.MONEY and bucket[BUCKET.amount] > 0 then has = has + bucket[BUCKET.amount] end
  end
  funds.account, funds.now_ms, funds.subscriber = account, now_ms, ''
  funds.mode, funds.used_ms, funds.taken, funds.own, funds.caps, funds.journal = OPEN, 0, {}, {}, false, {}
  funds.counted, funds.own_counted, funds.rations, funds.unlimited, funds.granting = false, false, false, false, false
  funds.clock_ms, funds.timed, funds.sums = now_ms, false, false
  funds.limit = min(account[ACCOUNT.credit_limit], EXACT_MAX - has)
end

-- From when on it no longer pays, 0: never. Its validity may begin with its first use.
local function end_of(bucket)
  return bucket[BUCKET.window_ms] > 0 and funds.now_ms + bucket[BUCKET.window_ms] or bucket[BUCKET.until_ms]
end

local pays, funds_block
do

-- used_ms: when the first unit of the climb is used. What was held pays use of before the expiry, however late it is
-- reported; use that is to come is paid by what is valid then.
local function may_pay(bucket, kind, scope, mode)
  if bucket[BUCKET.kind] ~= kind then return false end
  local member = bucket[BUCKET.member]
  if member ~= '' and member ~= funds.subscriber and mode ~= OWN then return false end
  -- clock_ms: the instant at which hours are asked; of what was held only where it is use by time
  if #bucket[BUCKET.hours] > 0 and (mode ~= OWN or funds.timed)
      and not hours_at(bucket[BUCKET.hours], funds.account[ACCOUNT.clock], funds.clock_ms) then
    return false
  end
  local until_ms, at_ms = end_of(bucket), max(funds.used_ms, funds.now_ms)
  if bucket[BUCKET.from_ms] > at_ms and mode ~= OWN then return false end
  if until_ms > 0 and until_ms <= (mode == OWN and funds.used_ms or at_ms) then return false end
  local scopes = bucket[BUCKET.scope]
  if #scopes == 0 then return true end
  for _, one in ipairs(scopes) do
    if one == scope then return true end
  end
  return false
end

-- In a grant: the first blocker of them, behind which no bucket pays (charging.md section 22).
local function blocker_of(kind, scope, mode)
  if not (funds.granting and funds.blocked) then return nil end
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if bucket[BUCKET.blocker] and may_pay(bucket, kind, scope, mode) then return bucket end
  end
end

function pays(bucket, kind, scope, mode)
  if not may_pay(bucket, kind, scope, mode) then return false end
  local blocker = blocker_of(kind, scope, mode)
  return not blocker or bucket[BUCKET.priority] <= blocker[BUCKET.priority]
end

-- In a grant: what these buckets cannot pay, none of a later step pays either.
function funds_block(kind, scope)
  return blocker_of(kind, scope, funds.mode) ~= nil
end

end

-- OPEN what nobody holds; OWN what this line held; ALONE what other lines hold too, but for this line's own.
-- Debt of the main bucket counts against the others: spendable is one sum.
local function free_of(bucket, mode)
  local id = bucket[BUCKET.id]
  local taken = funds.taken[id] or 0
  if mode == OWN then
    local own = funds.own[id] or 0
    if id ~= MAIN then own = min(own, bucket[BUCKET.amount] - bucket[BUCKET.held]) end
    return own - taken
  end
  local free = bucket[BUCKET.amount] - taken
  if mode == OPEN then free = free - bucket[BUCKET.held] else free = free - (funds.own[id] or 0) end
  if id == MAIN then free = free + funds.limit end
  if funds.caps then free = min(free, (funds.caps[id] or 0) - taken) end
  return free
end

-- From here on money is what a line comes to before its session is rounded; taken is what is due of that.
function summing.round_by(sums, ladder)
  funds.sums, funds.rounded_by = (ladder[LADDER.sum_to] or 0) > 0 and sums, ladder
  if funds.sums then funds.taken[summing.EXACT] = 0 end
end

-- payer: one of funds_payers, or false for all together
local function funds_available(kind, scope, payer)
  if payer and payer.owes then return math.huge end -- ENDLESS of lib/ladder
  local sum, mode = 0, payer and payer.mode or funds.mode
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if (not payer or bucket[BUCKET.id] == payer.id) and pays(bucket, kind, scope, mode) then
      sum = sum + free_of(bucket, mode)
    end
  end
  sum = min(max(sum, 0), EXACT_MAX)
  if funds.sums and kind == KIND.MONEY then return summing.within(funds.sums, funds.rounded_by, sum, funds.taken[summing.EXACT]) end
  return sum
end

-- Those that may pay alone; of what was held and is not enough, those that have something free, and then the debtor
local function funds_payers(kind, scope, owing)
  local payers = {}
  for _, mode in ipairs(owing and funds.mode == OWN and { OWN, OPEN } or { funds.mode }) do
    for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
      if pays(bucket, kind, scope, mode) then payers[#payers + 1] = { id = bucket[BUCKET.id], mode = mode } end
    end
  end
  if owing then payers[#payers + 1] = { id = MAIN, owes = true } end
  return payers
end

local function note(id, amount)
  funds.taken[id] = (funds.taken[id] or 0) + amount
  local journal = funds.journal -- flat: id, amount, id, amount ...
  local n = #journal
  journal[n + 1], journal[n + 2] = id, amount
end

local funds_take
do

local function take_free(kind, scope, amount, mode)
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if amount == 0 then return 0 end
    if pays(bucket, kind, scope, mode) then
      local part = min(free_of(bucket, mode), amount)
      if part > 0 then
        note(bucket[BUCKET.id], part)
        amount = amount - part
      end
    end
  end
  return amount
end

function funds_take(kind, scope, amount, payer)
  if funds.sums and kind == KIND.MONEY then
    local due = summing.due(funds.sums, funds.rounded_by, amount, funds.taken[summing.EXACT])
    note(summing.EXACT, amount)
    amount = due
  end
  if payer then return note(payer.id, amount) end
  local left = take_free(kind, scope, amount, funds.mode)
  if left > 0 and funds.mode == OWN then left = take_free(kind, scope, left, OPEN) end
  if left > 0 then note(MAIN, left) end -- use that happened: the main bucket goes below zero
end

end

local function funds_mark()
  return #funds.journal
end

local function funds_undo(mark)
  local journal = funds.journal
  for i = #journal, mark + 2, -2 do
    funds.taken[journal[i - 1]] = funds.taken[journal[i - 1]] - journal[i]
    journal[i], journal[i - 1] = nil, nil
  end
end

-- A fresh funds; `own` is what the line held (bucket id -> amount)
local function open_funds(mode, own)
  funds.mode, funds.own, funds.taken, funds.journal, funds.caps, funds.used_ms = mode, own, {}, {}, false, 0
  funds.counted, funds.own_counted, funds.rations, funds.unlimited, funds.granting = false, false, false, false, false
  funds.clock_ms, funds.timed, funds.sums = funds.now_ms, false, false
end

-- What was taken, in the order it was first taken, merged per bucket: list of TAKE
local function funds_takes()
  local journal, takes = funds.journal, {}
  if #journal == 2 and journal[1] ~= summing.EXACT then
    if journal[2] > 0 then takes[1] = { journal[1], journal[2] } end
    return takes
  end
  local seen = {}
  for i = 1, #journal, 2 do
    local id = journal[i]
    if id ~= summing.EXACT and not seen[id] then
      seen[id] = true
      if funds.taken[id] > 0 then takes[#takes + 1] = { id, funds.taken[id] } end
    end
  end
  return takes
end
