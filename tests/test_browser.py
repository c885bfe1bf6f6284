"""The page on which networks are broken: its ONNX files, and itself in headless Chromium."""

import base64
import functools
import http.server
import io
import json
import re
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from itertools import count
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from PIL import Image

from commands import asking, browser, onnx_file, predict
from helpers import course
from helpers.changes import shifts
from helpers.course import CourseError
from helpers.data import reading, synthetic
from helpers.data.photographs import CLASS_NAMES, ImageSet, Source
from helpers.data.sets import CourseData
from helpers.models import released

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BUILT = course.root() / "build" / "break"
SECONDS = 120


# --- the ONNX files


def images() -> np.ndarray:
    """Return noise, synthetic cells, and such cells shifted."""
    noise = np.random.default_rng(7).integers(0, 256, (8, 96, 96, 3), np.uint8)
    cells = synthetic.draw_cells(np.tile(np.arange(8), 3), seed=3)
    return np.concatenate([noise, cells, shifts.competition_like(cells, seed=1)])


@pytest.fixture(scope="module")
def with_onnx():
    pytest.importorskip("onnx", reason="the group browser of pyproject.toml is not installed")
    pytest.importorskip("onnxruntime", reason="the group browser is not installed")


@pytest.mark.parametrize("name", browser.NETWORKS)
@pytest.mark.usefixtures("with_onnx")
def test_the_onnx_file_answers_as_keras_does(name):
    model, shown = released.load(name), images()
    expected = model.predict(shown.astype(np.float32), verbose=0)
    found = onnx_file.run(onnx_file.onnx_file(model), shown)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=browser.MOST_DIFFERENCE)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    # Else equal answers would say nothing.
    assert len(set(expected.argmax(axis=1))) > 4
    assert expected.std() > 100 * browser.MOST_DIFFERENCE


def small(*layers: keras.Layer) -> keras.Model:
    """Return a network of these layers on pictures of 7 x 6 pixels, its weights random."""
    keras.utils.set_random_seed(1)
    inputs = values = keras.Input((7, 6, 3))
    for layer in layers:
        values = layer(values)
    model = keras.Model(inputs, values)
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.1, 1, weight.shape) for weight in model.get_weights()])
    return model


LAYERS = keras.layers


@pytest.mark.parametrize(
    "layers",
    [
        [LAYERS.Conv2D(4, 3, strides=2, padding="same", activation="relu")],
        [LAYERS.Conv2D(4, (2, 3), dilation_rate=2)],
        [LAYERS.Conv2D(6, 3, groups=3, use_bias=False)],
        [LAYERS.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)],
        [LAYERS.BatchNormalization(scale=False), LAYERS.Conv2D(2, 1)],
        [LAYERS.ZeroPadding2D(((0, 1), (2, 0))), LAYERS.Conv2D(2, 3)],
        [LAYERS.Resizing(11, 4), LAYERS.Conv2D(2, 3)],
        [LAYERS.Normalization(mean=[1.0, 2, 3], variance=[4.0, 9, 16]), LAYERS.Conv2D(2, 3)],
        [LAYERS.Rescaling(1 / 127.5, -1), LAYERS.Dropout(0.5), LAYERS.Conv2D(2, 3)],
    ],
    ids=lambda layers: layers[0].name,
)
@pytest.mark.usefixtures("with_onnx")
def test_each_layer_is_translated(layers):
    model = small(*layers, LAYERS.GlobalAveragePooling2D(), LAYERS.Dense(3))
    shown = np.random.default_rng(2).integers(0, 256, (5, 7, 6, 3), np.uint8)
    expected = model.predict(shown.astype(np.float32), verbose=0)
    found = onnx_file.run(onnx_file.onnx_file(model), shown)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (LAYERS.MaxPooling2D(), r"\(MaxPooling2D\) has no translation"),
        (LAYERS.Conv2D(2, 1, activation="gelu"), "The activation gelu"),
        (LAYERS.Resizing(9, 9, antialias=True), "otherwise than bilinearly"),
        (LAYERS.Normalization(mean=0.0, variance=1.0, invert=True), "backwards"),
    ],
)
@pytest.mark.usefixtures("with_onnx")
def test_what_is_not_translated_is_a_sentence(layer, sentence):
    with pytest.raises(CourseError, match=sentence):
        onnx_file.onnx_file(small(layer, LAYERS.GlobalAveragePooling2D()))


