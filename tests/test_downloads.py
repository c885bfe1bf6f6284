"""Downloads: whole and checked or not at all, resumed where possible, and never hanging."""

import errno
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

from helpers import course
from helpers.course import CourseError
from helpers.data import downloads
from helpers.data.downloads import digest, download, mirror_file, reachable

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves the server's `files`, misbehaving as its `mode` says."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        body = self.answer()
        if self.server.mode == "truncated":
            body = body[: len(body) // 2]
        if self.server.pause:
            self.wfile.write(body[:10])
            self.server.pause.wait(10)
            body = body[10:]
        self.wfile.write(body)

    def answer(self) -> bytes:
        self.server.asked.append((self.command, self.headers.get("Range")))
        body = self.server.files.get(self.path.lstrip("/"))
        status, headers = 200, {"Content-Type": "application/octet-stream"}
        if self.server.mode == "portal":
            body, headers = b"<html>Log in</html>", {"Content-Type": "text/html; charset=utf-8"}
        elif self.server.mode == "disguised portal":
            body = b"\n<!DOCTYPE html><p>Log in</p>"
        elif body is None:
            status, body = 404, b"no such file"
        elif self.server.mode != "ignores ranges" and self.headers.get("Range"):
            start, size = int(self.headers["Range"][len("bytes=") : -1]), len(body)
            status, body = (206, body[start:]) if start < size else (416, b"")
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self.send_response(status)
        length = str(len(body)) if self.server.length is None else self.server.length
        headers |= {"ETag": self.server.etag, "Content-Length": length.encode().decode("latin-1")}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked = {"cells.npz": CONTENT}, []
        server.mode, server.etag, server.pause, server.length = "normal", '"1"', None, None
        server.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The data folder of the test."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(course, "data_folder", lambda: folder)
    return folder


def refuse(monkeypatch, path):
    """Let nobody open this file: a mode would not stop root, as whom tests may run."""

    def opened(self, *arguments, before=Path.open, **options):
        if self.resolve() == path.resolve():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return before(self, *arguments, **options)

    def hashed(name, algorithm, before=pooch.file_hash):
        opened(Path(name), "rb").close()
        return before(name, algorithm)

    monkeypatch.setattr(Path, "open", opened)
    monkeypatch.setattr(pooch, "file_hash", hashed)


def files_in(folder):
    """Return what a user sees in a folder, remembered digests left out: locks are hidden."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return sorted(names - {"digests"})


def interrupted_download(server, path):
    """Leave behind the first part of the file, as a run that lost its connection does.

    Returns the request that goes on from there.
    """
    mode, server.mode = server.mode, "truncated"
    with pytest.raises(CourseError, match=r"broke off after 0\.4 of 1\.0 MiB: run again"):
        download(f"{server.url}/cells.npz", path, sha256=SHA256)
    server.mode = mode
    server.asked.clear()
    (part,) = path.parent.glob("*.part/*.bytes")
    return ("GET", f"bytes={part.stat().st_size}-")


def test_a_file_that_is_there_is_not_fetched_again(server, folder):
    path = folder / "deeper" / "cells.npz"
    for _ in range(2):
        assert download(f"{server.url}/cells.npz", path, md5=MD5.upper(), sha256=SHA256) == path
    assert path.read_bytes() == CONTENT
    assert server.asked == [("GET", None)]
    assert files_in(path.parent) == ["cells.npz"]


def test_an_altered_file_is_fetched_again(server, folder):
    (folder / "cells.npz").write_bytes(CONTENT[:-1])
    download(f"{server.url}/cells.npz", folder / "cells.npz", md5=MD5)
    assert (folder / "cells.npz").read_bytes() == CONTENT


def test_an_interrupted_download_goes_on_where_it_stopped(server, folder):
    path = folder / "cells.npz"
    rest = interrupted_download(server, path)
    assert not path.exists()
    download(f"{server.url}/cells.npz", path, sha256=SHA256)
    assert server.asked == [rest]
    assert path.read_bytes() == CONTENT
    assert files_in(folder) == ["cells.npz"]


def test_a_server_that_ignores_ranges_starts_over(server, folder):
    server.mode = "ignores ranges"
    path = folder / "cells.npz"
    interrupted_download(server, path)
    download(f"{server.url}/cells.npz", path, sha256=SHA256)
    assert len(server.asked) == 1
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_on_the_server_starts_over(server, folder):
    path = folder / "cells.npz"
    interrupted_download(server, path)
    changed = CONTENT[::-1]
    server.files["cells.npz"], server.etag = changed, '"2"'
    download(f"{server.url}/cells.npz", path)
    assert path.read_bytes() == changed


def test_a_part_longer_than_the_file_starts_over(server, folder):
    path = folder / "cells.npz"
    path.with_name("cells.npz.part").mkdir()
    (folder / "cells.npz.part" / "0badc0de.bytes").write_bytes(CONTENT * 2)
    download(f"{server.url}/cells.npz", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT
    assert files_in(folder) == ["cells.npz"]


@pytest.mark.parametrize("mode", ["portal", "disguised portal"])
def test_a_captive_portal_is_named_and_nothing_of_it_kept(server, folder, mode):
    path = folder / "cells.npz"
    server.mode = mode
    with pytest.raises(CourseError, match=r"web page instead of cells\.npz.*captive portal"):
        download(f"{server.url}/cells.npz", path)
    assert files_in(folder) == []
    server.mode = "normal"
    interrupted_download(server, path)
    left = files_in(folder)
    server.mode = mode
    with pytest.raises(CourseError, match="captive portal"):
        download(f"{server.url}/cells.npz", path)
    server.mode = "normal"
    assert files_in(folder) == left
    assert download(f"{server.url}/cells.npz", path, sha256=SHA256).read_bytes() == CONTENT


def test_an_altered_download_is_discarded_and_an_earlier_file_stays(server, folder):
    path = folder / "cells.npz"
    path.write_bytes(b"earlier")
    server.files["cells.npz"] = CONTENT[:-1] + b"?"
    with pytest.raises(CourseError, match="altered or truncated"):
        download(f"{server.url}/cells.npz", path, sha256=SHA256)
    assert files_in(folder) == ["cells.npz"]
    assert path.read_bytes() == b"earlier"


def test_a_missing_file_is_one_sentence(server, folder):
    with pytest.raises(CourseError, match=r"answered 404 .* when asked for cells\.npz"):
        download(f"{server.url}/other.npz", folder / "cells.npz")
    assert files_in(folder) == []


def test_an_unreachable_host_is_noticed_within_seconds(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/cells.npz"
        start = time.monotonic()
        assert not reachable(url)
        with pytest.raises(CourseError, match="cannot be reached"):
            download(url, folder / "cells.npz")
        assert time.monotonic() - start < 5
    assert files_in(folder) == []


def test_reachable_means_that_the_file_is_there(server):
    assert reachable(f"{server.url}/cells.npz")
    assert not reachable(f"{server.url}/other.npz")
    server.mode = "portal"
    assert not reachable(f"{server.url}/cells.npz")


def test_a_name_that_takes_for_ever_to_look_up_is_unreachable(monkeypatch):
    asleep = threading.Event()

    def look_up(*_, **__):
        asleep.wait(10)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    start = time.monotonic()
    assert not reachable("http://cells.example/cells.npz", seconds=0.3)
    assert time.monotonic() - start < 8
    asleep.set()


def test_two_runs_that_fetch_the_same_file_do_not_mix(server, folder):
    path = folder / "cells.npz"
    server.pause = threading.Event()
    failures = []

    def fetch():
        try:
            download(f"{server.url}/cells.npz", path, sha256=SHA256)
        except CourseError as error:
            failures.append(error)

    runs = [threading.Thread(target=fetch) for _ in range(3)]
    for run in runs:
        run.start()
    while not server.asked:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(server.asked) == 1  # the others wait for it
    server.pause.set()
    for run in runs:
        run.join()
    assert not failures
    assert path.read_bytes() == CONTENT
    assert files_in(folder) == ["cells.npz"]


def test_a_killed_run_s_bytes_are_taken_up_at_once(server, folder):
    """A kill leaves the bytes, perhaps pooch's temporary file, and no lock."""
    path = folder / "cells.npz"
    rest = interrupted_download(server, path)
    (folder / "cells.npz.part" / "tmpkilled").write_bytes(CONTENT)
    (folder / "cells.npz.0badc0de.part").write_bytes(CONTENT)  # as the course once called it
    code = "import filelock, os, sys; filelock.FileLock(sys.argv[1]).acquire(); os.abort()"
    subprocess.run([sys.executable, "-c", code, folder / ".cells.npz.lock"], check=False)
    download(f"{server.url}/cells.npz", path, sha256=SHA256)
    assert server.asked == [rest]
    assert path.read_bytes() == CONTENT
    assert files_in(folder) == ["cells.npz"]


@pytest.mark.parametrize("length", ["9" * 5000, "²", "-1", "1e3", ""])
def test_a_length_that_is_none_is_not_believed(server, folder, length):
    server.length = length
    with suppress(CourseError):  # whatever urllib3 makes of it
        download(f"{server.url}/cells.npz", folder / "cells.npz", sha256=SHA256)
    answer = SimpleNamespace(status_code=200, headers={"Content-Length": length})
    assert downloads._total(answer) is None


def test_an_endless_answer_is_ended(server, folder, monkeypatch):
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", 100_000)
    with pytest.raises(CourseError, match="sends more than"):
        download(f"{server.url}/cells.npz", folder / "cells.npz")
    assert files_in(folder) == []


def test_a_full_disk_is_one_sentence(server, folder, monkeypatch):
    class FullDisk:
        def update(self, _):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(downloads, "progress_bar", lambda **_: FullDisk())
    with pytest.raises(CourseError, match=r"could not be written .*No space left.*free some disk"):
        download(f"{server.url}/cells.npz", folder / "cells.npz")
    assert not (folder / "cells.npz").exists()


def test_a_file_in_the_place_of_the_folder_is_one_sentence(server, folder):
    (folder / "weights").write_text("not a folder")
    with pytest.raises(CourseError, match="could not be written"):
        download(f"{server.url}/cells.npz", folder / "weights" / "cells.npz")


def test_no_bar_where_nobody_sees_it(server, folder, capfd):
    download(f"{server.url}/cells.npz", folder / "cells.npz")
    assert capfd.readouterr().err == ""


def test_a_digest_is_remembered_until_the_file_changes(folder, tmp_path, monkeypatch):
    path = tmp_path / "cells.npz"
    path.write_bytes(CONTENT)
    assert digest(path) == SHA256
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "pooch", None)
        assert digest(path) == SHA256
    for remembered in (folder / "digests").iterdir():
        remembered.write_text("half a dig")
    assert digest(path) == SHA256
    path.write_bytes(CONTENT + b"?")
    assert digest(path) != SHA256


