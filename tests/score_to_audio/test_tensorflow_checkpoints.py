"""Reading TensorFlow's checkpoints: what they hold, and nothing but a sentence for what they should not."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from score_to_audio import tensorflow_checkpoints
from score_to_audio.errors import InputError
from score_to_audio.tensorflow_checkpoints import MAGIC, VARIABLE, parse_index
from score_to_audio.weights import count_tensors, load_checkpoint
from tests.synthesizers.ddsp_piano_checkpoints import DATA, INDEX, block, entry, index, sized, write_bundle

TENSORS = {
    f"model/layer-{number}/kernel": torch.arange(number * 3.0).reshape(number, 3) for number in range(1, 9)
} | {"model/scalar": torch.tensor(2.5)}
KEY = f"a{VARIABLE}".encode()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_bundle(tmp_path, TENSORS)
    content = load_checkpoint(tmp_path / DATA)
    assert set(content) == set(TENSORS)
    assert all(torch.equal(content[name], tensor) for name, tensor in TENSORS.items())
    assert count_tensors(content) == (9, sum(range(1, 9)) * 3 + 1)


def test_both_files_are_needed(tmp_path: Path) -> None:
    write_bundle(tmp_path, TENSORS)
    (tmp_path / INDEX).unlink()
    with pytest.raises(InputError, match=r"needs ckpt-0\.data-00000-of-00001 and ckpt-0\.index side by side"):
        load_checkpoint(tmp_path / DATA)


def test_a_data_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path, TENSORS)
    (tmp_path / DATA).write_bytes((tmp_path / DATA).read_bytes()[:100])
    with pytest.raises(InputError, match=r"ckpt-0\.index: not the index of .* ends at byte \d+ of 100"):
        load_checkpoint(tmp_path / DATA)


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ({KEY: entry((2, 3), 0, 20)}, r"has shape \[2, 3\] and 20 bytes"),
        ({KEY: entry((2**40, 2**40), 0, 24)}, "has shape"),
        ({KEY: entry((1,) * 9, 0, 4)}, "has shape"),
        ({KEY: entry((6,), 10, 24)}, "ends at byte 34 of 30"),
        ({KEY: entry((6,), 0, 24), b"b": entry((6,), 4, 24)}, "b overlaps the tensor before it"),
        ({KEY: entry((6,), 0, 24) + b"\x3a\x00"}, "is stored in slices"),
        ({KEY: b"\x08\x01\x12\x05\x12"}, "a message in it is cut off"),
        ({KEY: b"\x08\x01\x10\x05"}, "the entry of a is damaged"),
        ({KEY: b"\x08\x01\x12\x02\x10\x05"}, "a dimension in it is damaged"),
        ({KEY: b"\x0b"}, "a message in it is damaged"),
        ({KEY: b"\x08\xff"}, "a number in it does not end"),
        ({b"": b"\x08\x02"}, "needs one little-endian data file"),
        ({b"": b"\x10\x01"}, "needs one little-endian data file"),
    ],
)
def test_other_entries_are_refused(messages: dict[bytes, bytes], reason: str) -> None:
    whole = {b"": b"\x08\x01", **{f"x{n}".encode(): b"\x08\x09" for n in range(6)}, **messages}
    with pytest.raises(ValueError, match=reason):
        parse_index(index(whole), 30)


def test_other_tables_are_refused() -> None:
    good = index({f"x{n}".encode(): b"\x08\x09" for n in range(9)})
    assert parse_index(good, 0) == []
    footer = b"\0\0\x00\xff\x01".ljust(40, b"\0") + struct.pack("<Q", MAGIC)
    bad = {
        good[:-1]: "does not end as a table does",
        footer: "a block lies outside of it",
        b"".join((block([]), b"\x01" + bytes(4), b"\0\0\0\x08".ljust(40, b"\0"), good[-8:])): "compressed",
        b"".join((b"\xff" * 8, bytes(5), b"\0\0\0\x08".ljust(40, b"\0"), good[-8:])): "table of restarts",
        b"".join(
            (b"\x05\x01\x00a", bytes(9), b"\0\0\0\x08".ljust(40, b"\0"), good[-8:])
        ): "exceeds its block",
    }
    for content, reason in bad.items():
        with pytest.raises(ValueError, match=reason):
            parse_index(content, 0)


def test_an_index_that_says_very_much_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tensorflow_checkpoints, "MAX_ENTRIES", 8)
    with pytest.raises(ValueError, match="lists more than 8 tensors"):
        parse_index(index({f"x{n}".encode(): b"\x08\x09" for n in range(9)}), 0)
    with pytest.raises(ValueError, match="exceeds its block"):
        parse_index(index({b"a": b"", **{b"b" * 1025: b""}, **{f"c{n}".encode(): b"" for n in range(5)}}), 0)
    write_bundle(tmp_path, TENSORS)
    (tmp_path / INDEX).write_bytes(bytes(2**20 + 1))
    with pytest.raises(InputError, match="larger than 1 MB"):
        load_checkpoint(tmp_path / DATA)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_index_gives_a_sentence_or_places_within_the_file(data: st.DataObject) -> None:
    content = bytearray(
        index({f"layer/{n}{VARIABLE}".encode(): entry((n, 2), 8 * n * n, 8 * n) for n in range(1, 12)})
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    size = 12 * 12 * 8
    message = ""
    try:
        for found in parse_index(bytes(content), size):
            assert 0 <= found.offset <= size - 4 * torch.Size(found.shape).numel()
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 300


def test_the_message_of_an_unnamed_dimension() -> None:
    """A dimension of size 0 is left out by protocol buffers."""
    empty = entry((), 0, 0) + b"\x12" + sized(b"\x12\x00")
    assert parse_index(index({KEY: empty, **{f"x{n}".encode(): b"" for n in range(6)}}), 0)[0].shape == (0,)
