-- The balances a climb may use; twin of balances.model.Purse.
-- @use lib/amount
-- What is taken is only noted here; the caller makes it a hold or a debit.
local OPEN, OWN, ALONE = 1, 2, 3
local purse = { mode = OPEN, now_ms = 0, used_ms = 0, account = false, taken = {}, own = {}, caps = false, journal = {} }

local function pays(bucket, kind, scope)
  if bucket[BUCKET.kind] ~= kind then return false end
  local until_ms = bucket[BUCKET.until_ms]
  if purse.mode == OWN then -- what was held pays use of before the expiry, however late it is reported
    if until_ms > 0 and until_ms <= purse.used_ms then return false end
  else
    if bucket[BUCKET.from_ms] > purse.now_ms then return false end
    if until_ms > 0 and until_ms <= purse.now_ms then return false end
  end
  local scopes = bucket[BUCKET.scope]
  if #scopes == 0 then return true end
  for _, one in ipairs(scopes) do
    if one == scope then return true end
  end
  return false
end

-- OPEN what nobody holds; OWN what this line held; ALONE what other lines hold too, but for this line's own.
-- Debt of the main bucket counts against the others: spendable is one sum.
local function free_of(bucket)
  local id = bucket[BUCKET.id]
  local taken = purse.taken[id] or 0
  if purse.mode == OWN then
    local own = purse.own[id] or 0
    if id ~= MAIN then own = min(own, bucket[BUCKET.amount] - bucket[BUCKET.held]) end
    return own - taken
  end
  local free = bucket[BUCKET.amount] - taken
  if purse.mode == OPEN then free = free - bucket[BUCKET.held] else free = free - (purse.own[id] or 0) end
  if id == MAIN then free = free + purse.account[ACCOUNT.credit_limit] end
  if purse.caps then free = min(free, (purse.caps[id] or 0) - taken) end
  return free
end

-- payer: the id of one bucket, or false for all together
local function purse_available(kind, scope, payer)
  local sum = 0
  for _, bucket in ipairs(purse.account[ACCOUNT.buckets]) do
    if (not payer or bucket[BUCKET.id] == payer) and pays(bucket, kind, scope) then sum = sum + free_of(bucket) end
  end
  return max(sum, 0)
end

local function purse_payers(kind, scope)
  local payers = {}
  for _, bucket in ipairs(purse.account[ACCOUNT.buckets]) do
    if pays(bucket, kind, scope) then payers[#payers + 1] = bucket[BUCKET.id] end
  end
  return payers
end

local function note(id, amount)
  purse.taken[id] = (purse.taken[id] or 0) + amount
  local journal = purse.journal -- flat: id, amount, id, amount ...
  local n = #journal
  journal[n + 1], journal[n + 2] = id, amount
end

local function take_free(kind, scope, amount)
  for _, bucket in ipairs(purse.account[ACCOUNT.buckets]) do
    if amount == 0 then return 0 end
    if pays(bucket, kind, scope) then
      local part = min(free_of(bucket), amount)
      if part > 0 then
        note(bucket[BUCKET.id], part)
        amount = amount - part
      end
    end
  end
  return amount
end

local function purse_take(kind, scope, amount, payer)
  if payer then return note(payer, amount) end
  local left = take_free(kind, scope, amount)
  if left > 0 and purse.mode == OWN then
    purse.mode = OPEN
    left = take_free(kind, scope, left)
    purse.mode = OWN
  end
  if left > 0 then note(MAIN, left) end -- use that happened: the main bucket goes below zero
end

local function purse_mark()
  return #purse.journal
end

local function purse_undo(mark)
  local journal = purse.journal
  for i = #journal, mark + 2, -2 do
    purse.taken[journal[i - 1]] = purse.taken[journal[i - 1]] - journal[i]
    journal[i], journal[i - 1] = nil, nil
  end
end

-- A fresh purse; `own` is what the line held (bucket id -> amount)
local function purse_open(mode, own)
  purse.mode, purse.own, purse.taken, purse.journal, purse.caps = mode, own, {}, {}, false
end

-- What was taken, in the order it was first taken, merged per bucket: list of TAKE
local function purse_takes()
  local journal, takes = purse.journal, {}
  if #journal == 2 then
    if journal[2] > 0 then takes[1] = { journal[1], journal[2] } end
    return takes
  end
  local seen = {}
  for i = 1, #journal, 2 do
    local id = journal[i]
    if not seen[id] then
      seen[id] = true
      if purse.taken[id] > 0 then takes[#takes + 1] = { id, purse.taken[id] } end
    end
  end
  return takes
end
