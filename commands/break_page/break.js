// The page's program: pictures are changed here and named by ONNX Runtime Web, in this browser.
// Pictures are Float32Array or Uint8Array of SIDE * SIDE * 3, RGB, 0-255, row by row.

import * as ort from "./ort.js";

const SIDE = 96;
const CENTRE = (SIDE - 1) / 2;
// Photographs of the PBC set, by width and height, are cut to their central 200 px.
const PBC_SIZES = ["360x363", "208x208"];
const PBC_CROP = 200;
const LARGEST_SIDE = 4096;
const MOST_MOMENTS = 12;

// Each knob's value is ticks * step; at `rest` it changes nothing.
export const KNOBS = [
  { name: "rotation", label: "Rotation", low: -36, high: 36, step: 5, rest: 0, unit: "°" },
  { name: "scale", label: "Scale", low: 6, high: 50, step: 5, rest: 20, unit: " %" },
  { name: "brightness", label: "Brightness", low: 4, high: 40, step: 5, rest: 20, unit: " %" },
  { name: "hue", label: "Hue", low: -36, high: 36, step: 5, rest: 0, unit: "°" },
  { name: "blur", label: "Blur", low: 0, high: 24, step: 0.25, rest: 0, unit: " px" },
  { name: "noise", label: "Noise", low: 0, high: 40, step: 2.5, rest: 0, unit: "" },
  { name: "occlusion", label: "Occlusion", low: 0, high: 19, step: 5, rest: 0, unit: " %" },
];
const AT_REST = Object.fromEntries(KNOBS.map((knob) => [knob.name, knob.rest]));
const MIDDLE = { x: CENTRE, y: CENTRE };

// --- changes -------------------------------------------------------------------------------------

/** Return a picture, changed as the knobs' ticks say. */
export function changed(picture, ticks, patch = MIDDLE) {
  const at = Object.fromEntries(KNOBS.map((knob) => [knob.name, ticks[knob.name] * knob.step]));
  let pixels = Float32Array.from(picture);
  if (at.rotation !== 0 || at.scale !== 100) {
    pixels = turned(pixels, (at.rotation * Math.PI) / 180, at.scale / 100);
  }
  if (at.blur > 0) pixels = blurred(pixels, at.blur);
  if (at.hue !== 0) pixels = recoloured(pixels, (at.hue * Math.PI) / 180);
  if (at.brightness !== 100) pixels = pixels.map((value) => (value * at.brightness) / 100);
  if (at.noise > 0) pixels = pixels.map((value, i) => value + at.noise * GRAIN[i]);
  if (at.occlusion > 0) cover(pixels, (at.occlusion / 100) * SIDE, patch);
  return Uint8Array.from(pixels, (value) => Math.min(255, Math.max(0, Math.round(value))));
}

/** Turn clockwise and scale about the centre; what comes in from outside has the border's colour. */
function turned(pixels, angle, scale) {
  const border = borderColour(pixels);
  const result = new Float32Array(pixels.length);
  const cosine = Math.cos(angle) / scale, sine = Math.sin(angle) / scale;
  const colour = (x, y, c) => (x < 0 || y < 0 || x >= SIDE || y >= SIDE
    ? border[c] : pixels[(y * SIDE + x) * 3 + c]);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const dx = column - CENTRE, dy = row - CENTRE;
      const x = cosine * dx + sine * dy + CENTRE, y = cosine * dy - sine * dx + CENTRE;
      const left = Math.floor(x), top = Math.floor(y), fx = x - left, fy = y - top;
      for (let c = 0; c < 3; c++) {
        result[(row * SIDE + column) * 3 + c] =
          (1 - fy) * ((1 - fx) * colour(left, top, c) + fx * colour(left + 1, top, c)) +
          fy * ((1 - fx) * colour(left, top + 1, c) + fx * colour(left + 1, top + 1, c));
      }
    }
  }
  return result;
}

/** Return the median of the outermost pixels, for each channel. */
function borderColour(pixels) {
  const places = [];
  for (let i = 0; i < SIDE; i++) {
    places.push(i, (SIDE - 1) * SIDE + i, i * SIDE, i * SIDE + SIDE - 1);
  }
  return [0, 1, 2].map((c) => {
    const values = places.map((place) => pixels[place * 3 + c]).sort((a, b) => a - b);
    return values[values.length >> 1];
  });
}

