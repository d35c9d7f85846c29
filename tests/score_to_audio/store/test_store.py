"""The store within one process: keys, hits, damage, parts, upkeep."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from score_to_audio.errors import StoreError
from score_to_audio.store import Store, artifact_key, default_store
from score_to_audio.types import Artifact, Provenance

PROVENANCE = Provenance(
    stage="render",
    model="score",
    implementation="3",
    checkpoints={"weights": "c" * 64},
    input="a" * 64,
    input_name="étude.musicxml",
    parameters={"tempo": 0.1, "pedal": None, "voices": ["upper", "lower"]},
    seed=7,
    device_class="cpu",
    parent=None,
)
CONTENT = bytes(range(256)) * 40
KEY = artifact_key({"name": "one"})


class Maker:
    """Writes the content, and counts how often."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.calls = 0

    def __call__(self, destination: Path) -> None:
        self.calls += 1
        destination.write_bytes(self.content)


def put(store: Store, key: str = KEY, make: Callable[[Path], None] | None = None) -> tuple[Artifact, bool]:
    return store.get_or_make(
        key, name="audio.wav", media_type="audio/wav", provenance=PROVENANCE, make=make or Maker()
    )


def files_of(store: Store) -> set[str]:
    return {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


# --------------------------------------------------------------------------------------------- keys

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_key_depends_on_what_is_said_and_not_on_the_order(description: dict[str, Any]) -> None:
    backwards = dict(reversed(description.items()))
    assert artifact_key(description) == artifact_key(backwards)
    assert artifact_key(description) == artifact_key(json.loads(json.dumps(description)))
    assert artifact_key(description) != artifact_key({**description, "one more": 1})


def test_keys_tell_values_of_different_kinds_apart() -> None:
    values: list[Any] = [1, 1.5, "1", True, None, [1], {"a": 1}, "", [], {}, 0, False]
    assert len({artifact_key({"value": value}) for value in values}) == len(values)
    assert artifact_key({"value": (1, 2)}) == artifact_key({"value": [1, 2]})


def test_a_key_never_changes() -> None:
    """A change here would make every artifact of every store again."""
    description = {"stage": "render", "parameters": {"tempo": 0.1, "title": "é"}, "seed": 7}
    text = rb'{"parameters":{"tempo":0.1,"title":"\u00e9"},"seed":7,"stage":"render"}'
    assert artifact_key(description) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (math.nan, r"description\.parameters\.tempo\[1\] is nan"),
        (math.inf, "is inf"),
        ({1: "x"}, "the key 1"),
        ({1, 2}, "type set"),
        (b"x", "type bytes"),
        (Path("x"), "PosixPath"),
        (np.int64(1), "int64"),
    ],
)
def test_what_json_cannot_say_is_no_key(value: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        artifact_key({"parameters": {"tempo": [0.5, value]}})


# --------------------------------------------------------------------------------------------- hits


def test_asking_writes_nothing(store: Store) -> None:
    assert store.get(KEY) is None
    assert store.info().count == 0
    assert store.prune(max_size=0).count == 0
    assert not store.folder.exists()


def test_an_artifact_is_made_once_and_found_again(store: Store) -> None:
    make = Maker()
    made, cached = put(store, make=make)
    assert not cached
    again, cached = put(Store(store.folder), make=make)
    assert cached
    assert again == made
    assert make.calls == 1
    assert store.get(KEY) == made
    assert store.get(KEY, verify="hash") == made
    assert store.path(made).read_bytes() == CONTENT
    assert store.provenance(made) == PROVENANCE
    assert (made.size, made.media_type) == (len(CONTENT), "audio/wav")
    home = f"{KEY[:2]}/{KEY}"
    assert files_of(store) == {f"{home}/.lock", f"{home}/audio.wav", f"{home}/artifact.json", ".in-use"}


def test_the_maker_gets_a_path_with_the_suffix_of_the_file(store: Store) -> None:
    put(store, make=lambda path: path.write_text(path.suffix) and None)  # type: ignore[arg-type]
    artifact = store.get(KEY)
    assert artifact
    assert store.path(artifact).read_text() == ".wav"


def test_a_moved_store_still_hits(store: Store, tmp_path: Path) -> None:
    made, _ = put(store)
    shutil.move(store.folder, tmp_path / "moved")
    assert Store(tmp_path / "moved").get(KEY) == made


def test_a_copy_without_times_still_hits(store: Store, tmp_path: Path) -> None:
    made, _ = put(store)
    shutil.copytree(store.folder, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = Store(tmp_path / "copy")
    assert copy.path(made).stat().st_mtime_ns != store.path(made).stat().st_mtime_ns
    assert copy.get(KEY) == made
    assert copy.path(made).stat().st_mtime_ns == store.path(made).stat().st_mtime_ns  # hashed once only


def test_a_link_to_the_store_is_as_good_as_the_store(store: Store, tmp_path: Path) -> None:
    made, _ = put(store)
    (tmp_path / "link").symlink_to(store.folder)
    assert Store(tmp_path / "link").get(KEY) == made


@pytest.mark.parametrize("name", ["", "../audio.wav", "a/b.wav", ".hidden", "artifact.json", "x" * 200])
def test_files_have_plain_names(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        store.get_or_make(KEY, name=name, media_type="", provenance=PROVENANCE, make=Maker())


@pytest.mark.parametrize("key", ["", "abc", KEY.upper(), f"../{KEY[3:]}", KEY + "\n"])
def test_keys_are_hashes(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="no artifact key"):
        store.get(key)


def test_the_store_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", str(tmp_path))
    assert default_store().folder == tmp_path
    monkeypatch.delenv("SCORE_TO_AUDIO_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_store().folder == tmp_path / "cache/score-to-audio/store"


# ------------------------------------------------------------------------------------------- damage


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(content)


def _to_link(path: Path) -> None:
    elsewhere = path.parents[3] / "elsewhere"
    shutil.copy2(path, elsewhere)
    path.unlink()
    path.symlink_to(elsewhere)


FILE_DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: os.truncate(path, 100),
    "emptied": lambda path: os.truncate(path, 0),
    "extended": lambda path: path.write_bytes(CONTENT + b"x"),
    "bit-flipped": lambda path: flip(path, 4321),
    "deleted": lambda path: path.unlink(),
    "replaced by a link": _to_link,
}


@pytest.mark.parametrize("damage", FILE_DAMAGE.values(), ids=list(FILE_DAMAGE))
def test_a_damaged_file_is_made_again(store: Store, damage: Callable[[Path], object]) -> None:
    made, _ = put(store)
    damage(store.path(made))
    assert store.get(KEY) is None
    make = Maker()
    again, cached = put(store, make=make)
    assert not cached
    assert make.calls == 1
    assert (again.sha256, again.size) == (made.sha256, made.size)
    assert store.path(again).read_bytes() == CONTENT


def test_a_flip_right_after_making_is_noticed(store: Store) -> None:
    """Many file systems date writes in steps of milliseconds; a hundred attempts would hit the same step."""
    for number in range(100):
        key = artifact_key({"number": number})
        made, _ = put(store, key)
        flip(store.path(made), number)
        assert store.get(key) is None


def test_no_later_write_can_have_the_time_of_the_finished_file(store: Store) -> None:
    """Whatever the steps of the file system's clock: the recorded time lies before the making."""
    before = time.time_ns()
    made, _ = put(store)
    assert before - 2_000_000_000 < store.path(made).stat().st_mtime_ns < before - 500_000_000


def test_the_size_counts_even_where_the_time_is_right(store: Store) -> None:
    made, _ = put(store)
    path = store.path(made)
    before = path.stat()
    os.truncate(path, 100)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.get(KEY) is None


def test_only_the_hash_finds_what_changed_without_a_trace(store: Store) -> None:
    made, _ = put(store)
    path = store.path(made)
    before = path.stat()
    flip(path, 99)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.get(KEY) == made  # the documented limit of a quick look
    assert store.get(KEY, verify="hash") is None


RECORD_DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: os.truncate(path, 0),
    "truncated": lambda path: os.truncate(path, 300),
    "not json": lambda path: path.write_bytes(b"\xff\xfe<record/>"),
    "not an object": lambda path: path.write_text("[1, 2, 3]"),
    "an empty object": lambda path: path.write_text("{}"),
    "deeply nested": lambda path: path.write_text("[" * 100_000),
    "huge": lambda path: path.write_text(json.dumps({"x": "y" * 5_000_000})),
    "of a later version": lambda path: path.write_text(
        path.read_text().replace('"format": 1', '"format": 2')
    ),
}


@pytest.mark.parametrize("damage", RECORD_DAMAGE.values(), ids=list(RECORD_DAMAGE))
def test_without_a_sound_record_there_is_no_artifact(store: Store, damage: Callable[[Path], object]) -> None:
    made, _ = put(store)
    damage(store.path(made).parent / "artifact.json")
    assert store.get(KEY) is None
    with pytest.raises(StoreError, match="gone or damaged"):
        store.provenance(made)
    assert store.info().count == 0
    again, cached = put(store)
    assert not cached
    assert again.sha256 == made.sha256


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_flipped_bit_of_a_record_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "flipped")
    made, _ = put(store)
    record = store.path(made).parent / "artifact.json"
    whole = record.read_bytes()
    flip(record, data.draw(st.integers(0, len(whole) * 8 - 1)))
    try:
        found = store.get(KEY)
        assert found is None or (found == made and store.provenance(made) == PROVENANCE)
    finally:
        record.write_bytes(whole)


def forge(store: Store, made: Artifact, **changes: Any) -> None:
    """A record with a valid checksum."""
    path = store.path(made).parent / "artifact.json"
    body = json.loads(path.read_text())
    del body["check"]
    body["artifact"] |= changes
    path.write_text(json.dumps({"check": artifact_key(body), **body}))


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../secret", "{home}/../../../secret", "{home}/../{other}/audio.wav", "{home}/", 7, None],
)
def test_a_record_cannot_lead_out_of_its_folder(store: Store, path: Any) -> None:
    (store.folder.parent / "secret").write_bytes(CONTENT)
    made, _ = put(store)
    put(store, other := artifact_key({"name": "other"}))
    if isinstance(path, str):
        path = path.format(home=f"{KEY[:2]}/{KEY}", other=other)
    forge(store, made, path=path)
    assert store.get(KEY) is None
    if isinstance(path, str):
        with pytest.raises(StoreError, match="no file of this store"):
            store.path(replace(made, path=path))


