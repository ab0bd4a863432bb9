"use strict";
// One view is one window of the field, rendered for the screen's own pixels: coarse first, then sharp.

const COARSE = 4, LENS = 0.19, ARROW = 0.1, STEP = 1.25, MAX_ZOOM = 1024, BASE = 768, CHECKS = ["#c9cbcd", "#94979a"];
const $ = (id) => document.getElementById(id);
const canvas = $("canvas"), stage = $("stage"), context = canvas.getContext("2d", { alpha: false });
const client = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
const state = {
  scene: null, picture: { index: 0, width: 1, height: 1, name: "", alpha: false }, x: 0.5, y: 0.5, zoom: 1,
  mode: "slider", a: "model-0", b: "bicubic", split: 0.5, lens: null, meaning: 0, damage: {},
};
const slots = { a: {}, b: {}, meaning: {} };  // what was rendered last: canvas, box, key
const base = {};  // the whole picture, for where nothing is rendered yet
let turn = 0, stage_now = null, dirty = false, abort = null, opened = 0;

// ---- the window -----------------------------------------------------------------------------------------------

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const fitZoom = () => Math.min(canvas.width / state.picture.width, canvas.height / state.picture.height);
function zoomEnds() {
  const { width, height } = state.picture;
  const most = Math.min(MAX_ZOOM, 1.8 / state.scene.limits.cell / Math.max(width, height));
  return [Math.min(1, fitZoom() / 2), Math.max(most, fitZoom())];
}

/** The edges of the picture on the canvas, in its pixels; left and top are whole ones, or 1× would be half a pixel off. */
function edges(whole_ = Math.round) {
  const { width, height } = state.picture, { zoom } = state;
  const left = whole_(canvas.width / 2 - state.x * width * zoom), top = whole_(canvas.height / 2 - state.y * height * zoom);
  return { left, top, right: left + width * zoom, bottom: top + height * zoom };
}

/** What is seen: whole pixels of the canvas, and the box of the field that they show. */
function seen() {
  const e = edges(), ends = (low, high, side) => {
    const first = clamp(Math.ceil(low - 1e-6), 0, side - 1);
    return [first, clamp(Math.floor(high + 1e-6), first + 1, side)];
  };
  const [x0, x1] = ends(e.left, e.right, canvas.width), [y0, y1] = ends(e.top, e.bottom, canvas.height);
  const unit = (at, low, high) => Number(clamp((at - low) / (high - low) * 2 - 1, -1, 1).toFixed(9));
  const box = [unit(y0, e.top, e.bottom), unit(x0, e.left, e.right), unit(y1, e.top, e.bottom), unit(x1, e.left, e.right)];
  return { box, width: x1 - x0, height: y1 - y0 };
}

/** Where a box lies on the canvas now. */
function place(box) {
  const e = edges(), at = (v, low, high) => low + (v + 1) / 2 * (high - low);
  const x = at(box[1], e.left, e.right), y = at(box[0], e.top, e.bottom);
  return [x, y, at(box[3], e.left, e.right) - x, at(box[2], e.top, e.bottom) - y];
}

// ---- asking ---------------------------------------------------------------------------------------------------

const words = (layer, box, width, height, more = {}) => new URLSearchParams({
  picture: state.picture.index, layer, box: box.join(","), width, height, ...state.damage, ...more,
});
const keyOf = (layer) => `${state.picture.index} ${layer} ${layer === "original" ? "" : JSON.stringify(state.damage)}`;

async function ask(path, query, signal) {
  const answer = await fetch(query ? `${path}?${query}` : path, { signal, cache: "no-store" });
  if (answer.status === 204) return null;
  if (!answer.ok) throw new Error((await answer.text()).trim() || `${answer.status}`);
  return answer;
}

