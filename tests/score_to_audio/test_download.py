"""Downloads from a server that behaves as real ones do on bad days."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from score_to_audio import checkpoints, download, progress
from score_to_audio.errors import InputError, OutputError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """One file at every path; what goes wrong is set by the test."""

    content: bytes = CONTENT
    etag: str = '"one"'
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    """Bytes after which the next answers end."""
    statuses: list[int] = field(default_factory=list)
    """Of the next answers, in place of the file."""
    claimed: int | None = None
    """Content-Length in place of the true one."""
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Target and headers of the requests."""
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.path, headers))
        if self.statuses:
            request.send_response(self.statuses.pop(0))
            request.send_header("Retry-After", "0")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        start = self._start(headers)
        if start >= len(self.content) > 0:
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            end = len(self.content)
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if self.etag:
            request.send_header("ETag", self.etag)
        request.send_header("Content-Length", str(len(body) if self.claimed is None else self.claimed))
        request.end_headers()
        request.wfile.write(body[: self.breaks.pop(0)] if self.breaks else body)
        request.close_connection = True

    def _start(self, headers: dict[str, str]) -> int:
        wanted = headers.get("range", "")
        fits = headers.get("if-range") == self.etag
        return int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and fits and self.ranges else 0

    @property
    def ranges_asked_for(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.seen]


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    listening.shutdown()
    thread.join()
    listening.server_close()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("SCORE_TO_AUDIO_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hugging face"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SCORE_TO_AUDIO_MIRROR", raising=False)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "weights"


def only_the_file_is_there(target: Path) -> bool:
    return target.read_bytes() == CONTENT and list(target.parent.iterdir()) == [target]


def test_a_file_arrives_and_says_how_far_it_is(server: Server, target: Path) -> None:
    seen: list[tuple[float, float, str]] = []
    with progress.listening(lambda *one: seen.append(one)):
        download.download(f"{server.url}/weights", target, sha256=SHA256)
    assert only_the_file_is_there(target)
    assert seen[-1] == (1.024, 1.024, "MB")


def test_a_broken_download_continues_where_it_ended(server: Server, target: Path) -> None:
    server.breaks = [1000, 500]
    download.download(f"{server.url}/weights", target)
    assert server.ranges_asked_for == [None, "bytes=1000-", "bytes=1500-"]
    assert only_the_file_is_there(target)


def test_a_later_call_continues_an_earlier_one(server: Server, target: Path) -> None:
    server.breaks, server.statuses = [1000], []
    server.breaks += [0] * (download.ATTEMPTS - 1)
    with pytest.raises(InputError, match="run the same command later, it continues there"):
        download.download(f"{server.url}/weights", target)
    assert not target.exists()
    download.download(f"{server.url}/weights", target)
    assert server.ranges_asked_for[-1] == "bytes=1000-"
    assert only_the_file_is_there(target)


def test_a_server_without_ranges_sends_all_of_it_again(server: Server, target: Path) -> None:
    server.ranges, server.breaks = False, [1000]
    download.download(f"{server.url}/weights", target)
    assert only_the_file_is_there(target)


@pytest.mark.parametrize("etag", ["", 'W/"weak"'])
def test_nothing_is_continued_that_could_be_another_file(server: Server, target: Path, etag: str) -> None:
    server.etag, server.breaks = etag, [1000]
    download.download(f"{server.url}/weights", target)
    assert server.ranges_asked_for == [None, None]
    assert only_the_file_is_there(target)


def test_a_file_that_has_changed_meanwhile_is_taken_anew(server: Server, target: Path) -> None:
    server.content, server.breaks = b"older" * 1000, [1000, *([0] * (download.ATTEMPTS - 1))]
    with pytest.raises(InputError):
        download.download(f"{server.url}/weights", target)
    server.content, server.etag = CONTENT, '"two"'
    download.download(f"{server.url}/weights", target)
    assert only_the_file_is_there(target)


def test_a_busy_server_is_asked_again(server: Server, target: Path) -> None:
    server.statuses = [503, 429, 502]
    download.download(f"{server.url}/weights", target)
    assert only_the_file_is_there(target)


def test_a_server_that_stays_busy_is_given_up(server: Server, target: Path) -> None:
    server.statuses = [503] * 20
    with pytest.raises(InputError, match=r"weights: download failed \(status 503\)"):
        download.download(f"{server.url}/weights", target)
    assert len(server.seen) == download.ATTEMPTS


def test_a_missing_file_is_not_asked_for_again(server: Server, target: Path) -> None:
    server.statuses = [404] * 5
    with pytest.raises(InputError, match="the server answers 404"):
        download.download(f"{server.url}/weights", target)
    assert len(server.seen) == 1
    assert list(target.parent.iterdir()) == []


def test_a_file_shorter_than_promised_is_no_file(server: Server, target: Path) -> None:
    server.claimed = len(CONTENT) + 100
    with pytest.raises(InputError, match="download failed"):
        download.download(f"{server.url}/weights", target)
    assert not target.exists()


@pytest.mark.parametrize("claimed", [1000, None])
def test_another_file_than_the_known_one_is_refused(
    server: Server, target: Path, claimed: int | None
) -> None:
    server.claimed = claimed
    with pytest.raises(InputError, match="not the file that was expected"):
        download.download(f"{server.url}/weights", target, sha256="0" * 64 if claimed is None else SHA256)
    assert list(target.parent.iterdir()) == []


def test_room_is_checked_before_anything_is_written(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda _path: type("Usage", (), {"free": len(CONTENT) - 1})()
    )
    with pytest.raises(OutputError, match="needs 1 MB, 1 MB are free; make room"):
        download.download(f"{server.url}/weights", target)
    assert list(target.parent.iterdir()) == []


def test_a_file_beyond_all_bounds_is_refused(
    server: Server, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_SIZE", 1000)
    with pytest.raises(InputError, match="is it the checkpoint"):
        download.download(f"{server.url}/weights", target)


def test_a_proxy_is_used(server: Server, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    download.download("http://publisher.invalid/weights", target)
    assert server.seen[0][0] == "http://publisher.invalid/weights"
    assert only_the_file_is_there(target)


# ------------------------------------------------------------------------------------------- Hugging Face


def test_the_token_goes_to_hugging_face_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hugging face").mkdir()
    (tmp_path / "hugging face" / "token").write_text("of the file\n")
    download.download(f"{server.url}/a/b/resolve/main/weights", tmp_path / "one")
    monkeypatch.setattr(download, "HUGGING_FACE", server.url)
    download.download(f"{server.url}/a/b/resolve/main/weights", tmp_path / "two")
    monkeypatch.setenv("HF_TOKEN", "of the variable")
    download.download(f"{server.url}/a/b/resolve/main/weights", tmp_path / "three")
    sent = [headers.get("authorization") for _, headers in server.seen]
    assert sent == [None, "Bearer of the file", "Bearer of the variable"]


def test_a_file_behind_conditions_says_what_it_wants(server: Server, target: Path) -> None:
    server.statuses = [401]
    with pytest.raises(InputError, match="set HF_TOKEN"):
        download.download(f"{server.url}/weights", target)


def test_the_cache_of_hugging_face_is_used(tmp_path: Path) -> None:
    repository = tmp_path / "hugging face" / "hub" / "models--dasaem--virtuosonet"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc" / "checkpoint_best.pt").write_bytes(CONTENT)
    found = checkpoints.pull("virtuosonet")
    assert found.weights.read_bytes() == CONTENT
    assert found.weights.is_relative_to(tmp_path / "checkpoints")


# ------------------------------------------------------------------------------------------- checkpoints

Publish = Callable[..., checkpoints.Published]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts an entry into the table, called "it"."""

    def publish(**fields: Any) -> checkpoints.Published:
        plain = {"model": "m2m", "page": "https://a.b", "licence": "X", "citation": "Y"}
        entry = checkpoints.Published(**({"name": "it"} | plain | fields))
        monkeypatch.setattr(checkpoints, "table", lambda: {"it": entry})
        return entry

    return publish


def test_a_mirror_takes_the_publisher_s_place(
    server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(files={"weights": "w.pt"}, url={"weights": "http://publisher.invalid/w.pt"})
    monkeypatch.setenv("SCORE_TO_AUDIO_MIRROR", f"{server.url}/models/")
    checkpoints.pull("it")
    assert [path for path, _ in server.seen] == ["/models/it/w.pt"]


def test_what_is_there_is_not_downloaded_again(server: Server, publish: Publish) -> None:
    url = f"{server.url}/w.pt"
    publish(files={"weights": "w.pt"}, url={"weights": url}, sha256={"weights": SHA256})
    checkpoints.pull("it")
    found = checkpoints.pull("it")
    assert len(server.seen) == 1
    found.weights.write_bytes(b"damaged")
    assert checkpoints.pull("it").sha256 == SHA256


def test_an_archive_is_downloaded_for_its_members(server: Server, publish: Publish, tmp_path: Path) -> None:
    import io
    import zipfile

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        opened.writestr("top/weights.pt", b"weights")
        opened.writestr("top/stats/train/s.npz", b"train")
        opened.writestr("top/stats/valid/s.npz", b"valid")
    server.content = stream.getvalue()
    publish(
        files={"weights": "weights.pt", "statistics": "s.npz", "config": "config.yaml"},
        archive_url=f"{server.url}/all.zip?download=1",
        archive={
            "weights": ["weights.pt"],
            "statistics": ["train/s.npz", "s.npz"],
            "config": ["config.yaml"],
        },
        url={"config": f"{server.url}/config.yaml"},
    )
    found = checkpoints.pull("it")
    assert found.files["statistics"].read_bytes() == b"train"
    assert [path for path, _ in server.seen] == ["/all.zip?download=1", "/config.yaml"]
    files = sorted(path.name for path in (tmp_path / "checkpoints" / "it").iterdir())
    assert files == ["config.yaml", "pins.json", "s.npz", "weights.pt"]
