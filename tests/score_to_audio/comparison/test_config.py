"""The model of a comparison: its published schema, and the examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from score_to_audio.comparison.config import Reconstruction, Recording, Synthesis, json_schema
from score_to_audio.comparison.config_file import parse, read_config
from tests.paths import PROJECT


def test_the_published_schema_is_up_to_date() -> None:
    published = json.loads((PROJECT / "docs" / "compare.schema.json").read_text())
    assert published == json.loads(json.dumps(json_schema())), (
        "write it again with python -m tools.compare_schema"
    )


@pytest.mark.parametrize("example", sorted((PROJECT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_valid_by_the_schema_too(example: Path) -> None:
    from jsonschema import Draft202012Validator

    read_config(example)
    content, _ = parse(example.read_text("utf-8"), example.name)
    Draft202012Validator(json_schema()).validate(content)


def test_the_demo_page_has_the_published_four_sections() -> None:
    config = read_config(PROJECT / "examples" / "demo_page.yaml")
    assert len(config.sections) == 4
    kinds = [{type(column) for column in section.columns} for section in config.sections]
    assert kinds == [
        {Recording, Reconstruction},
        {Recording, Reconstruction, Synthesis},
        {Synthesis},
        {Recording, Synthesis},
    ]
