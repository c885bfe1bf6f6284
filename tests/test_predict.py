"""Predicting photographs: read like the training's, whatever the batch; bad ones are skipped."""

import csv
import dataclasses
import errno
import io
import os
import sys
import weakref
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from commands import asking, cells, familiarity, predict, release
from helpers import course
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES
from helpers.data.reading import PBC_FOLDERS, read_class_folders
from helpers.evaluation import metrics
from helpers.models import released
from helpers.training import recipes

IMAGES = np.random.default_rng(0).integers(0, 256, (70, 96, 96, 3), dtype=np.uint8)
TEMPERATURE = 2.0

CARD = {
    "class_names": list(CLASS_NAMES),
    "temperature": TEMPERATURE,
    "temperature_from": {"set": "shifted_validation", "n": 10},
    "experiment": dataclasses.asdict(recipes.fine_tuned()),
    "backbone": {"title": "EfficientNet-Lite0", "weights_from": "here", "licence": "none"},
    "training": {
        "profile": "full",
        "source": "mirror",
        "train_images": 10,
        "epochs": 1,
        "best_epoch": 1,
        "stopped_by": "epochs",
        "revision": None,
    },
    "metrics": {},
    "failures": {"classes": {}, "changes": [], "corruptions": []},
}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    images = keras.Input((96, 96, 3), name="image")
    pooled = layers.AveragePooling2D(24, name="pooling")(
        layers.Rescaling(0.5, -63.75, name="rescaling")(images)
    )
    logits = layers.Dense(8, name="logits")(layers.Flatten(name="flatten")(pooled))
    return keras.Model(images, logits, name="toy")


@pytest.fixture
def work(model, tmp_path, monkeypatch, plain):
    """Return an empty working folder, with the released model that is the default."""
    monkeypatch.setattr(course, "root", lambda: tmp_path / "course")
    release.write(model, released.DEFAULT, CARD)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def save(path, image=IMAGES[0], **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def picture(path, **options) -> np.ndarray:
    """Return the first picture that the network is shown of a photograph, uint8 (96, 96, 3)."""
    return asking.looks(path, predict.read_image(path), **options)[0].views[0][0]


@pytest.fixture
def plain(monkeypatch):
    """Noise has no cell and no background: let each image be looked at once, as it is."""
    monkeypatch.setattr(cells, "find_cells", lambda image: [])
    monkeypatch.setattr(cells, "_balanced", lambda crop: None)


def expected(images: np.ndarray) -> np.ndarray:
    logits = released.load().predict(images, verbose=0)
    return metrics.softmax(logits, TEMPERATURE)


def refused(*arguments: str) -> str:
    """Return the sentence that the command ends with."""
    with pytest.raises(CourseError) as error:
        predict.main(list(arguments))
    return str(error.value)


def rows_of(path) -> list[dict]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_probabilities_do_not_depend_on_the_batch(model):
    together = released.classify(model, IMAGES, TEMPERATURE)
    assert together.dtype == np.float32
    assert together.shape == (70, 8)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-6)
    assert len(set(together.argmax(axis=1))) > 2
    alone = [released.classify(model, IMAGES[row : row + 1], TEMPERATURE)[0] for row in (0, 63, 69)]
    np.testing.assert_array_equal(alone, together[[0, 63, 69]])
    assert released.classify(model, IMAGES[:0], TEMPERATURE).shape == (0, 8)


def test_the_temperature_divides_the_logits(model):
    logits = model.predict(IMAGES, verbose=0)
    found = released.classify(model, IMAGES, TEMPERATURE)
    np.testing.assert_allclose(found, metrics.softmax(logits, TEMPERATURE), atol=1e-5)
    assert (found.max(axis=1) < metrics.softmax(logits).max(axis=1)).all()


