"""The golden vectors, by id."""

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent.parent / "golden"


def load(name: str) -> dict[str, dict[str, Any]]:
    return {vector["id"]: vector for vector in json.loads((GOLDEN / name).read_text())}


PUBLISHED = load("diameter-published.json")
TOOL = load("diameter-tool.json")
NEGATIVE = load("diameter-negative.json")
MESSAGES = {i: v for i, v in (PUBLISHED | TOOL).items() if v["kind"] == "message"}


def octets(vector: dict[str, Any]) -> bytes:
    return bytes.fromhex(vector["hex"])
