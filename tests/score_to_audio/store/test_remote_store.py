"""A store that machines share, on a real S3-compatible server that the tests start, and on folders."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from score_to_audio.errors import StoreError
from score_to_audio.store import Store, default_store, open_store
from score_to_audio.store import remote as remote_store
from score_to_audio.store.remote import SHARED, RemoteStore
from score_to_audio.types import Artifact
from tests.paths import PROJECT
from tests.score_to_audio.store.store_worker import CONTENT, PROVENANCE, key_of
from tests.trial.trial_kit import install_trial_plugins, write_scores

WORKER = Path(__file__).with_name("store_worker.py")
KEY = key_of("one")
PATIENCE = 120
BUCKET = "shared"
_numbers = count()


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of a server that is up; the environment leads every process there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "anything",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client
    server.stop()


@pytest.fixture
def url(s3: Any) -> str:
    return f"s3://{BUCKET}/scores/{next(_numbers)}"


def on_machine(name: str, url: str, tmp_path: Path) -> RemoteStore:
    """The store as another machine sees it: with a cache of its own."""
    return RemoteStore(url, Store(tmp_path / name))


class Maker:
    def __init__(self, content: bytes = CONTENT) -> None:
        self.content, self.calls = content, 0

    def __call__(self, destination: Path) -> None:
        self.calls += 1
        destination.write_bytes(self.content)


def put(store: RemoteStore, make: Callable[[Path], None], key: str = KEY) -> tuple[Artifact, bool]:
    return store.get_or_make(key, name="audio.wav", media_type="audio/wav", provenance=PROVENANCE, make=make)


def objects(s3: Any, url: str) -> dict[str, int]:
    """Key below the URL -> size."""
    prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return {entry["Key"].removeprefix(prefix): entry["Size"] for entry in listed}


def object_name(url: str, name: str) -> dict[str, str]:
    return {"Bucket": BUCKET, "Key": f"{url.removeprefix(f's3://{BUCKET}/')}/{name}"}


# ------------------------------------------------------------------------------------------- sharing


@pytest.mark.parametrize("kind", ["s3", "memory", "file"])
def test_what_one_machine_makes_another_finds(kind: str, url: str, tmp_path: Path) -> None:
    place = {"s3": url, "memory": f"memory://{tmp_path.name}", "file": f"file://{tmp_path}/shared"}[kind]
    maker = Maker()
    one, two = on_machine("one", place, tmp_path), on_machine("two", place, tmp_path)
    assert two.get(KEY) is None
    made, was_there = put(one, maker)
    assert not was_there
    found, was_there = put(two, maker)
    assert was_there
    assert found == made
    assert maker.calls == 1
    assert two.path(found).read_bytes() == CONTENT
    assert two.provenance(found) == PROVENANCE
    assert on_machine("three", place, tmp_path).path(made).read_bytes() == CONTENT
    info = two.info()
    assert (info.count, info.by_model["render/test"][0], info.unfinished) == (1, 1, 0)
    assert info.bytes > len(CONTENT)


def test_the_file_is_uploaded_first_and_the_record_last(s3: Any, url: str, tmp_path: Path) -> None:
    made, _ = put(on_machine("one", url, tmp_path), Maker())
    folder = f"{KEY[:2]}/{KEY}"
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert set(objects(s3, url)) == {f"{folder}/artifact.json", f"{folder}/{digest}.wav"}
    s3.delete_object(**object_name(url, f"{folder}/artifact.json"))
    maker = Maker()
    assert not put(on_machine("two", url, tmp_path), maker)[1]  # no record, no artifact
    assert maker.calls == 1
    assert made.sha256 == digest


def test_a_local_hit_asks_nobody(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = on_machine("one", url, tmp_path)
    put(store, Maker())
    monkeypatch.setattr(store, "_asked", None)
    assert store.get(KEY)


def test_the_environment_chooses(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE", url)
    monkeypatch.setenv("SCORE_TO_AUDIO_STORE_CACHE", str(tmp_path / "cache"))
    store = default_store()
    assert (store.location, store.folder) == (url, tmp_path / "cache")
    put(store, Maker())  # type: ignore[arg-type]
    assert open_store(store.location).get(KEY)
    monkeypatch.delenv("SCORE_TO_AUDIO_STORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert open_store(url).folder.is_relative_to(tmp_path / "home")


# -------------------------------------------------------------------------------------------- damage


def damage_shared(s3: Any, url: str, how: str) -> None:
    for name in objects(s3, url):
        place = object_name(url, name)
        content = bytearray(s3.get_object(**place)["Body"].read())
        is_record = name.endswith(".json")
        if how == "flipped" and not is_record:
            content[1000] ^= 4
        elif how == "cut off" and not is_record:
            del content[5000:]
        elif how == "record flipped" and is_record:
            content[200] ^= 1
        elif how == "record empty" and is_record:
            content.clear()
        elif how == "file gone" and not is_record:
            s3.delete_object(**place)
            continue
        s3.put_object(**place, Body=bytes(content))


@pytest.mark.parametrize("how", ["flipped", "cut off", "record flipped", "record empty", "file gone"])
def test_what_is_damaged_there_is_made_again(s3: Any, url: str, tmp_path: Path, how: str) -> None:
    put(on_machine("one", url, tmp_path), Maker())
    damage_shared(s3, url, how)
    two = on_machine("two", url, tmp_path)
    assert two.get(KEY) is None
    maker = Maker()
    artifact, was_there = put(two, maker)
    assert (was_there, maker.calls) == (False, 1)
    assert two.path(artifact).read_bytes() == CONTENT
    assert on_machine("three", url, tmp_path).get(KEY)  # it is whole again for everybody
    assert {path.name for path in (tmp_path / "two").rglob("*") if path.is_file()} == {
        *(".lock", ".in-use", SHARED, "audio.wav", "artifact.json")
    }


def test_what_is_damaged_there_and_here_is_made_and_shared_again(s3: Any, url: str, tmp_path: Path) -> None:
    store = on_machine("one", url, tmp_path)
    artifact, _ = put(store, Maker())
    store.path(artifact).write_bytes(b"short")
    damage_shared(s3, url, "flipped")
    maker = Maker()
    put(store, maker)
    assert maker.calls == 1
    assert on_machine("two", url, tmp_path).get(KEY)


def test_a_damaged_local_copy_is_copied_again(url: str, tmp_path: Path) -> None:
    store = on_machine("one", url, tmp_path)
    artifact, _ = put(store, Maker())
    store.path(artifact).write_bytes(b"short")
    maker = Maker()
    assert put(store, maker)[1]
    assert maker.calls == 0
    assert store.path(artifact).read_bytes() == CONTENT


# ---------------------------------------------------------------------------------- a silent other side


def test_without_the_server_work_goes_on_and_is_shared_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(remote_store, "PAUSE", 0.0)
    store = on_machine("one", url, tmp_path)
    with monkeypatch.context() as away:

        def fail(*_arguments: Any, **_options: Any) -> None:
            raise ConnectionError("nobody is there")

        for name in ("cat_file", "put_file", "get_file", "info", "find"):
            away.setattr(store._files, name, fail)
        with caplog.at_level(logging.WARNING):
            artifact, was_there = put(store, Maker())
        assert not was_there
        assert store.path(artifact).read_bytes() == CONTENT
        assert "does not answer (nobody is there); working with" in caplog.text
        with pytest.raises(StoreError, match="does not answer"):
            store.info()
        with pytest.raises(StoreError, match="does not answer"):
            store.prune(max_size=0)
    assert on_machine("two", url, tmp_path).get(KEY) is None
    assert store.get(KEY)
    assert on_machine("two", url, tmp_path).get(KEY)


def test_a_server_that_is_not_there_is_asked_once_a_minute(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    store = on_machine("one", f"s3://{BUCKET}/unreachable", tmp_path)
    assert not put(store, Maker())[1]
    started = time.monotonic()
    for number in range(50):
        put(store, Maker(), key_of(str(number)))
    assert time.monotonic() - started < 10  # a failed attempt takes a second or more
    with pytest.raises(StoreError, match="does not answer"):
        store.check()
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_folder_that_cannot_be_written_to_is_still_read(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put(on_machine("one", url, tmp_path), Maker())
    reader = on_machine("two", url, tmp_path)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError("Access Denied")

    for name in ("put_file", "pipe_file", "rm_file"):
        monkeypatch.setattr(reader._files, name, refuse)
    assert put(reader, Maker(), key_of("two"))[1] is False
    maker = Maker()
    assert put(reader, maker)[1]
    assert maker.calls == 0
    assert caplog.text.count("cannot be written to (Access Denied)") == 1


def test_settings_that_cannot_work_are_one_sentence(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"absent/x: does not exist .*create the bucket"):
        put(on_machine("one", "s3://absent/x", tmp_path), Maker())
    with pytest.raises(StoreError, match="cannot be a store"):
        on_machine("one", "nonsense://x", tmp_path)
    on_machine("one", url, tmp_path).check()
    with pytest.raises(StoreError, match="absent"):
        on_machine("one", "s3://absent/x", tmp_path).check()
    store = on_machine("denied", url, tmp_path)

    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(store._files, "cat_file", refuse)
    with pytest.raises(StoreError, match="Access Denied; check the credentials"):
        store.get(KEY)
    monkeypatch.setattr("fsspec.core.get_filesystem_class", _without_s3fs)
    with pytest.raises(StoreError, match=r"pip install score-to-audio\[s3\]"):
        on_machine("one", "s3://shared/x", tmp_path)


def _without_s3fs(protocol: str) -> None:
    raise ImportError("Install s3fs to access S3")


# ------------------------------------------------------------------------------------------- pruning


def filled(store: RemoteStore, names: range) -> None:
    for number in names:
        put(store, Maker(), key_of(f"piece-{number}"))


def test_pruning_by_size_and_age_on_both_sides(
    s3: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(on_machine("one", url, tmp_path), range(2))
    time.sleep(1.1)  # S3 tells times in seconds
    filled(on_machine("one", url, tmp_path), range(2, 4))
    other = on_machine("two", url, tmp_path)
    one_size = other.info().bytes / 4
    report = other.prune(max_size=round(2.5 * one_size))
    assert report.count == 2
    assert report.bytes == pytest.approx(2 * one_size, rel=0.01)
    left = [number for number in range(4) if other.get(key_of(f"piece-{number}"))]
    assert left == [2, 3]
    assert other.prune(older_than=timedelta(days=1)).count == 0
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 2 * remote_store.DAY)
    assert other.prune(older_than=timedelta(days=1)).count == 2
    assert objects(s3, url) == {}
    assert on_machine("one", url, tmp_path).cache.info().count == 4  # nobody else's copies


def test_using_keeps_from_pruning_by_age(
    s3: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = on_machine("one", url, tmp_path)
    filled(store, range(1))
    key = key_of("piece-0")
    place = object_name(url, f"{key[:2]}/{key}/artifact.json")
    before = s3.head_object(**place)["LastModified"]
    time.sleep(1.1)
    assert store.get(key)
    assert s3.head_object(**place)["LastModified"] == before
    yesterday = time.time() - 1.1 * remote_store.DAY
    os.utime(tmp_path / "one" / key[:2] / key / SHARED, (yesterday, yesterday))
    assert store.get(key)
    assert s3.head_object(**place)["LastModified"] > before


def test_pruning_leaves_uploads_under_way_alone(
    s3: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{KEY[:2]}/{KEY}/{'0' * 64}.wav"
    s3.put_object(**object_name(url, name), Body=b"half of it")
    store = on_machine("one", url, tmp_path)
    assert store.info().unfinished == 1
    assert store.prune(max_size=0).count == 0
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 2 * remote_store.DAY)
    assert store.prune(max_size=0).count == 1


# ----------------------------------------------------------------------------------------- processes


def start(url: str, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), url, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT), "SCORE_TO_AUDIO_STORE_CACHE": str(cache)},
    )


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err


@pytest.mark.slow
@pytest.mark.kills
def test_two_machines_at_once_and_a_pruner(s3: Any, url: str, tmp_path: Path) -> None:
    names = [f"piece-{number}" for number in range(12)]
    log = tmp_path / "log"
    machines = [start(url, tmp_path / name, "make", str(log), "0.05", *names) for name in ("one", "two")]
    pruner = on_machine("three", url, tmp_path)
    while any(machine.poll() is None for machine in machines):
        pruner.prune(max_size=0)
        time.sleep(0.2)
    for machine in machines:
        finish(machine)
    done = log.read_text().splitlines()
    assert sum(line.startswith("done") for line in done) == 24  # each read its own copy, whole


@pytest.mark.slow
@pytest.mark.kills
def test_a_machine_killed_while_uploading(s3: Any, url: str, tmp_path: Path) -> None:
    """At random moments: whatever is there afterwards is whole, and the next machine completes it."""
    names = [f"piece-{number}" for number in range(6)]
    log = tmp_path / "log"
    log.touch()
    for attempt in range(3):
        process = start(url, tmp_path / f"machine-{attempt}", "make", str(log), "0.05", *names)
        while process.poll() is None and "draft" not in log.read_text():
            time.sleep(0.02)
        time.sleep(random.uniform(0.0, 0.6))
        process.kill()
        process.wait()
        log.write_text("")
        reader = on_machine(f"reader-{attempt}", url, tmp_path)
        found = [artifact for name in names if (artifact := reader.get(key_of(name)))]
        assert all(reader.path(artifact).read_bytes() == CONTENT for artifact in found)
    finish(start(url, tmp_path / "last", "make", str(log), "0", *names))
    reader = on_machine("reader", url, tmp_path)
    assert all(reader.get(key_of(name)) for name in names)


@pytest.mark.slow
def test_a_machine_killed_between_file_and_record(s3: Any, url: str, tmp_path: Path) -> None:
    process = start(url, tmp_path / "one", "stop-before-record", str(tmp_path / "log"), "piece")
    assert process.stdout
    assert process.stdout.readline() == "uploaded\n"
    process.kill()
    process.wait()
    names = set(objects(s3, url))
    assert len(names) == 1
    assert names.pop().endswith(".wav")
    two = on_machine("two", url, tmp_path)
    assert two.get(key_of("piece")) is None
    finish(start(url, tmp_path / "one", "make", str(tmp_path / "log"), "0", "piece"))
    artifact = two.get(key_of("piece"))
    assert artifact
    assert two.path(artifact).read_bytes() == CONTENT


def test_threads_share_one_store(url: str, tmp_path: Path) -> None:
    store = on_machine("one", url, tmp_path)
    maker = Maker()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: put(store, maker)[0], range(8)))
    assert maker.calls == 1
    assert len(set(made)) == 1


@pytest.mark.slow
def test_the_command_line_on_two_machines(url: str, tmp_path: Path) -> None:
    plugins = install_trial_plugins(tmp_path / "plugins")
    scores = write_scores(tmp_path / "scores", 2)
    for machine, cached in (("one", False), ("two", True)):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "score_to_audio.cli", "run", str(scores), "--json"),
                *("-o", str(tmp_path / f"out-{machine}"), "-r", "trial", "-s", "trial", "-f", "ogg"),
            ],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join([str(plugins), str(PROJECT)]),
                "SCORE_TO_AUDIO_STORE": url,
                "SCORE_TO_AUDIO_STORE_CACHE": str(tmp_path / machine),
            },
        )
        assert [json.loads(line)["cached"] for line in done.stdout.splitlines()] == [cached] * 2
    for path in (tmp_path / "out-one").glob("*.ogg"):
        assert path.read_bytes() == (tmp_path / "out-two" / path.name).read_bytes()