def test_a_line_an_image_and_the_model_once(work, capsys):
    save(work / "a.png")
    save(work / "b.png", IMAGES[1])
    assert predict.main(["a.png", "b.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"Model {released.DEFAULT}: EfficientNet-Lite0 on 96 px, augmentation: none, adam"
    )
    assert lines[0].endswith("For teaching, not for diagnosis.")
    assert len(lines) == 3
    for line, name, probabilities in zip(lines[1:], "ab", expected(IMAGES[:2]), strict=True):
        second, first = probabilities.argsort()[-2:]
        assert line == (
            f"{name}.png: {CLASS_NAMES[first]}, {100 * probabilities[first]:.1f} % "
            f"(second: {CLASS_NAMES[second]}, {100 * probabilities[second]:.1f} %)"
        )
    assert sorted(path.name for path in work.iterdir()) == ["a.png", "b.png"]


def test_a_folder_becomes_a_table(work, capsys):
    images = IMAGES[:67]
    for number, image in enumerate(images):
        save(work / f"cells/{number % 2}/{number:02}.png", image)
    for litter in ("cells/notes.txt", "cells/.hidden.png", "cells/__MACOSX/x.png"):
        (work / litter).parent.mkdir(exist_ok=True)
        (work / litter).write_text("litter")
    assert predict.main(["cells"]) == 0
    assert "predictions.csv written: 67 images." in capsys.readouterr().out
    rows = rows_of(work / "predictions.csv")
    order = sorted(range(67), key=lambda number: (number % 2, number))
    found = [Path(row["file"]) for row in rows]
    assert found == [Path(f"cells/{n % 2}/{n:02}.png") for n in order]
    assert list(rows[0]) == [
        *("file", "class", "probability", "second", "second_probability"),
        *CLASS_NAMES,
        *("cell", "left", "top", "side"),
    ]
    assert [rows[0][name] for name in ("cell", "left", "top", "side")] == ["1", "0", "0", "96"]
    probabilities = expected(images[order])
    found = np.array([[float(row[name]) for name in CLASS_NAMES] for row in rows])
    np.testing.assert_allclose(found, probabilities, atol=1e-5)
    ranked = probabilities.argsort(axis=1)
    assert [row["class"] for row in rows] == [CLASS_NAMES[k] for k in ranked[:, -1]]
    assert [row["second"] for row in rows] == [CLASS_NAMES[k] for k in ranked[:, -2]]
    assert all(row["probability"] == row[row["class"]] for row in rows)
    assert all(row["second_probability"] == row[row["second"]] for row in rows)


def test_a_table_is_written_for_many_images_or_when_asked_for(work, capsys):
    paths = [str(save(work / f"{n:02}.png", IMAGES[n])) for n in range(21)]
    assert predict.main(paths[:20]) == 0
    assert not (work / "predictions.csv").exists()
    assert predict.main([*paths, paths[0]]) == 0
    assert len(rows_of(work / "predictions.csv")) == 21
    assert predict.main([paths[0], "--csv", "deeper/out.csv"]) == 0
    assert len(rows_of(work / "deeper" / "out.csv")) == 1


def test_no_more_than_a_batch_of_images_is_held_at_once(work, monkeypatch):
    for number in range(130):
        save(work / f"cells/{number:03}.png")
    read, sizes = [], []
    read_image, outputs = predict.read_image, released.outputs
    monkeypatch.setattr(predict, "read_image", lambda path: read.append(1) or read_image(path))

    def watched(model, images):
        sizes.append((len(images), len(read)))
        return outputs(model, images)

    monkeypatch.setattr(released, "outputs", watched)
    assert predict.main(["cells"]) == 0
    assert sizes == [(16, 16 * k) for k in range(1, 9)] + [(2, 130)]


def test_bad_images_are_named_and_skipped(work, capsys):
    save(work / "a.png")
    (work / "b.jpg").write_bytes(b"no image")
    whole = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(whole, "JPEG")
    (work / "c.jpg").write_bytes(whole.getvalue()[:2000])
    save(work / "d.png", IMAGES[1])
    assert predict.main(["a.png", "b.jpg", "c.jpg", "missing.png", "d.png", "--csv", "x.csv"]) == 1
    written = capsys.readouterr()
    errors = written.err.splitlines()
    assert len(errors) == 4
    assert errors[0].startswith("b.jpg is no image (")
    assert errors[1].startswith("c.jpg is an image that cannot be read")
    assert errors[2].startswith("missing.png cannot be read")
    assert errors[3] == "3 of 5 images could not be read."
    assert [row["file"] for row in rows_of(work / "x.csv")] == ["a.png", "d.png"]
    found = np.array([[float(r[name]) for name in CLASS_NAMES] for r in rows_of(work / "x.csv")])
    np.testing.assert_allclose(found, expected(IMAGES[:2]), atol=1e-5)


def test_too_many_pixels_are_refused(work, capsys, monkeypatch):
    save(work / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 96 * 96 - 1)
    refused("a.png")
    assert "a.png has more than 9,215 pixels" in capsys.readouterr().err


def test_nothing_to_predict_is_one_clear_sentence(work, capsys):
    (work / "bad.png").write_bytes(b"no image")
    sentence = refused("bad.png", "--csv", "x.csv", "--sheet", "x.png")
    assert sentence.startswith("No image could be read")
    (work / "empty").mkdir()
    capsys.readouterr()
    assert refused("empty").startswith("The folder empty holds no image: name one")
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in work.iterdir()) == ["bad.png", "empty"]


