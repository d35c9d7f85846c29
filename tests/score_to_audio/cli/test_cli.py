"""The command line as a user meets it: real processes, exit codes, one line per error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
import soundfile

from score_to_audio import manifest, registry
from score_to_audio.checkpoints import find as find_checkpoint
from score_to_audio.cli import doctor
from score_to_audio.errors import InputError
from score_to_audio.formats.matches import read_match
from score_to_audio.formats.midi import read_performance
from score_to_audio.testing import example_score
from tests.command_line import call

InProcess = Callable[..., tuple[int, str, str]]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "good.musicxml").write_bytes(example_score().content)
    return tmp_path


def cli(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "score_to_audio.cli", *arguments],
        cwd=place,
        env=os.environ | {"SCORE_TO_AUDIO_STORE": str(place / "store")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The same within this process: quicker, for what ends before any work starts."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(place / "store"))
    return partial(call, monkeypatch, capsys)


def visible(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if not path.name.startswith("."))


@pytest.mark.slow
def test_the_three_verbs(place: Path) -> None:
    done = cli(place, "render", "good.musicxml", "-o", "x.mid")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("x.mid  (")
    done = cli(place, "synthesize", "x.mid", "-o", "x.ogg", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["artifact"]["media_type"] == "audio/flac"
    done = cli(place, "run", "good.musicxml", "-o", "out", "-f", "wav", "-f", "flac")
    assert done.returncode == 0, done.stderr
    assert visible(place / "out") == ["good.flac", "good.mid", "good.wav", "manifest.jsonl"]
    assert (place / "out" / "good.mid").read_bytes() == (place / "x.mid").read_bytes()
    assert "from the store" in cli(place, "run", "good.musicxml", "-o", "out").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "bad.musicxml", "-o", "out"), "bad.musicxml"),
        (("run", "nowhere.mxl", "-o", "out"), "nowhere.mxl"),
        (("run", "good.musicxml", "-o", "out", "-r", "skore"), "did you mean 'score'?"),
        (
            ("run", "good.musicxml", "-o", "out", "--set", "renderer.speed=0"),
            "renderer.speed of 'pianist-mean'",
        ),
        (("run", "good.musicxml", "-o", "out", "--set", "speed=1"), "--set 'speed=1'"),
        (
            ("run", "good.musicxml", "-o", "out", "-f", "aiff"),
            "format: Input should be 'wav', 'flac', 'mp3' or 'ogg'",
        ),
        (("run", "good.musicxml", "-o", "out", "--prompt", "hall"), "sampled-piano takes no prompt"),
        (("run", "good.musicxml", "-o", "bad.musicxml/out"), "is not a folder that you may write to"),
        (("synthesize", "bad.musicxml", "-o", "x.wav"), "is a score; `score-to-audio run"),
        (("run", "nofolder/", "-o", "out"), "nofolder: there is no such folder"),
        (("synthesize", "nowhere.mid", "-o", "x.wav"), "no such MIDI file"),
        (("compare", "nowhere.yaml", "-o", "out"), "nowhere.yaml: cannot be read"),
        (("compare", "good.musicxml", "-o", "out", "--blind", "abx"), "write pairs or mushra"),
        (("compare", "good.musicxml", "-o", "out", "--synthesizers", "m2a:x=1"), "--set m2a.x=1"),
        (("compare", "good.musicxml", "-o", "out", "--synthesizers", "m3a"), "did you mean 'm2a'?"),
        (("compare", "good.musicxml", "-o", "bad.musicxml"), "is not a folder that you may write to"),
        (("votes", "nowhere.json", "--key", "key.json"), "key.json: cannot be read"),
        (("models", "show", "nothing"), "see `score-to-audio models list`"),
        (("models", "check", "midi-valle"), "models pull midi-valle"),
        (("models", "pull"), "or --all"),
        (("models", "pull", "dexter"), "ask the authors"),
        (("models", "import", "m3a"), "did you mean 'm2a'?"),
        (("store", "prune"), "say what to delete"),
        (("store", "prune", "--max-size", "many"), "write 500MB or 20GB"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_nothing_left(
    arguments: tuple[str, ...], message: str, place: Path, inside: InProcess
) -> None:
    (place / "bad.musicxml").write_text("<score-partwise><part-list>")
    before = visible(place)
    code, printed, error = inside(*arguments)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
    assert printed == ""
    left = [path for path in (place / "store").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert (set(visible(place)) - {"store"}, left) == (set(before), [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing/*.musicxml",), "missing/*.musicxml: the pattern matches no file"),
        (("good.musicxml", "-r", "rachmaninov"), "unknown renderer 'rachmaninov'; known: "),
        (("good.musicxml", "--runner", "walker"), "runner: Input should be 'thread', 'ray' or 'dask'"),
        (("good.musicxml", "--deadline", "-1"), "deadline: Input should be greater than 0 (got -1.0)"),
        (("good.musicxml", "--memory-limit", "much"), "'much' is no size: write 500MB or 20GB"),
    ],
)
def test_a_batch_with_wrong_options_is_one_sentence(
    place: Path, inside: InProcess, arguments: tuple[str, ...], message: str
) -> None:
    code, printed, error = inside("batch", *arguments, "-o", "out")
    assert (code, printed, len(error.splitlines())) == (2, "", 1), error
    assert message in error
    assert not (place / "out").exists()


def test_nobody_has_to_read_what_is_printed(place: Path) -> None:
    command = f"exec {sys.executable} -m score_to_audio.cli models list >&-"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=place, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["run", "batch"])
def test_a_damaged_record_is_found_before_any_work(place: Path, inside: InProcess, command: str) -> None:
    (place / "out").mkdir()
    (place / "out" / "manifest.jsonl").write_text("garbage\n")
    code, printed, error = inside(command, "good.musicxml", "-o", "out")
    assert (code, printed, len(error.splitlines())) == (2, "", 1), error
    assert "out/manifest.jsonl: not a manifest" in error
    assert not (place / "store").exists()


@pytest.mark.parametrize("command", ["run", "batch"])
@pytest.mark.parametrize(
    ("failed", "said", "missing"),
    [
        (None, "", "out/manifest.jsonl: no manifest of an earlier run; omit --retry-failed\n"),
        ("good", "nothing to retry: none of these scores is recorded as failed\n", ""),
        ("gone", "nothing to retry: none", "gone failed before, but not among the scores given now\n"),
    ],
)
def test_nothing_to_retry(
    place: Path, inside: InProcess, command: str, failed: str | None, said: str, missing: str
) -> None:
    if failed:
        entry = {"files": [], "error": "no"}
        manifest.append(place / "out", [{"name": failed} | entry, {"name": "good", "files": []}])
    code, printed, error = inside(command, "good.musicxml", "-o", "out", "--retry-failed")
    assert code == (0 if failed else 2)
    assert printed.startswith(said)
    assert error.endswith(missing)


@pytest.mark.slow
def test_a_name_that_the_terminal_cannot_show_is_printed_all_the_same(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "good.musicxml").rename(place / "für.musicxml")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = cli(place, "run", "für.musicxml", "-o", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out/f\\xfcr.mid  out/f\\xfcr.wav  (")


@pytest.mark.slow
def test_stdout_holds_results_alone(place: Path) -> None:
    done = cli(place, "run", "good.musicxml", "-o", "out", "--json")  # libraries greet on stdout at import
    assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["good"]


@pytest.mark.slow
def test_one_bad_score_does_not_stop_the_others(place: Path, inside: InProcess) -> None:
    (place / "bad.musicxml").write_text("no score")
    code, printed, _ = inside("run", ".", "-o", "out", "--json")
    assert code == 1
    results = {entry["name"]: entry for entry in map(json.loads, printed.splitlines())}
    assert results["good"]["error"] is None
    assert "bad.musicxml" in results["bad"]["error"]
    assert (place / "out" / "good.wav").is_file()
    manifest = [json.loads(line) for line in (place / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [bool(entry["error"]) for entry in manifest] == [True, False]


def test_the_store_is_shown_and_emptied(place: Path, inside: InProcess) -> None:
    cli(place, "render", "good.musicxml", "-o", "x.mid")  # what a living process made would be spared
    assert json.loads(inside("store", "info", "--json")[1])["count"] == 2  # as rendered, and with a lead-in
    assert "deleted 2 artifacts" in inside("store", "prune", "--all")[1]
    assert json.loads(inside("store", "info", "--json")[1])["count"] == 0


def test_render_writes_a_tempo_map_and_an_alignment(place: Path, inside: InProcess) -> None:
    assert inside("render", "good.musicxml", "-o", "x.mid")[0] == 0
    assert inside("render", "good.musicxml", "-o", "y.mid", "--midi-tempo", "score", "--alignment")[0] == 0
    assert visible(place) == ["good.musicxml", "store", "x.mid", "y.beats.csv", "y.match", "y.mid"]
    played, mapped = (read_performance(place / name) for name in ("x.mid", "y.mid"))
    np.testing.assert_allclose(mapped.onset, played.onset, rtol=0, atol=1e-6)
    assert mapped.score_ids == played.score_ids == read_match(place / "y.match").score_ids
    head, first = (place / "y.beats.csv").read_text().splitlines()[:2]
    assert head == "measure,beat,time"
    assert float(first.split(",")[2]) == pytest.approx(played.onset[0], abs=1e-6)
    refused = inside("render", "good.musicxml", "-o", "z.mid", "--midi-tempo", "rubato")
    assert (refused[0], "midi_tempo" in refused[2]) == (2, True)


def test_run_delivers_the_hands_apart(place: Path, inside: InProcess) -> None:
    arguments = ("run", "good.musicxml", "-o", "out", "--stems", "hands", "-f", "flac", "--alignment")
    assert inside(*arguments)[0] == 0
    ends = ("beats.csv", "flac", "left.flac", "match", "mid", "right.flac")
    assert visible(place / "out") == sorted([f"good.{end}" for end in ends] + ["manifest.jsonl"])
    code, shown, _ = inside(*arguments)
    assert (code, "from the store" in shown) == (0, True)
    tags = soundfile.SoundFile(place / "out/good.flac").copy_metadata()
    assert "rendered by pianist-mean, synthesized by sampled-piano" in tags["comment"]
    assert (place / "out/good.left.flac").read_bytes() != (place / "out/good.right.flac").read_bytes()


def match_file(place: Path) -> Path:
    """A human performance of the example score: its notes one after another, a little later each time."""
    notes = example_score().parsed.notes
    lines = ["info(matchFileVersion,1.0.0).", "info(midiClockUnits,480).", "info(midiClockRate,500000)."]
    for number, (name, onset, duration, pitch) in enumerate(
        zip(notes.id, notes.onset, notes.duration, notes.pitch, strict=True)
    ):
        start, end = int(500 * onset), int(500 * (onset + duration))
        written = f"snote({name},[C,n],4,1:1,0,1/4,{onset:.4f},{onset + duration:.4f},[v1,staff1])"
        lines.append(f"{written}-note({number},{pitch},{start},{end},{50 + number},0,0).")
    (place / "human.match").write_text("\n".join(lines) + "\n")
    return place / "human.match"


def test_a_picture_beside_humans(place: Path, inside: InProcess) -> None:
    match_file(place)
    assert inside("plot", "good.musicxml", "-o", "x.svg", "--humans", ".", "--measures", "1-2")[0] == 0
    picture = (place / "x.svg").read_text()
    assert "mean of 1 human performances" in picture
    assert "pianist-mean" in picture
    assert inside("plot", "good.musicxml", "-o", "y.svg", "--measures", "2")[0] == 0
    assert "pianist-mean · measures 2" in (place / "y.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--humans", "human.match", "--measures", "4-2"), "measures 4-2: the score numbers them 1 to "),
        (("--humans", "human.match", "--measures", "90"), "measures 90: the score numbers them 1 to "),
        (("--measures", "first"), "measures"),
        (("--humans", "store"), "store: no .match files in this folder"),
        (("--humans", "good.musicxml"), "no match file"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(
    arguments: tuple[str, ...], message: str, place: Path, inside: InProcess
) -> None:
    match_file(place)
    (place / "store").mkdir()
    code, _, error = inside("plot", "good.musicxml", "-o", "x.svg", *arguments)
    assert (code, message in error, len(error.splitlines())) == (2, True, 1)
    assert not (place / "x.svg").exists()


def test_models_are_listed_and_shown(inside: InProcess) -> None:
    code, listed, _ = inside("models", "list")
    assert code == 0
    assert "sampled-piano" in listed
    entries = {
        entry["name"]: entry for entry in map(json.loads, inside("models", "list", "--json")[1].splitlines())
    }
    assert "speed" in entries["score"]["options"]
    assert "speed = 1.0" in inside("models", "show", "score")[1]


def test_a_broken_plugin_does_not_hide_the_others(inside: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("broken", "no_such_module:Broken", "score_to_audio.renderers")
    installed = registry.entries("renderer") | {"broken": entry}
    monkeypatch.setattr(registry, "entries", lambda kind: installed if kind == "renderer" else {})
    code, listed, _ = inside("models", "list")
    assert code == 0
    assert "score " in listed
    assert "broken" in listed
    assert "No module named 'no_such_module'" in listed


@pytest.mark.slow
def test_doctor_finds_this_installation_healthy(place: Path) -> None:
    done = cli(place, "doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert all(check["ok"] for check in map(json.loads, done.stdout.splitlines()))


def test_doctor_says_what_is_wrong_and_what_to_do(
    place: Path, monkeypatch: pytest.MonkeyPatch, inside: InProcess
) -> None:
    checkpoint = place / "checkpoints" / "midi-valle" / "best-valid-loss.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"as it was")
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(place / "checkpoints"))
    find_checkpoint("midi-valle")
    checkpoint.write_bytes(b"damaged")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(place / "good.musicxml" / "store"))
    code, listed, _ = inside("doctor")
    assert code == 1
    bad = {line[5:20].strip(): line[20:] for line in listed.splitlines() if line.startswith("BAD")}
    assert set(bad) == {"store", "checkpoints", "prefect api"}
    assert "is not a folder that you may write to; set SCORE_TO_AUDIO_STORE" in bad["store"]
    assert "models import midi-valle" in bad["checkpoints"]
    assert "does not answer (" in bad["prefect api"]
    assert "Connection refused); start the server" in bad["prefect api"]
    monkeypatch.setattr(doctor, "LITTLE_SPACE", 1e9)
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(place / "store"))
    assert "GB free; make room, for instance with `score-to-audio store prune" in inside("doctor")[1]


def test_doctor_diagnoses_code_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, inside: InProcess
) -> None:
    known = Distribution.from_name

    def without_ours(name: str) -> Distribution:
        if name == "score-to-audio":
            raise PackageNotFoundError(name)
        return known(name)

    monkeypatch.setattr(Distribution, "from_name", without_ours)
    code, listed, _ = inside("doctor")
    assert code == 1
    assert {"score-to-audio", "extras"} == {line.split()[1] for line in listed.splitlines() if "BAD" in line}


@pytest.mark.slow
def test_a_foreign_package_of_our_name_is_noticed(place: Path) -> None:
    (place / "adapters").mkdir()
    (place / "adapters" / "__init__.py").touch()
    done = cli(place, "doctor")
    assert done.returncode == 1
    assert "Python finds the package 'adapters' at" in done.stderr


def test_debug_shows_the_traceback(inside: InProcess) -> None:
    with pytest.raises(InputError):
        inside("run", "nowhere.mxl", "-o", "out", "-r", "skore", "--debug")


def test_help_and_listing_import_nothing_heavy(place: Path) -> None:
    code = (
        "import sys; from score_to_audio.cli import main; sys.argv = ['score-to-audio', 'models', 'list']\n"
        "try: main.main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'prefect', 'partitura', 'scipy', 'soundfile', 'pretty_midi'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=place, check=True)


def test_one_checkpoint_that_cannot_be_had_does_not_stop_the_others(
    place: Path, monkeypatch: pytest.MonkeyPatch, inside: InProcess
) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(place / "checkpoints"))
    monkeypatch.setenv("SCORE_TO_AUDIO_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("score_to_audio.download.FIRST_WAIT", 0.0)
    code, printed, error = inside("models", "pull", "midi-valle", "asap-small")
    assert code == 1
    assert "asap_small.safetensors" in printed
    assert printed.endswith("not for commercial use: midi-valle, asap-small\n")
    assert error.startswith("error: http://127.0.0.1:9/midi-valle/best-valid-loss.pt: download failed (")


def test_without_files_import_says_which_come_from_where(inside: InProcess) -> None:
    code, printed, _ = inside("models", "import", "m2m")
    assert code == 0
    assert printed.startswith("m2m: get the archive https://zenodo.org/records/15524693/files/m2m.zip")
