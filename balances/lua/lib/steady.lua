-- The steady path: a request of the usual shape, decided without unpacking what it does not change. It refuses nothing: what
-- it finds is what charge.lua writes and answers for that request, octet for octet, or nil, and then charge.lua decides.
--
-- Usual is: an INITIAL that begins a session, an UPDATE or a TERMINATION of one that is open, or one event; one to four
-- lines, each one price; an account that is active, of whose money all lies in its main bucket; nothing that expires, no
-- threshold crossed, no price change, no part of what is granted short. Of a client that runs its session by itself
-- (charging.md 8) also: the same incarnation, and counters that went on, no further than they can. Each `return nil` is a
-- case that is not.
--
-- Stored structs are arrays (balances/structs). `read` takes the next fields of one, from an offset, as values; what stays as
-- it is is copied as octets. How many fields a struct has is compared with its header: one that gets a field more is read
-- here no more, and charge.lua decides. tests/balances/test_literals.py says which: bring what reads and writes it here up
-- to it, then its number of fields, which stands only here (`FIELDS.TAKE` is 2, `HEAD.TAKE` what such an array begins with):
-- @fields ACCOUNT 21 BUCKET 19 COUNTER 9 CHARGE 47 ASK 25 USAGEREPORT 7 SESSION 29 LINE 25 TAKE 2 ANSWER 6 RECORD 30
-- @fields ENTRY 11 USAGE 19 OUTCOME 7 LINEOUTCOME 13 IDEMPOTENCYRECORD 10 PAIDAMOUNT 3
-- That nothing differs is told by every parity test, which makes each call with this path and without.
-- @use lib/spans
-- @use lib/facts
-- @use lib/thresholds
-- @use lib/courses
-- @use lib/cumulative
local steady, steady_write
do

local pack, read, byte, sub, find = cmsgpack.pack, cmsgpack.unpack_limit, string.byte, string.sub, string.find
local bor = bit.bor
local EMPTY, LINES_MAX, SMALL_MAX = 0x90, 4, 15
-- How a charge ends, and a session, that is not of a client which runs it by itself (charging.md 8).
local SAYS_NO_COURSE, NO_COURSE = pack(COURSE.NONE, '', 0, -1, '', '', 0, -1) .. '\144\0\194',
  pack('', 0, -1, 0, false) .. '\144' .. pack('') .. '\144'
-- What a request says of a session that its client runs, by its phase; use that is recorded says one of the last two.
local COURSES = { [PHASE.START] = COURSE.BEGINS, [PHASE.UPDATE] = COURSE.GOES_ON, [PHASE.STOP] = COURSE.ENDS }

-- Where the fields of an array of `count` begin, from an offset; nil: there is none such.
local function fields_of(octets, at, count)
  if count <= SMALL_MAX then return byte(octets, at + 1) == EMPTY + count and at + 1 or nil end
  local kind, high, low = byte(octets, at + 1, at + 3)
  return kind == 0xdc and high == 0 and low == count and at + 3 or nil
end

-- How many elements a short array has, and where the first one begins; nil: it is long, or none.
local function short_of(octets, at)
  local count = byte(octets, at + 1) - EMPTY
  if count < 0 or count > SMALL_MAX then return nil end
  return count, at + 1
end

local ARRAYS = {} -- by how many elements, what a short array begins with
for count = 0, SMALL_MAX do ARRAYS[count] = string.char(EMPTY + count) end

local SMALL = {} -- by the number, a small one as it is packed: what `pack` would make costs ten times as much
for number = 0, 127 do SMALL[number] = pack(number) end

-- { block, price, per, rounding, terms, and as they are packed: the tag, terms and ladder as a record has them, the ladder } of
-- one that is a single price: no bounds, fees, charges, grade, no counter that it feeds; false for any other (charging.md 4).
-- Kept like the ladders of lib/spans.
local prices, prices_kept = {}, 0
local function price_of(packed)
  local price = prices[packed]
  if price == nil then
    local ladder = cmsgpack.unpack(packed)
    if is_limited(ladder) then return false end -- of one subscriber: not kept
    local step = ladder[LADDER.steps][1]
    local is_one = #ladder[LADDER.steps] == 1 and #ladder[LADDER.dues] == 0 and #ladder[LADDER.counts] == 0
      and ladder[LADDER.slack] == 0 and (ladder[LADDER.sum_to] or 0) == 0 and step[STEP.kind] == KIND.MONEY and step[STEP.reach] == 0 and step[STEP.counter] == ''
      and step[STEP.until_ms] == 0 and not step[STEP.stop] and step[STEP.grade] == '' and not step[STEP.single]
      and step[STEP.ends_ms] == 0
    price = is_one and { step[STEP.block], step[STEP.price], step[STEP.per], step[STEP.rounding],
      ladder[LADDER.terms], pack(ladder[LADDER.tag]), pack(ladder[LADDER.terms], packed) .. '\144\0\0\255\0', pack(packed) }
    if prices_kept >= LADDERS_KEPT then prices, prices_kept = {}, 0 end
    prices[packed], prices_kept = price, prices_kept + 1
  end
  return price
end