def test_an_unknown_model_is_an_error(work):
    save(work / "a.png")
    assert "no released model 'unheard_of'" in refused("a.png", "--model", "unheard_of")


@pytest.mark.parametrize("size", [(360, 363), (208, 208)])
def test_a_pbc_photograph_is_read_as_for_the_training(size, tmp_path):
    noise = np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    for folder in PBC_FOLDERS:
        save(tmp_path / "set" / folder / "x.png", noise)
    trained_on = read_class_folders(tmp_path / "set")[0][0]
    path = tmp_path / "set" / "ig" / "x.png"
    np.testing.assert_array_equal(picture(path), trained_on)


def test_other_images_are_squared_and_resized_unless_told(tmp_path, plain):
    noise = np.random.default_rng(1).integers(0, 256, (300, 330, 3), dtype=np.uint8)
    path = save(tmp_path / "x.png", noise)

    def resized(side):
        top, left = (300 - side) // 2, (330 - side) // 2
        square = Image.fromarray(noise[top : top + side, left : left + side])
        return np.asarray(square.resize((96, 96), Image.Resampling.BICUBIC))

    np.testing.assert_array_equal(picture(path), resized(300))
    np.testing.assert_array_equal(picture(path, whole=True), resized(300))
    np.testing.assert_array_equal(picture(path, pbc=True), resized(200))


def test_every_kind_of_photograph_becomes_rgb(tmp_path, plain):
    left_dark = np.zeros((96, 96), np.uint8)
    left_dark[:, 48:] = 200
    grey = picture(save(tmp_path / "grey.png", left_dark))
    deep = picture(save(tmp_path / "deep.tif", left_dark.astype(np.uint16) << 8))
    np.testing.assert_array_equal(grey, np.repeat(left_dark[..., None], 3, axis=2))
    np.testing.assert_array_equal(deep, grey)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise by a quarter
    turned = picture(save(tmp_path / "turned.png", left_dark, exif=exif))
    np.testing.assert_array_equal(turned, np.rot90(grey, -1))


def answers_of(probabilities: np.ndarray) -> list:
    square = (0, 0, 96)
    return [
        asking.Answer(Path(f"{number}.png"), 1, 1, square, IMAGES[number], row, True)
        for number, row in enumerate(probabilities)
    ]


def test_no_cell_is_looked_for_by_a_model_of_other_classes(work, monkeypatch, capsys):
    def never(image):
        raise AssertionError("its classes are no cells")

    network = asking.load_network(released.DEFAULT, None)
    names = [f"leaf {k}" for k in range(8)]
    leaves = network._replace(card=network.card | {"class_names": names})
    monkeypatch.setattr(predict, "load_network", lambda *_: leaves)
    monkeypatch.setattr(cells, "find_cells", never)
    save(work / "leaf.png", IMAGES[0])
    assert predict.main(["leaf.png"]) == 0
    found = capsys.readouterr().out
    assert "so no cell is looked for" in found
    assert "leaf.png: leaf " in found


