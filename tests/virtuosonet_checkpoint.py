"""Writes a VirtuosoNet checkpoint in the published layout, its weights filled from their names."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any, Literal

import torch

from renderers.virtuosonet.network import NetworkSizes, VirtuosoNetwork
from tests.parity.golden_files import fill
from tests.paths import GOLDEN

RECORDED = GOLDEN / "virtuosonet"


def write_checkpoint(path: Path, *, size: Literal["tiny", "full"] = "tiny", salt: str = "open") -> Path:
    """The layout of ``checkpoint_layout.json`` with synthetic statistics. Full: 60 MB, the published size."""
    torch.save(checkpoint(size=size, salt=salt), path)
    return path


def checkpoint(*, size: Literal["tiny", "full"] = "tiny", salt: str = "open") -> dict[str, Any]:
    """The content of such a file."""
    config = _recorded(f"config_{size}.json")
    shapes = _recorded(f"state_dict_{size}.json")
    inputs = shapes["note_embedder.fc.weight"]["shape"][1]
    network = VirtuosoNetwork(NetworkSizes.from_config(config, inputs=inputs))
    fill(network, salt)
    return {
        "epoch": 1,
        "state_dict": OrderedDict(network.state_dict()),
        "best_valid_loss": 1.0,
        "optimizer": {"state": {}, "param_groups": []},
        "training_step": 1,
        "stats": _recorded("stats_synthetic.json"),
        "network_params": config,
        "model_code": "isgn",
    }


def _recorded(name: str) -> Any:
    return json.loads((RECORDED / name).read_text("utf-8"))