/** Load a window into a slot, unless `current` says meanwhile that it is of no use any more. */
async function loadInto(slot, key, layer, box, width, height, { client: who, turn: number }, signal, current) {
  const answer = await ask("view", words(layer, box, width, height, { client: who, turn: number }), signal);
  if (answer === null) return false;
  const raw = state.scene.format === "raw";
  const source = raw ? new ImageData(new Uint8ClampedArray(await answer.arrayBuffer()), width, height)
    : await createImageBitmap(await answer.blob());
  if (!current()) return false;
  const image = slot.canvas || document.createElement("canvas");
  image.width = width; image.height = height;
  if (raw) image.getContext("2d").putImageData(source, 0, 0);
  else { image.getContext("2d").drawImage(source, 0, 0); source.close(); }
  Object.assign(slot, { canvas: image, box, key });
  return true;
}

function wanted() {
  const all = [["a", state.a]];
  if (state.mode !== "one") all.push(["b", state.b]);
  if (state.meaning > 0 && meaningLayer()) all.push(["meaning", meaningLayer()]);
  return all;
}

function meaningLayer() {
  const chosen = state.scene.models[Number(state.a.split("-")[1])];
  const index = chosen && chosen.meaning ? Number(state.a.split("-")[1]) : state.scene.models.findIndex((m) => m.meaning);
  return index < 0 ? null : `meaning-${index}`;
}

/** Render what is seen: all layers coarse, then all sharp. A later view ends this one. */
async function render() {
  const mine = ++turn, window_ = seen(), start = performance.now();
  if (abort) abort.abort();
  abort = new AbortController();
  dirty = false;
  say(null);
  describe(window_);
  for (const [coarse, name] of [[COARSE, "coarse"], [1, "sharpening"]]) {
    stage_now = name;
    mark(name);
    const width = Math.ceil(window_.width / coarse), height = Math.ceil(window_.height / coarse);
    try {
      await Promise.all(wanted().map(async ([slot, layer]) => {
        const side = slot === "meaning" && coarse === 1 ? 2 : 1;  // meaning is smooth
        const size = [Math.ceil(width / side), Math.ceil(height / side)];
        const who = { client, turn: mine }, current = () => mine === turn;
        if (await loadInto(slots[slot], keyOf(layer), layer, window_.box, ...size, who, abort.signal, current)) paint();
      }));
    } catch (error) {
      if (mine !== turn) return;
      say(error.message);
      stage_now = null;
      mark("failed");
      return;
    }
    if (mine !== turn) return;
    if (dirty) return void render();
  }
  stage_now = null;
  $("time").textContent = `${Math.round(performance.now() - start)} ms, coarse and sharp`;
  mark("sharp");
  writeCode(window_, mine);
}

/** The view has moved: while a coarse one is on its way, it is waited for, or none would ever be seen. */
function moved() {
  const [low, high] = zoomEnds();
  state.zoom = clamp(state.zoom, low, high);
  const halfX = Math.min(0.5, canvas.width / 2 / (state.picture.width * state.zoom));
  const halfY = Math.min(0.5, canvas.height / 2 / (state.picture.height * state.zoom));
  state.x = clamp(state.x, halfX, 1 - halfX); state.y = clamp(state.y, halfY, 1 - halfY);
  paint();
  if (stage_now === "coarse") dirty = true; else render();
}

/** What is shown has changed: what is on its way is of no use. */
function changed() { controls(); paint(); loadBase(); render(); }

async function loadBase() {
  const key = keyOf("bicubic"), mine = ++opened;  // one that is on its way is of another picture, or damage
  if (base.key === key) return;
  const { width, height } = state.picture, scale = Math.min(1, BASE / Math.max(width, height));
  const size = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  try {
    const who = { client: `${client}-base`, turn: mine };
    if (await loadInto(base, key, "bicubic", [-1, -1, 1, 1], ...size, who, undefined, () => mine === opened)) paint();
  } catch (error) { say(error.message); }
}

// ---- drawing --------------------------------------------------------------------------------------------------

let painting = false;
function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; draw(); });
}