-- `climb` of such a ladder (lib/ladder, climb_plain): where the line stands goes in and comes out as values, after the
-- money. nil: an amount would pass 2^53 (charging.md 2).
local function climb_price(price, units, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged)
  local need = units - ahead
  if need <= 0 then return 0, total + units, -need, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged end
  local block, money, per, rounding = price[1], price[2], price[3], price[4]
  local quotient = need / block -- blocks_started, written out (lib/amount)
  local blocks = quotient - quotient % 1
  if blocks < quotient then blocks = blocks + 1 end
  local at, run = ahead + blocks * block, 0
  if total + at > EXACT_MAX then return nil end
  if rest_price == money and rest_per == per and rest_rounding == rounding then run = rest end
  local amount, left = muldiv(money, blocks, run, per, rounding)
  spent = spent + amount
  if spent > EXACT_MAX then return nil end
  if money > 0 then rest, rest_price, rest_per, rest_rounding = left, money, per, rounding end
  local due = money > 0 and spent > charged and spent or charged
  return due - charged, total + units, at - units, rest, rest_price, rest_per, rest_rounding, true, spent, due
end

-- What a main bucket has between what is held of it and its last fill, as nearly all have it: priority 100, valid for ever,
-- for all services, by the name it is made with.
local PLAIN = pack(100, 0, 0) .. '\144' .. pack('main', 0)

-- Below which balance something is crossed, and from which one on this service resumes, with the lines of services and the
-- notification thresholds. A balance only falls here, so of money what is crossed already stays so, and of units all stays as
-- it is. nil: the service is suspended, or a bucket has begun since the last call.
local function lines_of(packed, buckets_at, at, service, clock_ms, now_ms, below, resume_at)
  local _, buckets = read(packed, 1, buckets_at)
  local _, thresholds, services = read(packed, 2, at)
  local main
  for _, bucket in ipairs(buckets) do
    if bucket[BUCKET.from_ms] > clock_ms and bucket[BUCKET.from_ms] <= now_ms then return nil end
    if bucket[BUCKET.id] == MAIN then main = bucket end
  end
  for _, line in ipairs(services) do
    local is_own, is_suspended = line[SERVICESUSPENSION.service] == service, line[SERVICESUSPENSION.suspended_ms] > 0
    if is_own and is_suspended then return nil end
    if is_own then resume_at = line[SERVICESUSPENSION.resume_at] end
    if not is_suspended then below = max(below, line[SERVICESUSPENSION.suspend_below]) end
  end
  for _, threshold in ipairs(thresholds) do
    if threshold[THRESHOLD.crossed_ms] == 0 and is_watched(threshold, main, now_ms) then
      local level = levels_of(threshold, main[BUCKET.filled])
      if level then below = max(below, level) end
    end
  end
  return below, resume_at
end

