"""A comparison's YAML file: what is read, and how errors name the line."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from score_to_audio.comparison import config_file
from score_to_audio.comparison.config import (
    FirstSeconds,
    Material,
    Reconstruction,
    Recording,
    Segments,
    Synthesis,
)
from score_to_audio.comparison.config_file import read_config
from score_to_audio.errors import InputError

GOOD = """
title: Two ways
sections:
  - title: One
    rows:
      - score: a.musicxml
      - dataset: maestro
        folder: data
    columns:
      - renderer: score
        prompt: {first_seconds: 2}
      - codec: piano-encodec
      - recording: true
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "comparison.yaml"
    path.write_text(dedent(text).lstrip("\n"))
    return path


def test_rows_and_columns_are_told_apart_by_their_keys(tmp_path: Path) -> None:
    (section,) = read_config(written(tmp_path, GOOD)).sections
    assert [type(row) for row in section.rows] == [Material, Segments]
    assert [type(column) for column in section.columns] == [Synthesis, Reconstruction, Recording]
    assert isinstance(section.rows[0], Material)
    assert section.rows[0].score == tmp_path / "a.musicxml"  # relative to the file
    assert isinstance(section.columns[0], Synthesis)
    assert section.columns[0].prompt == FirstSeconds(first_seconds=2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "score: a.musicxml",
            "skore: a.musicxml",
            "line 5: sections.0.rows.0.skore: no such key here; did you mean 'score'?",
        ),
        ("score: a.musicxml", "title: nothing", "line 5: sections.0.rows.0: a row needs a score"),
        ("renderer: score", "renderer: [score]", "line 9: sections.0.columns.0.renderer: Input should be"),
        ("{first_seconds: 2}", "{first_seconds: -2}", "line 10: sections.0.columns.0.prompt.first_seconds"),
        ("recording: true", "recording: maybe", "line 12: sections.0.columns.2.recording: Input should"),
        ("folder: data", "count: 3", "line 6: sections.0.rows.1.folder: is missing"),
        ("title: Two ways", "measures: [chroma]", "line 1: measures.0: Input should be 'levels'"),
        ("title: One", "title: One\n    title: Two", "line 4: 'title' stands twice"),
        ("score: a.musicxml", "score: {a", "line 6: not YAML"),
        ("score: a.musicxml", "score: *a", "not YAML"),
        ("title: One", "title: !!python/name:os.system", "line 3: '' is not understood"),
        ("title: One", "title: !!timestamp soon", "line 3: 'soon' is not understood"),
        ("title: One", "title: !!bool perhaps", "line 3: 'perhaps' is not understood"),
        ("score: a.musicxml", 20 * "skore" + ": x", f"sections.0.rows.0.{11 * 'skore'}skor…: no such key"),
    ],
)
def test_errors_name_the_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        read_config(written(tmp_path, GOOD.replace(old, new)))
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "comparison.yaml"))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400


def test_names_and_options_that_are_unknown_have_their_line_too(tmp_path: Path) -> None:
    for new, message in (
        ("renderer: skore", "line 9: sections.0.columns.0: unknown renderer 'skore'; did you mean 'score'?"),
        (
            "renderer: score\n        renderer_options: {sped: 1}",
            "line 9: sections.0.columns.0: 'score' has no",
        ),
    ):
        with pytest.raises(InputError) as raised:
            config_file.read_plan(written(tmp_path, GOOD.replace("renderer: score", new)))
        assert message in str(raised.value)
    with pytest.raises(InputError, match=r"line 3: sections\.0\.reference: no column is called 'x'"):
        config_file.read_plan(written(tmp_path, GOOD.replace("title: One", "reference: x\n    title: One")))


def test_parts_can_be_used_again(tmp_path: Path) -> None:
    text = GOOD.replace("- renderer: score", "- &one\n        renderer: score") + "      - *one\n"
    (section,) = read_config(written(tmp_path, text)).sections
    assert section.columns[3] == section.columns[0]


def test_what_is_no_comparison_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="check the path"):
        read_config(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="is empty"):
        read_config(written(tmp_path, "# nothing"))
    with pytest.raises(InputError, match="should be a valid dictionary"):
        read_config(written(tmp_path, "[1, 2]"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not text in UTF-8"):
        read_config(tmp_path / "binary.yaml")
    with pytest.raises(InputError, match="nested too deeply"):
        read_config(written(tmp_path, "[" * 50 + "]" * 50))
    with pytest.raises(InputError, match="nested too deeply"):
        read_config(written(tmp_path, "[" * 100_000))
    with pytest.raises(InputError, match="nested too deeply"):
        read_config(written(tmp_path, "&a [*a]"))
    laughs = "\n".join(f"- &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]" for n in range(9))
    with pytest.raises(InputError, match="more than 100000 entries"):
        read_config(written(tmp_path, f"- &a0 ha\n{laughs}"))
    monkeypatch.setattr(config_file, "MAX_FILE_SIZE", 10)
    with pytest.raises(InputError, match="larger than"):
        read_config(written(tmp_path, GOOD))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title: x\n\tsections: 3\n", "line 2: a tab; indent with spaces"),
        ("title: [x\n", "the file ends within a list"),
        ("title: x\nsectons: []\n", "line 2: sectons: no such key here; did you mean 'sections'?"),
        ("title: a: b\n", "line 1: a second colon"),
        ("title: x\n", "sections: is missing"),
    ],
)
def test_mistakes_are_named_in_plain_words(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=re.escape(says)):
        read_config(file)
