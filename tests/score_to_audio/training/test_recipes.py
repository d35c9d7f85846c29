"""The recipes that come with the project are settings of their trainers."""

from __future__ import annotations

import pytest

from score_to_audio.training.trainers import TRAINERS
from tests.paths import PROJECT

RECIPES = {
    "renderers/dexter/training/asap_small.toml": "dexter",
    "renderers/m2m/training/asap_small.toml": "m2m",
    "renderers/virtuosonet/training/asap_small.toml": "virtuosonet",
    "synthesizers/codecs/training/mini_codec.toml": "piano-encodec",
    "synthesizers/m2a/training/miniature.toml": "m2a",
    "synthesizers/midi_valle/training/mini_midi_valle.toml": "midi-valle",
    "examples/miniature_codec.toml": "piano-encodec",
}


@pytest.mark.parametrize("path", RECIPES)
def test_recipes_are_read(path: str) -> None:
    TRAINERS[RECIPES[path]].config(PROJECT / path)


def test_every_recipe_is_tested() -> None:
    recipes = {*PROJECT.glob("*/*/training/*.toml"), *PROJECT.glob("examples/*.toml")}
    assert {str(path.relative_to(PROJECT)) for path in recipes} == RECIPES.keys()
