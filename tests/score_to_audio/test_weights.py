from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from score_to_audio.errors import InputError
from score_to_audio.weights import OpaqueObject, config_of, count_tensors, load_checkpoint, load_strictly


class Call:
    """An object whose pickle calls something when it is read."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


def test_tensors_and_plain_containers_are_read(tmp_path: Path) -> None:
    content = {
        "state_dict": OrderedDict(
            weight=torch.arange(6.0).reshape(2, 3), half=torch.ones(2, dtype=torch.bfloat16)
        ),
        "parameter": nn.Parameter(torch.ones(3)),
        "epoch": 7,
        "loss": np.float64(0.25),
        "names": ("a", {"b"}, [1.5, None, True]),
    }
    torch.save(content, tmp_path / "x.pt")
    read = load_checkpoint(tmp_path / "x.pt")
    torch.testing.assert_close(read["state_dict"]["weight"], content["state_dict"]["weight"])
    assert read["state_dict"]["half"].dtype == torch.bfloat16
    assert (read["epoch"], read["loss"], read["names"]) == (7, 0.25, ("a", {"b"}, [1.5, None, True]))
    assert count_tensors(read) == (3, 11)


@pytest.mark.parametrize(
    ("function", "arguments", "found"),
    [
        (os.system, ("touch {mark}",), "posix.system"),
        (eval, ("open('{mark}', 'w')",), "builtin__.eval"),
        (getattr, (Path, "touch"), "builtin__.getattr"),
        (pickle.loads, (b"cos\nsystem\n(S'touch {mark}'\ntR.",), "pickle.loads"),
        (torch.load, ("{mark}",), "torch.serialization.load"),
    ],
)
def test_code_in_a_checkpoint_is_refused_and_not_run(
    function: Callable[..., Any], arguments: tuple[Any, ...], found: str, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    filled = [a.replace("{mark}", str(mark)) if isinstance(a, str) else a for a in arguments]
    torch.save(
        {"state_dict": {"weight": torch.ones(1)}, "extra": Call(function, *filled)}, tmp_path / "bad.pt"
    )
    with pytest.raises(InputError, match=rf"bad\.pt: contains \S*{found}") as caught:
        load_checkpoint(tmp_path / "bad.pt", foreign=("omegaconf",))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_foreign_objects_are_inert_data(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"config": Call(os.system, f"touch {mark}")}, tmp_path / "x.pt")
    read = load_checkpoint(tmp_path / "x.pt", foreign=("posix",))
    assert isinstance(read["config"], OpaqueObject)
    assert not mark.exists()
    assert config_of(read["config"]) is None


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(InputError, match="neither a PyTorch"):
        load_checkpoint(tmp_path / "text.pt")
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
    with pytest.raises(InputError, match="TorchScript program"):
        load_checkpoint(tmp_path / "script.pt")
    torch.save({"a": torch.ones(1000)}, tmp_path / "whole.pt")
    (tmp_path / "half.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:2000])
    with pytest.raises(InputError, match=r"half\.pt"):
        load_checkpoint(tmp_path / "half.pt")
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_checkpoint(tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match="no such checkpoint file"):
        load_checkpoint(tmp_path / "nowhere.pt")


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "x.safetensors")
    assert list(load_checkpoint(tmp_path / "x.safetensors")) == ["a"]


def test_strict_loading_says_what_differs() -> None:
    module = nn.Linear(2, 3)
    tensors = {"weight": torch.ones(3, 5), "scale": torch.ones(1)}
    with pytest.raises(InputError) as caught:
        load_strictly(module, tensors, source="x.pt")
    message = str(caught.value)
    assert "lacks bias (3,)" in message
    assert "has an unknown scale (1,)" in message
    assert "has weight as (3, 5), not (3, 2)" in message
    load_strictly(module, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, source="x.pt")
    assert module.weight.sum() == 6


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's /proc")
def test_a_loaded_module_stays_mapped_to_its_file(tmp_path: Path, suffix: str) -> None:
    """Such pages are shared by all processes that load the file."""
    path, tensors = tmp_path / f"x.{suffix}", {"weight": torch.rand(300, 200), "bias": torch.rand(300)}
    save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    module = nn.Linear(200, 300)
    load_strictly(module, load_checkpoint(path), source=path.name)
    mapped = [
        tuple(int(end, 16) for end in line.split()[0].split("-"))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.endswith(str(path))
    ]
    for name, parameter in module.named_parameters():
        assert any(start <= parameter.data_ptr() < end for start, end in mapped), name
        assert parameter.requires_grad
        assert torch.equal(parameter, tensors[name])


def test_other_types_are_converted() -> None:
    module = nn.Linear(2, 3)
    load_strictly(module, {"weight": torch.ones(3, 2).half(), "bias": torch.zeros(3)}, source="x.pt")
    assert module.weight.dtype == torch.float32
