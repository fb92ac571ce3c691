"""Faults that money must not have, each planted in the script and in its twin alike, so that no comparison of the two
can tell: the tests that are written from docs/charging.md have to."""

from __future__ import annotations

from typing import Final, NamedTuple


class PlantedText(NamedTuple):
    """A text that stands once in a file, and what stands there instead."""

    path: str
    old: str
    new: str


class Mutant(NamedTuple):
    """One fault, and the tests of which one has to fail."""

    name: str
    fault: str
    places: tuple[PlantedText, ...]
    tests: tuple[str, ...]


def _lua(name: str, old: str, new: str) -> PlantedText:
    return PlantedText(f"balances/lua/{name}.lua", old, new)


def _twin(name: str, old: str, new: str) -> PlantedText:
    return PlantedText(f"balances/model/{name}.py", old, new)


def _rules(*names: str) -> tuple[str, ...]:
    return tuple(f"tests/balances/rules/test_{name}.py" for name in names)


ALWAYS: Final = (
    _lua(
        "lib/steady",
        "function steady(charge, phase, packed, stored, once, adopted)",
        "function steady(charge, phase, packed, stored, once, adopted)\n  do return nil end",
    ),
)
"""The steady path decides nothing here: it has its own copy of the rules, and a comparison with it would tell."""

