"""By what a Class of ours is known: a NAS also echoes those of others."""

from __future__ import annotations

from typing import Final

OURS: Final = "ocs1."
"""What each of them begins with."""
