import io

import numpy as np
import pytest
from PIL import Image

from commands import audit
from helpers import __main__ as command_line
from helpers.course import CourseError
from helpers.data import cleaning

RNG = np.random.default_rng(3)


def picture(seed, side=96):
    """Return a picture with structure of its own, uint8 (side, side, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 230, (12, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(image)).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """A folder of ten good pictures, two splits, two classes."""
    top = tmp_path / "cells"
    for number in range(10):
        split = "train" if number < 7 else "validation"
        save(top / split / ("round" if number % 2 else "long") / f"{number}.png", picture(number))
    return top


def run(folder, page):
    return audit.main([str(folder), "--page", str(page)])


def names(folder, heading):
    images, _ = audit.read(folder)
    return [[images.names[row] for row in rows] for rows in audit.findings(images)[heading]]


def test_a_good_folder_is_left_as_it_is_and_gives_0(folder, tmp_path, capsys):
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    assert run(folder, tmp_path / "page.html") == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))} == before
    told = capsys.readouterr().out
    assert "10 images." in told
    assert "at this pace 10,000 images take about" in told
    text = (tmp_path / "page.html").read_text()
    assert text.count("<h2>") == 10
    assert "http" not in text


def test_every_kind_of_copy_is_found_under_its_own_heading(folder):
    train = folder / "train" / "long"
    save(train / "equal.bmp", picture(0))
    save(train / "again.jpg", picture(2), quality=85)
    save(train / "turned.png", np.rot90(picture(4)))
    save(train / "mirrored.png", picture(6)[:, ::-1])
    large = picture(99, 128)
    save(train / "cut_here.png", large[:96, :96])
    save(train / "cut_there.png", large[10:106, 8:104])
    where = "train/long/"
    assert names(folder, "Equal copies") == [[where + "0.png", where + "equal.bmp"]]
    assert names(folder, "Near copies (saved again, resized)") == [
        [where + "2.png", where + "again.jpg"]
    ]
    assert names(folder, "Turned or mirrored copies") == [
        [where + "4.png", where + "turned.png"],
        [where + "6.png", where + "mirrored.png"],
    ]
    assert names(folder, "Moved (cut out or photographed again), or very much alike") == [
        [where + "cut_here.png", where + "cut_there.png"]
    ]
    assert names(folder, "In more than one split") == []
    assert names(folder, "Under more than one label") == []


def test_a_copy_in_another_split_or_under_another_label_is_found(folder):
    save(folder / "validation" / "long" / "leak.jpg", np.rot90(picture(0)), quality=90)
    save(folder / "train" / "round" / "doubt.png", picture(2))
    assert names(folder, "In more than one split") == [
        ["train/long/0.png", "validation/long/leak.jpg"]
    ]
    assert names(folder, "Under more than one label") == [
        ["train/long/2.png", "train/round/doubt.png"]
    ]


def test_a_copy_without_a_label_contradicts_none(folder):
    save(folder / "unsorted.png", picture(2))
    assert names(folder, "Equal copies") == [["train/long/2.png", "unsorted.png"]]
    assert names(folder, "Under more than one label") == []
    save(folder / "train" / "round" / "doubt.png", picture(2))
    (rows,) = names(folder, "Under more than one label")
    assert len(rows) == 3


def test_odd_sizes_dark_blurred_and_unreadable_ones_are_found(folder, tmp_path):
    train = folder / "train" / "round"
    save(train / "wide.png", picture(20, 300))
    save(train / "dark.png", picture(21) // 6)
    save(train / "blurred.png", np.full((96, 96, 3), 140, np.uint8))
    (train / "broken.png").write_bytes(b"\x89PNG\r\n")
    (train / "notes.txt").write_text("no image, and no finding")
    where = "train/round/"
    assert names(folder, "Odd sizes") == [[where + "wide.png"]]
    assert names(folder, "Dark") == [[where + "dark.png"]]
    assert names(folder, "Blurred or empty") == [[where + "blurred.png"]]
    assert list(audit.read(folder)[1]) == [where + "broken.png"]
    assert run(folder, tmp_path / "page.html") == 1
    assert "broken.png" in (tmp_path / "page.html").read_text()


def test_images_of_too_many_pixels_are_unreadable(monkeypatch, folder):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 96 - 1)
    images, unreadable = audit.read(folder)
    assert not images.names
    assert len(unreadable) == 10


def test_only_unreadable_files_are_a_finding_too(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"")
    assert run(tmp_path / "set", tmp_path / "page.html") == 1


def test_a_page_is_never_written_into_the_folder(folder):
    with pytest.raises(CourseError, match="lies in the folder under audit"):
        run(folder, folder / "page.html")
    assert not (folder / "page.html").exists()


def test_a_file_of_others_is_not_overwritten_and_its_own_is(folder, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>my notes</p>")
    with pytest.raises(CourseError, match="was not written by an audit"):
        run(folder, page)
    assert page.read_text() == "<p>my notes</p>"
    page.unlink()
    assert run(folder, page) == 0
    assert run(folder, page) == 0


def test_a_folder_in_the_page_s_place_is_an_error(folder, tmp_path):
    (tmp_path / "page.html").mkdir()
    with pytest.raises(CourseError, match="name another page"):
        run(folder, tmp_path / "page.html")


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_a_folder_without_images_is_an_error(tmp_path, what):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match=r"no folder|no image files"):
        run(tmp_path / what, tmp_path / "page.html")


def test_file_names_cannot_bring_markup_into_the_page(folder, tmp_path):
    name = "<b>&x.png"
    save(folder / "train" / "round" / name, picture(1))
    assert run(folder, tmp_path / "page.html") == 1
    text = (tmp_path / "page.html").read_text()
    assert "&lt;b&gt;&amp;x.png" in text
    assert "<b>" not in text


def test_the_command_is_listed(capsys):
    assert command_line.main(["--help"]) == 0
    assert "audit" in capsys.readouterr().out


def test_similarity_finds_a_move_and_tells_different_pictures_apart():
    large = np.asarray(Image.fromarray(picture(7, 64)).convert("L"), np.float64)
    here, there = large[:48, :48], large[9:57, 5:53]
    assert cleaning.similarity(here, there) > 0.99
    other = np.asarray(Image.fromarray(picture(8, 48)).convert("L"), np.float64)
    assert cleaning.similarity(here, other) < 0.7
    assert cleaning.similarity(here, np.full((48, 48), 9.0)) == 0


def test_recompressed_bytes_of_one_picture_are_one_near_pair():
    file = io.BytesIO()
    Image.fromarray(picture(11)).save(file, "JPEG", quality=80)
    images = np.stack([picture(11), np.asarray(Image.open(file)), picture(12)])
    pairs, kinds = cleaning.alike_pairs(images)
    assert pairs.tolist() == [[0, 1]]
    assert kinds.tolist() == ["near"]