@pytest.fixture
def mirror_folder(tmp_path, monkeypatch):
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "cells.npz").write_bytes(CONTENT)
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other.npz\r\n{SHA256} *./cells.npz\r\n")
    monkeypatch.setenv("BLOODCELLS_MIRROR", str(folder))
    return folder


def test_a_file_of_a_mirror_folder_is_used_where_it_is(mirror_folder):
    assert mirror_file("cells.npz") == mirror_folder / "cells.npz"
    assert mirror_file("another.npz") is None


def test_an_altered_file_of_a_mirror_folder_is_refused(mirror_folder):
    (mirror_folder / "cells.npz").write_bytes(CONTENT[:-1])
    with pytest.raises(CourseError, match=r"cells\.npz in the mirror .* altered or truncated"):
        mirror_file("cells.npz")
    (mirror_folder / "SHA256SUMS").unlink()
    with pytest.raises(CourseError, match="its md5"):
        mirror_file("cells.npz", md5=MD5)
    assert mirror_file("cells.npz")


def test_a_mirror_that_is_not_there_is_an_error(monkeypatch, tmp_path):
    monkeypatch.delenv("BLOODCELLS_MIRROR", raising=False)
    assert mirror_file("cells.npz") is None
    for place in (str(tmp_path / "nowhere"), "http://127.0.0.1:9"):
        monkeypatch.setenv("BLOODCELLS_MIRROR", place)
        with pytest.raises(CourseError, match="BLOODCELLS_MIRROR names"):
            mirror_file("cells.npz")


