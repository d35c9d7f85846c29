"""Keys of artifacts, and the records (``artifact.json``) that say what a file is and how it was made."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from score_to_audio.types import Artifact, Provenance

RECORD = "artifact.json"
RECORD_FORMAT = 1
MAX_RECORD_SIZE = 1 << 20
"""Bytes; a larger file is no record."""
KEY = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def artifact_key(description: Mapping[str, Any]) -> str:
    """sha256 of the description as canonical JSON: keys sorted, no white space, ASCII.

    Raises ``ValueError``, naming the place, for values without an exact form in JSON: NaN, infinities, keys
    that are not text, and anything but text, numbers, booleans, null, lists and mappings.
    """
    plain = _plain(description, "description")
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _plain(value: Any, place: str) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"{place} has the key {key!r}: JSON keys are text")
        return {key: _plain(value[key], f"{place}.{key}") for key in value}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value!r}, a number that JSON does not have")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"{place} is of type {type(value).__name__}, which JSON does not have")


@dataclass(frozen=True)
class ArtifactRecord:
    """The content of ``artifact.json``."""

    artifact: Artifact
    provenance: Provenance
    mtime_ns: int
    """Modification time of the finished file."""

    def to_json(self) -> str:
        body = asdict(self) | {"format": RECORD_FORMAT}
        return json.dumps({"check": artifact_key(body), **body}, indent=1)


def parse_record(content: bytes, key: str) -> ArtifactRecord | None:
    """None if the bytes are not a whole record of the artifact ``key``."""
    try:
        body = json.loads(content)
        if body.pop("check") != artifact_key(body) or body["format"] != RECORD_FORMAT:
            return None
        notices = tuple(map(str, body["artifact"].pop("notices", ())))
        artifact = Artifact(**body["artifact"], notices=notices)
        provenance = Provenance(**body["provenance"])
        mtime_ns = int(body["mtime_ns"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    name = str(artifact.path).rpartition("/")[2]
    if (artifact.key, artifact.path) != (key, f"{key[:2]}/{key}/{name}") or not NAME.fullmatch(name):
        return None
    return ArtifactRecord(artifact, provenance, mtime_ns)