MUTANTS: Final = (
    Mutant(
        "refund-of-another-period",
        "A refund turns back what was counted in a period that is over from the one that runs.",
        (
            _lua("lib/reached", "return math.abs(until_ms - returned_ms) <= CLOCKS_APART_MS", "return true"),
            _twin("reached", "return abs(counter.until_ms - returned.until_ms) <= CLOCKS_APART_MS", "return True"),
        ),
        _rules("refunds_turn_back"),
    ),
    Mutant(
        "repeat-charged",
        "A request of a session that was charged is charged again when it is repeated later.",
        (
            _lua(
                "lib/repeats",
                "if number >= seen[i] and number <= seen[i + 1] then return true end",
                "if number > seen[i + 1] and number < seen[i] then return true end",
            ),
            _twin("repeats", "any(low <= _number(charge) <= high", "any(high < _number(charge) < low"),
        ),
        _rules("repeats", "sequences"),
    ),
    Mutant(
        "posting-twice",
        "A top-up that is sent twice under one key is posted twice.",
        (
            _lua("lib/posting", "  if answer then\n", "  if answer and false then\n"),
            _twin("posting", "if known.fingerprint != operation.fingerprint:", "if False:"),
            _twin("posting", 'return Reply("again", blob_of(known.outcome))', "pass"),
        ),
        _rules("posting_rules", "adjustments"),
    ),
    Mutant(
        "floor-for-ceil",
        "A block that was begun costs nothing.",
        (
            _lua("lib/amount", "return -div(-units, block)", "return div(units, block)"),
            PlantedText("tariffs/units.py", "return -(-units // block)", "return units // block"),
        ),
        (*_rules("prices"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "rounds-down",
        "A price that is rounded up is rounded down.",
        (
            _lua(
                "lib/amount",
                "elseif rounding == 0 then quotient = -div(-left, per)",
                "elseif rounding == 0 then quotient = div(left, per)",
            ),
            PlantedText("tariffs/units.py", "quotient = -(-left // per)", "quotient = left // per"),
        ),
        (*_rules("prices"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "grants-what-is-held",
        "A grant takes what another session holds.",
        (
            _lua(
                "lib/funds",
                "if mode == OPEN then free = free - bucket[BUCKET.held]",
                "if mode == OPEN then free = free",
            ),
            _twin("funds", "(bucket.held if mode == Mode.OPEN else own)", "(0 if mode == Mode.OPEN else own)"),
        ),
        _rules("holds", "grants"),
    ),
    Mutant(
        "moves-what-is-held",
        "A transfer or a payout takes what a session holds.",
        (
            _lua(
                "lib/posting",
                "local free = bucket[BUCKET.amount] - bucket[BUCKET.held] + amount",
                "local free = bucket[BUCKET.amount] + amount",
            ),
            _twin("posting", "bucket.amount - bucket.held + amount", "bucket.amount + amount"),
        ),
        _rules("transfers", "posting_rules", "adjustments"),
    ),
    Mutant(
        "counter-not-turned-back",
        "A refund leaves the counters that the event raised.",
        (
            _lua(
                "lib/refund",
                "counter[COUNTER.used] = max(counter[COUNTER.used] - back, 0)",
                "counter[COUNTER.used] = counter[COUNTER.used] - 0",
            ),
            _twin("refund", "max(counter.used - back, 0)", "counter.used"),
        ),
        _rules("events", "what_can_be_counted"),
    ),
    Mutant(
        "refund-repeated",
        "What was given back of an event can be given back again.",
        (
            _lua(
                "lib/refund",
                "paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost] = left_units - units, left_cost - money",
                "paid[IDEMPOTENCYRECORD.units], paid[IDEMPOTENCYRECORD.cost] = left_units, left_cost",
            ),
            _twin("refund", "    paid.units -= units\n    paid.cost -= money\n", ""),
        ),
        _rules("events"),
    ),
    Mutant(
        "refund-beyond",
        "More is given back than an event cost.",
        (
            _lua("lib/refund", "if units > left_units or money > left_cost or (", "if ("),
            _twin("refund", "units > paid.units or money > paid.cost or ", ""),
        ),
        _rules("events"),
    ),
    Mutant(
        "expired-pays",
        "A bucket pays after its validity.",
        (
            _lua(
                "lib/funds",
                "if until_ms > 0 and until_ms <= (mode == OWN and funds.used_ms or at_ms) then return false end",
                "",
            ),
            _twin("funds", "return not 0 < self.end_of(bucket) <= self.used_ms", "return True"),
            _twin("funds", " and not 0 < self.end_of(bucket) <= at_ms", ""),
        ),
        (*_rules("edges_of_money", "grants", "holds"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "early-pays",
        "A bucket pays before its validity begins.",
        (
            _lua("lib/funds", "if bucket[BUCKET.from_ms] > at_ms and mode ~= OWN then return false end", ""),
            _twin("funds", "return bucket.from_ms <= at_ms and not", "return not"),
        ),
        (*_rules("edges_of_money", "grants"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "expiry-takes-held",
        "Expiry takes what a session holds.",
        (
            _lua(
                "lib/account",
                "local spare = bucket[BUCKET.amount] - bucket[BUCKET.held]",
                "local spare = bucket[BUCKET.amount]",
            ),
            _twin("account", "-max(bucket.amount - bucket.held, 0)", "-max(bucket.amount, 0)"),
        ),
        _rules("edges_of_money", "holds"),
    ),
    Mutant(
        "order-of-payment",
        "The bucket of the highest number pays first instead of that of the lowest.",
        (
            _lua(
                "lib/account",
                "return a[BUCKET.priority] < b[BUCKET.priority] end",
                "return a[BUCKET.priority] > b[BUCKET.priority] end",
            ),
            _twin("account", "(bucket.priority, ", "(-bucket.priority, "),
        ),
        (*_rules("edges_of_money", "grants", "posting_rules"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "credited-twice",
        "A transfer credits its target twice.",
        (
            _lua(
                "transfer",
                "  post_entry(change, target, amount, COUNTERACCOUNT.TRANSIT, 'transfer', -1)\n",
                "  post_entry(change, target, amount, COUNTERACCOUNT.TRANSIT, 'transfer', -1)\n" * 2,
            ),
            _twin("transfer", "(target, amount)):", "(target, amount), (target, amount)):"),
        ),
        _rules("transfers"),
    ),
    Mutant(
        "use-without-debt",
        "Use beyond the money is not owed.",
        (
            _lua("lib/funds", "if left > 0 then note(MAIN, left) end", "if left < 0 then note(MAIN, left) end"),
            _twin("funds", "        if left:\n            self.note(MAIN, left)\n", ""),
        ),
        (*_rules("prices", "sequences"), "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "no-credit-limit",
        "A grant goes beyond the credit limit.",
        (
            _lua(
                "lib/funds",
                "if id == MAIN then free = free + funds.limit end",
                "if id == MAIN then free = EXACT_MAX end",
            ),
            _twin("funds", "free += self.limit", "free = EXACT_MAX"),
        ),
        _rules("grants"),
    ),
    Mutant(
        "for-another-member",
        "A bucket of one member pays for another.",
        (
            _lua(
                "lib/funds", "if member ~= '' and member ~= funds.subscriber and mode ~= OWN then return false end", ""
            ),
            _twin("funds", 'bucket.member in ("", self.subscriber) or mode == Mode.OWN', "True"),
        ),
        ("tests/balances/rules", "tests/balances/test_oracle.py"),
    ),
    Mutant(
        "pays-out-bonus",
        "Bonus money is paid out.",
        (
            _lua("lib/posting", "own_only and (bucket[BUCKET.bonus] or bucket[BUCKET.price] > 0) then", "false then"),
            _twin("posting", "own_only and (bucket.bonus or bucket.price):", "False:"),
        ),
        ("tests/balances/rules",),
    ),
    Mutant(
        "limit-forgets-held",
        "A spending limit does not count what is held.",
        (
            _lua(
                "lib/limits",
                "elseif counter then left = left - counter[COUNTER.held] end",
                "elseif counter then left = left end",
            ),
            _twin("limits", "left -= counter.held", "left -= 0"),
        ),
        _rules("limits"),
    ),
    Mutant(
        "falling-counter-refunds",
        "A counter that fell gives money back.",
        (
            _lua(
                "lib/cumulative",
                "gained = min(max(gained, 0), EXACT_MAX - before)",
                "gained = min(gained, EXACT_MAX - before)",
            ),
            _twin(
                "cumulative",
                "gained = min(max(gained, 0), EXACT_MAX - before)",
                "gained = min(gained, EXACT_MAX - before)",
            ),
        ),
        _rules("cumulative"),
    ),
    Mutant(
        "hold-for-ever",
        "What a session holds that is heard of no more is never released.",
        (
            _lua(
                "expire",
                "if line[LINE.due_ms] > 0 and (ends or line[LINE.due_ms] <= now_ms) then",
                "if line[LINE.due_ms] < 0 and (ends or line[LINE.due_ms] <= now_ms) then",
            ),
            _twin("expire", "if line.due_ms and (ends or line.due_ms <= now_ms):", "if line.due_ms < 0:"),
        ),
        _rules("holds", "sequences"),
    ),
    Mutant(
        "closed-while-held",
        "An account is closed, and paid out, while a session holds money of it.",
        (
            _lua("close", "if bucket[BUCKET.held] > 0 then return { 'held' } end", ""),
            _twin("close", "if any(bucket.held for bucket in account.buckets):", "if False:"),
        ),
        _rules("life"),
    ),
    Mutant(
        "fee-twice",
        "A period of a fee is taken again.",
        (
            _lua("fee", "and fee[FEE.from_day] < mark[FEEMARK.day])", "and fee[FEE.from_day] < 0)"),
            _twin("fee", "(takes and fee.from_day < mark.day)", "(takes and fee.from_day < 0)"),
        ),
        _rules("recurring_fees"),
    ),
    Mutant(
        "one-session-too-many",
        "One session more is let in than a subscriber may have.",
        (
            _lua(
                "lib/crowd",
                "return others >= charge[CHARGE.sessions_max]",
                "return others > charge[CHARGE.sessions_max]",
            ),
            _twin("crowd", "return others >= charge.sessions_max", "return others > charge.sessions_max"),
        ),
        _rules("crowd"),
    ),
    Mutant(
        "extended-nearer",
        "A top-up brings the end of a bucket nearer.",
        (
            _lua(
                "lib/posting",
                "max(until_ms, extension[BUCKETEXTENSION.until_ms])",
                "extension[BUCKETEXTENSION.until_ms]",
            ),
            _twin("posting", "max(bucket.until_ms, extension.until_ms)", "extension.until_ms"),
        ),
        _rules("offers"),
    ),
    Mutant(
        "reset-frees-what-is-held",
        "A limit that begins anew forgets what is held of it.",
        (
            _lua(
                "lib/reached",
                "      if counter then\n        counter[COUNTER.used],",
                "      if counter then\n        counter[COUNTER.held] = 0\n        counter[COUNTER.used],",
            ),
            _twin(
                "reached", "counter.used = counter.turned = 0\n", "counter.used = counter.turned = counter.held = 0\n"
            ),
        ),
        _rules("offers"),
    ),
    Mutant(
        "reversal-counts-what-began-anew",
        "A reversal counts again what no refund has turned back since the limit began anew.",
        (
            _lua("lib/reached", "back = -min(-amount, turned)", "back = amount"),
            _twin("reached", "back = -min(-amount, counter.turned)", "back = amount"),
        ),
        _rules("refunds_turn_back"),
    ),
    Mutant(
        "reversed-refund-of-another-event",
        "What the refund of an event gave back is added to another event that has its key now.",
        (
            _lua("lib/refunded_again", "if refund[IDEMPOTENCYRECORD.terms] ~= name then", "if false then"),
            _twin("refunded_again", 'if refund.terms != f"{paid.fingerprint} {paid.end_to_end}":', "if False:"),
        ),
        _rules("refunds_turn_back"),
    ),
    Mutant(
        "midnight-at-home",
        "A day of the visited country ends at the midnight of the account.",
        (
            PlantedText(
                "tariffs/tariff.py",
                "return zone(zone_name(tally.zone or self.parts.zone, inputs))",
                "return zone(inputs.time_zone or 'UTC')",
            ),
        ),
        ("tests/tariffs/test_visited_clock.py",),
    ),
    Mutant(
        "yesterdays-block",
        "Volume without a grant uses up a block that lapsed before it.",
        (
            _lua(
                "lib/lines",
                "local beyond_ms = ms > 0 and from_ms + within * ms or at_ms",
                "local beyond_ms = funds.used_ms",
            ),
            _twin(
                "lines",
                "beyond_ms = from_ms + within * ms if ms else at_ms",
                "beyond_ms = int(funds.used_ms)",
            ),
        ),
        _rules("prices"),
    ),
    Mutant(
        "tags-of-the-row-lost",
        "Charging tags of a row give way to those of its tariff.",
        (
            PlantedText(
                "tariffs/tariff.py",
                "inputs.attributes, {**self.parts.tags, **tags})\n\n    def said_tags",
                "inputs.attributes, {**tags, **self.parts.tags})\n\n    def said_tags",
            ),
        ),
        ("tests/tariffs/test_tags.py",),
    ),
    Mutant(
        "tax-forgets-what-was-charged",
        "A tax is rounded of each report by itself, so cutting a session changes it.",
        (
            _lua("lib/lines", "debit(change, takes, index, line[LINE.debited])", "debit(change, takes, index, 0)"),
            _twin("lines", "debit(change, takes, index, line.debited)", "debit(change, takes, index, 0)"),
        ),
        _rules("tax_rounding"),
    ),
    Mutant(
        "tax-of-a-refund-from-nothing",
        "The tax that an event's refund gives back is that of the refund alone.",
        (
            _lua("lib/refund", "'refund', #change.usages, left)", "'refund', #change.usages, 0)"),
            _twin("refund", '"refund", len(change.usages), left)', '"refund", len(change.usages), 0)'),
        ),
        _rules("tax_rounding"),
    ),
    Mutant(
        "price-of-a-bucket-rounded-each-time",
        "Each report rounds the price of a bucket anew: a session that is cut costs more.",
        (
            _lua(
                "lib/funds",
                "if not funds.granting then return bucket[BUCKET.rest] end",
                "if not funds.granting then return 0 end",
            ),
            _twin("funds", "return bucket.rest", "return 0"),
        ),
        _rules("priced_buckets"),
    ),
    Mutant(
        "units-leave-without-their-price",
        "Units of a bucket with a price are transferred to where they cost nothing.",
        (
            _lua(
                "lib/posting",
                "own_only and (bucket[BUCKET.bonus] or bucket[BUCKET.price] > 0) then",
                "own_only and bucket[BUCKET.bonus] then",
            ),
            _twin("posting", "own_only and (bucket.bonus or bucket.price):", "own_only and bucket.bonus:"),
        ),
        _rules("priced_buckets"),
    ),
    Mutant(
        "session-sum-forgotten",
        "What a session is rounded from is its last report alone, not all that it came to.",
        (
            _lua(
                "lib/sums",
                "if one then one[ROUNDEDSUM.exact] = one[ROUNDEDSUM.exact] + exact",
                "if one then one[ROUNDEDSUM.exact] = exact",
            ),
            _twin("sums", "one.exact += exact", "one.exact = exact"),
        ),
        _rules("session_rounding"),
    ),
    Mutant(
        "tie-to-the-odd-one",
        "Half of a multiple goes to the odd one of its neighbours.",
        (
            _lua(
                "lib/sums",
                "rounding == SUMROUNDING.HALF_UP or fmod(whole, 2) == 1)",
                "rounding == SUMROUNDING.HALF_UP or fmod(whole, 2) == 0)",
            ),
            PlantedText(
                "tariffs/units.py",
                "rounding == SumRounding.HALF_UP or whole % 2 == 1)",
                "rounding == SumRounding.HALF_UP or whole % 2 == 0)",
            ),
        ),
        _rules("session_rounding"),
    ),
    Mutant(
        "tie-held-short",
        "A hold of a session that is rounded to the even one leaves out what a tie may add.",
        (
            _lua(
                "lib/sums",
                "if amount > whole * to or passes_a_tie(whole, to, rounding) then",
                "if amount > whole * to then",
            ),
            PlantedText(
                "tariffs/units.py",
                "return (whole + (part > 0 or _passes_a_tie(whole, to, rounding))) * to",
                "return (whole + (part > 0)) * to",
            ),
        ),
        _rules("session_rounding"),
    ),
    Mutant(
        "same-hours-every-day",
        "Hours of a bucket on one day of the week are its hours on all days around it.",
        (
            _lua("lib/hours", "fmod(day + THURSDAY + ahead, 7)", "fmod(day + THURSDAY, 7)"),
            _twin("hours", "(day + THURSDAY + ahead) % 7", "(day + THURSDAY) % 7"),
        ),
        _rules("bucket_hours"),
    ),
    Mutant(
        "hours-on-another-clock",
        "Hours of a bucket are those of the clock that the account had before it was moved.",
        (
            _lua("lib/hours", "offset = clock[i + 1]", "offset = offset"),
            _twin("hours", "offset = clock[place + 1]", "offset += 0"),
        ),
        _rules("bucket_hours"),
    ),
    Mutant(
        "blocker-lets-through",
        "A bucket behind a blocker pays in a grant.",
        (
            _lua(
                "lib/funds",
                "return not blocker or bucket[BUCKET.priority] <= blocker[BUCKET.priority]",
                "return true",
            ),
            _twin(
                "funds",
                "return paying if first is None else [",
                "return paying if True else [",
            ),
        ),
        _rules("blockers"),
    ),
    Mutant(
        "blocker-stops-its-own",
        "A blocker stops buckets of its own priority too.",
        (
            _lua(
                "lib/funds",
                "bucket[BUCKET.priority] <= blocker[BUCKET.priority]",
                "bucket[BUCKET.priority] < blocker[BUCKET.priority] or bucket == blocker",
            ),
            _twin(
                "funds",
                "if bucket.priority <= first.priority]",
                "if bucket.priority < first.priority or bucket is first]",
            ),
        ),
        _rules("blockers"),
    ),
    Mutant(
        "part-of-nothing",
        "The money of a bucket of units stands beside it, and not in it.",
        (
            _lua("post", "part_of = posting[POSTING.is_part] and whole or 0", "part_of = 0"),
            _twin("post", "whole if posting.is_part else 0", "0"),
        ),
        _rules("units_with_money"),
    ),
    Mutant(
        "merge-leaves-bonus",
        "An account that is merged writes its bonus off.",
        (
            _lua(
                "close",
                "if rest == CLOSINGREST.TRANSIT then return COUNTERACCOUNT.TRANSIT end",
                "if rest == CLOSINGREST.TRANSIT and not bucket[BUCKET.bonus] then return COUNTERACCOUNT.TRANSIT end",
            ),
            _twin(
                "close",
                "if close.rest == ClosingRest.TRANSIT:",
                "if close.rest == ClosingRest.TRANSIT and not bucket.bonus:",
            ),
        ),
        ("tests/ocs/api/test_merges.py",),
    ),
    Mutant(
        "merge-while-held",
        "An account is merged while a session holds its money.",
        (
            _lua("close", "if bucket[BUCKET.held] > 0 then return { 'held' } end", ""),
            _twin("close", "if any(bucket.held for bucket in account.buckets):", "if False:"),
        ),
        (*_rules("life"), "tests/ocs/api/test_merges.py"),
    ),
    Mutant(
        "refund-without-tags",
        "A refund has none of the charging tags that its use had.",
        (PlantedText("ocs/backoffice/refunds.py", "*as_terms(tags), as_term(given_back)", "as_term(given_back)"),),
        ("tests/ocs/api/test_tags.py", "tests/ocs/api/test_refunds.py"),
    ),
    Mutant(
        "dropped-with-a-wrong-closing",
        "A month is dropped although it has other entries than it was closed with.",
        (PlantedText("balances/ledger/dropping.py", "if changed is not None:", "if False:"),),
        ("tests/balances/ledger/test_dropping.py",),
    ),
    Mutant(
        "dropped-out-of-order",
        "A month is dropped while an earlier one is there.",
        (PlantedText("balances/ledger/dropping.py", "if earlier_ms is not None:", "if False:"),),
        ("tests/balances/ledger/test_dropping.py",),
    ),
)
