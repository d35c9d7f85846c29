"""Output files: never the user's own.

An input of the run is never replaced, nor is a file that we did not write. We know our files from the
manifest of their folder, or from ``deliveries`` in the store's folder, which records the hash of every single
file that a command wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from score_to_audio.errors import InputError
from score_to_audio.files import nearest, replacing, sha256_of
from score_to_audio.store import ArtifactStore

DELIVERIES = "deliveries"


def check_output_files(
    files: Iterable[Path], inputs: Sequence[Path], is_ours: Callable[[Path], bool]
) -> None:
    """Raises ``InputError`` if a result would replace an input or an existing file that is not ours."""
    by_identity = {_identity(path): path for path in inputs}
    refused: list[str] = []
    for file in files:
        if (source := by_identity.get(_identity(file))) is not None:
            refused.append(f"{file}: the result would replace the input {source}")
        elif os.path.lexists(file) and not is_ours(file):
            refused.append(f"{file}: this file exists and was not written by score-to-audio")
    if refused:
        more = f" (and {len(refused) - 1} more such files)" if len(refused) > 1 else ""
        raise InputError(f"{refused[0]}{more}; choose another output, or move the file away")


def _identity(path: Path) -> object:
    """Equal for paths of one file: through links, and on file systems that ignore case."""
    with suppress(OSError):
        status = path.stat()
        return status.st_dev, status.st_ino
    return os.path.realpath(path)


def check_output_file(file: Path, inputs: Sequence[Path], store: ArtifactStore) -> None:
    """As ``check_output_files``, for a command that writes one file; makes nothing."""
    if not os.access(nearest(file.parent), os.W_OK):
        raise InputError(f"{file}: cannot be written: {nearest(file.parent)} is not a writable folder")
    check_output_files([file], inputs, lambda path: _is_delivered(path, store))


@contextmanager
def delivering(file: Path, inputs: Sequence[Path]) -> Iterator[None]:
    """A block that writes one file: checked before the block, recorded and printed after it."""
    from score_to_audio.store import default_store

    store = default_store()
    check_output_file(file, inputs, store)
    yield
    record_delivery(file, store)
    print(file)


def record_delivery(file: Path, store: ArtifactStore) -> None:
    """Remember that we wrote ``file``, so that the same command may replace it."""
    record = _record_of(file, store)
    with replacing(record) as temporary:
        temporary.write_text(json.dumps({"path": str(file.absolute()), "sha256": sha256_of(file)}))


def _is_delivered(file: Path, store: ArtifactStore) -> bool:
    try:
        record: Mapping[str, str] = json.loads(_record_of(file, store).read_text())
        return record["sha256"] == sha256_of(file)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _record_of(file: Path, store: ArtifactStore) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()
    return store.folder / DELIVERIES / f"{name}.json"
