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
  funds.blocked, funds.is_priced = false, false -- there is a blocker, one with a price
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.blocker] then funds.blocked = true end
    if bucket[BUCKET.price] > 0 then funds.is_priced = true end
    if bucket[BUCKET.kind] == KIND.MONEY and bucket[BUCKET.amount] > 0 then has = has + bucket[BUCKET.amount] end
  end
  funds.account, funds.now_ms, funds.subscriber = account, now_ms, ''
  funds.mode, funds.used_ms, funds.taken, funds.own, funds.caps, funds.journal = OPEN, 0, {}, {}, false, {}
  funds.counted, funds.own_counted, funds.rations, funds.unlimited, funds.granting = false, false, false, false, false
  funds.clock_ms, funds.timed, funds.sums, funds.allowed = now_ms, false, false, EXACT_MAX
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

-- What a line may come to so that it is charged at most `most` with the prices of buckets. Where its session is rounded these
-- may shift what it comes to against the multiples: one of them is kept free.
function funds.payable(sums, ladder, most)
  local spare = funds.is_priced and ladder[LADDER.sum_to] or 0
  return summing.within(sums, ladder, max(most - spare, 0))
end

-- What the prices of buckets come to for the units that a line holds of them, and those of `more` (charging.md section 22).
function funds.price_held(account, hold, more)
  if not funds.is_priced then return 0 end
  local sum = 0
  for _, bucket in ipairs(account[ACCOUNT.buckets]) do
    if bucket[BUCKET.price] > 0 then
      local units = 0
      for _, take in ipairs(hold) do if take[TAKE.bucket] == bucket[BUCKET.id] then units = units + take[TAKE.amount] end end
      for _, take in ipairs(more) do if take[TAKE.bucket] == bucket[BUCKET.id] then units = units + take[TAKE.amount] end end
      sum = sum + (muldiv(bucket[BUCKET.price], units, 0, bucket[BUCKET.per], 0))
    end
  end
  return sum
end

-- Whether a bucket that may pay has a price, so that what it pays asks for money too.
function funds.asks_money(kind, scope)
  if not funds.is_priced then return false end
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if bucket[BUCKET.price] > 0 and pays(bucket, kind, scope, OPEN) then return true end
  end
  return false
end

-- Money that was taken.
function funds.paid()
  local sum = 0
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if bucket[BUCKET.kind] == KIND.MONEY then sum = sum + (funds.taken[bucket[BUCKET.id]] or 0) end
  end
  return sum
end

local funds_available, funds_payers, note, funds_take
do

-- What rounding has charged too much before: of what the bucket has paid, or of what the line holds. A grant holds the most
-- that its units can cost, wherever the bucket stands then.
local function rest_of(bucket)
  if not funds.granting then return bucket[BUCKET.rest] end
  local held = 0
  for _, take in ipairs(funds.held) do
    if take[TAKE.bucket] == bucket[BUCKET.id] then held = held + take[TAKE.amount] end
  end
  local _, rest = muldiv(bucket[BUCKET.price], held, 0, bucket[BUCKET.per], 0)
  return rest
end

-- What the price of a bucket comes to for these of its units, which are all that is taken.
local function price_of(bucket, units)
  return (muldiv(bucket[BUCKET.price], units, rest_of(bucket), bucket[BUCKET.per], 0))
end

-- What was taken for the prices of buckets.
function funds.priced()
  if not funds.is_priced then return 0 end
  local sum = 0
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if bucket[BUCKET.price] > 0 then sum = sum + price_of(bucket, funds.taken[bucket[BUCKET.id]] or 0) end
  end
  return sum
end

local function money_left(scope, mode)
  local left = funds.allowed - funds.paid()
  if funds.granting then
    local free = 0
    for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
      if pays(bucket, KIND.MONEY, scope, mode) then free = free + free_of(bucket, mode) end
    end
    left = min(left, free)
  end
  return max(left, 0)
end

-- How many of these units of a bucket with a price the money covers, and what remains of it.
local function with_money(bucket, units, money)
  local before = funds.taken[bucket[BUCKET.id]] or 0
  local due = price_of(bucket, before)
  local covered = muldiv(min(due + money, EXACT_MAX), bucket[BUCKET.per], 0 - rest_of(bucket), bucket[BUCKET.price], 1) - before
  covered = max(min(units, covered), 0)
  return covered, money + due - price_of(bucket, before + covered)
