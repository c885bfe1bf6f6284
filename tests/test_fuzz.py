"""Bad inputs, made from seeds: each is refused with one sentence, and no file is changed.

What a seed happens to leave whole may load, as what it promises to be; how many of each kind must
be refused is asserted too. A failure names its seed.
"""

import contextlib
import hashlib
import io
import shutil
import socket
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.data import downloads, reading, sources

SEEDS = range(20)
CONTENT = bytes(range(256)) * 20


def files_of(folder: Path) -> dict[str, str]:
    """Return every file below a folder with a digest of its bytes, and every folder."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        )
        for path in sorted(folder.rglob("*"))
    }


def check_sentence(text: str) -> None:
    assert text.endswith("."), f"no full stop: {text!r}"
    assert text.isprintable(), f"more than a line, or escapes: {text!r}"
    assert 20 < len(text) < 1000, text
    assert "Traceback" not in text


def refused(
    kind: str, seed: int, attempt: Callable[[], object], holds: Callable[[object], bool]
) -> bool:
    """Return whether an attempt ended with one sentence; else what it returned must hold."""
    try:
        found = attempt()
    except CourseError as error:
        check_sentence(str(error))
        return True
    except Exception as error:
        raise AssertionError(f"{kind}, seed {seed}: {type(error).__name__}: {error}") from error
    assert holds(found), f"{kind}, seed {seed}: accepted"
    return False


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Return an empty folder for a case, beside data/ and build/ of its own."""
    monkeypatch.setattr(course, "data_folder", lambda: course._made(tmp_path / "data"))
    monkeypatch.setattr(course, "build_folder", lambda: course._made(tmp_path / "build"))
    for name in ("BLOODCELLS_SOURCE", "BLOODCELLS_MIRROR", "COURSE_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "case").mkdir()
    return tmp_path / "case"


# --- npz files


def npz(rng: np.random.Generator, side: int = 8) -> bytes:
    """Return a sound file of a few images."""
    file = io.BytesIO()
    images = rng.integers(0, 256, (6, side, side, 3), np.uint8)
    np.savez(file, images=images, labels=rng.integers(0, 8, 6))
    return file.getvalue()


def rezipped(content: bytes, change: Callable[[str, bytes], bytes], **options) -> bytes:
    """Return a zip with its members changed, and sound sums."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", **options) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return file.getvalue()


def some_bytes_changed(content: bytes, rng: np.random.Generator, start=0, end=None) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(start, end or len(content), rng.integers(1, 8)):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with its end, or a piece of its middle, missing."""
    start = int(rng.integers(1, len(content)))
    end = len(content) if rng.random() < 0.5 else start + int(rng.integers(1, 40))
    return content[:start] + content[end:]


def strange_header(_: str, npy: bytes, rng: np.random.Generator) -> bytes:
    """Return an .npy file whose header Python cannot parse, or that says what is not so."""
    shape = ["(3(", "(-1,)", "(9" + "9" * 30 + ",)", "6", "('a',)", "(True,)", "()", "(6,", "None"]
    dtype = ["'|O'", "'<f8'", "'|u1", "'z9'", "[('a', '<i4')]", "'|S3'", "'<m8'", "object", "1j"]
    body = ["{}", "[" * 5000, "{'descr': ", "\0", "import os", "x" * 60_000, "é"]
    fault = rng.integers(3)
    if fault == 2:
        text = str(rng.choice(body))
    else:
        kind = rng.choice(dtype) if fault else "'|u1'"
        size = "(6, 8, 8, 3)" if fault else rng.choice(shape)
        text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {size}}}"
    header = text.encode() + b"\n"
    return npy[:8] + struct.pack("<H", min(len(header), 65_535)) + header + npy[128:]


