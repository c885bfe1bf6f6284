"""Sources: the right one is chosen and named, bad files are refused, the cache can be trusted."""

import hashlib
import io
import os
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from helpers import course
from helpers.course import CourseError
from helpers.data import downloads, sources, synthetic
from helpers.data.photographs import CLASS_NAMES, Photographs, Source
from helpers.data.reading import PBC_FOLDERS
from helpers.data.sources import load_photographs
from helpers.models import backbones

on_the_mirror = pytest.mark.skipif("BLOODCELLS_MIRROR" not in os.environ, reason="needs a mirror")

RNG = np.random.default_rng(0)
LABELS = np.arange(16) % 8
IMAGES = RNG.integers(0, 256, (16, 96, 96, 3), np.uint8)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder on a machine where nothing is asked for and nothing is reached."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setattr(course, "data_folder", lambda: folder)
    monkeypatch.setattr(downloads, "reachable", lambda url, seconds=3: False)
    for variable in ("BLOODCELLS_SOURCE", "BLOODCELLS_MIRROR", "COURSE_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    return folder


@pytest.fixture
def draws(monkeypatch):
    """Stand-ins for the synthetic cells; the list grows with every drawing."""
    drawings = []

    def draw_photographs():
        drawings.append(1)
        source = Source(
            "synthetic", "cells drawn by hand", are_photographs=False, checksum="c0ffee"
        )
        return Photographs(IMAGES, LABELS, CLASS_NAMES, source)

    monkeypatch.setattr(synthetic, "draw_photographs", draw_photographs)
    return drawings


def png(side: int = 208, colour=(200, 30, 60)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_zip(path, folders=PBC_FOLDERS):
    with zipfile.ZipFile(path, "w") as archive:
        for folder in folders:
            for number in range(2):
                archive.writestr(f"set/{folder}/{number}.png", png())


def write_bloodmnist(path, side: int):
    arrays = {}
    for split, start, stop in [("train", 0, 8), ("val", 8, 12), ("test", 12, 16)]:
        arrays[f"{split}_images"] = RNG.integers(0, 256, (stop - start, side, side, 3), np.uint8)
        arrays[f"{split}_labels"] = LABELS[start:stop, None].astype(np.uint8)
    np.savez(path, **arrays)


@pytest.fixture
def mirror(tmp_path, monkeypatch, data):
    """An empty mirror folder, named by BLOODCELLS_MIRROR."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setenv("BLOODCELLS_MIRROR", str(folder))
    return folder


def list_sums(mirror):
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in mirror.iterdir()
    ]
    (mirror / "SHA256SUMS").write_text("".join(lines))


def test_where_nothing_is_reached_cells_are_drawn_once_and_it_is_said(data, draws, capsys):
    for _ in range(2):
        photographs = load_photographs()
        assert capsys.readouterr().out == (
            "Images: synthetic cells, because no photographs could be had (data/training_set.npz "
            "is missing, BLOODCELLS_MIRROR is not set, zenodo.org cannot be reached).\n"
        )
    assert len(draws) == 1
    assert photographs.source == Source("synthetic", "cells drawn by hand", False, "c0ffee")
    np.testing.assert_array_equal(photographs.images, IMAGES)
    assert not photographs.images.flags.writeable
    assert photographs.labels.dtype == np.int64
    assert photographs.official_split is None


@pytest.mark.parametrize("asked", ["homework", "mirror", "bloodmnist", "mirorr", "no/such/folder"])
def test_what_is_asked_for_and_cannot_be_had_is_an_error(data, draws, monkeypatch, asked):
    monkeypatch.setenv("BLOODCELLS_SOURCE", asked)
    with pytest.raises(CourseError, match=f"BLOODCELLS_SOURCE (asks for|is) '{asked}'"):
        load_photographs()
    assert not draws


@pytest.mark.parametrize("place", ["missing", "empty", "http://127.0.0.1:9"])
def test_a_mirror_that_has_no_images_is_an_error(mirror, draws, monkeypatch, place):
    if not place.startswith("http"):
        (mirror.parent / "empty").mkdir()
        place = str(mirror.parent / place)
    monkeypatch.setenv("BLOODCELLS_MIRROR", place)
    with pytest.raises(CourseError, match="BLOODCELLS_MIRROR names"):
        load_photographs()
    assert not draws


def test_the_mirror_s_photographs_come_before_its_bloodmnist(mirror, capsys):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip")
    write_bloodmnist(mirror / "bloodmnist_128.npz", 128)
    list_sums(mirror)
    photographs = load_photographs()
    assert capsys.readouterr().out == (
        "Images: 16 photographs of the PBC set (mirror), CC BY 4.0, because BLOODCELLS_MIRROR is "
        "set (data/training_set.npz is missing).\n"
    )
    assert photographs.source.caption == "photographs (mirror)"
    assert photographs.labels.tolist() == sorted(LABELS)
    assert photographs.class_names == CLASS_NAMES
    archive = mirror / "PBC_dataset_normal_DIB.zip"
    assert photographs.source.checksum == hashlib.sha256(archive.read_bytes()).hexdigest()


def test_file_names_are_kept_and_a_cache_without_them_is_made_anew(data, mirror):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip")
    list_sums(mirror)
    names = load_photographs().file_names
    assert len(names) == 16
    assert all(name.endswith(".png") and name.count("/") == 1 for name in names)
    _, rest = cached_files(data)
    with np.load(rest) as arrays:
        np.savez(rest, **{key: arrays[key] for key in arrays if key != "file_names"})
    np.testing.assert_array_equal(load_photographs().file_names, names)


def test_a_mirror_s_altered_file_is_refused(mirror, draws):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip")
    list_sums(mirror)
    with (mirror / "PBC_dataset_normal_DIB.zip").open("ab") as file:
        file.write(b"?")
    with pytest.raises(CourseError, match=r"DIB\.zip in the mirror .* is altered or truncated"):
        load_photographs()


def test_a_mirror_s_zip_of_other_classes_is_refused(mirror):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip", ["cats", "dogs"])
    with pytest.raises(CourseError, match="holds the classes cats, dogs, not the eight"):
        load_photographs()


@pytest.mark.parametrize(("profile", "size"), [("quick", 64), ("full", 128)])
def test_bloodmnist_on_a_mirror_has_the_profile_s_size(mirror, monkeypatch, profile, size):
    for side in (64, 128):
        write_bloodmnist(mirror / f"bloodmnist_{side}.npz", side)
    list_sums(mirror)
    monkeypatch.setenv("COURSE_PROFILE", profile)
    photographs = load_photographs()
    assert photographs.source.name == "bloodmnist"
    assert f"({size} px resized to 96)" in photographs.source.description
    assert photographs.official_split.tolist() == ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    assert photographs.labels.tolist() == LABELS.tolist()
    with np.load(mirror / f"bloodmnist_{size}.npz") as arrays:
        picture = Image.fromarray(arrays["val_images"][0])
    expected = np.asarray(picture.resize((96, 96), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(photographs.images[8], expected)


def test_bloodmnist_without_sums_must_be_the_official_file(mirror, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    write_bloodmnist(mirror / "bloodmnist_64.npz", 64)
    with pytest.raises(CourseError, match=r"bloodmnist_64\.npz in the mirror .* altered"):
        load_photographs()


def serve(folder):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def test_a_web_mirror_is_downloaded_once(mirror, data, monkeypatch):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip")
    list_sums(mirror)
    with serve(mirror) as server:
        monkeypatch.setenv("BLOODCELLS_MIRROR", f"http://127.0.0.1:{server.server_port}/")
        first = load_photographs()
        assert (data / "PBC_dataset_normal_DIB.zip").exists()
        (mirror / "PBC_dataset_normal_DIB.zip").unlink()
        assert load_photographs().source == first.source
        server.shutdown()


def test_bloodmnist_is_downloaded_where_its_host_is_reached(data, tmp_path, monkeypatch, capsys):
    official = tmp_path / "official"
    official.mkdir()
    write_bloodmnist(official / "bloodmnist_64.npz", 64)
    md5 = hashlib.md5((official / "bloodmnist_64.npz").read_bytes()).hexdigest()
    monkeypatch.setenv("COURSE_PROFILE", "quick")
    monkeypatch.setitem(sources.BLOODMNIST_MD5, 64, md5)
    monkeypatch.setattr(downloads, "reachable", lambda url, seconds: True)
    with serve(official) as server:
        url = f"http://127.0.0.1:{server.server_port}/{{name}}?download=1"
        monkeypatch.setattr(sources, "BLOODMNIST_URL", url)
        assert load_photographs().source.name == "bloodmnist"
        server.shutdown()
    monkeypatch.setattr(downloads, "reachable", lambda url, seconds: False)
    assert load_photographs().source.name == "bloodmnist"  # it is in the data folder now
    assert "BloodMNIST (64 px resized to 96), CC BY 4.0, because it can be downl" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None].astype(np.uint8)], ids=["N", "Nx1"])
def test_the_homework_s_file_comes_first(data, mirror, labels, capsys):
    write_zip(mirror / "PBC_dataset_normal_DIB.zip")
    np.savez_compressed(data / "training_set.npz", images=IMAGES, labels=labels)
    photographs = load_photographs()
    assert "homework's own file" in capsys.readouterr().out
    np.testing.assert_array_equal(photographs.images, IMAGES)
    np.testing.assert_array_equal(photographs.labels, LABELS)
    assert photographs.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"images": IMAGES}, r"no array called labels \(it holds images\)"),
        ({"x": IMAGES, "labels": LABELS}, r"no array called images \(it holds labels, x\)"),
        ({"images": IMAGES[..., 0], "labels": LABELS}, r"shape \(16, 96, 96\) instead of"),
        ({"images": IMAGES[:, ::2], "labels": LABELS}, r"shape \(16, 48, 96, 3\) instead of"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images .* is empty: store at least one"),
        (
            {"images": IMAGES / np.float32(255), "labels": LABELS},
            r"float32 instead of uint8: store np\.round\(images \* 255\)\.astype\(np\.uint8\)",
        ),
        (
            {"images": IMAGES.astype(np.float64), "labels": LABELS},
            r"float64 instead of uint8: store np\.round\(images\)\.astype\(np\.uint8\)",
        ),
        ({"images": IMAGES.astype(int), "labels": LABELS}, r"store images\.astype\(np\.uint8\)"),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels .* shape \(9,\) instead of \(16,\)"),
        ({"images": IMAGES, "labels": np.eye(8)[LABELS]}, r"labels .* shape \(16, 8\) instead"),
        ({"images": IMAGES, "labels": LABELS / 1}, r"store labels\.astype\(np\.int64\)"),
        ({"images": IMAGES, "labels": LABELS + 1}, "goes from 1 to 8, outside 0-7"),
        ({"images": IMAGES, "labels": LABELS - 1}, "goes from -1 to 6, outside 0-7"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "labels .* holds pickled objects"),
        ({"images": IMAGES.astype(object), "labels": LABELS}, "images .* holds pickled objects"),
    ],
)
def test_a_bad_homework_file_is_one_sentence(data, draws, arrays, sentence):
    np.savez(data / "training_set.npz", **arrays)
    with pytest.raises(CourseError, match=rf"training_set\.npz.*{sentence}|{sentence}"):
        load_photographs()
    assert not draws


@pytest.mark.parametrize("damage", ["truncated", "altered", "no zip", "short array"])
def test_a_damaged_homework_file_is_one_sentence(data, damage):
    path = data / "training_set.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    elif damage == "altered":
        content[len(content) // 2] ^= 255
    elif damage == "no zip":
        content = b"<html>Log in</html>"
    else:
        content = content.replace(b"(16, 96, 96, 3)", b"(99, 96, 96, 3)")
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"training_set\.npz is truncated or altered"):
        load_photographs()


def test_class_folders_of_the_user_s_own(data, tmp_path, monkeypatch, capsys):
    top = tmp_path / "my cells"
    for name in ("yeast", "algae", "moss"):
        (top / name).mkdir(parents=True)
        (top / name / "1.png").write_bytes(png(40))
    monkeypatch.setenv("BLOODCELLS_SOURCE", str(top))
    photographs = load_photographs()
    assert photographs.class_names == ("algae", "moss", "yeast")
    out = capsys.readouterr().out
    assert "3 photographs in 3 class folders of your own, because BLOODCELLS_SOURCE asks" in out
    assert str(tmp_path) not in out

    (top / "moss" / "2.png").write_bytes(png(50))
    assert load_photographs().labels.tolist() == [0, 1, 1, 2]
    (top / "moss" / "2.png").write_bytes(png(50, (0, 0, 0)))
    assert not load_photographs().images[2].any()


def cached_files(data):
    (images,) = data.glob("decoded-*.npy")
    (rest,) = data.glob("decoded-*.npz")
    return images, rest


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        lambda images, rest: truncate(images),
        lambda images, rest: os.truncate(images, 0),
        lambda images, rest: truncate(rest),
        lambda images, rest: np.save(images, IMAGES[:3]),
        lambda images, rest: np.save(images, IMAGES.astype(np.float32)),
        lambda images, rest: np.savez(rest, labels=LABELS),
        lambda images, rest: rest.unlink(),
    ],
    ids=["short images", "no images", "short labels", "fewer", "floats", "keys", "half of it"],
)
def test_a_damaged_cache_is_made_anew(data, draws, damage):
    load_photographs()
    damage(*cached_files(data))
    np.testing.assert_array_equal(load_photographs().images, IMAGES)
    assert len(draws) == 2


def test_another_recipe_is_decoded_anew(data, draws, monkeypatch):
    load_photographs()
    monkeypatch.setattr(sources, "CACHE_VERSION", sources.CACHE_VERSION + 1)
    load_photographs()
    assert len(draws) == 2


def test_an_interrupted_run_leaves_no_cache(data, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "draw_photographs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_photographs()
    assert not list(data.glob("decoded-*"))


@on_the_mirror
def test_the_mirror_s_photographs_are_the_published_ones(monkeypatch):
    monkeypatch.setenv("BLOODCELLS_SOURCE", "mirror")
    photographs = load_photographs()
    if photographs.source.name != "mirror":
        pytest.skip("this mirror holds BloodMNIST")
    counts = np.bincount(photographs.labels).tolist()
    assert photographs.images.shape == (len(photographs), 96, 96, 3)
    if len(photographs) == 15_383:
        assert counts == [1096, 2805, 1396, 2606, 1093, 1278, 2996, 2113]
    else:
        assert counts == [1218, 3117, 1551, 2895, 1214, 1420, 3329, 2348]  # all 17,092
    # Decoded once.
    monkeypatch.setattr(sources, "read_class_folders", None)
    assert len(load_photographs()) == len(photographs)


def test_the_former_word_is_refused_with_the_new_one(data, monkeypatch):
    monkeypatch.setenv("BLOODCELLS_SOURCE", "drawn")
    with pytest.raises(CourseError, match="is now called BLOODCELLS_SOURCE=synthetic"):
        load_photographs()


# Sources named by path, and what stands in a source's place.


def test_an_npz_named_by_its_path_is_what_it_holds(data, tmp_path, monkeypatch, capsys):
    write_bloodmnist(tmp_path / "mine.npz", 64)
    monkeypatch.setenv("BLOODCELLS_SOURCE", str(tmp_path / "mine.npz"))
    photographs = load_photographs()
    assert photographs.source.name == "bloodmnist"
    assert "BloodMNIST (64 px resized to 96)" in capsys.readouterr().out
    assert photographs.official_split.tolist() == ["train"] * 8 + ["val"] * 4 + ["test"] * 4
    np.savez(tmp_path / "other.npz", images=IMAGES, labels=LABELS)
    monkeypatch.setenv("BLOODCELLS_SOURCE", str(tmp_path / "other.npz"))
    assert load_photographs().source.name == "homework"


def test_a_damaged_download_is_blamed_beside_the_network(data, draws, monkeypatch):
    (data / "bloodmnist_64.npz").write_bytes(b"half")
    with pytest.raises(CourseError, match=r"bloodmnist_64\.npz is damaged .* zenodo\.org"):
        load_photographs()
    assert not draws


def test_a_folder_in_place_of_the_homework_s_file(data):
    (data / "training_set.npz").mkdir()
    with pytest.raises(CourseError, match=r"training_set\.npz is a folder"):
        load_photographs()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_in_place_of_the_homework_s_file(data):
    os.mkfifo(data / "training_set.npz")
    with pytest.raises(CourseError, match=r"training_set\.npz is a pipe"):
        load_photographs()


@pytest.mark.parametrize("asked", ["~nosuchuser/x", "x" * 5000, "a\0b"])
@pytest.mark.parametrize("variable", ["BLOODCELLS_SOURCE", "BLOODCELLS_MIRROR"])
def test_a_path_that_can_be_none_is_one_sentence(data, monkeypatch, asked, variable):
    monkeypatch.setitem(os.environ, variable, asked) if "\0" not in asked else monkeypatch.setattr(
        os.environ, "get", lambda name, default=None: asked if name == variable else default
    )
    with pytest.raises(CourseError):
        load_photographs()


def test_a_mistyped_profile_is_told_before_images_are_loaded(data, draws, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", "fulll")
    with pytest.raises(CourseError, match="COURSE_PROFILE"):
        load_photographs()
    assert not draws


def test_settings_that_are_empty_are_not_set(data, draws, monkeypatch):
    for name in ("COURSE_PROFILE", "BLOODCELLS_SOURCE", "BLOODCELLS_MIRROR", "BLOODCELLS_BACKBONE"):
        monkeypatch.setenv(name, " ")
    assert course.profile().name == "quick"
    assert backbones.default_backbone() == backbones.DEFAULT_BACKBONE
    assert load_photographs().source.name == "synthetic"


def test_a_folder_s_digest_knows_links_and_empty_folders(tmp_path):
    top, elsewhere = tmp_path / "top", tmp_path / "elsewhere.png"
    (top / "a").mkdir(parents=True)
    elsewhere.write_bytes(png())
    (top / "a" / "1.png").symlink_to(elsewhere)
    digests = [sources._listing_digest(top)]
    elsewhere.write_bytes(png(100))
    digests.append(sources._listing_digest(top))
    (top / "b").mkdir()
    digests.append(sources._listing_digest(top))
    assert len(set(digests)) == 3
    elsewhere.unlink()
    with pytest.raises(CourseError, match=r"1\.png cannot be read \(No such file"):
        sources._listing_digest(top)


@pytest.mark.parametrize("header", [b"3(", b"3)" * 9, b"3,", b"\0\0"])
def test_a_cache_whose_header_cannot_be_parsed_is_made_anew(data, draws, capsys, header):
    load_photographs()
    images, _ = cached_files(data)
    content = images.read_bytes()
    images.write_bytes(content[:128].replace(b"3)", header, 1)[:128] + content[128:])
    np.testing.assert_array_equal(load_photographs().images, IMAGES)
    assert "is damaged or incomplete and is made anew" in capsys.readouterr().out