def test_the_sheet_shows_each_image_with_its_class():
    probabilities = np.full((9, 8), 0.02)
    probabilities[np.arange(9), [6, 6, 6, 6, 6, 3, 3, 3, 7]] = 0.86
    probabilities[0] = np.eye(8)[6]
    answers = answers_of(probabilities)
    answers[5] = answers[5]._replace(number=2, count=3)
    answers[7] = answers[7]._replace(path=Path("a very long name.png"))
    answers[8] = answers[8]._replace(known=False)
    figure = predict.sheet(answers, CLASS_NAMES, "Model x. " + predict.CAUTION)
    heading = " ".join(figure.get_suptitle().split())
    assert heading == ("9 images: 5 neutrophil, 3 immature granulocytes, 1 not a cell I know")
    titles = [text.get_text().split("\n") for axis in figure.axes for text in axis.texts]
    assert len(titles) == 9
    assert titles[0] == ["0.png", "neutrophil", ">99.9 %"]
    assert titles[5] == ["5.png", "cell 2 of 3", "immature", "granulocytes", "86.0 %"]
    assert titles[7][0] == "a very long n…"
    assert " ".join(titles[8]).split() == ["8.png", "not", "a", "cell", "I", "know"]
    assert predict.CAUTION in " ".join(figure.get_supxlabel().split())


def test_the_sheet_of_many_shows_the_first_and_says_so(work, monkeypatch, capsys):
    monkeypatch.setattr(predict, "SHEET_IMAGES", 3)
    seen = []
    sheet = predict.sheet
    monkeypatch.setattr(predict, "sheet", lambda *given: seen.append(given) or sheet(*given))
    for number in range(5):
        save(work / f"cells/{number}.png", IMAGES[number])
    assert predict.main(["cells", "--sheet", "sheets/a.png"]) == 0
    answers, _, note = seen[0]
    np.testing.assert_array_equal([answer.picture for answer in answers[:3]], IMAGES[:3])
    assert all(answer.picture is None for answer in answers[3:])
    found = [answer.probabilities for answer in answers]
    np.testing.assert_allclose(found, expected(IMAGES[:5]), atol=1e-5)
    assert "(the first 3 are shown)" in " ".join(
        sheet(answers, CLASS_NAMES, note).get_suptitle().split()
    )
    assert Image.open(work / "sheets" / "a.png").format == "PNG"
    assert "a.png written." in capsys.readouterr().out


def test_outputs_of_another_kind_are_refused_before_any_work(work):
    assert "sheet.docx is no .png" in refused("cells", "--sheet", "sheet.docx")
    assert "table.xlsx is no .csv" in refused("cells", "--csv", "table.xlsx")
    assert f"{os.devnull} is no .csv" in refused("cells", "--csv", os.devnull)


def contents(folder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # The table's name forgotten: the shell gives it the first photograph.
        (["--csv", "a.png", "b.png"], "a.png is no .csv: let the name after --csv end so"),
        (["a.png", "b.png", "--sheet", "b.png"], "b.png is there and was not written by this"),
        (["a.png", "--sheet", "b.png"], "give --sheet another name"),
        (["a.png", "--csv", "mine.csv"], "mine.csv is there and was not written by this command"),
        (["a.png", "--csv", "folder.csv"], "folder.csv is there"),
        (["a.png", "--csv", "link.csv"], "link.csv is no .csv"),
        (["a.png", "--sheet", "link.png"], "link.png is there"),
        (["a.png", "--csv", "x.png", "--sheet", "x.png"], "x.png is no .csv"),
        (["a.png", "--csv", "mine.csv/x.csv"], "x.csv cannot be written ("),
        (["a.png", "--csv", "mine.csv/no/x.csv"], "x.csv cannot be written ("),
        pytest.param(
            ["a.png", "--csv", f"{'x' * 300}.csv"],
            "x.csv cannot be written (File name too long)",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="another error there"),
        ),
    ],
)
def test_nothing_of_the_users_is_written_over(work, arguments, expected):
    for name in "ab":
        save(work / f"{name}.png")
    (work / "mine.csv").write_text("mine")
    (work / "folder.csv").mkdir()
    (work / "link.csv").symlink_to("a.png")
    (work / "link.png").symlink_to("a.png")
    before = contents(work)
    assert expected in refused(*arguments)
    assert contents(work) == before


