from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any, Literal

import pytest
from pydantic import Field

from score_to_audio import CheckpointName, Parameters, Spec, registry
from score_to_audio.errors import InputError
from score_to_audio.parameters import checkpoint_roles


class ToyParameters(Parameters):
    tempo: float = Field(100, gt=0, description="quarter notes per minute")
    style: Literal["plain", "free"] = Field("plain", description="how")
    marks: tuple[int, ...] = Field((), description="where")
    weights: CheckpointName = Field("midi-valle", description="checkpoint")


class Toy:
    spec = Spec(name="toy", version="1", summary="a toy", parameters=ToyParameters)
    built = 0

    def __init__(self, *_: Any, **__: Any) -> None:
        Toy.built += 1


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EntryPoint]]:
    """The list of installed renderers, to be changed by the test."""
    found = [EntryPoint("toy", f"{__name__}:Toy", "score_to_audio.renderers")]
    monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(found))
    monkeypatch.setattr(EntryPoint, "load", lambda _: Toy)
    registry.entries.cache_clear()
    yield found
    registry.entries.cache_clear()


def test_unknown_names_list_the_known(installed: list[EntryPoint]) -> None:
    with pytest.raises(InputError, match=r"unknown renderer 'toi'; did you mean 'toy'\? known: toy"):
        registry.plugin("renderer", "toi")


def test_two_plugins_of_one_name_are_an_error(installed: list[EntryPoint]) -> None:
    installed.append(EntryPoint("toy", "elsewhere:Toy", "score_to_audio.renderers"))
    with pytest.raises(InputError, match="two renderers are called 'toy'"):
        registry.entries("renderer")


def test_options_are_validated_and_filled_in(installed: list[EntryPoint]) -> None:
    values = registry.parameters("renderer", "toy", {"tempo": "80.5", "marks": "[1, 2]"})
    assert values == ToyParameters(tempo=80.5, marks=(1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tempo": "-1"}, r"renderer.tempo of 'toy': Input should be greater than 0 \(got '-1'\)"),
        ({"tempo": "fast"}, "renderer.tempo of 'toy': .* valid number"),
        ({"style": "wild"}, "renderer.style of 'toy': Input should be 'plain' or 'free'"),
        ({"temper": "1"}, "'toy' has no option 'temper' .* it has: tempo, style, marks, weights"),
    ],
)
def test_wrong_options_are_named(installed: list[EntryPoint], options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        registry.parameters("renderer", "toy", options)
    assert "\n" not in str(caught.value)


def test_checkpoints_are_missed_before_any_work(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path))
    assert checkpoint_roles(ToyParameters) == ("weights",)
    with pytest.raises(InputError, match="models pull midi-valle"):
        registry.resolve("renderer", "toy")


def test_a_model_is_built_once_for_the_same_choice(
    installed: list[EntryPoint], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(registry, "_built", {})
    monkeypatch.setattr(Toy, "built", 0)
    weights = tmp_path / "w.pt"
    weights.write_bytes(b"1")
    prepared = [
        registry.resolve("renderer", "toy", {"weights": str(weights), "tempo": tempo}, seed=seed)
        for tempo, seed in ((80, 1), (80, 2), (90, 1), (80, 3))
    ]
    assert [one.seed for one in prepared] == [0, 0, 0, 0]  # the toy does not use it
    models = [registry.build(one) for one in prepared]
    assert models[0] is models[1] is models[3]
    assert models[2] is not models[0]
    assert Toy.built == 2
    weights.write_bytes(b"22")
    registry.build(registry.resolve("renderer", "toy", {"weights": str(weights), "tempo": 80}))
    assert Toy.built == 3


def test_the_built_in_plugins_are_listed() -> None:
    assert "score" in registry.entries("renderer")
    assert "sampled-piano" in registry.entries("synthesizer")
