"""A process that works on a store, for the tests: `store_worker.py ROOT COMMAND ARGUMENTS...`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from score_to_audio.errors import StoreError
from score_to_audio.store import ArtifactStore, artifact_key, open_store
from score_to_audio.types import Provenance

PROVENANCE = Provenance("render", "test", "1", {}, "0" * 64, "input", {"speed": 0.5}, 0, "cpu")
CHUNK = b"sound of one hand clapping" * 400
"""10 kB."""
CHUNKS = 20
CONTENT = CHUNK * CHUNKS


def key_of(name: str) -> str:
    return artifact_key({"name": name})


def say(word: str) -> None:
    print(word, flush=True)


def make_all(store: ArtifactStore, log: Path, pause: float, names: list[str]) -> None:
    """Each name's artifact: a part that is kept, then the file chunk by chunk, every step slow."""

    def note(line: str) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, f"{line}\n".encode())
        os.close(descriptor)

    for name in names:
        key = key_of(name)

        def draft(name: str = name) -> dict[str, np.ndarray]:
            note(f"draft {name}")
            time.sleep(pause)
            return {"samples": np.arange(1000)}

        def make(destination: Path, name: str = name, key: str = key) -> None:
            assert (store.cached_part(key, "draft", draft)["samples"] == np.arange(1000)).all()
            with destination.open("wb") as file:
                for _ in range(CHUNKS):
                    file.write(CHUNK)
                    file.flush()
                    time.sleep(pause / CHUNKS)
            note(f"made {name}")

        artifact, _ = store.get_or_make(
            key, name="audio.wav", media_type="audio/wav", provenance=PROVENANCE, make=make
        )
        assert store.path(artifact).read_bytes() == CONTENT
        note(f"done {name}")


def stop_before_record(store: ArtifactStore, log: Path, name: str) -> None:
    """Upload the file of an artifact to a shared store, say so, and wait for the end."""

    def wait(*_arguments: object) -> None:
        say("uploaded")
        time.sleep(1000)

    store._files.pipe_file = wait  # type: ignore[attr-defined]
    make_all(store, log, 0.0, [name])


def use(store: ArtifactStore, names: list[str]) -> None:
    """Get artifacts, then hold on to them until told to go on."""
    for name in names:
        say("hit" if store.get(key_of(name)) else "miss")
    sys.stdin.readline()


def main(root: str, command: str, *arguments: str) -> None:
    store = open_store(root)
    try:
        if command == "make":
            make_all(store, Path(arguments[0]), float(arguments[1]), list(arguments[2:]))
        elif command == "stop-before-record":
            stop_before_record(store, Path(arguments[0]), arguments[1])
        elif command == "use":
            use(store, list(arguments))
    except StoreError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