def test_a_table_of_the_users_own_stays_and_the_new_one_gets_a_number(work, capsys):
    for number in range(2):
        save(work / f"cells/{number}.png", IMAGES[number])
    (work / "predictions.csv").write_text("mine")
    for name in ("predictions-2.csv", "predictions-3.csv"):
        assert predict.main(["cells"]) == 0
        assert f"{name} written: 2 images." in capsys.readouterr().out
        assert len(rows_of(work / name)) == 2
    assert (work / "predictions.csv").read_text() == "mine"


def test_an_older_table_and_sheet_of_ours_are_renewed(work):
    save(work / "a.png")
    save(work / "b.png", IMAGES[1])
    for paths in (["a.png"], ["."]):
        assert predict.main([*paths, "--csv", "out.csv", "--sheet", "sheet.png"]) == 0
    # The sheet, which lies in the folder by now, is no photograph.
    assert [row["file"] for row in rows_of(work / "out.csv")] == ["a.png", "b.png"]
    (work / "link.csv").symlink_to("out.csv")
    assert predict.main(["a.png", "--csv", "link.csv"]) == 0
    assert (work / "link.csv").is_symlink()
    assert len(rows_of(work / "out.csv")) == 1


def test_ctrl_c_keeps_what_was_answered(work, monkeypatch):
    for number in range(70):
        save(work / f"cells/{number:02}.png", IMAGES[number])
    outputs, calls = released.outputs, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return outputs(*arguments)

    monkeypatch.setattr(released, "outputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict.main(["cells"])
    assert len(rows_of(work / "predictions.csv")) == 64


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_a_reader_who_has_enough_does_not_cost_the_table(work, monkeypatch):
    for number in range(30):
        save(work / f"cells/{number:02}.png", IMAGES[number])
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with open(writing_end, "w", buffering=1) as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert predict.main(["cells"]) == 0
        monkeypatch.undo()
    assert len(rows_of(work / "predictions.csv")) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="no file may have such a name")
def test_names_are_harmless_on_a_terminal_and_in_a_spreadsheet(work, capsys):
    names = ["=1+1.png", "+x.png", "-y.png", "@z.png", "a\x1b[2J.png", "b\n.png", "plain.png"]
    for name in names:
        save(work / name)
    assert predict.main([*(f"./{name}" for name in names), "--csv", "out.csv"]) == 0
    written = capsys.readouterr().out
    assert "\x1b" not in written
    assert len(written.splitlines()) == 1 + len(names) + 1
    assert {row["file"] for row in rows_of(work / "out.csv")} == {
        *("'=1+1.png", "'+x.png", "'-y.png", "'@z.png"),
        *("a\\x1b[2J.png", "b\\n.png", "plain.png"),
    }


def test_what_a_folder_holds_besides_is_named_and_counted(work, capsys):
    save(work / "cells/a.png")
    for name in ("b.HEIC", "c.heic", "d.jfif", "README"):
        (work / "cells" / name).write_bytes(b"something")
    assert predict.main(["cells"]) == 0
    line = capsys.readouterr().err.splitlines()[0]
    assert line.startswith("Left out of cells: 1 no ending, 2 .heic, 1 .jfif (read are files that")


def test_one_class_for_all_is_remarked_upon(work, capsys):
    for number in range(25):
        save(work / f"cells/{number:02}.png", IMAGES[0])
    assert predict.main(["cells"]) == 0
    name = CLASS_NAMES[expected(IMAGES[:1]).argmax()]
    assert f"All got the same class, {name} (25 images): does each " in capsys.readouterr().out


def test_one_class_for_the_many_cells_of_few_images_is_no_matter(work, monkeypatch, capsys):
    save(work / "field.png", np.concatenate([IMAGES[0]] * 25, axis=1))
    found = [cells.Cell(48 + 96 * column, 48, 90) for column in range(25)]
    monkeypatch.setattr(cells, "find_cells", lambda image: found)
    assert predict.main(["field.png"]) == 0
    written = capsys.readouterr().out
    assert "field.png, cell 25 of 25: " in written
    assert "the same class" not in written


