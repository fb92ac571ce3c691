"""Import from CSV: what the header may say, and that a row is read as the line of NDJSON it stands for."""

import json
import re
from typing import Any

import pytest

from ocs.api.import_csv import BUCKET, COLUMNS, CsvHeader
from ocs.api.import_line import from_json, from_members
from ocs.backoffice.errors import Invalid
from ocs.master.bulk_rows import Objection, WantedLine
from tests.ocs.api.imports import counts, errors
from tests.ocs.api_harness import ApiHarness
from tests.servers import ROOT

DOCUMENT = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")


async def imported_csv(harness: ApiHarness, text: str | bytes) -> Any:
    return await harness.call("POST", "/v1/import", text, content_type="text/csv")


def members(header: str, row: str) -> dict[str, Any]:
    return CsvHeader(header).members(row)


def test_the_document_names_every_column() -> None:
    told = re.findall(r"^\| `([a-z_.NAME]+)` \| (.+) \|$", DOCUMENT, re.MULTILINE)
    buckets = [(f"bucket.{name}", about) for name, (about, _) in BUCKET.items()]
    attribute = ("attribute.NAME", "an attribute that tariffs may ask of the subscriber")
    assert told == [*((name, column.about) for name, column in COLUMNS.items()), attribute, *buckets]


async def test_the_examples_of_the_document_go_in(harness: ApiHarness) -> None:
    await harness.tariff()
    (table,) = re.findall(r"^```csv\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    (lines,) = re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    answer = await imported_csv(harness, table.replace("demo", "flat"))
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert errors(events) == []
    assert counts(events) == (0, 2, 0, 2, 0)
    *_, last = (line for line in lines.splitlines())
    read = [from_json(line.encode(), "admin") for line in (last, lines.splitlines()[0])]
    assert isinstance(read[0], WantedLine)
    assert isinstance(read[1], WantedLine)
    assert read[0].subscriber is not None
    assert read[1].account is not None


def test_a_row_stands_for_a_line() -> None:
    header = (
        "account,currency,time_zone,credit_limit,suspend_below,resume_at,balance,subscriber,identities,msisdn,tariffs,"
        "barred,password,attribute.segment,bucket.kind,bucket.amount,bucket.scope,bucket.priority,bucket3.amount,"
        "bucket3.valid_for_s"
    )
    row = "a1,EUR,Europe/Berlin,5,1,2,20,s1,imsi:123 sip:a@b,49170 49171,x y,true,p w,gold,octets,7,data sms,3,1.5,60"
    line = (
        b'{"account":{"id":"a1","currency":"EUR","time_zone":"Europe/Berlin","credit_limit":"5","suspend_below":"1",'
        b'"resume_at":"2","balance":"20","buckets":[{"kind":"octets","amount":"7","scope":["data","sms"],"priority":3},'
        b'{"amount":"1.5","valid_for_s":60}]},"subscriber":{"id":"s1","account":"a1","identities":["imsi:123",'
        b'"sip:a@b","msisdn:49170","msisdn:49171"],"tariffs":[{"tariff":"x"},{"tariff":"y"}],"barred":true,'
        b'"password":"p w","attributes":{"segment":"gold"}}}'
    )
    assert from_members(members(header, row), "admin") == from_json(line, "admin")


def test_empty_cells_say_nothing() -> None:
    assert members("account,currency,balance,subscriber", "a1,EUR,,") == {"account": {"id": "a1", "currency": "EUR"}}
    assert members("account,currency,balance,subscriber", "a1,, ,s1") == {"subscriber": {"id": "s1", "account": "a1"}}
    quoted = members('account,currency,"attribute.name",subscriber', 'a1,,"Ann, ""x""",s1')
    assert quoted["subscriber"]["attributes"] == {"name": 'Ann, "x"'}


HEADERS = [
    ("", "expected a column `account`"),
    ("currency,balance", "expected a column `account`"),
    ("account;currency;balance", "separated by commas"),
    ("account,acount", "no column is called 'acount'"),
    ("account,currency,account", "more than once"),
    ("account,bucket1.amount", "no column is called"),
    ("account,bucket.held", "no column is called"),
    ("account,attribute.", "no column is called"),
    ('account,"currency', "not a line of CSV"),
]


@pytest.mark.parametrize(("header", "words"), HEADERS)
async def test_a_wrong_header_is_refused_and_nothing_goes_in(harness: ApiHarness, header: str, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        CsvHeader(header)
    assert words in refused.value.detail
    answer = await imported_csv(harness, header + "\na1,EUR,1\n")
    assert (answer.status_code, words in answer.json()["detail"]) == (422, True)
    assert (await harness.call("GET", "/v1/accounts/a1")).status_code == 404


ROWS = [
    ("a1,EUR", "malformed", "", "expected 5 cells as the header has, found 2"),
    ("a1,EUR,1,,,", "malformed", "", "found 6"),
    ('a1,EUR,"1', "malformed", "", "not a line of CSV"),
    (",EUR,1,,", "invalid", "account", "id of an account"),
    ("a1,,,,", "invalid", "currency", "expected the currency"),
    ("a1,,1,,", "invalid", "account.currency", "given"),
    ("a1,,,,true", "invalid", "subscriber.id", "given"),
    ("a1,,,s1,yes", "invalid", "subscriber.barred", "true or false"),
    ("a1,EUR,1e3,,", "invalid", "account.balance", "digits"),
]


@pytest.mark.parametrize(("row", "problem", "field", "words"), ROWS)
def test_a_wrong_row_is_told(row: str, problem: str, field: str, words: str) -> None:
    with pytest.raises(Objection) as refused:
        from_members(members("account,currency,balance,subscriber,barred", row), "admin")
    assert (refused.value.kind, refused.value.field) == (problem, field)
    assert words in refused.value.detail


async def test_lines_are_numbered_as_an_editor_does(harness: ApiHarness) -> None:
    text = b"\xef\xbb\xbfaccount,currency,balance\r\na1,EUR,1\r\n\r\na2,EUR,x\r\n\xff,EUR,1\na3,EUR,3"
    answer = await imported_csv(harness, text)
    events = [json.loads(line) for line in answer.text.splitlines()]
    assert [(event["line"], event["field"]) for event in errors(events)] == [(4, "account.balance"), (5, "")]
    assert counts(events) == (2, 2, 0, 0, 0)