/** Blur by a Gaussian with this standard deviation; beyond the border its last pixel goes on. */
function blurred(pixels, deviation) {
  const reach = Math.ceil(3 * deviation);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, i) =>
    Math.exp(-((i - reach) ** 2) / (2 * deviation ** 2)));
  const total = weights.reduce((a, b) => a + b);
  const along = (source, across) => {
    const result = new Float32Array(source.length);
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        for (let k = 0; k < weights.length; k++) {
          const moved = Math.min(SIDE - 1, Math.max(0, (across ? column : row) + k - reach));
          const from = (across ? row * SIDE + moved : moved * SIDE + column) * 3;
          const to = (row * SIDE + column) * 3;
          for (let c = 0; c < 3; c++) result[to + c] += (source[from + c] * weights[k]) / total;
        }
      }
    }
    return result;
  };
  return along(along(pixels, true), false);
}

/** Turn the colours about the grey axis. */
function recoloured(pixels, angle) {
  const side = Math.sin(angle) / Math.sqrt(3), axis = (1 - Math.cos(angle)) / 3;
  const own = axis + Math.cos(angle), next = axis - side, last = axis + side;
  return pixels.map((value, i) => {
    const c = i % 3, first = i - c;
    return own * value + next * pixels[first + (c + 1) % 3] + last * pixels[first + (c + 2) % 3];
  });
}

function cover(pixels, width, patch) {
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      if (Math.abs(row - patch.y) < width / 2 && Math.abs(column - patch.x) < width / 2) {
        pixels.fill(127, (row * SIDE + column) * 3, (row * SIDE + column) * 3 + 3);
      }
    }
  }
}

// The same grain at every strength, so that turning the knob makes it stronger and not another.
const GRAIN = (() => {
  let state = 1;
  const uniform = () => {  // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 1) / 4294967297;
  };
  return Float32Array.from({ length: SIDE * SIDE * 3 }, () =>
    Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()));
})();

// --- images of the reader's ----------------------------------------------------------------------

/** Return an image file as a picture: its central square, as `predict` cuts and resizes it. */
export async function readImage(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    throw new Error(`${file.name ?? "This"} is no image that your browser can read: choose a PNG, ` +
      "JPEG, WebP, GIF or BMP file.");
  }
  const { width, height } = bitmap;
  let side = Math.min(width, height);
  if (PBC_SIZES.includes(`${width}x${height}`)) side = Math.min(side, PBC_CROP);
  if (side > LARGEST_SIDE) {
    throw new Error(`The image has ${width} × ${height} pixels, too many for this page: cut out ` +
      `the cell, to at most ${LARGEST_SIDE} pixels a side.`);
  }
  const canvas = make("canvas", { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";  // under transparency
  context.fillRect(0, 0, side, side);
  context.drawImage(bitmap, -Math.floor((width - side) / 2), -Math.floor((height - side) / 2));
  bitmap.close();
  return resized(context.getImageData(0, 0, side, side).data, side);
}

/** Return RGBA pixels of a square as a picture, resized like Pillow's BICUBIC, antialiased. */
export function resized(rgba, side) {
  const taps = Array.from({ length: SIDE }, (_, i) => weightsAt(i, side));
  const rows = new Uint8ClampedArray(side * SIDE * 3);
  for (let row = 0; row < side; row++) {
    taps.forEach(({ start, weights }, i) => {
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (let k = 0; k < weights.length; k++) {
          sum += weights[k] * rgba[(row * side + start + k) * 4 + c];
        }
        rows[(row * SIDE + i) * 3 + c] = Math.floor(sum + 0.5);  // as Pillow rounds, here too
      }
    });
  }
  const result = new Uint8ClampedArray(SIDE * SIDE * 3);
  taps.forEach(({ start, weights }, i) => {
    for (let place = 0; place < SIDE * 3; place++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * rows[(start + k) * SIDE * 3 + place];
      result[i * SIDE * 3 + place] = Math.floor(sum + 0.5);
    }
  });
  return new Uint8Array(result.buffer);
}

function weightsAt(place, side) {
  const scale = side / SIDE, stretch = Math.max(scale, 1), support = 2 * stretch;
  const centre = (place + 0.5) * scale;
  const start = Math.max(0, Math.trunc(centre - support + 0.5));
  const end = Math.min(side, Math.trunc(centre + support + 0.5));
  const weights = Array.from({ length: end - start }, (_, k) =>
    cubic((start + k - centre + 0.5) / stretch));
  const total = weights.reduce((a, b) => a + b);
  return { start, weights: weights.map((weight) => weight / total) };
}