@pytest.mark.parametrize("locked", [Path("cells"), Path("cells/deeper")])
def test_a_folder_that_may_not_be_read_is_not_called_empty(work, monkeypatch, locked):
    save(work / "cells/deeper/a.png")

    def scandir(folder, before=os.scandir):
        if Path(folder).resolve() == work.resolve() / locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return before(folder)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read all
    assert f"{locked} cannot be read (Permission denied)" in refused("cells")


def test_a_folder_that_may_not_be_written_to_is_told_before_any_work(work, monkeypatch):
    save(work / "a.png")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write all
    sentence = "x.csv cannot be written (Permission denied): give --csv a folder"
    assert sentence in refused("a.png", "--csv", "x.csv")
    assert "predictions.csv cannot be written (Permission denied)" in refused(".")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_not_waited_for(work, capsys):
    save(work / "cells/a.png")
    os.mkfifo(work / "cells/b.png")
    assert predict.main(["cells", "cells/b.png"]) == 1
    assert "b.png is a pipe or a device" in capsys.readouterr().err


def test_a_name_too_long_for_any_file_is_one_sentence(work, capsys):
    save(work / "a.png")
    assert predict.main(["a.png", "x" * 5000]) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_reading_alone_says_what_is_wrong(tmp_path):
    with pytest.raises(CourseError, match="cannot be read"):
        predict.read_image(tmp_path / "missing.png")


# --- which classes can occur, and what is no cell


def test_only_the_classes_that_can_occur_are_answered(work, capsys):
    save(work / "a.png")
    assert predict.main(["a.png", "--csv", "all.csv"]) == 0
    before = rows_of(work / "all.csv")[0]
    allowed = [name for name in CLASS_NAMES if name not in (before["class"], before["second"])]
    options = ["--classes", ", ".join(allowed)]
    assert predict.main(["a.png", *options, "--csv", "some.csv"]) == 0
    after = rows_of(work / "some.csv")[0]
    assert float(after[before["class"]]) == float(after[before["second"]]) == 0
    np.testing.assert_allclose(sum(float(after[name]) for name in allowed), 1, atol=1e-5)
    shares = np.array([[float(row[name]) for name in allowed] for row in (before, after)])
    np.testing.assert_allclose(shares[0] / shares[0].sum(), shares[1], atol=1e-4)
    assert f"{len(allowed)} of its 8 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("monocyte,cat", "The model has no class 'cat': give --classes some of basophil, "),
        ("monocyte", "The model needs two classes or more"),
        (" , ", "The model needs two classes or more"),
    ],
)
def test_classes_that_are_none_are_refused(work, given, sentence):
    save(work / "a.png")
    assert refused("a.png", "--classes", given).startswith(sentence)


def test_what_is_unlike_the_training_gets_no_name(work, monkeypatch, capsys):
    save(work / "a.png")
    save(work / "b.png", IMAGES[1])
    likely = CLASS_NAMES[expected(IMAGES[1:2]).argmax()]
    known = iter([True, False])
    monkeypatch.setattr(asking.Network, "knows", lambda *given: next(known))
    assert predict.main(["a.png", "b.png", "--csv", "x.csv"]) == 0
    assert f"b.png: not a cell I know (most like: {likely}, " in capsys.readouterr().out
    known, unknown = rows_of(work / "x.csv")
    assert known["class"] in CLASS_NAMES
    assert (unknown["class"], unknown["probability"]) == ("not a cell I know", "")
    assert unknown["second"] == likely
    assert unknown["second_probability"] == unknown[likely]


def test_each_cell_of_a_field_has_a_row(work, monkeypatch, capsys):
    save(work / "field.png", np.concatenate([IMAGES[0], IMAGES[1]], axis=1))
    found = [cells.Cell(48, 48, 90), cells.Cell(144, 48, 90)]
    monkeypatch.setattr(cells, "find_cells", lambda image: found)
    assert predict.main(["field.png", "--csv", "x.csv", "--sheet", "x.png"]) == 0
    written = capsys.readouterr().out
    assert "field.png, cell 2 of 2: " in written
    assert "x.csv written: 1 image, 2 cells." in written
    rows = rows_of(work / "x.csv")
    assert [(r["cell"], r["left"], r["top"], r["side"]) for r in rows] == [
        ("1", "0", "0", "96"),
        ("2", "96", "0", "96"),
    ]
    probabilities = [[float(row[name]) for name in CLASS_NAMES] for row in rows]
    np.testing.assert_allclose(probabilities, expected(IMAGES[:2]), atol=1e-5)