/** A checkerboard under what is transparent. */
function ground(x, y, width, height) {
  if (!state.picture.alpha) return;
  const side = Math.round(8 * canvas.width / Math.max(1, stage.clientWidth));
  if (ground.side !== side) {
    const tile = document.createElement("canvas"), brush = tile.getContext("2d");
    tile.width = tile.height = 2 * side;
    for (const [column, row] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      brush.fillStyle = CHECKS[(column + row) % 2];
      brush.fillRect(column * side, row * side, side, side);
    }
    Object.assign(ground, { side, pattern: context.createPattern(tile, "repeat") });
  }
  context.fillStyle = ground.pattern;
  context.fillRect(x, y, width, height);
}

function drawSlot(slot, layer) {
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  if (base.canvas && base.key.startsWith(`${state.picture.index} `)) {
    ground(...place(base.box));
    context.drawImage(base.canvas, ...place(base.box));
  }
  if (!slot.canvas || slot.key !== keyOf(layer)) return;
  const [x, y, width, height] = place(slot.box);
  const exact = Math.abs(width - slot.canvas.width) < 0.01 && Math.abs(height - slot.canvas.height) < 0.01;
  if (exact) ground(Math.round(x), Math.round(y), slot.canvas.width, slot.canvas.height);
  else ground(x, y, width, height);
  if (exact) context.drawImage(slot.canvas, Math.round(x), Math.round(y));  // a pixel of the field is one of the screen
  else context.drawImage(slot.canvas, x, y, width, height);
}

function draw() {
  const { width, height } = canvas, ratio = width / Math.max(1, stage.clientWidth);
  context.fillStyle = "#121314";
  context.fillRect(0, 0, width, height);
  if (!state.scene) return;
  drawSlot(slots.a, state.a);
  const layer = meaningLayer();
  if (state.meaning > 0 && layer && slots.meaning.canvas && slots.meaning.key === keyOf(layer)) {
    context.globalAlpha = state.meaning;
    context.drawImage(slots.meaning.canvas, ...place(slots.meaning.box));
    context.globalAlpha = 1;
  }
  if (state.mode === "one") return;
  context.save();
  context.beginPath();
  if (state.mode === "slider") context.rect(0, 0, Math.round(state.split * width), height);
  else {
    const { x, y, radius } = lensPlace();
    context.arc(x * ratio, y * ratio, radius * ratio, 0, 2 * Math.PI);
  }
  context.clip();
  context.fillRect(0, 0, width, height);
  drawSlot(slots.b, state.b);
  context.restore();
}

function lensPlace() {
  const { clientWidth: width, clientHeight: height } = stage;
  const radius = Math.max(60, LENS * Math.min(width, height));
  const [x, y] = state.lens || [width / 2, height / 2];
  return { x: clamp(x, 0, width), y: clamp(y, 0, height), radius };
}

// ---- words on the page ----------------------------------------------------------------------------------------

function mark(name) { document.body.dataset.state = name; }
function say(text) { $("message").hidden = !text; $("message").textContent = text || ""; }
function toast(text) {
  $("toast").textContent = text;
  $("toast").classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => $("toast").classList.remove("shown"), 2200);
}
const short = (value) => value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
const layerName = (layer) => layer.startsWith("model-") ? state.scene.models[Number(layer.slice(6))].name : layer;

function describe(window_) {
  $("zoom").textContent = `${short(state.zoom)}×`;
  document.body.dataset.zoom = state.zoom;
  $("box").textContent = window_.box.map((v) => v.toFixed(Math.max(3, Math.ceil(Math.log10(state.zoom + 1)) + 3))).join(", ");
  $("size").textContent = `${window_.width} × ${window_.height}`;
  if (document.activeElement !== $("width") && document.activeElement !== $("height")) {
    $("width").value = window_.width;
    $("height").value = window_.height;
  }
}

async function writeCode(window_, mine) {
  try {
    const answer = await ask("python", words(state.a, window_.box, window_.width, window_.height));
    const text = await answer.text();
    if (mine === turn) $("code").textContent = text;
    return text;
  } catch (error) { say(error.message); return ""; }
}

