"""Bad inputs, made from seeds: each is refused with one sentence, and no file is changed.

What a seed happens to leave whole may load, as what it promises to be; how many of each kind must
be refused is asserted too. A failure names its seed.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import course, files
from helpers.course import CourseError
from helpers.data import downloads, reading, sources
from helpers.evaluation import records
from helpers.models import backbones, released

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


def squared(image: Image.Image) -> np.ndarray:
    """Return an image's middle as networks see it."""
    return reading.resized_square(image, *reading.central_square(image))


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
            lambda bad=bad: squared(reading.decode(bad, "cell.img")),
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
    read = {
        "COURSE_PROFILE": course.profile,
        "BLOODCELLS_SOURCE": sources.load_photographs,
        "BLOODCELLS_BACKBONE": backbones.default_backbone,
    }[name]
    # A relative path counts from the course's folder: "../.." must not be the machine's.
    (folder / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr(course, "root", lambda: folder / "a" / "b")
    monkeypatch.chdir(folder / "a" / "b")
    course.data_folder()  # in a checkout it is there
    for seed in SEEDS:
        monkeypatch.setenv(name, strange_text(np.random.default_rng([6, seed])))
        before = files_of(folder.parent)
        assert refused(name, seed, read, lambda found: False)
        assert files_of(folder.parent) == before


# --- records, predictions, curves and cards


def altered_json(found: object, rng: np.random.Generator) -> bytes:
    """Return JSON with one of its values replaced or taken away, or text that is no JSON."""
    whole = json.dumps(found)
    if rng.random() < 0.3:
        texts = [whole[:-20], "[" * 100_000, whole + "}", "null", '{"a": 1}', "[[]]", "", "\0"]
        codes = ["utf-8", "utf-16", "latin-1"]
        return str(rng.choice(texts)).encode(str(rng.choice(codes)))
    found = json.loads(whole)
    parent, key = None, None
    node = found
    while isinstance(node, dict | list) and node and (parent is None or rng.random() < 0.6):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        parent, key = node, keys[rng.integers(len(keys))]
        node = node[key]
    if rng.random() < 0.3:
        del parent[key]
    else:
        strange = [None, "0.9", [], {}, True, float("nan"), float("inf"), -1, 10**400, "\x1b[2J\n"]
        parent[key] = strange[rng.integers(len(strange))]
    return json.dumps(found).encode()


def test_records(folder):
    details = {"seed": 0, "epochs": 3, "seconds": 5.0}
    sound = [
        {"key": f"cnn-seed{k}/test/accuracy", "value": 0.5, "interval": [0.4, 0.6], "n": 9}
        | details
        for k in range(2)
    ]
    file, count = folder / "results.json", 0

    def read() -> dict:
        found = records.Records(folder)
        for seed in found.seeds("cnn", "test"):
            found.estimate("cnn", "test", seed)
        return found.by_key

    def fractions(found: dict) -> bool:
        return all(0 <= record.estimate.value <= 1 for record in found.values())

    for seed in SEEDS:
        file.write_bytes(altered_json(sound, np.random.default_rng([7, seed])))
        before = files_of(folder.parent)
        count += refused("records", seed, read, fractions)
        assert files_of(folder.parent) == before
    assert count >= len(SEEDS) // 3


def test_predictions(folder):
    (folder / "predictions").mkdir()
    file, count = folder / "predictions" / "labels.npz", 0

    def attempt() -> dict:
        return records.Records(folder).arrays("labels")

    for seed in SEEDS:
        fault = ["cut", "bytes", "header", "packed"][seed % 4]
        file.write_bytes(npz_case(fault, np.random.default_rng([8, seed])))
        before = files_of(folder.parent)
        count += refused("predictions", seed, attempt, lambda found: isinstance(found, dict))
        assert files_of(folder.parent) == before
    assert count >= len(SEEDS) // 2


def test_curves(folder):
    (folder / "curves").mkdir()
    file, count = folder / "curves" / "cnn-seed0.json", 0
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    sound = {"identity": "0" * 8} | {name: [0.5, 0.25] for name in names}

    for seed in SEEDS:
        file.write_bytes(altered_json(sound, np.random.default_rng([9, seed])))
        before = files_of(folder.parent)
        count += refused(
            "curves",
            seed,
            lambda: records.Records(folder).history("cnn-seed0"),
            lambda found: found is None or set(found) == set(names),
        )
        assert files_of(folder.parent) == before
    assert count >= len(SEEDS) // 3


def test_cards(folder, monkeypatch):
    sound = json.loads((released.folder("final") / "card.json").read_text(encoding="utf-8"))
    monkeypatch.setattr(course, "root", lambda: folder)
    (folder / "models" / "final").mkdir(parents=True)
    file, count = folder / "models" / "final" / "card.json", 0
    for seed in SEEDS:
        file.write_bytes(altered_json(sound, np.random.default_rng([10, seed])))
        before = files_of(folder.parent)
        count += refused(
            "card", seed, lambda: released.card("final"), lambda found: "sha256" in found
        )
        # The weights are not there.
        assert refused("model", seed, lambda: released.load("final"), lambda _: False)
        assert files_of(folder.parent) == before
    assert count >= len(SEEDS) // 4


# --- the command line


@pytest.mark.parametrize(
    "command",
    [
        ("score", "no such.zip"),
        ("score", "--minutes", "nan", "cells.zip"),
        ("predict", "no such.jpg"),
        ("nothing",),
    ],
    ids=" ".join,
)
def test_the_command_line_ends_with_a_sentence(folder, command):
    """The real one, since a traceback of the interpreter's own would be seen nowhere else."""
    (folder / "cells.zip").write_bytes(zip_case("cut", np.random.default_rng(0)))
    before = files_of(folder)
    done = subprocess.run(
        [sys.executable, "-m", "helpers", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(course.root()), "BLOODCELLS_SOURCE": "no such source"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr + done.stdout
    last = (done.stderr or done.stdout).strip().splitlines()[-1]
    if done.returncode == 1:
        check_sentence(last)
    assert files_of(folder) == before


@pytest.mark.parametrize("fault", ["cut", "header"])
def test_damaged_caches_are_made_anew(folder, fault, capsys):
    file, whole, count = folder / "cells.npy", np.arange(64, dtype=np.uint8), 0
    for seed in SEEDS:
        rng = np.random.default_rng([11, seed])
        np.save(file, whole)
        npy = file.read_bytes()
        bad = npy[: rng.integers(1, 190)] if fault == "cut" else strange_header("", npy, rng)
        file.write_bytes(bad)
        found = files.cached_array(file, lambda: whole)
        told = capsys.readouterr().out
        if told:
            check_sentence(told.strip())
        count += bool(told) and (found == whole).all()
    assert count >= len(SEEDS) // 2
