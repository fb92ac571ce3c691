"""Division in scripts is exact for all that can be counted (charging.md 2), though doubles round a quotient."""

import random
from importlib.resources import files
from itertools import product

import redis

from tariffs.units import EXACT_MAX

SCRIPT = """
local found = {}
for i = 1, #ARGV, 2 do found[#found + 1] = string.format('%.0f', div(tonumber(ARGV[i]), tonumber(ARGV[i + 1]))) end
return found
"""


def test_a_quotient_is_exact_beside_every_multiple(redis_url: str) -> None:
    rng = random.Random(53)
    divisors = [
        1,
        2,
        3,
        7,
        1_000,
        2**26,
        2**26 - 1,
        2**52,
        EXACT_MAX,
        *(rng.randrange(1, EXACT_MAX) for _ in range(40)),
    ]
    divisors += [rng.randrange(1, 2 ** rng.randrange(1, 53)) for _ in range(200)]
    asked = []
    for divisor in divisors:
        times = EXACT_MAX // divisor
        near = [k * divisor + d for k, d in product((0, 1, times, rng.randint(0, times)), (-1, 0, 1))]
        amounts = {min(max(one, 0), EXACT_MAX) for one in (*near, EXACT_MAX, rng.randint(0, EXACT_MAX))}
        asked += [(sign * amount, divisor) for amount in amounts for sign in (1, -1)]
    beyond = [(2**53 * k, divisor) for k in (1, 3, -5) for divisor in (2, 2**20)]  # as exact as what came in
    lib = files("balances").joinpath("lua", "lib", "amount.lua").read_text()
    with redis.Redis.from_url(redis_url) as client:
        for start in range(0, len(asked), 1_000):
            some = [*asked[start : start + 1_000], *beyond]
            found = client.eval(lib + SCRIPT, 0, *(str(number) for pair in some for number in pair))
            assert [int(one) for one in found] == [amount // divisor for amount, divisor in some]