const SHOWN = { blur: (v) => `${v} px`, low: (v) => `÷ ${v}`, noise: (v) => `σ ${v}`, holes: (v) => `${Math.round(100 * v)} %` };
function controls() {
  const { scene } = state;
  for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-checked", button.dataset.mode === state.mode);
  $("layer-a").value = state.a; $("layer-b").value = state.b;
  $("layer-b").disabled = state.mode === "one";
  $("left").hidden = state.mode === "one";
  $("left").textContent = state.mode === "lens" ? `lens: ${layerName(state.b)}` : layerName(state.b);
  $("right").textContent = layerName(state.a);
  $("split").hidden = state.mode !== "slider";
  $("split").style.left = `${100 * state.split}%`;
  $("split").setAttribute("aria-valuenow", Math.round(100 * state.split));
  const { x, y, radius } = lensPlace();
  $("lens").hidden = state.mode !== "lens";
  Object.assign($("lens").style, { left: `${x}px`, top: `${y}px`, width: `${2 * radius}px`, height: `${2 * radius}px` });
  for (const input of document.querySelectorAll("#damage input")) {
    const bound = scene.damage[input.name], value = state.damage[input.name], output = input.parentElement.querySelector("output");
    if (document.activeElement !== input) input.value = value;
    input.parentElement.classList.toggle("on", value !== bound.default);
    if (output) output.textContent = value === bound.default ? "off" : SHOWN[input.name](value);
  }
  document.querySelector(".seed").classList.toggle("off", !state.damage.noise && !state.damage.holes);
  $("clean").hidden = Object.entries(state.damage).every(([name, value]) => name === "seed" || value === scene.damage[name].default);
  $("meaning-row").hidden = meaningLayer() === null;
  $("meaning").value = Math.round(100 * state.meaning);
  $("meaning").nextElementSibling.textContent = `${Math.round(100 * state.meaning)} %`;
}

// ---- doing ----------------------------------------------------------------------------------------------------

/** Zoom by a factor around a point of the stage, in CSS pixels (default: the middle). */
function zoomBy(factor, at) {
  const ratio = canvas.width / stage.clientWidth, [low, high] = zoomEnds();
  const [x, y] = at ? [at[0] * ratio, at[1] * ratio] : [canvas.width / 2, canvas.height / 2];
  const e = edges((v) => v), { width, height } = state.picture;
  const u = (x - e.left) / (e.right - e.left), v = (y - e.top) / (e.bottom - e.top);
  state.zoom = clamp(state.zoom * factor, low, high);
  state.x = u - (x - canvas.width / 2) / (width * state.zoom);
  state.y = v - (y - canvas.height / 2) / (height * state.zoom);
  moved();
}
function panBy(dx, dy) {  // CSS pixels
  const ratio = canvas.width / stage.clientWidth;
  state.x -= dx * ratio / (state.picture.width * state.zoom);
  state.y -= dy * ratio / (state.picture.height * state.zoom);
  moved();
}
function whole() { state.zoom = fitZoom(); state.x = state.y = 0.5; moved(); }
function setMode(mode) { state.mode = mode; changed(); }
function setSplit(value) { state.split = clamp(value, 0, 1); controls(); paint(); }
function exchange() { [state.a, state.b] = [state.b, state.a]; [slots.a, slots.b] = [slots.b, slots.a]; changed(); }
function togglePanel() {
  const wide = document.body.classList.toggle("wide");
  $("settings").setAttribute("aria-expanded", !wide);
}
function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else if (document.documentElement.requestFullscreen) document.documentElement.requestFullscreen().catch(() => toast("no full screen here"));
}

async function open(index) {
  const count = state.scene.pictures.length, mine = ++turn;
  const chosen = (index + count) % count;
  mark("loading");
  stage_now = null;
  $("pictures").value = chosen;
  try {
    const answer = await ask("picture", new URLSearchParams({ picture: chosen }));
    const found = await answer.json();
    if (mine !== turn) return;
    state.picture = { index: chosen, ...found };
    $("facts").textContent = found.facts;
    document.title = `${found.name} – implicitkit view`;
    state.zoom = fitZoom(); state.x = state.y = 0.5;
    changed();
  } catch (error) { say(error.message); mark("failed"); }
}