function cubic(x) {
  const a = -0.5, d = Math.abs(x);
  if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((((d - 5) * d) + 8) * d - 4) * a : 0;
}

// --- networks ------------------------------------------------------------------------------------

let networks = [];
let classes = [];
let busy = Promise.resolve();

/** Return each network's probabilities for a picture; `which` may leave networks out. */
export function probabilities(picture, which = networks) {
  const answer = busy.then(async () => {
    const found = [];
    for (const network of which) {
      const images = new ort.Tensor("uint8", picture, [1, SIDE, SIDE, 3]);
      const { logits } = await network.session.run({ images });
      found.push(softmax(Array.from(logits.data, (logit) => logit / network.temperature)));
    }
    return found;
  });
  busy = answer.catch(() => {});  // one run at a time
  return answer;
}

function softmax(scores) {
  const highest = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - highest));
  const total = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / total);
}

const first = (values) => values.indexOf(Math.max(...values));

/** Return the classes' numbers, the most probable first. */
const ranked = (values) => values.map((_, i) => i).sort((a, b) => values[b] - values[a]);

// --- the page ------------------------------------------------------------------------------------

const element = (id) => document.getElementById(id);
const percent = (value) => (value > 0.9995 ? ">99.9\u00a0%" : `${(100 * value).toFixed(1)}\u00a0%`);
const knobText = (knob, tick) => {
  const value = String(Number((tick * knob.step).toFixed(2))).replace("-", "−");
  return `${value}${knob.unit}`;
};

export const state = {
  picture: null, title: "", label: null,  // label: the true class, if it is known
  ticks: { ...AT_REST }, patch: { ...MIDDLE },
  base: null,   // the networks' answers to the unchanged picture
  shown: null,  // { ticks, patch, answers } that the page shows
  falls: [],    // for each network, the words for the moment at which it left its first answer
};