@pytest.mark.usefixtures("with_onnx")
def test_a_layer_that_is_used_twice_is_a_sentence():
    inputs, layer = keras.Input((7, 6, 3)), LAYERS.Conv2D(3, 1)
    with pytest.raises(CourseError, match="is used twice"):
        onnx_file.onnx_file(keras.Model(inputs, layer(layer(inputs))))


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setattr(onnx_file, "onnx", None)
    with pytest.raises(CourseError, match=r'pip install -e "\.\[browser\]"'):
        onnx_file.onnx_file(small())


def test_files_that_do_not_agree_are_refused():
    logits = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert browser._difference("final", logits + 1e-5, logits) == pytest.approx(1e-5)
    with pytest.raises(CourseError, match=r"differ by 0\.01 in a logit and in 0 of 2 classes"):
        browser._difference("final", logits + 0.01, logits)
    close = np.array([[1.0, 1.0 + 1e-6]])
    with pytest.raises(CourseError, match="in 1 of 1 classes"):
        browser._difference("final", close[:, ::-1], close)
    with pytest.raises(CourseError, match="nan"):
        browser._difference("final", logits * np.nan, logits)


def test_another_runtime_is_refused(tmp_path):
    (tmp_path / f"{browser.RUNTIME}-{browser.RUNTIME_VERSION}.tgz").write_bytes(b"another")
    with pytest.raises(CourseError, match="another SHA-512"):
        browser._runtime(tmp_path)


def test_npm_is_asked_for_if_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(browser.shutil, "which", lambda _: None)
    with pytest.raises(CourseError, match="npm is missing"):
        browser._runtime(tmp_path)


# --- the page