end

local function units_free(kind, scope, payer, mode)
  local free, money = 0, money_left(scope, mode)
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if (not payer or bucket[BUCKET.id] == payer.id) and pays(bucket, kind, scope, mode) then
      local part = free_of(bucket, mode)
      if bucket[BUCKET.price] > 0 then part, money = with_money(bucket, part, money) end
      free = free + part
    end
  end
  return free
end

-- payer: one of funds_payers, or false for all together
function funds_available(kind, scope, payer)
  if payer and payer.owes then return math.huge end -- ENDLESS of lib/ladder
  local sum, mode = 0, payer and payer.mode or funds.mode
  if funds.is_priced and kind ~= KIND.MONEY then return min(units_free(kind, scope, payer, mode), EXACT_MAX) end
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if (not payer or bucket[BUCKET.id] == payer.id) and pays(bucket, kind, scope, mode) then
      sum = sum + free_of(bucket, mode)
    end
  end
  if funds.is_priced and funds.granting then sum = min(sum, funds.allowed - funds.paid()) end
  sum = min(max(sum, 0), EXACT_MAX)
  if funds.sums and kind == KIND.MONEY then return summing.within(funds.sums, funds.rounded_by, sum, funds.taken[summing.EXACT]) end
  return sum
end

-- Those that may pay alone; of what was held and is not enough, those that have something free, and then the debtor
function funds_payers(kind, scope, owing)
  local payers = {}
  for _, mode in ipairs(owing and funds.mode == OWN and { OWN, OPEN } or { funds.mode }) do
    for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
      if pays(bucket, kind, scope, mode) then payers[#payers + 1] = { id = bucket[BUCKET.id], mode = mode } end
    end
  end
  if owing then payers[#payers + 1] = { id = MAIN, owes = true } end
  return payers
end

function note(id, amount)
  funds.taken[id] = (funds.taken[id] or 0) + amount
  local journal = funds.journal -- flat: id, amount, id, amount ...
  local n = #journal
  journal[n + 1], journal[n + 2] = id, amount
end

local take_all

-- Its units, and its price from money.
local function note_with_price(bucket, scope, amount)
  local before = funds.taken[bucket[BUCKET.id]] or 0
  note(bucket[BUCKET.id], amount)
  if bucket[BUCKET.price] > 0 then
    take_all(KIND.MONEY, scope, price_of(bucket, before + amount) - price_of(bucket, before))
  end
end

local function take_free(kind, scope, amount, mode)
  for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
    if amount == 0 then return 0 end
    if pays(bucket, kind, scope, mode) then
      local part = min(free_of(bucket, mode), amount)
      if part > 0 and bucket[BUCKET.price] > 0 then part = with_money(bucket, part, money_left(scope, mode)) end
      if part > 0 then
        note_with_price(bucket, scope, part)
        amount = amount - part
      end
    end
  end
  return amount
end

function take_all(kind, scope, amount)
  local left = take_free(kind, scope, amount, funds.mode)
  if left > 0 and funds.mode == OWN then left = take_free(kind, scope, left, OPEN) end
  if left > 0 then note(MAIN, left) end -- use that happened: the main bucket goes below zero
end

-- Returns the money that was taken besides for the prices of buckets.
function funds_take(kind, scope, amount, payer)
  if funds.sums and kind == KIND.MONEY then
    local due = summing.due(funds.sums, funds.rounded_by, amount, funds.taken[summing.EXACT])
    note(summing.EXACT, amount)
    amount = due
  end
  local before = funds.priced()
  if not payer then take_all(kind, scope, amount)
  elseif not funds.is_priced or kind == KIND.MONEY then note(payer.id, amount)
  else
    for _, bucket in ipairs(funds.account[ACCOUNT.buckets]) do
      if bucket[BUCKET.id] == payer.id then note_with_price(bucket, scope, amount) end
    end
  end
  return funds.priced() - before
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
  funds.clock_ms, funds.timed, funds.sums, funds.allowed = funds.now_ms, false, false, EXACT_MAX
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