function make(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function drawOn(canvas, picture) {
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    image.data.set(picture.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function fail(error) {
  console.error(error);
  element("failure").textContent = error.message;
  element("failure").scrollIntoView({ block: "center" });
}

let waiting = false;
let working = false;

/** Show what the knobs say; while that is computed, only the latest of further calls counts. */
async function update() {
  waiting = true;
  if (working) return;
  working = true;
  try {
    while (waiting) {
      waiting = false;
      await show();
      await new Promise((resume) => setTimeout(resume));  // lets the browser draw
    }
  } catch (error) {
    fail(error);
  } finally {
    working = false;
  }
}

async function show() {
  const { picture, ticks, patch } = state;
  const now = { ticks: { ...ticks }, patch: { ...patch } };
  showKnobs(now.ticks);
  const pixels = changed(picture, now.ticks, now.patch);
  drawOn(element("changed"), pixels);
  const found = await probabilities(pixels);
  const base = state.base ?? (await probabilities(changed(picture, AT_REST))).map(first);
  if (picture !== state.picture) return;  // another was chosen meanwhile
  now.answers = found.map(first);
  state.base = base;
  const before = state.shown;
  state.shown = now;
  const far = before && KNOBS.some((k) => Math.abs(now.ticks[k.name] - before.ticks[k.name]) > 1);
  if (far) showAnswers(found);  // the way there takes a while
  for (const n of networks.keys()) {
    if (before && (far || before.answers[n] !== now.answers[n])) await tell(n, before, now);
    if (now.answers[n] === state.base[n]) state.falls[n] = null;
  }
  if (picture === state.picture) showAnswers(found);
}

/** Say at which ticks a network changed its answer, if one knob was turned between two states. */
async function tell(n, before, now) {
  const { picture } = state;
  const turned = KNOBS.filter((knob) => before.ticks[knob.name] !== now.ticks[knob.name]);
  const moved = before.patch.x !== now.patch.x || before.patch.y !== now.patch.y;
  if (turned.length > 1 || (turned.length && moved)) {
    state.falls[n] ??= "when several knobs were turned";
  } else if (moved && before.answers[n] !== now.answers[n]) {
    note(n, before.answers[n], now.answers[n], "when the patch was moved", []);
  } else if (turned.length) {
    const [knob] = turned;
    const others = KNOBS.filter((k) => k !== knob && now.ticks[k.name] !== k.rest)
      .map((k) => `${k.name} ${knobText(k, now.ticks[k.name])}`);
    const end = now.ticks[knob.name], way = Math.sign(end - before.ticks[knob.name]);
    let tick = before.ticks[knob.name], answer = before.answers[n];
    while (tick !== end) {  // answers come and go: none is skipped
      tick += way;
      const between = changed(picture, { ...now.ticks, [knob.name]: tick }, now.patch);
      const next = tick === end ? now.answers[n] : first((await probabilities(between, [networks[n]]))[0]);
      if (state.picture !== picture) return;  // another was chosen meanwhile
      if (next !== answer) note(n, answer, next, `at ${knob.name} ${knobText(knob, tick)}`, others);
      answer = next;
    }
  }
}

function note(n, answer, next, where, others) {
  if (answer === state.base[n]) state.falls[n] = where;
  if (next === state.base[n]) state.falls[n] = null;
  const change = next === state.base[n] ? "came back to" : "changed its answer to";
  const beside = others.length ? `, with ${others.join(" and ")}` : "";
  const text = `${networks[n].title} ${change} ${classes[next]} ${where}${beside}`;
  element("moments").prepend(make("li", {}, `${text} (it was ${classes[answer]}).`));
  while (element("moments").children.length > MOST_MOMENTS) element("moments").lastChild.remove();
  element("none").hidden = true;
}

function showKnobs(ticks) {
  for (const knob of KNOBS) {
    const tick = ticks[knob.name], text = knobText(knob, tick);
    knob.input.value = tick;
    knob.input.setAttribute("aria-valuetext", text);
    knob.output.textContent = text;
    knob.button.disabled = tick === knob.rest;
    knob.row.classList.toggle("turned", tick !== knob.rest);
  }
}

let speaking;

function showAnswers(found) {
  const sentences = [];
  found.forEach((values, n) => {
    const { title, parts } = networks[n];
    const [best, second] = ranked(values);
    const same = best === state.base[n];
    const wrongAlready = state.label !== null && state.base[n] !== state.label;
    const truth = state.label === null ? "" : best === state.label ? " ✓" : " ✗";
    const spoken = state.label === null ? "" : best === state.label ? ", correct" : ", wrong";
    parts.answer.replaceChildren(
      `${classes[best]}, ${percent(values[best])}`,
      make("span", { ariaHidden: "true" }, truth), make("span", { className: "unseen" }, spoken));
    parts.second.textContent = `Second choice: ${classes[second]}, ${percent(values[second])}`;
    const where = state.falls[n] ?? "on the way";  // until the way has been walked
    parts.fate.textContent = same ? "The same answer as for the unchanged picture."
      : `${wrongAlready ? "Changed its answer" : "Fell over"} ${where}: unchanged, it was ` +
        `${classes[state.base[n]]}${wrongAlready ? ", wrong already" : ""}.`;
    parts.card.classList.toggle("fallen", !same && !wrongAlready);
    parts.rows.forEach(({ row, bar, cell }, i) => {
      row.classList.toggle("first", i === best);
      bar.style.width = `${100 * values[i]}%`;
      cell.textContent = percent(values[i]);
    });
    parts.short.replaceChildren(title, make("b", {}, `${classes[best]} ${percent(values[best])}${truth}`),
      same ? "" : `${wrongAlready ? "changed" : "fell over"} ${where}`);
    parts.short.classList.toggle("fallen", !same && !wrongAlready);
    sentences.push(`${title}: ${classes[best]}, ${percent(values[best])}${spoken}${same ? "" : wrongAlready ? ", changed" : ", fallen over"}.`);
  });
  clearTimeout(speaking);  // a screen reader hears where a knob came to rest, not every step
  speaking = setTimeout(() => { element("summary").textContent = sentences.join(" "); }, 500);
}

function reset() {
  Object.assign(state.ticks, AT_REST);
  Object.assign(state.patch, MIDDLE);
  update();
}

let choices = 0;

/** Show another picture, at rest; `file` may be a promise of one. Of several, the last counts. */
async function choose(file, title, label) {
  const choice = ++choices;
  element("failure").textContent = "";
  try {
    const picture = await readImage(await file);
    if (choice !== choices) return;
    Object.assign(state, { picture, title, label, base: null, shown: null, falls: [] });
    Object.assign(state.ticks, AT_REST);
    Object.assign(state.patch, MIDDLE);
    drawOn(element("unchanged"), picture);
    element("unchanged").setAttribute("aria-label", `The unchanged picture: ${title}`);
    element("name").textContent = title;
    element("moments").replaceChildren();
    element("none").hidden = false;
    element("limits").hidden = true;
    if (label === null) document.querySelectorAll(".sample input").forEach((i) => { i.checked = false; });
    await update();
  } catch (error) {
    fail(error);
  }
}

/** Turn every knob alone, both ways, until each network leaves its answer to the unchanged picture. */
async function search() {
  const { picture } = state;
  element("search").disabled = true;
  element("limits").hidden = false;
  element("limits").scrollIntoView({ block: "start" });
  element("limits-rows").replaceChildren();
  const base = (await probabilities(changed(picture, AT_REST))).map(first);
  for (const knob of KNOBS) {
    element("progress").textContent = `Turning ${knob.name} …`;
    const cells = networks.map(() => make("td"));
    element("limits-rows").append(make("tr", {}, make("th", { scope: "row" }, knob.label), ...cells));
    for (const way of [-1, 1]) {
      let standing = [...networks.keys()];
      for (let tick = knob.rest + way; tick >= knob.low && tick <= knob.high && standing.length; tick += way) {
        const pixels = changed(picture, { ...AT_REST, [knob.name]: tick });
        const found = await probabilities(pixels, standing.map((n) => networks[n]));
        await new Promise((resume) => setTimeout(resume));
        if (picture !== state.picture) {  // another picture was chosen
          element("search").disabled = false;
          return;
        }
        standing = standing.filter((n, i) => {
          const answer = first(found[i]);
          if (answer !== base[n]) cells[n].append(jump(knob, tick, answer));
          return answer === base[n];
        });
      }
    }
    cells.filter((cell) => !cell.childNodes.length).forEach((cell) => cell.append("never"));
  }
  element("progress").textContent =
    "Each knob turned alone from the unchanged picture, the patch in the middle; a button goes there.";
  element("search").disabled = false;
  if (document.activeElement === document.body) element("search").focus();  // a disabled button lost it
}

function jump(knob, tick, answer) {
  const button = make("button", { type: "button" }, `${knobText(knob, tick)}: ${classes[answer]}`);
  button.addEventListener("click", async () => {
    Object.assign(state.ticks, AT_REST);
    Object.assign(state.patch, MIDDLE);
    await update();  // from there one knob is turned, and it can be said where a network falls
    state.ticks[knob.name] = tick;
    update();
  });
  return button;
}

// --- building it ---------------------------------------------------------------------------------

function buildKnobs() {
  for (const knob of KNOBS) {
    const id = `knob-${knob.name}`;
    knob.output = make("output");
    knob.output.htmlFor = id;
    knob.input = make("input", { type: "range", id, min: knob.low, max: knob.high, step: 1 });
    knob.button = make("button", { type: "button", title: `Reset ${knob.name}` }, "↺");
    knob.button.setAttribute("aria-label", `Reset ${knob.name}`);
    knob.input.addEventListener("input", () => {
      state.ticks[knob.name] = Number(knob.input.value);
      update();
    });
    knob.button.addEventListener("click", () => {
      state.ticks[knob.name] = knob.rest;
      knob.input.focus();  // the button goes
      update();
    });
    const label = make("label", { htmlFor: id }, knob.label);
    knob.row = make("div", { className: "knob" }, label, knob.output, knob.input, knob.button);
    element("knobs").append(knob.row);
  }
}

function buildNetworks() {
  for (const [n, network] of networks.entries()) {
    const parts = { short: make("p") };
    for (const name of ["answer", "second", "fate"]) parts[name] = make("p", { className: name });
    parts.rows = classes.map((name) => {
      const bar = make("div"), cell = make("td");
      const drawn = make("td", { className: "bar", ariaHidden: "true" }, bar);
      return { bar, cell, row: make("tr", {}, make("th", { scope: "row" }, name), drawn, cell) };
    });
    const { test, shifted_test: shifted } = network.accuracy;
    const title = make("h3", { id: `network-${n}` }, network.title);
    const measured = `Measured: ${percent(test.value)} correct on ${test.n.toLocaleString("en")} ` +
      `test photographs, ${percent(shifted.value)} on their shifted versions.`;
    parts.card = make("article", { className: "network" }, title,
      make("p", { className: "about" }, `${network.about}. ${measured}`),
      parts.answer, parts.second, parts.fate,
      make("table", {}, make("tbody", {}, ...parts.rows.map(({ row }) => row))));
    parts.card.setAttribute("aria-labelledby", title.id);
    network.parts = parts;
    element("networks").append(parts.card);
    element("short").append(parts.short);
  }
  const heads = ["Knob", ...networks.map((network) => network.title)];
  element("limits-head").append(make("tr", {}, ...heads.map((t) => make("th", { scope: "col" }, t))));
}

function buildSamples(samples) {
  samples.forEach((sample, i) => {
    const name = classes[sample.label];
    const input = make("input", { type: "radio", name: "sample", className: "unseen" });
    input.addEventListener("change", () => chooseSample(sample));
    const image = make("img", { src: sample.file, alt: "", width: SIDE, height: SIDE });
    element("samples").append(make("label", { className: "sample" }, input, image, make("span", {}, name)));
    input.checked = i === 0;
  });
  const missing = samples.filter((sample) => !sample.named_correctly).map(({ label }) => classes[label]);
  return missing.length ? ` None that both name correctly was found for: ${missing.join(", ")}.` : "";
}

function chooseSample(sample) {
  return choose(fetched(sample.file, "blob"), classes[sample.label], sample.label);
}

function listen() {
  element("reset").addEventListener("click", reset);
  element("search").addEventListener("click", () => search().catch(fail));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") reset(); });
  element("file").addEventListener("change", () => {
    const [file] = element("file").files;
    if (file) choose(file, file.name, null);
    element("file").value = "";  // the same file may be chosen again
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    document.addEventListener(kind, (event) => {
      event.preventDefault();  // else the browser shows the image in place of the page
      document.body.classList.toggle("dropping", kind === "dragenter" || kind === "dragover");
    });
  }
  document.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) choose(file, file.name, null);
  });
  const canvas = element("changed");
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    movePatch(((event.clientX - box.left) / box.width) * SIDE, ((event.clientY - box.top) / box.height) * SIDE);
  });
  const steps = { ArrowLeft: [-4, 0], ArrowRight: [4, 0], ArrowUp: [0, -4], ArrowDown: [0, 4] };
  canvas.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    movePatch(state.patch.x + step[0], state.patch.y + step[1]);
  });
}