class Page:
    """A page in headless Chromium, spoken to by its DevTools protocol."""

    def __init__(self, address: str, messages: list) -> None:
        self._socket = pytest.importorskip("websocket").create_connection(
            address, timeout=SECONDS, suppress_origin=True
        )
        self._numbers, self.messages = count(), messages
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Return the answer to a command; what the page says meanwhile goes to `messages`."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv())).get("id") != number:
            self.messages.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def value(self, script: str) -> object:
        """Return what an expression in JavaScript yields; promises are waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, f"{script}: never, {self.text('body')[:1500]}"
            time.sleep(0.05)

    def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds."""
        return self.value(f"document.querySelector({selector!r})?.innerText ?? ''")

    def turn(self, knob: str, tick: int) -> None:
        """Turn a knob as a reader does, and wait until the networks have answered."""
        self.value(
            f"{{ const knob = document.getElementById('knob-{knob}'); knob.value = {tick};"
            " knob.dispatchEvent(new Event('input')); }"
        )
        self.settle(f"shown.ticks.{knob} === {tick}")

    def settle(self, condition: str = "true") -> None:
        """Wait until what the page shows, as `shown`, meets a condition."""
        self.wait(
            "import('/break.js').then(({state: {shown, base}}) => "
            f"Boolean(shown && base && ({condition})))"
        )

    def choose(self, sample: int) -> None:
        """Choose a sample anew."""
        self.value("import('/break.js').then(({state}) => { state.shown = null; })")
        self.value(f"document.querySelectorAll('.sample input')[{sample}].checked = true")
        self.value(
            f"document.querySelectorAll('.sample input')[{sample}]"
            ".dispatchEvent(new Event('change'))"
        )
        self.settle()

    def answers(self) -> list[int]:
        """Return the class that each network names."""
        return self.value("import('/break.js').then(({state}) => state.shown.answers)")

    def size(self, width: int, height: int = 900) -> None:
        """Give the window a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def errors(self) -> list[str]:
        """Return what the page has complained of so far."""
        self.value("1")  # takes in what has come
        bad = [m for m in self.messages if m["method"] == "Runtime.exceptionThrown"]
        bad += [
            m
            for m in self.messages
            if m["method"] == "Log.entryAdded" and m["params"]["entry"]["level"] == "error"
        ]
        bad += [
            m
            for m in self.messages
            if m["method"] == "Runtime.consoleAPICalled" and m["params"]["type"] == "error"
        ]
        return [json.dumps(m["params"])[:600] for m in bad]


class Server(http.server.ThreadingHTTPServer):
    """A plain file server, as python -m http.server, that remembers what it was asked."""

    def __init__(self, folder: str) -> None:
        self.requests: list[str] = []
        handler = type("Handler", (http.server.SimpleHTTPRequestHandler,), {"log_message": _note})
        super().__init__(("127.0.0.1", 0), functools.partial(handler, directory=folder))


def _note(handler: http.server.SimpleHTTPRequestHandler, form: str, *parts: object) -> None:
    handler.server.requests.append(form % parts)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Return a server of the built page, its own files taken from the source."""
    if not (BUILT / "page.json").exists():
        pytest.skip("the page is not built: python -m helpers browser")
    folder = tmp_path_factory.mktemp("site") / "break"
    shutil.copytree(BUILT, folder)
    shutil.copytree(browser.PAGE, folder, dirs_exist_ok=True)
    with Server(str(folder)) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """Return the port of a Chromium that finds no host but this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    pytest.importorskip("websocket", reason="the package websocket-client is not installed")
    profile = tmp_path_factory.mktemp("profile")
    command = [
        *(found, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-port=0"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        *("--disable-background-networking", "--mute-audio", "about:blank"),
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        try:
            end, port = time.monotonic() + SECONDS, profile / "DevToolsActivePort"
            while not port.exists() or not port.read_text():
                assert time.monotonic() < end, "Chromium did not start"
                time.sleep(0.1)
            yield int(port.read_text().split()[0])
        finally:
            run.terminate()
            run.wait(20)


@pytest.fixture(scope="module")
def loaded(server, chromium):
    """Return the page, loaded once."""
    shown = opened(chromium, f"http://127.0.0.1:{server.server_port}/")
    shown.settle()
    return shown


@pytest.fixture
def page(loaded):
    """Return the page at desktop size, its first sample chosen, nothing turned."""
    loaded.size(1280)
    loaded.choose(0)
    return loaded


def opened(port: int, address: str) -> Page:
    """Return a new tab that leads to an address."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        made = Page(json.load(answer)["webSocketDebuggerUrl"], [])
    made.size(1280)
    made.call("Page.navigate", url=address)
    return made


@pytest.mark.parametrize("sample", [0, 3])
def test_the_page_answers_as_keras_does(page, sample):
    page.choose(sample)
    content = json.loads((BUILT / "page.json").read_text())
    picture = np.asarray(Image.open(BUILT / content["samples"][sample]["file"]))
    shown = page.value(
        "import('/break.js').then(async ({probabilities, state}) => "
        "[Array.from(state.picture), await probabilities(state.picture)])"
    )
    assert (np.array(shown[0]).reshape(96, 96, 3) == picture).all()
    for name, found in zip(browser.NETWORKS, shown[1], strict=True):
        temperature = released.card(name)["temperature"]
        expected = released.classify(released.load(name), picture[None], temperature)[0]
        np.testing.assert_allclose(found, expected, atol=1e-3)
    best = [content["classes"][np.argmax(found)] for found in shown[1]]
    cards = page.value("[...document.querySelectorAll('.network')].map((e) => e.innerText)")
    for card, name, found in zip(cards, best, shown[1], strict=True):
        assert f"{name}, {100 * max(found):.1f}\u00a0%" in card or ">99.9" in card
        assert "Second choice: " in card
        assert "The same answer as for the unchanged picture." in card