def test_a_web_mirror_is_downloaded_and_checked(server, folder, monkeypatch):
    monkeypatch.setenv("BLOODCELLS_MIRROR", server.url + "/")
    assert mirror_file("cells.npz", md5=MD5) == folder / "cells.npz"
    assert mirror_file("another.npz") is None
    server.files["SHA256SUMS"] = f"{'0' * 64}  cells.npz\n".encode()
    with pytest.raises(CourseError, match="altered or truncated"):
        mirror_file("cells.npz")


def test_a_mirror_whose_checksums_cannot_be_read_is_refused(server, folder, monkeypatch):
    monkeypatch.setenv("BLOODCELLS_MIRROR", server.url)
    server.mode = "portal"
    with pytest.raises(CourseError, match=r"SHA256SUMS cannot be read \(status 200\)"):
        mirror_file("cells.npz", md5=MD5)
    server.mode = "normal"
    server.files["SHA256SUMS"] = bytes(downloads.MAX_LIST_BYTES + 1)
    with pytest.raises(CourseError, match=r"SHA256SUMS cannot be read"):
        mirror_file("cells.npz", md5=MD5)


def test_a_password_is_not_printed(server, monkeypatch):
    place = server.url.replace("http://", "http://me:secret@")
    server.files["SHA256SUMS"] = b"<html>"
    for wrong in (place, "http://me:secret@127.0.0.1:9", "http://me:secret@[::1"):
        monkeypatch.setenv("BLOODCELLS_MIRROR", wrong)
        with pytest.raises(CourseError) as error:
            mirror_file("cells.npz")
        assert "secret" not in str(error.value)