function movePatch(x, y) {
  const inside = (value) => Math.min(SIDE - 1, Math.max(0, value));
  state.patch = { x: inside(x), y: inside(y) };
  // Without a patch, a touch of the picture shows one.
  const knob = KNOBS.find(({ name }) => name === "occlusion");
  if (state.ticks.occlusion === knob.rest) state.ticks.occlusion = 5;
  update();
}

async function fetched(path, kind) {
  const answer = await fetch(path);
  if (!answer.ok) {
    throw new Error(`${path} cannot be loaded (${answer.status}): build the page again with ` +
      "python -m helpers browser.");
  }
  return answer[kind]();
}

async function start() {
  element("loading").textContent = "Loading …";
  const page = await fetched("page.json", "json");
  classes = page.classes;
  const megabytes = page.networks.reduce((sum, { bytes }) => sum + bytes, page.runtime_bytes) / 1e6;
  element("loading").textContent = `Loading the networks and their runtime, ${megabytes.toFixed(0)} MB …`;
  ort.env.wasm.numThreads = 1;  // more need headers that a plain file server does not send
  ort.env.wasm.proxy = false;
  for (const network of page.networks) {
    const file = new Uint8Array(await fetched(network.file, "arrayBuffer"));
    network.session = await ort.InferenceSession.create(file, { executionProviders: ["wasm"] });
  }
  networks = page.networks;
  buildKnobs();
  buildNetworks();
  element("choice-title").textContent = page.samples_title;
  const missing = buildSamples(page.samples);
  element("which").textContent = page.about_networks;
  element("about-samples").textContent = `${page.about_samples} Shown is the first of its class ` +
    `that both networks name correctly.${missing}`;
  element("runtime").textContent = page.runtime;
  listen();
  element("loading").hidden = true;
  element("desk").hidden = false;
  await chooseSample(page.samples[0]);
}

start().catch((error) => {
  element("loading").hidden = true;
  fail(error);
});