async function copy() {
  const text = await writeCode(seen(), turn);
  if (!text) return;
  $("code").textContent = text;
  try { await navigator.clipboard.writeText(text); }
  catch {  // not a secure context, or not allowed: select it, and let the browser copy
    document.body.classList.remove("wide");
    getSelection().selectAllChildren($("code"));
    if (!document.execCommand("copy")) return toast("selected: copy it with Ctrl-C");
  }
  toast("Python line copied");
}

async function save() {
  const { limits } = state.scene, width = Number($("width").value), height = Number($("height").value);
  const fits = [width, height].every((n) => Number.isInteger(n) && n >= 1 && n <= limits.side) && width * height <= limits.saved;
  if (!fits) return toast(`at most ${limits.side} a side and ${limits.saved / 1e6} million pixels`);
  $("save").disabled = true;
  toast("rendering…");
  try {
    const answer = await ask("save", words(state.a, seen().box, width, height));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = `${state.picture.name.replace(/\.[^.]*$/, "")}_${layerName(state.a).replace(/[^\w.-]+/g, "-")}_${width}x${height}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    toast("saved");
  } catch (error) { say(error.message); }
  $("save").disabled = false;
}

// ---- hands and keys -------------------------------------------------------------------------------------------

const pointers = new Map();
const inStage = (event) => { const r = stage.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
let lensHeld = false;

canvas.addEventListener("pointerdown", (event) => {
  const at = inStage(event), { x, y, radius } = lensPlace();
  lensHeld = state.mode === "lens" && event.pointerType !== "mouse" && pointers.size === 0 && Math.hypot(at[0] - x, at[1] - y) < radius;
  canvas.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, at);
  canvas.classList.add("held");
});
canvas.addEventListener("pointermove", (event) => {
  const at = inStage(event), before = pointers.get(event.pointerId);
  if (state.mode === "lens" && (event.pointerType === "mouse" || lensHeld)) { state.lens = at; controls(); paint(); }
  if (!before || lensHeld) return;
  const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place_]) => place_);
  pointers.set(event.pointerId, at);
  if (!other) return panBy(at[0] - before[0], at[1] - before[1]);
  const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
  const spread = (one) => Math.max(1, Math.hypot(one[0] - other[0], one[1] - other[1]));
  zoomBy(spread(at) / spread(before), middle);
  panBy((at[0] - before[0]) / 2, (at[1] - before[1]) / 2);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) { canvas.classList.remove("held"); lensHeld = false; }
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1;
  zoomBy(Math.exp(-clamp(event.deltaY * lines, -600, 600) * (event.ctrlKey ? 0.01 : 0.0016)), inStage(event));
}, { passive: false });
canvas.addEventListener("dblclick", (event) => zoomBy(2, inStage(event)));

$("split").addEventListener("pointerdown", (event) => { $("split").setPointerCapture(event.pointerId); event.preventDefault(); $("split").focus(); });
$("split").addEventListener("pointermove", (event) => {
  if ($("split").hasPointerCapture(event.pointerId)) setSplit(inStage(event)[0] / stage.clientWidth);
});
$("split").addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (step === undefined) return;
  event.preventDefault(); event.stopPropagation();
  setSplit(state.split + step);
});

const KEYS = {
  ArrowLeft: (s) => panBy(s * stage.clientWidth, 0), ArrowRight: (s) => panBy(-s * stage.clientWidth, 0),
  ArrowUp: (s) => panBy(0, s * stage.clientHeight), ArrowDown: (s) => panBy(0, -s * stage.clientHeight),
  "+": () => zoomBy(STEP), "=": () => zoomBy(STEP), "-": () => zoomBy(1 / STEP), "_": () => zoomBy(1 / STEP),
  0: whole, 1: () => zoomBy(1 / state.zoom), f: fullScreen, o: () => setMode("one"), s: () => setMode("slider"), l: () => setMode("lens"),
  x: exchange, m: () => { if (meaningLayer()) { state.meaning = state.meaning ? 0 : 0.6; changed(); } }, c: copy,
  "[": () => open(state.picture.index - 1), "]": () => open(state.picture.index + 1), p: togglePanel, "?": () => $("keys").showModal(),
};
document.addEventListener("keydown", (event) => {
  // A closed dialog keeps the focus until the next frame.
  const typing = event.target.closest("input, select, textarea, dialog[open]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.scene) return;
  const act = KEYS[event.key] || KEYS[event.key.toLowerCase()];
  if (!act) return;
  event.preventDefault();
  act(event.shiftKey ? 3 * ARROW : ARROW);
});

function listen() {
  const on = (id, name, act) => $(id).addEventListener(name, act);
  on("in", "click", () => zoomBy(STEP)); on("out", "click", () => zoomBy(1 / STEP)); on("fit", "click", whole);
  on("settings", "click", togglePanel); on("help", "click", () => $("keys").showModal());
  on("copy", "click", copy); on("save", "click", save);
  on("pictures", "change", () => open(Number($("pictures").value)));
  on("previous", "click", () => open(state.picture.index - 1)); on("next", "click", () => open(state.picture.index + 1));
  on("layer-a", "change", () => { state.a = $("layer-a").value; changed(); });
  on("layer-b", "change", () => { state.b = $("layer-b").value; changed(); });
  on("meaning", "input", () => { state.meaning = $("meaning").value / 100; changed(); });
  on("clean", "click", () => { state.damage = defaults(); changed(); });
  on("dice", "click", () => { state.damage.seed = Math.floor(Math.random() * 1e6); changed(); });
  for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
  for (const input of document.querySelectorAll("#damage input")) {
    input.addEventListener("input", () => {
      const { low, high } = state.scene.damage[input.name];
      state.damage[input.name] = clamp(Number(input.value) || 0, low, high);
      controls();
      clearTimeout(listen.timer);  // a slider on its way asks for nothing: each stop would be encoded
      listen.timer = setTimeout(changed, 120);
    });
  }
  on("width", "input", () => { const s = seen(); $("height").value = Math.max(1, Math.round($("width").value * s.height / s.width)); });
  on("height", "input", () => { const s = seen(); $("width").value = Math.max(1, Math.round($("height").value * s.width / s.height)); });
  new ResizeObserver(resized).observe(stage);
}

function resized() {
  const ratio = window.devicePixelRatio || 1, fits = Math.abs(state.zoom / fitZoom() - 1) < 1e-6;
  const width = Math.max(1, Math.round(stage.clientWidth * ratio)), height = Math.max(1, Math.round(stage.clientHeight * ratio));
  const least = Math.sqrt(Math.min(1, (state.scene ? state.scene.limits.view : Infinity) / (width * height)));
  const before = canvas.width;
  canvas.width = Math.floor(width * least); canvas.height = Math.floor(height * least);
  if (!state.scene || !state.picture.name) return;
  if (fits) return whole();
  state.zoom *= canvas.width / before > 2 || before / canvas.width > 2 ? canvas.width / before : 1;  // another screen
  controls();
  moved();
}

const defaults = () => Object.fromEntries(Object.entries(state.scene.damage).map(([name, bound]) => [name, bound.default]));

async function begin() {
  try { state.scene = await (await ask("scene")).json(); }
  catch (error) { say(`the server does not answer: ${error.message}`); return mark("failed"); }
  const { scene } = state;
  state.damage = defaults();
  if (scene.models.length > 1) state.b = "model-1";
  for (const [k, name] of scene.pictures.entries()) $("pictures").add(new Option(name, k));
  document.querySelector(".picker").classList.toggle("single", scene.pictures.length === 1);
  for (const id of ["layer-a", "layer-b"]) {
    for (const [k, model] of scene.models.entries()) $(id).add(new Option(model.name, `model-${k}`));
    for (const layer of scene.layers) $(id).add(new Option(layer === "original" ? "original, not degraded" : layer, layer));
  }
  for (const input of document.querySelectorAll("#damage input")) {
    const bound = scene.damage[input.name];
    Object.assign(input, { min: bound.low, max: bound.high, step: bound.step, value: bound.default });
  }
  if (matchMedia("(max-width: 720px)").matches) togglePanel();
  listen();
  resized();
  await open(0);
}

begin();
