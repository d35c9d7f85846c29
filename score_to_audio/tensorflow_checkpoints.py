"""TensorFlow checkpoints (``NAME.index`` beside ``NAME.data-00000-of-00001``), read without TensorFlow.

The index is a sorted string table: blocks of keys that share prefixes, found through an index block that a
footer points to (format of LevelDB). Its values are protocol buffer messages that say type, shape, place and
size of a tensor in the data file, which holds plain little-endian values. Nothing in either file is executed.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from score_to_audio.errors import InputError
from score_to_audio.wording import reason

if TYPE_CHECKING:
    from torch import Tensor

DATA_SUFFIX, INDEX_SUFFIX = ".data-00000-of-00001", ".index"
VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
"""What the key of a variable ends with."""
MAX_INDEX_SIZE, MAX_ENTRIES, MAX_KEY_LENGTH = 2**20, 2**14, 2**10
"""Bytes, tensors and bytes. An index shares prefixes of keys, so that a small one could say very much."""
MAX_DIMENSIONS = 8
FOOTER_SIZE, MAGIC = 48, 0xDB4775248B80FB57
FLOAT = 1
"""``DT_FLOAT`` of TensorFlow's types: float32."""


@dataclass(frozen=True)
class Entry:
    """Where a tensor of type float32 lies in the data file."""

    name: str
    shape: tuple[int, ...]
    offset: int
    """Bytes."""


def is_tensorflow_data(path: Path) -> bool:
    return path.name.endswith(DATA_SUFFIX)


def load_tensorflow_checkpoint(path: Path) -> dict[str, Tensor]:
    """Every float32 variable by its key; ``path`` is the data file, the index lies beside it.

    Counters, and the graph of objects that training goes on from, are left out. Raises ``InputError``.
    """
    import torch

    index = path.with_name(path.name.removesuffix(DATA_SUFFIX) + INDEX_SUFFIX)
    try:
        if index.stat().st_size > MAX_INDEX_SIZE:
            raise InputError(f"{index}: larger than {MAX_INDEX_SIZE >> 20} MB; is it the checkpoint's index?")
        entries = parse_index(index.read_bytes(), path.stat().st_size)
        return {entry.name: torch.from_numpy(_read(path, entry)) for entry in entries}
    except OSError as error:
        raise InputError(
            f"{error.filename or path}: cannot be read ({error.strerror}); a TensorFlow checkpoint needs "
            f"{path.name} and {index.name} side by side"
        ) from error
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{index}: not the index of {path.name} ({reason(error)}); get both again"
        ) from error


def _read(path: Path, entry: Entry) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    values = np.fromfile(path, "<f4", math.prod(entry.shape), offset=entry.offset)
    return values.astype(np.float32, copy=False).reshape(entry.shape)


def parse_index(content: bytes, data_size: int) -> list[Entry]:
    """The float32 variables that an index lists, all within ``data_size`` bytes of data and not overlapping.

    Raises ``ValueError`` that says what is wrong.
    """
    if len(content) < FOOTER_SIZE or struct.unpack("<Q", content[-8:])[0] != MAGIC:
        raise ValueError("it does not end as a table does")
    entries = []
    for key, value in _table(content):
        if key == b"":
            _check_header(value)
        elif (entry := _entry(key, value)) is not None:
            entries.append(entry)
    _check_places(entries, data_size)
    return entries


def _check_places(entries: list[Entry], data_size: int) -> None:
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        if entry.offset < end:
            raise ValueError(f"{entry.name} overlaps the tensor before it")
        end = entry.offset + 4 * math.prod(entry.shape)
        if end > data_size:
            raise ValueError(f"{entry.name} ends at byte {end} of {data_size}")


# -------------------------------------------------------------------------------------------- the table


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values in order."""
    footer = content[-FOOTER_SIZE:]
    _, at = _handle(footer, 0)  # of the metaindex, which says nothing of interest
    place, _ = _handle(footer, at)
    count = 0
    for _, value in _block(content, place):
        for pair in _block(content, _handle(value, 0)[0]):
            count += 1
            if count > MAX_ENTRIES:
                raise ValueError(f"it lists more than {MAX_ENTRIES} tensors")
            yield pair


def _block(content: bytes, place: tuple[int, int]) -> Iterator[tuple[bytes, bytes]]:
    start, size = place
    if start + size + 1 > len(content) or size < 4:
        raise ValueError("a block lies outside of it")
    if content[start + size] != 0:
        raise ValueError("a block is compressed, which is not supported")
    block = content[start : start + size]
    end = size - 4 - 4 * struct.unpack("<I", block[-4:])[0]  # the table of restarts: only for searching
    if end < 0:
        raise ValueError("a block is shorter than its table of restarts")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        fresh, at = _varint(block, at)
        length, at = _varint(block, at)
        if shared > len(key) or shared + fresh > MAX_KEY_LENGTH or at + fresh + length > end:
            raise ValueError("a key or value exceeds its block")
        key = key[:shared] + block[at : at + fresh]
        yield key, block[at + fresh : at + fresh + length]
        at += fresh + length


def _handle(content: bytes, at: int) -> tuple[tuple[int, int], int]:
    """((start, size) of a block, where the next thing begins)."""
    start, at = _varint(content, at)
    size, at = _varint(content, at)
    return (start, size), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(content):
            break
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
    raise ValueError("a number in it does not end")


# ------------------------------------------------------------------------------------------ the messages


def _check_header(message: bytes) -> None:
    fields = dict(_fields(message))
    if fields.get(1, 1) != 1 or fields.get(2, 0) != 0:
        raise ValueError("it needs one little-endian data file")


def _entry(key: bytes, message: bytes) -> Entry | None:
    fields = dict(_fields(message))
    if fields.get(1) != FLOAT:
        return None
    name = key.decode("utf-8", "replace").removesuffix(VARIABLE)
    shape, offset, size = fields.get(2, b""), fields.get(4, 0), fields.get(5, 0)
    if not isinstance(shape, bytes) or not isinstance(offset, int) or not isinstance(size, int):
        raise ValueError(f"the entry of {name[:80]} is damaged")
    if 7 in fields:
        raise ValueError(f"{name[:80]} is stored in slices, which is not supported")
    sizes = tuple(_dimension(value) for field, value in _fields(shape) if field == 2)
    if len(sizes) > MAX_DIMENSIONS or size != 4 * math.prod(sizes):
        raise ValueError(f"{name[:80]} has shape {list(sizes)[:MAX_DIMENSIONS]} and {size} bytes")
    return Entry(name, sizes, offset)


def _dimension(message: int | bytes) -> int:
    size = dict(_fields(message)).get(1, 0) if isinstance(message, bytes) else None
    if not isinstance(size, int):
        raise ValueError("a dimension in it is damaged")
    return size


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a protocol buffer message: numbers, and the rest as bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 2, 5):
            length, at = _varint(message, at) if kind == 2 else (8 if kind == 1 else 4, at)
            if at + length > len(message):
                raise ValueError("a message in it is cut off")
            value = message[at : at + length]
            at += length
        else:
            raise ValueError("a message in it is damaged")
        yield tag >> 3, value