def test_a_sound_forgery_shows_that_the_test_above_can_fail(store: Store) -> None:
    made, _ = put(store)
    forge(store, made, media_type="audio/forged")
    found = store.get(KEY)
    assert found
    assert found.media_type == "audio/forged"


def test_a_linked_folder_is_refused(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.folder / KEY[:2]).mkdir(parents=True)
    (store.folder / KEY[:2] / KEY).symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of the store"):
        put(store)
    assert list(outside.iterdir()) == []
    assert store.info().count == 0
    store.prune(max_size=0)
    assert outside.exists()


# -------------------------------------------------------------------------------------------- failure


def test_a_failing_maker_leaves_nothing(store: Store) -> None:
    def fail(destination: Path) -> None:
        destination.write_bytes(b"half of it")
        raise RuntimeError("no more notes")

    with pytest.raises(RuntimeError, match="no more notes"):
        put(store, make=fail)
    assert files_of(store) == set()
    assert put(store)[1] is False


def test_an_interrupted_maker_leaves_nothing(store: Store) -> None:
    def interrupt(destination: Path) -> None:
        destination.write_bytes(b"half of it")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        put(store, make=interrupt)
    assert files_of(store) == set()


def test_errors_about_other_files_are_not_blamed_on_the_store(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        put(store, make=lambda _: Path("/no/such/soundfont").read_bytes() and None)  # type: ignore[arg-type]


def test_a_file_in_the_place_of_the_store_is_explained(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("I was here first")
    with pytest.raises(StoreError, match=r"store: the store cannot be used .* set SCORE_TO_AUDIO_STORE"):
        put(Store(tmp_path / "store"))


# ---------------------------------------------------------------------------------------------- parts


def arrays() -> dict[str, np.ndarray]:
    return {"codes": np.arange(12, dtype=np.int16).reshape(3, 4), "words": np.array(["a", "bc"])}


def no_arrays() -> dict[str, np.ndarray]:
    raise AssertionError("made although it was kept")


def part_of(store: Store) -> Path:
    (path,) = (store.folder / KEY[:2] / KEY / "parts").iterdir()
    return path


def test_parts_are_kept_until_the_artifact_is_whole(store: Store) -> None:
    def fail(_: Path) -> None:
        store.cached_part(KEY, "segment 1/2", arrays)
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        put(store, make=fail)

    def finish(destination: Path) -> None:
        kept = store.cached_part(KEY, "segment 1/2", no_arrays)
        assert {name: (value.dtype, value.tolist()) for name, value in kept.items()} == {
            name: (value.dtype, value.tolist()) for name, value in arrays().items()
        }
        assert store.cached_part(KEY, "segment 2/2", lambda: {"x": np.zeros(1)})["x"] == 0
        destination.write_bytes(CONTENT)

    put(store, make=finish)
    home = f"{KEY[:2]}/{KEY}"
    assert files_of(store) == {f"{home}/.lock", f"{home}/audio.wav", f"{home}/artifact.json", ".in-use"}


def test_any_names_will_do_for_arrays_and_parts(store: Store) -> None:
    odd = {"file": np.zeros(1), "a/b": np.ones(2), "../é": np.ones(3)}
    store.cached_part(KEY, "../../outside", lambda: odd)
    assert set(store.cached_part(KEY, "../../outside", no_arrays)) == set(odd)
    assert part_of(store).parent.name == "parts"


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_part_is_made_again(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "damaged-part")
    store.cached_part(KEY, "part", arrays)
    size = part_of(store).stat().st_size
    if data.draw(st.booleans()):
        flip(part_of(store), data.draw(st.integers(0, size * 8 - 1)))
    else:
        os.truncate(part_of(store), data.draw(st.integers(0, size - 1)))
    made = store.cached_part(KEY, "part", lambda: {"again": np.ones(1)})
    assert list(made) == ["again"]
    assert list(store.cached_part(KEY, "part", no_arrays)) == ["again"]
    part_of(store).unlink()


def test_objects_are_not_kept(store: Store) -> None:
    with pytest.raises(ValueError, match="'thing' of part 'part' holds Python objects"):
        store.cached_part(KEY, "part", lambda: {"thing": np.array([{}, []], dtype=object)})
    assert files_of(store) == set()


# --------------------------------------------------------------------------------------------- upkeep


def filled(store: Store, count: int = 4, size: int = 10_000) -> list[str]:
    """Artifacts whose last use lies 1, 2, 3... days back; in a store that no process relies on."""
    keys = [artifact_key({"number": number}) for number in range(count)]
    for days, key in enumerate(keys, 1):
        put(store, key, Maker(b"x" * size))
        used = (store.folder / key[:2] / key / "artifact.json").stat().st_mtime - days * 86400
        os.utime(store.folder / key[:2] / key / "artifact.json", (used, used))
    drop_claims(store)
    return keys


def drop_claims(store: Store) -> None:
    """As if this process had never used the store: its claims stay behind with the old folder."""
    moved = store.folder.with_name(f"before-{time.time_ns()}")
    store.folder.rename(moved)
    shutil.copytree(moved, store.folder)
    (store.folder / ".in-use").unlink()


def test_info_counts_by_stage_and_model(store: Store) -> None:
    filled(store, 3, 5000)
    info = store.info()
    assert info.count == 3
    assert info.by_model["render/score"][0] == 3
    assert 15_000 < info.by_model["render/score"][1] == info.bytes < 20_000
    assert info.oldest
    assert info.newest
    assert info.newest - info.oldest == pytest.approx(timedelta(days=2), abs=timedelta(minutes=1))
    store.cached_part(KEY, "part", arrays)
    assert store.info().unfinished == 1
    assert store.info().count == 3


def test_pruning_by_age(store: Store) -> None:
    keys = filled(store)
    report = store.prune(older_than=timedelta(days=2.5))
    assert report.count == 2
    assert report.bytes > 20_000
    assert [store.get(key) is not None for key in keys] == [True, True, False, False]


def test_pruning_by_size_takes_the_least_recently_used(store: Store) -> None:
    keys = filled(store)
    assert store.get(keys[3])  # the oldest, used again
    drop_claims(store)
    report = store.prune(max_size=25_000)
    assert report.count == 2
    assert [store.get(key) is not None for key in keys] == [True, False, False, True]
    assert store.info().bytes <= 25_000


def test_pruning_everything_leaves_an_empty_folder(store: Store) -> None:
    filled(store)
    store.cached_part(KEY, "part", arrays)
    assert store.prune(max_size=0).count == 5
    assert files_of(store) == {".in-use"}
    assert store.info() == replace(store.info(), count=0, bytes=0, unfinished=0)


def test_what_this_process_has_got_is_spared(store: Store) -> None:
    keys = filled(store)
    assert store.get(keys[2])
    report = store.prune(max_size=0)
    assert (report.count, report.spared) == (3, 1)
    assert [store.get(key) is not None for key in keys] == [False, False, True, False]


def test_pruning_sweeps_what_dead_writers_left(store: Store) -> None:
    keys = filled(store, 1)
    whole, dead = (store.folder / key[:2] / key for key in (keys[0], KEY))
    dead.mkdir(parents=True)
    for path in (whole / ".tmp-1234-audio.wav", dead / ".tmp-5678-audio.wav", dead / ".lock"):
        path.write_bytes(b"x" * 100)
    report = store.prune()
    assert (report.count, report.bytes) == (0, 200)
    assert not dead.exists()
    assert store.get(keys[0])
    assert not list(store.folder.rglob(".tmp-*"))


def test_pruning_keeps_the_parts_of_unfinished_work(store: Store) -> None:
    store.cached_part(KEY, "part", arrays)
    assert store.prune(older_than=timedelta(days=1)).count == 0
    store.cached_part(KEY, "part", no_arrays)
