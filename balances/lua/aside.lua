-- aside: use that is set aside, of nobody known: on record, and nothing else is kept of it here.
-- KEYS  ledger
-- ARGV  epoch record context
-- EXIT  ok fenced full
-- Twin: balances/model/aside.py (charging.md section 2, suspense).
-- @use lib/account
local record = cmsgpack.unpack(ARGV[2])

-- read
local waiting = redis.call('XLEN', KEYS[1])

-- decide
if waiting >= ASIDE_WAITING_MAX then return { 'full' } end

-- write
local failed = append(KEYS[1], ARGV[1], record, 'c', ARGV[3])
if failed then return { failed } end
return { 'ok' }