def test_an_enlarged_picture_counts_alone_if_it_is_no_stranger():
    count = asking._counting
    assert count(np.array([1.0, 2.0, 2.4, 9.0]), 1).tolist() == [False, True, True, False]
    assert count(np.array([1.0, 9.0, 9.0]), 1).tolist() == [True, False, False]
    assert count(np.array([1.0, 2.0, 9.0, 2.0]), 2).tolist() == [False, False, False, True]
    assert count(np.array([4.0, 6.9, 7.1]), 3).tolist() == [True, True, False]


def test_a_small_cell_is_looked_at_enlarged_and_a_bubble_is_not(work, monkeypatch):
    image = np.full((200, 200, 3), 230, np.uint8)
    image[80:110, 90:120] = (90, 50, 140)
    save(work / "a.png", image)
    for farther, expected in ((1.0, range(60, 90)), (9.0, [200])):
        monkeypatch.undo()
        monkeypatch.setattr(course, "root", lambda: work.parent / "course")
        monkeypatch.chdir(work)
        asked = asking.Network.asked

        def changed(network, images, farther=farther, asked=asked):
            distances = np.where(np.arange(len(images)) > 0, farther, 1.0)
            return asked(network, images)[0], distances

        monkeypatch.setattr(cells, "_balanced", lambda crop: None)
        monkeypatch.setattr(asking.Network, "asked", changed)
        assert predict.main(["a.png", "--csv", "x.csv"]) == 0
        assert int(rows_of(work / "x.csv")[0]["side"]) in expected


def test_a_speck_is_enlarged_beside_the_photograph_as_it_is(tmp_path):
    image = np.full((96, 96, 3), 230, np.uint8)
    image[44:52, 44:52] = (90, 50, 140)  # so small that both sizes are cut to one
    path = save(tmp_path / "a.png", image)
    (look,) = asking.looks(path, predict.read_image(path))
    assert [side for *_, side in look.squares] == [96, 24]


@pytest.mark.parametrize("size", [(208, 208), (360, 363)])
def test_a_pbc_photograph_is_looked_at_once(size, tmp_path):
    path = save(tmp_path / "a.png", np.full((*size[::-1], 3), 200, np.uint8))
    (look,) = asking.looks(path, predict.read_image(path))
    assert [views.shape for views in look.views] == [(1, 96, 96, 3)]
    assert look.squares[0][2] == 200


def test_one_photograph_is_held_at_a_time(work, monkeypatch):
    for number in range(5):
        save(work / f"cells/{number}.png")
    read_image, seen, most = predict.read_image, [], []

    def watched(path):
        image = read_image(path)
        seen.append(weakref.ref(image))
        most.append(sum(reference() is not None for reference in seen))
        return image

    monkeypatch.setattr(predict, "read_image", watched)
    assert predict.main(["cells"]) == 0
    assert max(most) <= 2  # the last one goes as the next one comes


def test_a_network_with_a_reference_is_modest_and_silent_far_from_its_training(model):
    near, far = IMAGES[:4].copy(), np.full((4, 96, 96, 3), 255, np.uint8)
    images = keras.Input((96, 96, 3))
    pooled = layers.GlobalAveragePooling2D(name="pooling")(layers.Rescaling(1 / 255)(images))
    toy = keras.Model(images, layers.Dense(8, name="logits")(pooled))
    both = familiarity.with_features(toy)
    reference = familiarity.fit(released.outputs(both, IMAGES)[0], np.arange(70) % 8)
    card = CARD | {"familiarity": {"limit": 5.0, "temperature": [0.0, 0.5]}}
    network = asking.Network(card, both, reference, np.ones(8, bool))
    probabilities, distances = network.asked(np.concatenate([near, far]))
    assert [network.knows(one) for one in distances[:, None]] == [True] * 4 + [False] * 4
    logits = released.outputs(toy, far)[0]
    assert (probabilities[4:].max(axis=1) < metrics.softmax(logits).max(axis=1)).all()
    assert familiarity.with_features(model) is None