def test_a_knob_turned_changes_the_answer_and_the_page_says_where(page):
    before = page.answers()
    assert page.text("#moments") == ""
    for knob, tick in (("occlusion", 19), ("blur", 24), ("scale", 6)):
        page.turn(knob, tick)
        if page.answers()[0] != before[0]:
            break
        page.turn(knob, {"scale": 20}.get(knob, 0))
    assert page.answers()[0] != before[0]
    said = page.value("[...document.querySelectorAll('#moments li')].map((e) => e.innerText)")
    said = [text for text in said if text.startswith("The homework's network")]
    # The newest comes first, and leads to what the page shows. It fell where it last left its
    # answer to the unchanged picture.
    classes = json.loads((BUILT / "page.json").read_text())["classes"]
    assert f"changed its answer to {classes[page.answers()[0]]} at {knob}" in said[0]
    fall = next(text for text in said if f"(it was {classes[before[0]]})" in text)
    found = re.search(rf" at {knob} ([\d.]+)", fall)
    step = {"occlusion": 5, "blur": 0.25, "scale": 5}[knob]
    fell = round(float(found[1]) / step)
    # The sentence is true: there it answers otherwise, one tick before it does not.
    toward_rest = -1 if knob != "scale" else 1
    for at, same in ((fell, False), (fell + toward_rest, True)):
        answer = page.value(
            "import('/break.js').then(async ({KNOBS, changed, probabilities, state}) => {"
            " const ticks = Object.fromEntries(KNOBS.map((k) => [k.name, k.rest]));"
            f" const pixels = changed(state.picture, {{...ticks, {knob}: {at}}});"
            " const [values] = await probabilities(pixels);"
            " return values.indexOf(Math.max(...values)); })"
        )
        assert (answer == before[0]) is same
    assert f"Fell over at {knob} {found[1]}" in page.text(".network .fate")
    assert page.value("document.querySelector('.network').classList.contains('fallen')")
    page.value("document.getElementById('reset').click()")
    page.settle(f"shown.ticks.{knob} !== {tick}")
    assert page.answers() == before
    assert not page.value("document.querySelector('.network').classList.contains('fallen')")


@pytest.mark.parametrize("knob", ["rotation", "scale", "brightness", "hue", "blur", "noise"])
def test_each_knob_changes_the_picture_and_goes_back(page, knob):
    picture = "import('/break.js').then(({changed, state}) => changed(state.picture, state.ticks)"
    before = page.value(f"{picture}.join())")
    own = page.value("import('/break.js').then(({state}) => state.picture.join())")
    assert before == own
    page.turn(knob, 13)
    assert page.value(f"{picture}.join())") != before
    page.value(f"document.querySelector('[aria-label=\"Reset {knob}\"]').click()")
    page.settle(f"shown.ticks.{knob} !== 13")
    assert page.value(f"{picture}.join())") == before


def key(page: Page, name: str) -> None:
    codes = {"ArrowRight": 39, "ArrowDown": 40, "Escape": 27, "End": 35, "Tab": 9}
    for kind in ("rawKeyDown", "keyUp"):
        page.call(
            "Input.dispatchKeyEvent",
            type=kind,
            key=name,
            code=name,
            windowsVirtualKeyCode=codes[name],
        )


def test_keys_turn_knobs_move_the_patch_and_reset(page):
    page.value("document.getElementById('knob-rotation').focus()")
    key(page, "ArrowRight")
    page.settle("shown.ticks.rotation === 1")
    assert page.value("document.getElementById('knob-rotation').ariaValueText") == "5°"
    key(page, "Tab")  # to the button that resets it
    key(page, "Tab")
    assert page.value("document.activeElement.id") == "knob-scale"
    key(page, "End")
    page.settle("shown.ticks.scale === 50")
    page.value("document.getElementById('changed').focus()")
    key(page, "ArrowDown")
    page.settle("shown.patch.y > 48 && shown.ticks.occlusion > 0")
    key(page, "Escape")
    page.settle("shown.ticks.scale === 20 && shown.ticks.rotation === 0 && shown.patch.y < 48")


