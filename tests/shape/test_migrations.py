"""A migration is applied while processes of the build before work on the same tables, and may be started again: it
adds, and takes nothing away (docs/operations/upgrade.md). One that has to do more says from which step on a build can
work beside it, and why: `-- needs: 052: why`; builds that do not know that step then refuse to start."""

import re

import pytest

from balances.migrations.migrate import FIRST_BESIDE, NEEDS, Migration, migrations

MAY: tuple[str, ...] = (
    r"CREATE TABLE (IF NOT EXISTS )?\w+ ?\(",
    r"CREATE (UNIQUE )?INDEX \w+ ON (?P<indexed>\w+)",
    r"CREATE (SEQUENCE|TYPE|VIEW|FUNCTION) ",
    r"ALTER TABLE \w+( ADD COLUMN [^,;]+,?)+$",
    r"INSERT INTO \w+",
    r"UPDATE (shards|store) SET ",  # a few rows; what is set is new, or means the same to the build before
    r"COMMENT ON ",
    r"ALTER TABLE \w+ SET \(",
)
"""What a statement may be. A column that is added is nullable or has a default that is no call of a function."""

BIG = frozenset({"calls", "ledger_entries", "usage_records", "account_heads", "session_heads", "once", "events"})
"""Tables of a row for each request, account or event: an index on one is made while nobody can write to it."""


def statements(sql: str) -> list[str]:
    """Without comments, blanks made one."""
    return [" ".join(one.split()) for one in re.sub(r"--[^\n]*", "", sql).split(";") if one.strip()]


def faults(step: Migration) -> list[str]:
    if NEEDS.search(step.sql):
        return []
    found = []
    made = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", step.sql))
    for statement in statements(step.sql):
        fits = next((match for may in MAY if (match := re.match(may, statement))), None)
        if fits is None:
            table = re.match(r"ALTER TABLE (\w+)", statement)
            if table is None or table[1] not in made:
                found.append(f"not among what a migration may do beside the build before: {statement}")
            continue
        indexed = fits.groupdict().get("indexed")
        if indexed in BIG - made:
            found.append(f"locks a big table while the index is made: {statement}")
        if statement.startswith("ALTER TABLE"):
            for column in re.findall(r"ADD COLUMN ([^,]+)", statement):
                if "NOT NULL" in column and "DEFAULT" not in column:
                    found.append(f"the build before writes rows without it: {statement}")
                if re.search(r"DEFAULT (?!now\(\))\w+\(", column) or "REFERENCES" in column or "UNIQUE" in column:
                    found.append(f"writes or reads every row: {statement}")
    return found


@pytest.mark.parametrize(
    "step", [step for step in migrations() if step.number > FIRST_BESIDE], ids=lambda step: step.name
)
def test_a_migration_only_adds(step: Migration) -> None:
    assert faults(step) == []


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE calls DROP COLUMN at_ms",
        "ALTER TABLE calls RENAME COLUMN at_ms TO then_ms",
        "ALTER TABLE calls ALTER COLUMN at_ms TYPE numeric",
        "ALTER TABLE calls ALTER COLUMN service SET NOT NULL",
        "ALTER TABLE calls ADD COLUMN a int, DROP COLUMN b",
        "ALTER TABLE transfers ADD COLUMN a text NOT NULL",
        "ALTER TABLE transfers ADD COLUMN a text DEFAULT random()::text",
        "ALTER TABLE transfers ADD CONSTRAINT c CHECK (amount > 0)",
        "DROP INDEX calls_session",
        "DROP TABLE hosts",
        "CREATE INDEX more ON calls (at_ms)",
        "LOCK TABLE shards IN EXCLUSIVE MODE",
        "UPDATE accounts SET currency = 'EUR'",
        "-- needs: 052\nDROP TABLE hosts",
    ],
)
def test_what_would_break_the_build_before_is_seen(sql: str) -> None:
    assert faults(Migration(999, "999_test.sql", sql))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE a (b int); CREATE INDEX c ON a (b); ALTER TABLE a ADD CONSTRAINT d CHECK (b > 0)",
        "ALTER TABLE calls ADD COLUMN a text, ADD COLUMN b int NOT NULL DEFAULT 0",
        "-- needs: 052: builds before wrote numbers where texts are now\nALTER TABLE a ALTER COLUMN b TYPE text",
    ],
)
def test_what_only_adds_may_be(sql: str) -> None:
    assert faults(Migration(999, "999_test.sql", sql)) == []
