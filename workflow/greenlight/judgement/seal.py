"""A content hash inside a JSON document, so that a document changed by hand or by accident is noticed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from greenlight.files import json_text, write_json

SEAL = "content_sha256"
RECORD_FORMAT = 1
"""Of the records of jobs: another meaning is another number, and records of another number are made anew."""


def content_hash(document: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON text of a document without its seal, as hexadecimal text."""
    body = {key: value for key, value in document.items() if key != SEAL}
    return hashlib.sha256(json_text(body).encode()).hexdigest()


def seal(document: dict[str, Any]) -> dict[str, Any]:
    """A copy of the document with its content hash under `content_sha256`."""
    return {**document, SEAL: content_hash(document)}


def write_sealed(path: Path, document: dict[str, Any]) -> None:
    """Write a document, sealed as it can be read again."""
    write_json(path, seal(json.loads(json_text(document))))


def broken_seal(document: dict[str, Any]) -> str | None:
    """Why the seal does not hold, or None where it holds."""
    stated = document.get(SEAL)
    if not isinstance(stated, str):
        return f"it has no {SEAL}"
    if stated != content_hash(document):
        return f"its content does not match its {SEAL} (changed after it was written)"
    return None