-- The account: active, its main bucket the only one of money, nothing that lapses. Returns where the number of its last
-- entry begins, where its clock ends, where the main bucket's amount begins and where what is held of it ends; then the
-- values: id, currency, number of the last entry, now, credit that counts, threshold, the one that resumes, amount, held,
-- and how many buckets there are.
local function read_account(packed, now_ms, profile_rev, service)
  local at = fields_of(packed, 0, FIELDS.ACCOUNT)
  if not at then return nil end
  local numbers_at, version, id, currency, rev, known_rev = read(packed, 5, at)
  if known_rev > profile_rev then return nil end -- stale
  local clock_at, seq, clock_ms = read(packed, 2, numbers_at)
  local buckets_at, state, credit_limit, suspend_below, resume_at, next_bucket = read(packed, 5, clock_at)
  if state ~= SUSPENDREASONS.ACTIVE then return nil end
  if clock_ms > now_ms then now_ms = clock_ms end
  local buckets, counters
  buckets, at = short_of(packed, buckets_at)
  if not buckets then return nil end
  local amount_at, held_at, amount, held
  for _ = 1, buckets do
    at = fields_of(packed, at, FIELDS.BUCKET)
    local from, bucket, kind = read(packed, 2, at)
    local after, has, holds = read(packed, 2, from)
    if bucket == MAIN and sub(packed, after + 1, after + #PLAIN) == PLAIN then
      amount_at, held_at, amount, held = from, after, has, holds
      at = read(packed, 9, after + #PLAIN)
    else
      local past, priority, from_ms, until_ms, scope, name, window_ms = read(packed, 15, after)
      if until_ms > 0 and until_ms <= now_ms then return nil end -- it lapses (charging.md 7)
      if kind == KIND.MONEY then
        if bucket ~= MAIN or until_ms > 0 or window_ms > 0 or from_ms > now_ms or #scope > 0 then return nil end
        amount_at, held_at, amount, held = from, after, has, holds
      end
      at = past
    end
  end
  if not amount then return nil end
  counters, at = short_of(packed, at)
  if not counters then return nil end
  for _ = 1, counters do
    local key, used, counted, until_ms, window, sharers, pool, reached_ms
    local fields_at = fields_of(packed, at, FIELDS.COUNTER)
    local fields = fields_at and FIELDS.COUNTER or 8 -- of one that was made before it could be turned back
    at = fields_at or fields_of(packed, at, fields)
    if not at then return nil end
    at, key, used, counted, until_ms, window, sharers, pool, reached_ms = read(packed, fields, at)
    if used == 0 then return nil end -- it may be dropped, as one whose time is over
    if until_ms > 0 and until_ms <= now_ms then return nil end
  end
  local thresholds, services = byte(packed, at + 1, at + 2)
  if thresholds ~= EMPTY or services ~= EMPTY then
    suspend_below, resume_at = lines_of(packed, buckets_at, at, service, clock_ms, now_ms, suspend_below, resume_at)
    if not suspend_below then return nil end
  end
  if credit_limit > (amount > 0 and EXACT_MAX - amount or EXACT_MAX) then return nil end -- credit counts as far as it can be counted
  return numbers_at, clock_at, amount_at, held_at, id, currency, seq, now_ms, credit_limit, suspend_below, resume_at, amount,
    held, buckets
end

-- The account as it is packed after the call.
local function account_of(packed, numbers_at, clock_at, amount_at, held_at, seq, now_ms, amount, held)
  return sub(packed, 1, numbers_at) .. pack(seq, now_ms) .. sub(packed, clock_at + 1, amount_at) .. pack(amount, held)
    .. sub(packed, held_at + 1)
end

-- The entry of a debit of the main bucket, as lib/account writes it. PAID: how it ends, by the usage record that it pays
local PAID = {}
for line = 0, SMALL_MAX do PAID[line] = pack('revenue', 'usage', line, 0, '') end
local function entry_of(seq, cost, after, line, before)
  return HEAD.ENTRY .. pack(seq, MAIN, KIND.MONEY, -cost, after) .. PAID[line] .. pack(before)
end

-- A settled or granted line on record. named: its rating group, service identifier and unit, packed
local function usage_of(named, used, total, cost, granted, why, marks, price, at_ms)
  return HEAD.USAGE .. named .. pack(used, 0, total, cost, granted) .. SMALL[why] .. (SMALL[marks] or pack(marks))
    .. price[6] .. pack(at_ms) .. price[7]
end

local function line_outcome_of(named, why, granted, validity_ms, cost, debited, marks)
  return HEAD.LINEOUTCOME .. named .. SMALL[why] .. pack(granted, validity_ms) .. '\0\194' .. pack(cost, debited)
    .. (SMALL[marks] or pack(marks)) .. '\160\0'
end

-- What counters show in that unit, each { units, instant, its Cumulative }, and where they end; nil: a report has none.
local function read_shown(charge, at, count, unit)
  local shown, amounts, counters = {}, {}, nil
  for _ = 1, count do
    local when, _
    at = fields_of(charge, at, FIELDS.USAGEREPORT)
    at, amounts[KIND.MONEY], amounts[KIND.OCTETS], amounts[KIND.SECONDS], amounts[KIND.UNITS], when, _, counters =
      read(charge, 7, at)
    if not counters[1] then return nil end
    if amounts[unit] >= 0 then shown[#shown + 1] = { amounts[unit], when, counters[1] } end
  end
  return shown, at
end

-- One line of a request: where it ends, its three names as octets, then values: unit, units used and when (nil: none were
-- reported), units wanted (nil: none are), and how; what counters show in their place, and the quota that bounds them. nil
-- where something else than units of one price is meant.
local function read_ask(charge, at, phase)
  local names_at = fields_of(charge, at, FIELDS.ASK)
  if not names_at then return nil end
  local used, at_ms, shown
  local from, rating_group, service_id, unit = read(charge, 3, names_at)
  local named = sub(charge, names_at + 1, from)
  local reports
  reports, at = short_of(charge, from)
  if reports == 1 then
    local report_at = at
    at = fields_of(charge, at, FIELDS.USAGEREPORT)
    local past, money, octets, seconds, units, when = read(charge, 5, at)
    at, at_ms = read(charge, 1, past), when
    if byte(charge, at + 1) == EMPTY then
      used = unit == KIND.OCTETS and octets or unit == KIND.SECONDS and seconds or unit == KIND.UNITS and units
        or unit == KIND.MONEY and money or -1
      if used < 0 then return nil end -- in another unit
      at = at + 1
    else shown, at = read_shown(charge, report_at, 1, unit) end
  elseif reports ~= 0 then
    if not reports then return nil end
    shown, at = read_shown(charge, at, reports, unit)
    if not shown then return nil end
  end
  local past, asked, default, minimum, maximum, priority, packed, validity_ms, change_ms, free, emergency, portal, refusal =
    read(charge, 12, at)
  local ends, whole, until_ms, dearest, blocks, part, set_aside, flags, later, known_ms = read(charge, 9, past)
  if change_ms > 0 or refusal ~= RESULT.OK or dearest ~= '' or blocks or part > 0 or set_aside ~= SUSPENSE.NONE or flags > 0
    or known_ms > 0 then return nil end
  local want
  if phase == PHASE.EVENT or (asked >= 0 and phase ~= PHASE.STOP and phase ~= PHASE.RECORD) then
    want = asked > 0 and asked or default
    if minimum > want and phase ~= PHASE.EVENT then want = minimum end
    if maximum > 0 and want > maximum then want = maximum end
    if want <= 0 or packed == '' or (phase == PHASE.EVENT and asked < 0) then return nil end
  end
  return ends, named, rating_group, service_id, unit, used, at_ms, want, packed, validity_ms, free, until_ms,
    max(whole and want or minimum, 1), shown, maximum > 0 and maximum or default, asked >= 0
end

-- What counters gained since they were counted last (lib/cumulative), each { units, instant, how far it is counted then, unit,
-- its gain in a second at most, what of it is believed where nobody knows since when it counts }; and all readings, packed.
-- nil: one fell, or can be counted no further.
local function gains_of(shown, readings, unit, bound)
  local gains = {}
  for i, one in ipairs(shown) do
    local units, at_ms, counter = one[1], one[2], one[3]
    local reading, wraps_at = reading_of(readings, counter), counter[CUMULATIVE.wraps_at]
    local before = reading[COUNTERREADING.value]
    local gained = units - (wraps_at > 0 and fmod(before, wraps_at) or before)
    if gained < 0 or before + gained > EXACT_MAX then return nil end
    reading[COUNTERREADING.value], reading[COUNTERREADING.at_ms] = before + gained, max(reading[COUNTERREADING.at_ms], at_ms)
    gains[i] = { gained, at_ms, before + gained, unit, counter[CUMULATIVE.per_second], bound }
    bound = max(bound - gained, 0)
  end
  return gains, pack(readings)
end

-- Whether counters that began then, nil: nobody knows when, can have come so far.
local function are_plausible(gains, now_ms, since_ms)
  for _, gain in ipairs(gains) do
    local units, at_ms, value, unit, per_second, bound = unpack(gain)
    local most = since_ms and per_second > 0 and counted_in(unit, max(now_ms, at_ms) - since_ms, per_second)
    if most and value > most or not most and units > bound then return false end
  end
  return true
end

-- What was held when a session was authorised, before it began; nil: not by one price and the main bucket.
local function held_before(adopted)
  local money = 0
  for _, line in ipairs(adopted and cmsgpack.unpack(adopted)[SESSION.lines] or NONE) do
    if line[LINE.due_ms] > 0 then
      if not price_of(line[LINE.ladder]) then return nil end
      for _, take in ipairs(line[LINE.hold]) do
        if take[TAKE.bucket] ~= MAIN then return nil end
        money = money + take[TAKE.amount]
      end
    end
  end
  return money
end

-- What the least that could be granted next, after `total` units and `charged` money, costs at most. It is compared with
-- what nobody holds: a last grant, and a rest that goes with it, are charge.lua's (charging.md 5). nil: so is one after
-- which no more can be counted (charging.md 2).
local function further_of(price, least, total, charged)
  if total + least + price[1] > EXACT_MAX then return nil end
  if price[2] == 0 then return 0 end
  local money = (least / price[1] + 1) * price[2] / price[3] + 2
  return charged + money <= EXACT_MAX and money or nil
end

-- Its Validity-Time ends where another price begins (charging.md 6).
local function validity_of(validity_ms, until_ms, now_ms)
  if until_ms > 0 then return max(min(validity_ms, until_ms - now_ms), 1000) end
  return validity_ms
end

-- A line as it is packed after the call. HELD: of the main bucket alone, without the amount.
local HELD = '\145' .. HEAD.TAKE .. pack(MAIN)
local function line_of(named, money, granted, ladder, due_ms, now_ms, reach_ms, readings, debited, total, ahead, rest, rest_price,
    rest_per, rest_rounding, fee_paid, spent, charged)
  return HEAD.LINE .. named
    .. pack(total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, debited, granted)
    .. (money > 0 and HELD .. pack(money) or '\144')
    .. ladder .. pack(due_ms, false, now_ms, spent, charged) .. '\0\160\0\0' .. (SMALL[reach_ms] or pack(reach_ms))
    .. readings
end

-- Numbers charged, with one more that follows the last one, or begins an interval after it (charging.md 3). Returns where
-- they end and them as they are packed; nil: it is an earlier one, or there are many intervals.
local function with_number(stored, at, number)
  local count, from = short_of(stored, at)
  if not count or count < 2 or count > SMALL_MAX - 2 then return nil end
  local last_at = read(stored, count - 1, from)
  local past, last = read(stored, 1, last_at)
  if number == last + 1 then return past, sub(stored, at + 1, last_at) .. pack(number) end
  if number <= last then return nil end
  return past, ARRAYS[count + 2] .. sub(stored, from + 1, past) .. pack(number, number)
end

-- Where a text of 32 to 65535 octets ends; nil: it is none.
local function after_text(octets, at)
  local kind, high, low = byte(octets, at + 1, at + 3)
  if kind == 0xd9 then return at + 2 + high end
  return kind == 0xda and at + 3 + high * 256 + low or nil
end

-- The last answers, with room for one more; nil: one may be to the same request, which the general text judges
-- (charging.md 3). Returns where they end, how many stay, and those.
local function answers_kept(stored, at, key)
  local count, from = short_of(stored, at)
  if not count then return nil end
  if #key > 31 or find(stored, HEAD.ANSWER .. string.char(0xa0 + #key) .. key, from + 1, true) then return nil end
  local past, kept = from, count
  for i = 1, count do
    past = after_text(stored, past)
    if not past then return nil end
    if i <= count - ANSWERS_KEPT + 1 then from, kept = past, kept - 1 end
  end
  return past, kept, sub(stored, from + 1, past)
end

-- The lines that a request asks for, as read_ask reads each, and where they end; nil: one is not usual.
local function read_asks(charge, at, phase)
  local count
  count, at = short_of(charge, at)
  if not count or count == 0 or count > LINES_MAX then return nil end
  local asks = {}
  for i = 1, count do
    asks[i] = { read_ask(charge, at, phase) }
    at = asks[i][1]
    if not at then return nil end
  end
  return asks, at
end

-- The record of a call, as charge.lua writes it. request: its key, fingerprint and End-to-End-Id, packed; remarks: actor,
-- reason and reference of the charge, as they came
local CHARGED = HEAD.RECORD .. pack(FORMAT, 'charge')
local function record_of(id, currency, subscriber, session_id, service, phase, now_ms, event_ms, request, entry_count,
    entries, usage_count, usages, remarks, once_key, once_until_ms, refund_of, incarnation)
  local of_session = once_key == '' and refund_of == '' and SMALL[incarnation] -- it keeps nothing else
  return CHARGED .. pack(id, currency, subscriber, session_id, service, phase, now_ms, event_ms)
    .. request .. ARRAYS[entry_count] .. entries .. ARRAYS[usage_count] .. usages .. remarks .. '\144\144'
    .. (of_session and '\160\0\160' or pack(once_key, once_until_ms, refund_of)) .. (of_session or pack(incarnation))
    .. '\144\0\160\160\144\160'
end

local function outcome_of(count, lines, cost, debited, balance, resume_at)
  return HEAD.OUTCOME .. '\0' .. ARRAYS[count] .. lines .. pack(cost, debited, balance)
    .. (balance < resume_at and '\195\195' or '\195\194')
end

-- How a session goes on that its client runs by itself, packed, and since when its counters count (lib/courses, keep_course
-- and counts_since). at: where its own words begin, false of one that begins. nil: the request names another incarnation.
local function course_after(stored, at, opened_ms, course, token, began_ms, lasted_s, restarted_ms, event_ms, identification)
  local was, began, lasted, reported_ms, met_begin, bygones, known_by, since_ms = '', 0, -1, 0, false, '\144', '', nil
  if at then
    local bygones_at
    bygones_at, was, began, lasted, reported_ms, met_begin = read(stored, 5, at)
    at = byte(stored, bygones_at + 1) == EMPTY and bygones_at + 1 or read(stored, 1, bygones_at)
    bygones = sub(stored, bygones_at + 1, at)
    at, known_by = read(stored, 1, at)
    if byte(stored, at + 1) ~= EMPTY then return nil end -- some of its lines are rounded together
    if is_of(token, began_ms, restarted_ms, was, began) == false then return nil end
    if token ~= '' and token ~= was and bygones ~= '\144' then return nil end -- of one of these, perhaps
    if met_begin then since_ms = began > 0 and min(began, opened_ms) or opened_ms end
  end
  if course == COURSE.BEGINS then met_begin = true end
  if (lasted_s >= 0 or token ~= '') and event_ms >= reported_ms then
    reported_ms = event_ms
    if token ~= '' then was = token end
    if began_ms > 0 then began = began_ms end
    if lasted_s >= 0 then lasted = lasted_s end
  end
  if identification ~= '' then known_by = identification end
  return pack(was, began, lasted, reported_ms, met_begin) .. bygones .. pack(known_by) .. '\144', since_ms
end

local function steady_session(charge, packed, stored, adopted)
  local asks_at, _, subscriber, session_id, service, phase, number, key, countable, fingerprint, end_to_end, resend, charge_ms,
    event_ms, profile_rev = read(charge, 14, 3)
  local is_start = phase == PHASE.START
  if is_start == (stored and true or false) then return nil end
  local asks, asks_end = read_asks(charge, asks_at, phase)
  if not asks then return nil end
  local remarks_at, peer, realm, via, action, once_key, overrun_factor, remember_ms, idle_ms, single, flags, refund_of, original,
    refund_free, refund_until_ms, told, told_facts, seek, origin_state = read(charge, 18, asks_end)
  local remarks_end = read(charge, 3, remarks_at)
  if overrun_factor < 1 or (seek and is_start) then return nil end
  local course, token, began_ms, lasted_s, adopts, identification, restarted_ms, sessions_max, replaces, moved_rev, covered, is_stop
  if sub(charge, remarks_end + 1) == SAYS_NO_COURSE then
    if not countable or phase == PHASE.RECORD then return nil end
    is_stop = phase == PHASE.STOP
  else
    local _
    _, course, token, began_ms, lasted_s, adopts, identification, restarted_ms, sessions_max, replaces, moved_rev, covered =
      read(charge, 11, remarks_end)
    if countable or course == COURSE.NONE or replaces[1] or moved_rev > 0 or covered then return nil end
    if COURSES[phase] and COURSES[phase] ~= course or course == COURSE.BEGINS and not is_start then return nil end
    is_stop = course == COURSE.ENDS
  end
  local numbers_at, clock_at, amount_at, held_at, id, currency, seq, now_ms, credit, suspend_below, resume_at, amount, held =
    read_account(packed, charge_ms, profile_rev, service)
  if not numbers_at then return nil end

  if adopted then
    if not is_start then return nil end -- it had its own before
    local money = held_before(adopted)
    if not money then return nil end
    held = held - money
  end

  -- the session as it stands
  local at, head, numbers, kept_count, kept, lines
  local opened_ms, touched_ms, forget_ms, session_due_ms = now_ms, 0, 0, 0
  local s_peer, s_realm, s_via = peer, realm, via
  number = phase * 4294967296 + number
  if is_start then
    head, numbers, lines = pack(FORMAT, session_id, subscriber, service), course and '\144' or '\146' .. pack(number, number), 0
  else
    at = fields_of(stored, 0, FIELDS.SESSION)
    if not at then return nil end
    local head_at, version, name, whose, about = read(stored, 4, at)
    local state
    head = sub(stored, at + 1, head_at)
    at, state, s_peer, s_realm, s_via, opened_ms, touched_ms, forget_ms, session_due_ms = read(stored, 8, head_at)
    if state ~= SESSIONSTATE.OPEN or whose ~= subscriber then return nil end
    if course then
      if byte(stored, at + 1) ~= EMPTY then return nil end
      at, numbers = at + 1, '\144'
    else
      at, numbers = with_number(stored, at, number)
      if not at then return nil end
    end
    at, kept_count, kept = answers_kept(stored, at, key)
    if not at then return nil end
    lines, at = short_of(stored, at)
    if not lines then return nil end
  end

  -- Each line that is asked for is the next one of the session that has its name; what it used is settled, and what it
  -- wants is held. Lines that are not named stay as they are.
  local next_ask, entry_count, entries, settled_count, settled, granted_count, granted_only = 1, 0, '', 0, '', 0, ''
  local outcomes, packed_lines, names = '', '', ''
  local cost_all, debited_all, taken, further_max = 0, 0, 0, 0
  local moved, due_ms, all_gains = is_start or phase == PHASE.STOP, now_ms + idle_ms, {}
  for _ = 1, is_start and #asks or lines do
    local line_at, ask, readings_at, readings = at, asks[next_ask], nil, nil
    local group, service_id, unit, hold, by, line_due_ms, change_ms, grade, part, ahead_ms, reach_ms
    local total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, debited, granted, spent, charged =
      0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0
    local final, line_touched_ms
    if is_start then hold, by, line_due_ms, change_ms, grade, ahead_ms, reach_ms = NONE, '', 0, 0, '', 0, 0
    else
      at = fields_of(stored, at, FIELDS.LINE)
      if not at then return nil end
      at, group, service_id, unit, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, debited, granted, hold, by,
        line_due_ms, final, line_touched_ms, spent, charged, change_ms, grade, part, ahead_ms, reach_ms = read(stored, 24, at)
      if part > 0 then return nil end -- charged side by side
      readings_at = at
      if course then at, readings = read(stored, 1, at)
      elseif byte(stored, at + 1) == EMPTY then at = at + 1
      else return nil end -- by counters
    end
    if not is_start and not (ask and ask[3] == group and ask[4] == service_id) then
      if (is_stop and line_due_ms > 0) or (course and final) then return nil end
      if line_due_ms > 0 then due_ms = min(due_ms, line_due_ms) end
      packed_lines = packed_lines .. sub(stored, line_at + 1, at)
    else
      local _, named, _, _, asked_unit, used, at_ms, want, priced_by, validity_ms, free, until_ms, least,
        shown, quota, goes_on = unpack(ask, 1, 16)
      next_ask = next_ask + 1
      if is_start and (used or shown or not want or find(names, named, 1, true)) then return nil end
      if is_start then names = names .. named end
      if not is_start and (unit ~= asked_unit or change_ms > 0 or ahead_ms > 0 or grade ~= '') then return nil end

      -- its hold is released
      local own = 0
      if hold[1] then
        if hold[2] or hold[1][TAKE.bucket] ~= MAIN then return nil end
        own = hold[1][TAKE.amount]
      end
      held = held - own
      if granted > 0 or own > 0 then moved = true end

      -- what it used is paid, by the price of its hold; by counters also beyond it, and without one
      local gains, packed_readings = nil, '\144'
      if readings then packed_readings = sub(stored, readings_at + 1, at) end
      if shown then
        if not course then return nil end
        local bound = granted > 0 and max(overrun_factor * granted, quota) or overrun_factor * quota
        gains, packed_readings = gains_of(shown, readings, asked_unit, phase == PHASE.RECORD and EXACT_MAX or min(bound, EXACT_MAX))
        if not gains then return nil end
      elseif course and used then return nil end
      local cost, why, reports = 0, RESULT.NO_GRANT, gains and #gains or used and 1 or 0
      local marks = reports > 0 and free and bor(flags, FLAG.FREE) or flags
      local held_by = by ~= '' and price_of(by)
      if not held_by and (by ~= '' or granted > 0 or own > 0) then return nil end
      local settled_by, left, units, paid = held_by, granted, nil, nil
      if reports > 0 and not held_by then
        settled_by = gains and asked_unit ~= KIND.SECONDS and priced_by ~= '' and price_of(priced_by)
        if not settled_by then return nil end
      end
      for i = 1, reports do
        if gains then units, at_ms, all_gains[#all_gains + 1] = gains[i][1], gains[i][2], gains[i] else units = used end
        if not gains and units > granted then return nil end
        if asked_unit == KIND.SECONDS and reach_ms > 0 and at_ms > reach_ms then return nil end
        local within = units < left and units or left
        paid, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged =
          climb_price(settled_by, within, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged)
        if not paid then return nil end
        if units > within then
          local within_paid = paid
          paid, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged = climb_price(settled_by,
            units - within, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged)
          if not paid then return nil end
          paid = within_paid + paid
        end
        left, debited, amount, cost = left - within, debited + paid, amount - paid, cost + paid
        if debited > EXACT_MAX or amount < -EXACT_MAX or cost > EXACT_MAX then return nil end
        if paid > 0 then
          seq, entry_count = seq + 1, entry_count + 1
          local entry = entry_of(seq, paid, amount, settled_count, debited - paid)
          entries = entry_count > 1 and entries .. entry or entry -- what joins an empty text copies the other one
        end
        settled_count = settled_count + 1
        if units > 0 then moved = true end
        if i < reports then
          settled = settled .. usage_of(named, units, total, paid, 0, RESULT.OK, marks, settled_by, at_ms)
        end
      end
      cost_all = cost_all + cost
      if cost_all > EXACT_MAX then return nil end

      -- what it wants is held, by the price in force
      local money, line_validity_ms = 0, 0
      line_due_ms = 0
      if want then
        local price = price_of(priced_by)
        if not price then return nil end
        money = climb_price(price, want, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged)
        if not money then return nil end
        local further = further_of(price, least, total + want, charged + money)
        if not further then return nil end
        held, taken, moved = held + money, taken + money, true
        if further > further_max then further_max = further end
        line_validity_ms = validity_of(validity_ms, until_ms, now_ms)
        line_due_ms = now_ms + 2 * line_validity_ms
        if line_due_ms < due_ms then due_ms = line_due_ms end
        why, held_by, reach_ms = RESULT.OK, price, asked_unit == KIND.SECONDS and until_ms or 0
        if reports == 0 then
          granted_count = granted_count + 1
          granted_only = granted_only .. usage_of(named, 0, total, 0, want, RESULT.OK, flags, price, event_ms)
        end
      end
      if phase == PHASE.RECORD and goes_on then -- whether more is paid is looked at, and nothing is held
        local price = asked_unit ~= KIND.SECONDS and not held_by and priced_by ~= '' and price_of(priced_by)
        local next_paid = price and climb_price(price, ahead + 1, total, ahead, rest, rest_price, rest_per, rest_rounding, fee_paid,
          spent, charged)
        if not next_paid then return nil end
        further_max = max(further_max, next_paid)
      end
      if reports > 0 then
        local usage = usage_of(named, units, total, paid, want or 0, why, marks, settled_by, at_ms)
        settled = settled_count > 1 and settled .. usage or usage
      end
      local outcome = line_outcome_of(named, why, want or 0, line_validity_ms, cost, debited, flags)
      outcomes = next_ask > 2 and outcomes .. outcome or outcome
      packed_lines = packed_lines .. line_of(named, money, want or 0, held_by and held_by[8] or '\160', line_due_ms, now_ms, reach_ms,
        packed_readings, debited, total, ahead,
        rest, rest_price, rest_per, rest_rounding, fee_paid, spent, charged)
    end
    debited_all = debited_all + debited
  end
  if asks[next_ask] or not (moved or course) or debited_all > EXACT_MAX then return nil end
  if settled_count + granted_count > SMALL_MAX then return nil end
  if amount < suspend_below then return nil end -- a threshold is crossed (charging.md 7)
  local spare = amount - held + credit -- what nobody holds is enough for all, and for somebody's next grant
  if taken + further_max > 0 and spare < further_max then return nil end

  -- what the session knows besides its lines
  local facts, incarnation, initial, stored_origin, former, tail = '', 1, '', origin_state, '\144', NO_COURSE
  local known -- its facts, incarnation, first answer and that it reported, as they are packed, where they stay
  if not is_start then
    local reported
    local former_at
    former_at, facts, incarnation, initial, reported = read(stored, 4, at)
    if reported and facts == told_facts then known = sub(stored, at + 1, former_at) end
    if byte(stored, former_at + 1) == EMPTY then at = former_at + 1
    else
      at = course and read(stored, 1, former_at)
      if not at then return nil end
      former = sub(stored, former_at + 1, at)
      if find(former, key, 1, true) then return nil end -- a repeat from before, perhaps
    end
    at, stored_origin = read(stored, 1, at)
    if not course and sub(stored, at + 1) ~= NO_COURSE then return nil end
  end
  if course then
    local since_ms
    tail, since_ms = course_after(stored, not is_start and at, opened_ms, course, token, began_ms, lasted_s, restarted_ms,
      event_ms, is_stop and '' or identification)
    if not tail or not are_plausible(all_gains, now_ms, since_ms) then return nil end
  end
  if facts_merged(facts, told) ~= told_facts then return nil end
  if not is_stop and (origin_state > 0 or s_peer ~= peer) then stored_origin = origin_state end
  local state = SESSIONSTATE.OPEN
  if is_stop then
    state, forget_ms, due_ms = SESSIONSTATE.CLOSED, now_ms + remember_ms, now_ms + remember_ms
  else
    s_peer, s_realm, s_via, forget_ms = peer, realm, via, 0
  end
  local is_sooner = session_due_ms == 0 or due_ms < session_due_ms
  if is_sooner then session_due_ms = due_ms end

  local outcome = outcome_of(#asks, outcomes, cost_all, debited_all, amount, resume_at)
  local request = pack(key, fingerprint, end_to_end)
  local answer = HEAD.ANSWER .. request .. (moved and '\195' or '\194') .. pack(outcome, now_ms)
  local answers = '\144'
  if is_start then initial = answer else answers = ARRAYS[kept_count + 1] .. kept .. pack(answer) end
  touched_ms = now_ms > touched_ms and now_ms or touched_ms + 1
  local session = HEAD.SESSION .. head .. SMALL[state]
    .. pack(s_peer, s_realm, s_via, opened_ms, touched_ms, forget_ms, session_due_ms)
    .. numbers .. answers .. ARRAYS[is_start and #asks or lines] .. packed_lines
    .. (known or pack(told_facts, incarnation, initial, not is_start)) .. former
    .. (SMALL[stored_origin] or pack(stored_origin)) .. tail
  local record = record_of(id, currency, subscriber, session_id, service, phase, now_ms, event_ms, request, entry_count,
    entries, settled_count + granted_count, settled .. granted_only, sub(charge, remarks_at + 1, remarks_end), '', 0, refund_of, incarnation)
  local account = account_of(packed, numbers_at, clock_at, amount_at, held_at, seq, now_ms, amount, held)
  return { record, account, outcome, flags, session, session_id, is_sooner and id, due_ms, adopted }
end

-- An event that is debited, under a key that was not seen.
local function steady_event(charge, packed)
  local asks_at, _, subscriber, session_id, service, phase, number, key, countable, fingerprint, end_to_end, resend, charge_ms,
    event_ms, profile_rev = read(charge, 14, 3)
  local asks, asks_end = read_asks(charge, asks_at, phase)
  if not asks or asks[2] then return nil end
  local remarks_at, peer, realm, via, action, once_key, overrun_factor, remember_ms, idle_ms, single, flags, refund_of, original,
    refund_free, refund_until_ms, told, told_facts, seek, origin_state = read(charge, 18, asks_end)
  local remarks_end = read(charge, 3, remarks_at)
  if action ~= ACTION.DEBIT or sub(charge, remarks_end + 1) ~= SAYS_NO_COURSE then return nil end
  local numbers_at, clock_at, amount_at, held_at, id, currency, seq, now_ms, credit, suspend_below, resume_at, amount, held,
    buckets = read_account(packed, charge_ms, profile_rev, service)
  if not numbers_at or buckets > 1 then return nil end
  local _, named, _, _, unit, used, _, want, priced_by, _, free, until_ms = unpack(asks[1], 1, 12)
  local to_ms = event_ms + want * ms_per_unit(unit)
  if used or (unit == KIND.SECONDS and until_ms > 0 and to_ms > until_ms) then return nil end
  local price = price_of(priced_by)
  local cost = price and climb_price(price, want, 0, 0, 0, 0, 0, 0, false, 0, 0)
  if not cost or (cost > 0 and cost > amount - held + credit) then return nil end
  amount = amount - cost
  if amount < suspend_below or amount < -EXACT_MAX then return nil end
  local entry_count, entries, takes, marks = 0, '', '\144', flags
  if cost > 0 then
    seq, entry_count = seq + 1, 1
    entries, takes = entry_of(seq, cost, amount, 0, 0), '\145' .. HEAD.PAIDAMOUNT .. pack(MAIN, cost, KIND.MONEY)
  end
  if free then marks = bor(flags, FLAG.FREE) end
  local outcome = outcome_of(1, line_outcome_of(named, RESULT.OK, want, 0, cost, cost, marks), cost, cost, amount, resume_at)
  local answer = HEAD.IDEMPOTENCYRECORD .. pack(FORMAT, fingerprint, end_to_end, true, outcome, want, cost) .. takes .. '\144' .. pack(price[5])
  local record = record_of(id, currency, subscriber, session_id, service, phase, now_ms, event_ms,
    pack(key, fingerprint, end_to_end), entry_count, entries, 1,
    usage_of(named, want, want, cost, want, RESULT.OK, marks, price, to_ms), sub(charge, remarks_at + 1, remarks_end), once_key, now_ms + remember_ms, refund_of, 0)
  local account = account_of(packed, numbers_at, clock_at, amount_at, held_at, seq, now_ms, amount, held)
  return { record, account, outcome, flags, false, answer, remember_ms }
end

-- charge: packed, as it came. packed: the account; stored: the session, false where there is none; once: what is known
-- under the key of an event. adopted: the session that the request adopts.
function steady(charge, phase, packed, stored, once, adopted)
  if not fields_of(charge, 0, FIELDS.CHARGE) then return nil end
  if phase ~= PHASE.EVENT then return steady_session(charge, packed, stored, adopted) end
  return not once and steady_event(charge, packed) or nil
end

function steady_write(KEYS, ARGV, found)
  local record, account, outcome, flags, session = unpack(found, 1, 5)
  -- write
  if session then
    local failed = append_packed(KEYS[3], ARGV[1], record, 'a', account, 's', session, 'c', ARGV[3])
    if failed then return { failed } end
    redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, account, found[6], session)
    if found[9] then redis.call('HDEL', KEYS[1], ARGV[4]) end
    if found[7] then look_by(KEYS[2], found[7], found[6], found[8]) end
    return { 'ok', outcome, flags, 0 }
  end
  local failed = append_packed(KEYS[3], ARGV[1], record, 'a', account, 'o', found[6], 'c', ARGV[3], 'p', '')
  if failed then return { failed } end
  redis.call('HSET', KEYS[1], ACCOUNTFIELD.ACCOUNT, account)
  redis.call('SET', KEYS[4], found[6], 'PX', found[7])
  return { 'ok', outcome, flags, 0 }
end

end
