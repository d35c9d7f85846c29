"""Checkpoints of DDSP-Piano with arbitrary weights, and TensorFlow's format, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from score_to_audio import checkpoints
from score_to_audio.errors import InputError
from score_to_audio.plugins import Checkpoint
from score_to_audio.tensorflow_checkpoints import MAGIC, VARIABLE
from synthesizers.ddsp_piano.network import DdspPiano
from synthesizers.ddsp_piano.weights import PUBLISHED
from tests.parity.golden_files import fill, golden_root

DATA, INDEX = "ckpt-0.data-00000-of-00001", "ckpt-0.index"


def published_weights() -> Path | None:
    """The published data file, where it is on this machine."""
    beside = golden_root() / "ddsp_piano" / DATA
    if beside.is_file():
        return beside
    try:
        return checkpoints.find("ddsp-piano").weights
    except InputError:
        return None


def filled_model() -> DdspPiano:
    """Small weights, loud enough controls, a room of an echo at a second."""
    model = DdspPiano().eval().requires_grad_(False)
    fill(model, "open")
    model.note_release.seconds.fill_(1)
    for parameter in (model.piano.detuning, model.piano.inharmonicity):
        parameter.mul_(0.05)
    model.inharm.slopes.copy_(torch.tensor([11.85, -10.84]))
    model.inharm.offsets.copy_(torch.tensor([-1.15, 0.537]))
    model.piano.reverb_ir.zero_()
    model.piano.reverb_ir[:, 1] = 2
    model.piano.reverb_ir[:, 16000] = 0.1
    return model


def published_tensors(model: DdspPiano) -> dict[str, Tensor]:
    """Under the names of the published checkpoint."""
    state = model.state_dict()
    return {key: state[name] for key, name in PUBLISHED.items()}


def write(folder: Path, model: DdspPiano | None = None) -> Checkpoint:
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(folder, published_tensors(model or filled_model()))
    return checkpoints.find(str(folder / DATA))


# ------------------------------------------------------------------------------------ TensorFlow's format


def write_bundle(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Data file and index, with a header, a counter and a graph of objects as TensorFlow has them."""
    data, messages = b"", {b"": b"\x08\x01\x1a\x02\x08\x01"}
    for name, tensor in sorted(tensors.items()):
        values = tensor.numpy().astype("<f4").tobytes()
        messages[f"{name}{VARIABLE}".encode()] = entry(tensor.shape, len(data), len(values))
        data += values
    messages[b"_CHECKPOINTABLE_OBJECT_GRAPH"] = entry((), len(data), 3, dtype=7)
    messages[f"save_counter{VARIABLE}".encode()] = entry((), len(data) + 3, 8, dtype=9)
    (folder / DATA).write_bytes(data + b"abc" + bytes(8))
    (folder / INDEX).write_bytes(index(messages))


def index(messages: Mapping[bytes, bytes]) -> bytes:
    """A table of two data blocks."""
    rows = sorted(messages.items())
    content, handles = b"", []
    for part in (rows[:5], rows[5:]):
        handles.append((part[-1][0], handle(len(content), len(block(part)))))
        content += block(part) + bytes(5)
    places = []
    for one in (block([]), block(handles)):
        places.append(handle(len(content), len(one)))
        content += one + bytes(5)
    return content + b"".join(places).ljust(40, b"\0") + struct.pack("<Q", MAGIC)


def block(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Keys share what they have in common with the one before."""
    content, before = b"", b""
    for key, value in rows:
        shared = next((i for i, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), 0)
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return content + struct.pack("<II", 0, 1)


def entry(shape: Iterable[int], offset: int, size: int, dtype: int = 1) -> bytes:
    dimensions = b"".join(b"\x12" + sized(b"\x08" + varint(one)) for one in shape)
    place = b"\x20" + varint(offset) if offset else b""
    return b"\x08" + varint(dtype) + b"\x12" + sized(dimensions) + place + b"\x28" + varint(size)


def sized(message: bytes) -> bytes:
    return varint(len(message)) + message


def handle(start: int, size: int) -> bytes:
    return varint(start) + varint(size)


def varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low]) if value < 0x80 else bytes([low | 0x80]) + varint(value >> 7)