def test_every_control_has_a_name_for_screen_readers(page):
    page.turn("rotation", 3)  # now it has a button that resets it
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("slider", "button", "radio", "image", "application", "link", "article", "table")
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node.get("ignored") and node.get("role", {}).get("value") in roles
    ]
    # Tables and the button of the file's input are named by what stands around them.
    assert [role for role, name in named if not name and role != "table"] == []
    counts = Counter(role for role, _ in named)
    assert (counts["slider"], counts["radio"], counts["article"]) == (7, 8, 2)
    assert ("button", "Reset rotation") in named


@pytest.mark.parametrize("width", [1280, 700, 390, 320])
def test_nothing_is_wider_than_the_window(page, width):
    page.size(width)
    assert page.value("document.documentElement.scrollWidth") <= width
    missing = page.value(
        "[...document.querySelectorAll('main *')].filter((e) => e.getClientRects().length "
        "&& !e.closest('.unseen') && e.getBoundingClientRect().right > innerWidth + 0.5)"
        ".map((e) => e.outerHTML.slice(0, 80))"
    )
    assert missing == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(page, scheme):
    page.call(
        "Emulation.setEmulatedMedia",
        features=[{"name": "prefers-color-scheme", "value": scheme}],
    )
    page.turn("occlusion", 19)
    colours = page.value(
        "[...document.querySelectorAll('body, a, .about, .second, .fate, figcaption, button, "
        ".sample span, .network th, .network td')].map((e) => { let b = e; "
        "while (getComputedStyle(b).backgroundColor === 'rgba(0, 0, 0, 0)') b = b.parentElement; "
        "return [e.className || e.tagName, getComputedStyle(e).color, "
        "getComputedStyle(b).backgroundColor]; })"
    )
    assert len({background for _, _, background in colours}) > 1
    for name, *pair in colours:
        light, dark = sorted((luminance(colour) for colour in pair), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, pair)
    is_dark = luminance(colours[0][2]) < 0.5
    assert is_dark == (scheme == "dark")


def luminance(colour: str) -> float:
    """Return the relative luminance that WCAG defines, of "rgb(r, g, b)"."""
    channels = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_limits_are_found_and_a_button_goes_there(page):
    # Few ticks, so that it does not take minutes.
    page.value(
        "import('/break.js').then(({KNOBS}) => {"
        " globalThis.ends = KNOBS.map((k) => [k.low, k.high]);"
        " for (const k of KNOBS) { k.low = k.rest; k.high = k.rest; } KNOBS.at(-1).high = 19; })"
    )
    try:
        page.value("document.getElementById('search').click()")
        page.wait("document.getElementById('progress').innerText.startsWith('Each knob')")
    finally:
        page.value(
            "import('/break.js').then(({KNOBS}) => "
            "KNOBS.forEach((k, i) => { [k.low, k.high] = ends[i]; }))"
        )
    rows = page.value("[...document.querySelectorAll('#limits-rows tr')].map((r) => r.innerText)")
    assert len(rows) == 7
    assert rows[0].split("\t") == ["Rotation", "never", "never"]
    found = re.search(r"Occlusion\s+(\d+)", rows[-1])
    page.value("document.querySelector('#limits-rows button').click()")
    page.settle(f"shown.ticks.occlusion === {int(found[1]) // 5}")
    assert "fallen" in page.value("document.querySelector('#networks').innerHTML")
    assert f"at occlusion {found[1]}" in page.text("#moments")


# --- images of the reader's