def npz_case(fault: str, rng: np.random.Generator) -> bytes:
    sound = npz(rng)
    if fault == "cut":
        return cut(sound, rng)
    if fault == "bytes":
        return some_bytes_changed(sound, rng)
    if fault == "directory":
        return some_bytes_changed(sound, rng, start=len(sound) - 200)
    if fault == "header":
        return rezipped(sound, lambda name, npy: strange_header(name, npy, rng))
    methods = [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
    packed = rezipped(sound, lambda _, npy: npy, compression=methods[rng.integers(3)])
    return some_bytes_changed(packed, rng, end=len(packed) - 200)


@pytest.mark.parametrize("fault", ["cut", "bytes", "directory", "header", "packed"])
def test_npz_files(folder, fault):
    file, count = folder / "cells.npz", 0

    def sound(found) -> bool:
        images, labels = found
        return (
            images.dtype == np.uint8
            and images.ndim == 4
            and images.shape[3] == 3
            and labels.shape == (len(images),)
            and set(labels) <= set(range(8))
        )

    for seed in SEEDS:
        file.write_bytes(npz_case(fault, np.random.default_rng([1, seed])))
        before = files_of(folder.parent)
        count += refused(f"npz {fault}", seed, lambda: reading.read_image_set(file), sound)
        refused(f"names {fault}", seed, lambda: reading.array_names(file), lambda found: True)
        assert files_of(folder.parent) == before
    assert count >= 2 * len(SEEDS) // 3


# --- zips of class folders, and of submissions

NAMES = (
    *("../a/x.png", "/a/x.png", "C:/a/x.png", "a/../../x.png", "a\\..\\..\\x.png", ".", "\0", ""),
    *("a/b/c/x.png", "x.png", "a/x.png", "A/X.PNG", "a/\x1b[2J.png", "a/" + "x" * 300 + ".png"),
    *("a/\n.png", "con/x.png", "a/\u202egnp.png", "a//x.png", "a/x.png/", "é/ü.png"),
)


def png(rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def zip_case(fault: str, rng: np.random.Generator) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("a/1.png", "a/2.png", "b/1.png", "model.py"):
            if name != "model.py" or fault == "names":
                archive.writestr(name, png(rng))
        if fault == "names":
            for name in rng.choice(NAMES, 3):
                member = zipfile.ZipInfo(str(name))
                # A plain file, a link, a device, a pipe.
                kinds = [0o100644, 0o120777, 0o060644, 0o010644]
                member.external_attr = int(rng.choice(kinds)) << 16
                with contextlib.suppress(UserWarning):
                    archive.writestr(member, b"../../x" if rng.random() < 0.5 else png(rng))
    sound = file.getvalue()
    if fault == "cut":
        return cut(sound, rng)
    directory = sound.index(b"PK\x01\x02")
    if fault == "directory":
        return some_bytes_changed(sound, rng, start=directory)
    if fault == "fields":
        # Version needed, flags (encrypted), method, sum, sizes, attributes of one member.
        place = directory + int(rng.choice([6, 8, 10, 16, 20, 24, 28, 30, 42]))
        return sound[:place] + rng.bytes(2) + sound[place + 2 :]
    return sound


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("fault", ["cut", "directory", "fields", "names"])
@pytest.mark.parametrize("use", ["class folders", "submission"])
def test_zips(folder, fault, use):
    file, target, count = folder / "set.zip", folder / "unpacked", 0
    for seed in SEEDS:
        file.write_bytes(zip_case(fault, np.random.default_rng([2, seed])))
        if use == "submission":
            target.mkdir()
            before = files_of(folder.parent)
            count += refused(
                f"{use} {fault}", seed, lambda: reading.unpack(file, target), lambda found: True
            )
            after = files_of(folder.parent)
            outside = {k: v for k, v in after.items() if not k.startswith("case/unpacked/")}
            assert outside == before
            assert not [path for path in target.rglob("*") if path.is_symlink()]
            shutil.rmtree(target)
        else:
            before = files_of(folder.parent)
            count += refused(
                f"{use} {fault}",
                seed,
                lambda: reading.read_class_folders(file),
                lambda found: found[0].shape == (len(found[1]), 96, 96, 3),
            )
            assert files_of(folder.parent) == before
    assert count >= len(SEEDS) // 3


# --- image files


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("format", reading.FORMATS)
def test_image_files(format):
    count = 0
    for seed in SEEDS:
        rng = np.random.default_rng([3, seed])
        file = io.BytesIO()
        side = int(rng.integers(1, 60))
        Image.fromarray(rng.integers(0, 256, (side, 40, 3), np.uint8)).save(file, format)
        content = file.getvalue()
        first = some_bytes_changed(content, rng, end=min(64, len(content)))
        bad = cut(content, rng) if seed % 2 else first
        count += refused(
            format,
            seed,
            lambda bad=bad: reading.decode(bad, "cell.img", False),
            lambda found: found.shape == (96, 96, 3) and found.dtype == np.uint8,
        )
    assert count >= len(SEEDS) // 3


# --- answers of web servers


def answer(rng: np.random.Generator) -> bytes:
    """Return what a server sends that has not the file: wrong, short, a page, no HTTP at all."""
    status = rng.choice(["200 OK", "206 Partial Content", "404 No", "500 ", "302 Found", "999 x"])
    body = [CONTENT[:1000], b"", b"<html>log in</html>", CONTENT + b"x", rng.bytes(5000)]
    lengths = ["5120", "-1", "9" * 400, "\xb2", "1e3", "", "100000"]
    headers = [
        f"Content-Length: {rng.choice(lengths)}",
        f"Content-Range: bytes {rng.choice(['0-1/2', '5-4/3', 'x', '9-/*'])}",
        "Content-Type: text/html",
        "Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        f"Location: {rng.choice(['/', 'file:///etc/hostname', 'http://', 'gopher://x'])}",
        f"ETag: {rng.choice(['../../x', 'a/b', 'x' * 300, ''])}",
        "no colon",
        "X: " + "y" * 70_000,
    ]
    if rng.random() < 0.1:
        return rng.bytes(300)
    chosen = rng.choice(headers, rng.integers(0, 4), replace=False)
    head = "\r\n".join([f"HTTP/1.1 {status}", *chosen, "Connection: close", "", ""])
    return head.encode("latin-1") + body[rng.integers(len(body))]


@contextlib.contextmanager
def serving(content: bytes) -> Iterator[str]:
    """Send the same bytes to whoever asks; yields the server's address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.recv(65_536)
                connection.sendall(content)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def test_answers_of_web_servers(folder, monkeypatch):
    monkeypatch.setattr(downloads, "READ_SECONDS", 2)
    md5, path, count = hashlib.md5(CONTENT).hexdigest(), folder / "cells.npz", 0
    for seed in SEEDS:
        path.write_bytes(b"an earlier file")
        with serving(answer(np.random.default_rng([4, seed]))) as url:
            count += refused(
                "answer",
                seed,
                lambda url=url: downloads.download(f"{url}/cells.npz", path, md5=md5),
                lambda found: path.read_bytes() == CONTENT,
            )
            assert path.read_bytes() in (b"an earlier file", CONTENT)
            assert isinstance(downloads.reachable(url), bool)
        names = {name.partition(".part")[0] for name in files_of(folder)}
        assert names <= {"cells.npz", ".cells.npz.lock"}
    assert count >= 2 * len(SEEDS) // 3


def test_lists_of_checksums(folder, monkeypatch):
    monkeypatch.setenv("BLOODCELLS_MIRROR", str(folder))
    (folder / "cells.npz").write_bytes(CONTENT)
    line = f"{'0' * 64}  cells.npz\n"
    for seed in SEEDS:
        rng = np.random.default_rng([5, seed])
        texts = [
            "",
            "<html>",
            "sha256",
            line,
            line * 2,
            line.upper(),
            line[1:],
            "\0" * 100,
            line[::-1],
        ]
        code = ["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-8-sig"][rng.integers(5)]
        content = str(rng.choice(texts)).encode(code)
        (folder / "SHA256SUMS").write_bytes(
            content if rng.random() < 0.7 else cut(content + b"x", rng)
        )
        before = files_of(folder)
        assert refused(
            "sums", seed, lambda: downloads.mirror_file("cells.npz"), lambda found: False
        )
        assert files_of(folder) == before


# --- settings


def strange_text(rng: np.random.Generator) -> str:
    texts = [
        *("quik", "FULL", "full ", "nan", "~nobody/x", "x" * 500, "a\x1b[2Jb", "no/such/folder"),
        *("🩸", "%s{}", "http//x", "-1", "bloodmnist.npz", "a\nb", "None", "synthetic.", "../.."),
    ]
    return texts[rng.integers(len(texts))] + ("" if rng.random() < 0.5 else str(rng.integers(9)))


@pytest.mark.parametrize("name", ["COURSE_PROFILE", "BLOODCELLS_SOURCE", "BLOODCELLS_BACKBONE"])
def test_settings(folder, name, monkeypatch):
    from helpers.models import backbones

    read = {
        "COURSE_PROFILE": course.profile,
        "BLOODCELLS_SOURCE": sources.load_photographs,
        "BLOODCELLS_BACKBONE": backbones.default_backbone,
    }[name]
    monkeypatch.chdir(folder)
    for seed in SEEDS:
        monkeypatch.setenv(name, strange_text(np.random.default_rng([6, seed])))
        before = files_of(folder.parent)
        assert refused(name, seed, read, lambda found: False)
        assert files_of(folder.parent) == before