GNU = f"{SHA256}  cells.npz\n"
BSD = f"SHA256 (cells.npz) = {SHA256}\n"


@pytest.mark.parametrize(
    "text", [GNU, BSD, GNU.replace("  c", " *./c"), GNU.upper()[:64] + GNU[64:]]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_lists_of_checksums_as_people_have_them(mirror_folder, text, encoding):
    wrong = text.replace(SHA256, "0" * 64).replace(SHA256.upper(), "0" * 64)
    for listed in (text, wrong):
        content = listed.replace("\n", "\r\n").encode(encoding)
        marked = b"\xfe\xff" * (encoding == "utf-16-be") + content
        (mirror_folder / "SHA256SUMS").write_bytes(marked)
        if listed == text:
            assert mirror_file("cells.npz") == mirror_folder / "cells.npz"
    with pytest.raises(CourseError, match="altered or truncated"):
        mirror_file("cells.npz")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<p>Log in</p>",
        GNU.encode("utf-32"),
        GNU.replace("cells", "others").encode(),
        b"\0" * 99,
    ],
)
def test_a_list_that_does_not_vouch_is_an_error(server, mirror_folder, content, monkeypatch):
    (mirror_folder / "SHA256SUMS").write_bytes(content)
    with pytest.raises(CourseError, match=r"does not list|holds no checksum"):
        mirror_file("cells.npz")
    server.files["SHA256SUMS"] = content
    monkeypatch.setenv("BLOODCELLS_MIRROR", server.url)
    with pytest.raises(CourseError, match=r"does not list|holds no checksum"):
        mirror_file("cells.npz")


def test_a_file_that_is_not_listed_may_be_known_from_elsewhere(mirror_folder):
    (mirror_folder / "SHA256SUMS").write_text(GNU.replace("cells", "others"))
    assert mirror_file("cells.npz", md5=MD5)
    with pytest.raises(CourseError, match="its md5"):
        mirror_file("cells.npz", md5="0" * 32)


@pytest.mark.parametrize("name", ["SHA256SUMS", "cells.npz"])
def test_what_may_not_be_read_is_one_sentence(mirror_folder, name, monkeypatch):
    refuse(monkeypatch, mirror_folder / name)
    with pytest.raises(CourseError, match=rf"{name} cannot be read \(Permission denied\)"):
        mirror_file("cells.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_in_a_mirror_is_not_waited_for(mirror_folder):
    (mirror_folder / "SHA256SUMS").unlink()
    os.mkfifo(mirror_folder / "SHA256SUMS")
    with pytest.raises(CourseError, match="is a pipe or a device"):
        mirror_file("cells.npz")


def test_a_list_of_checksums_that_leads_nowhere_is_no_missing_one(mirror_folder):
    (mirror_folder / "SHA256SUMS").unlink()
    assert mirror_file("cells.npz")
    (mirror_folder / "SHA256SUMS").symlink_to(mirror_folder / "moved away")
    with pytest.raises(CourseError, match="SHA256SUMS cannot be read"):
        mirror_file("cells.npz")