def encoded(image: Image.Image, form: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return smooth shapes with sharp edges and some noise."""
    rng = np.random.default_rng(width + height)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 9 + c) * np.cos(y / 7 - c) * 90 + 128 for c in range(len(mode))]
    waves = np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, 1))
    waves[height // 3 : height // 2, width // 3 : width // 2] = 255
    return Image.fromarray(waves.clip(0, 255).astype(np.uint8).squeeze(), mode)


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    return encoded(image, "JPEG", quality=95, exif=exif)


FILES = {
    "landscape": (lambda: encoded(picture(301, 150)), 1),
    "enlarged": (lambda: encoded(picture(40, 61)), 1),
    "of its own size": (lambda: encoded(picture(96, 96)), 0),
    "large": (lambda: encoded(picture(1200, 900)), 1),
    "PBC, as published": (lambda: encoded(picture(360, 363)), 1),
    "PBC, as on a mirror": (lambda: encoded(picture(208, 208)), 1),
    "transparent": (lambda: encoded(picture(130, 130, "RGBA")), 2),
    "grey": (lambda: encoded(picture(130, 120, "L")), 1),
    "palette": (lambda: encoded(picture(100, 120).quantize(32)), 1),
    "JPEG turned by EXIF": (lambda: turned(picture(160, 120)), 6),
}


@pytest.mark.parametrize("name", FILES)
def test_an_image_is_cut_and_resized_as_predict_does(page, tmp_path, name):
    make, tolerance = FILES[name]
    path = tmp_path / "image"
    path.write_bytes(make())
    (look,) = asking.looks(path, predict.read_image(path), whole=True)
    expected = look.views[0][0].astype(int)
    found = page.value(
        "import('/break.js').then(async ({readImage}) => { const bytes = Uint8Array.from(atob("
        f"'{base64.b64encode(path.read_bytes()).decode()}'), (c) => c.charCodeAt(0));"
        " return (await readImage(new Blob([bytes]))).join(); })"
    )
    found = np.array([int(value) for value in found.split(",")]).reshape(expected.shape)
    assert np.abs(found - expected).max() <= tolerance
    assert expected.std() > 20


def test_the_page_knows_the_sizes_that_predict_knows(page):
    known = {f"{width}x{height}" for width, height in asking.PBC_SIZES}
    script = (browser.PAGE / "break.js").read_text()
    assert set(re.search(r"PBC_SIZES = \[(.*)\]", script)[1].replace('"', "").split(", ")) == known
    assert f"PBC_CROP = {reading.PBC_CROP};" in script


def drop(page: Page, content: bytes, name: str) -> None:
    page.value(
        "{ const bytes = Uint8Array.from(atob("
        f"'{base64.b64encode(content).decode()}'), (c) => c.charCodeAt(0));"
        " const dataTransfer = new DataTransfer();"
        f" dataTransfer.items.add(new File([bytes], '{name}'));"
        " document.body.dispatchEvent(new DragEvent('drop', {dataTransfer, bubbles: true})); }"
    )


def test_a_dropped_image_is_shown_and_sent_nowhere(page, server):
    page.value("import('/break.js').then(({state}) => { state.shown = null; })")
    asked = len(server.requests)
    drop(page, encoded(picture(150, 150)), "mine.png")
    page.settle("true")
    page.wait("document.getElementById('name').innerText === 'mine.png'")
    assert server.requests[asked:] == []
    assert not page.value("[...document.querySelectorAll('.sample input')].some((i) => i.checked)")
    # Its true class is not known, so no answer is called correct.
    assert "✓" not in page.text("#networks")
    assert "✗" not in page.text("#networks")


def test_what_is_no_image_is_a_sentence_and_the_page_goes_on(page):
    before = page.answers()
    drop(page, b"no image", "notes.txt")
    page.wait("document.getElementById('failure').innerText.includes('notes.txt is no image')")
    page.turn("rotation", 3)
    page.turn("rotation", 0)
    assert page.answers() == before
    page.messages.clear()  # the complaint that was wanted


# --- what it loads


def test_it_needs_a_plain_file_server_and_no_network(page, server):
    assert page.value("crossOriginIsolated") is False
    assert page.errors() == []
    wanted = {path.relative_to(BUILT).as_posix() for path in BUILT.rglob("*") if path.is_file()}
    asked = [re.fullmatch(r'"GET /(\S*) HTTP/1\.1" (\d+) -', line) for line in server.requests]
    assert all(asked), server.requests
    assert {found[1] or "index.html" for found in asked} <= wanted
    assert {found[2] for found in asked} <= {"200", "304"}
    hosts = {
        urllib.parse.urlsplit(message["params"]["request"]["url"]).netloc
        for message in page.messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert hosts <= {f"127.0.0.1:{server.server_port}"}


def test_the_policy_lets_nothing_out(page, tmp_path):
    with Server(str(tmp_path)) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{other.server_port}/"
        urllib.request.urlopen(address, timeout=SECONDS).close()
        assert len(other.requests) == 1
        script = (
            f"fetch('{address}', {{method: 'POST', body: 'x', mode: 'no-cors'}})",
            f"new Promise((end, fail) => {{ const i = new Image(); i.src = '{address}?x';"
            " i.onload = end; i.onerror = fail; })",
            f"new Promise((end, fail) => {{ const s = new WebSocket('ws{address[4:]}');"
            " s.onopen = end; s.onerror = fail; })",
        )
        for attempt in script:
            assert page.value(f"{attempt}.then(() => 'sent', () => 'blocked')") == "blocked"
        page.value(f"navigator.sendBeacon('{address}', 'x')")
        time.sleep(0.5)
        assert len(other.requests) == 1
        other.shutdown()
    page.messages.clear()  # the complaints that were wanted


# --- building it


@pytest.mark.usefixtures("with_onnx")
def test_the_folder_holds_all_that_the_page_names(tmp_path, monkeypatch):
    monkeypatch.setattr(browser, "CANDIDATES", 1)
    monkeypatch.setattr(browser, "_runtime", lambda _: {"ort.js": b"1", "ort.wasm": b"23"})
    monkeypatch.setenv("BLOODCELLS_SOURCE", "synthetic")
    assert browser.build(tmp_path) < browser.MOST_DIFFERENCE
    content = json.loads((tmp_path / "page.json").read_text())
    assert content["runtime_bytes"] == 3
    assert "Synthetic cells" in content["about_samples"]
    assert content["samples_title"] == "A synthetic cell"
    assert [sample["label"] for sample in content["samples"]] == list(range(8))
    for sample in content["samples"]:
        assert Image.open(tmp_path / sample["file"]).size == (96, 96)
    for name, network in zip(browser.NETWORKS, content["networks"], strict=True):
        assert (tmp_path / network["file"]).stat().st_size == network["bytes"]
        assert network["temperature"] == released.card(name)["temperature"]
    assert (tmp_path / "index.html").read_bytes() == (browser.PAGE / "index.html").read_bytes()


def test_images_of_ones_own_are_not_published(monkeypatch):
    own = Source("folder", "my cells", are_photographs=True, checksum="0")
    monkeypatch.setattr(browser, "load_course_data", lambda: SimpleNamespace(source=own))
    monkeypatch.setenv("BLOODCELLS_SOURCE", "my-cells")
    with pytest.raises(CourseError, match="Images of your own would be published"):
        browser._candidates()


def test_photographs_of_another_split_are_said_to_be_perhaps_known(monkeypatch):
    trained_on = released.card()["training"]["source_checksum"]
    said = []
    for checksum in (trained_on, "another"):
        source = Source("mirror", "photographs", are_photographs=True, checksum=checksum)
        test = ImageSet(np.zeros((8, 96, 96, 3), np.uint8), np.arange(8))
        data = CourseData({"test": test}, CLASS_NAMES, source, course.profile(), "")
        monkeypatch.setattr(browser, "load_course_data", lambda data=data: data)
        monkeypatch.setenv("BLOODCELLS_SOURCE", "mirror")
        said.append(browser._candidates()[1])
    assert said[0].endswith(browser.NOT_TRAINED_ON)
    assert said[1].endswith(browser.PERHAPS_TRAINED_ON)
