"""Commands in the documents are commands that exist, with options that exist; links lead to files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from score_to_audio import registry
from score_to_audio.cli.main import app
from score_to_audio.cli.options import split_options
from score_to_audio.comparison.choices import options_of, parse_settings
from score_to_audio.settings import read_score_options
from tests.paths import PROJECT
from tests.prefect_help import help_of
from tests.project.documents import Block, blocks, command_lines, documents, inline_commands, links, sections

OURS = command_lines("score-to-audio")
TO_RUN = [block for block in blocks() if block.run]
EXAMPLE_PLUGINS = """[score_to_audio.renderers]
metronome = music_box:Metronome
pianoflow = pianoflow:PianoFlow
[score_to_audio.synthesizers]
music-box = music_box:MusicBox
"""


@pytest.fixture(autouse=True)
def example_plugins(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The plug-ins in examples, which some documents use."""
    info = tmp_path_factory.mktemp("site") / "example_plugins-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: example-plugins\nVersion: 1\n")
    (info / "entry_points.txt").write_text(EXAMPLE_PLUGINS)
    monkeypatch.syspath_prepend(info.parent)
    for folder in ("plugin", "plugin_symupe"):
        monkeypatch.syspath_prepend(PROJECT / "examples" / folder)
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the first words name, and the other words."""
    command, rest = typer.main.get_command(app), list(words)
    while hasattr(command, "commands") and rest:
        command = command.commands[rest.pop(0)]
    return command, rest


@pytest.mark.parametrize(
    ("block", "words"), [pytest.param(*one, id=f"{one[0]}: {' '.join(one[1])}"[:90]) for one in OURS]
)
def test_a_command_line_is_accepted(block: Block, words: list[str]) -> None:
    command, rest = command_of([word.strip("[]") for word in words])
    context = command.make_context(command.name, rest)
    chosen = context.params
    if "renderers" in chosen:
        check_options_of_comparison(chosen)
    for kind, options in split_options(chosen.get("options") if "renderer" in chosen else None).items():
        if kind == "score":
            read_score_options(options)
        elif (name := chosen.get(kind)) and not name.isupper():  # NAME stands for any
            registry.parameters(kind, name, options)  # type: ignore[arg-type]


def check_options_of_comparison(chosen: dict[str, Any]) -> None:
    lists = {"renderer": chosen["renderers"].split(","), "synthesizer": chosen["synthesizers"].split(",")}
    options = parse_settings(chosen["settings"] or (), [name for names in lists.values() for name in names])
    for kind, names in lists.items():
        for name in names:
            registry.parameters(kind, name, options_of(kind, name, options))  # type: ignore[arg-type]


def test_commands_within_sentences_exist_with_their_options() -> None:
    assert inline_commands()
    for document, words in inline_commands():
        if words[0].isupper():  # COMMAND stands for any
            continue
        command, rest = command_of(words)
        known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
        options = {word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)}
        assert options <= known, (document, words)


def test_make_targets_and_modules_exist() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    for block, words in command_lines("make"):
        targets = [word for word in words if "=" not in word]
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), (block, words)
    for block, words in command_lines("python"):
        if words[:1] == ["-m"] and words[1].startswith(("benchmarks", "tools")):
            assert (PROJECT / f"{words[1].replace('.', '/')}.py").is_file(), (block, words)


@pytest.mark.slow
def test_prefect_commands_exist_with_their_options() -> None:
    lines = [
        (block, words, tuple(word for word in words if not word.startswith("-"))[:2])
        for block, words in command_lines("prefect")
    ]
    helps = help_of(names for _, _, names in lines)
    for block, words, names in lines:
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option in helps[names] or option == "--no-prompt", (block, words)
    assert len(helps) >= 5


def test_links_lead_to_files_and_sections() -> None:
    assert links()
    for document, target, section in links():
        assert target.exists(), (document, target)
        assert not section or section in sections(target), (document, target, section)


@pytest.mark.slow
@pytest.mark.parametrize("block", TO_RUN, ids=str)
def test_an_example_works(block: Block, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    shell = ["bash", "-euc"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*shell, block.text],
        cwd=tmp_path,
        env=os.environ
        | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "SCORE_TO_AUDIO_STORE": str(tmp_path / "store"),
            "PREFECT_API_URL": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_document_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [PROJECT / "README.md"]
    while ahead:
        document = ahead.pop()
        reached.add(document)
        targets = {target for one, target, _ in links() if one == document and target.suffix == ".md"}
        ahead += targets - reached
    assert set(documents()) - reached == {one for one in documents() if ".github" in one.parts}
