/** The page itself: a picture or the camera in, a label with its calibrated confidence out. */

import { openRuntime, readPart, readText } from "./parts.js";
import { fit, inColour, pictureOf, toPicture } from "./preprocess.js";
import { cutFace, openDetector } from "./detector.js";
import { bestOf, median, openModel, softmax } from "./model.js";
import { percent, readCheck, runCheck } from "./check.js";
import { makeGuide } from "./guide.js";

const CROP_SIDE = 256; // a picture up to this side is taken for a face crop
const SMALLEST_SHOWN = 320; // CSS pixels across; smaller pictures are enlarged
const MAX_PIXELS = 50e6;
const SMOOTHING_MS = 500; // a face's probabilities are averaged over so long before the camera
const SPOKEN_EVERY_MS = 1500;

const config = JSON.parse(document.getElementById("config").textContent);
const element = (id) => document.getElementById(id);
const canvas = element("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });
const stage = element("stage");
const picture = { width: 0, height: 0, pixels: null, planes: null }; // what is looked at now
const guide = makeGuide(element("guide"), stage, picture, lookSoon);
const camera = { stream: null, asked: 0, video: document.createElement("video") };
const networkTimes = [];
const shown = { faces: [], chosen: 0, spokenAt: 0, spoken: "", asked: 0 };
let model = null;
let detector = null; // a promise: pictures wait for it, opening the model does not
let ready = null;

/** A face is a box in the picture's pixels and its roll in radians; after `look` it has `logits` and `probabilities` too. */
function guided() {
  return { box: guide.box(), roll: 0 };
}

async function open() {
  const missing = !("DecompressionStream" in globalThis) || !hasSimd();
  if (missing) throw new Error("this browser is too old: it has no WebAssembly SIMD or no DecompressionStream");
  const bytes = readPart("model.onnx");
  const ort = await openRuntime(config);
  model = await openModel(ort, await bytes);
  const { height_px: height, width_px: width } = model.spec.preprocess;
  detector = readPart("blazeface.onnx").then((content) => openDetector(ort, content)).then(async (detect) => {
    await detect(new Uint8ClampedArray(4 * 128 * 128), 128, 128); // the first run is slow
    return detect;
  });
  await model.logits([fit([{ data: new Uint8Array(height * width), height, width }], model.spec.preprocess)]); // the first run is slow
  showModel(ort, (await bytes).length);
  showBars(model.spec.classes.map(() => 0));
  element("camera").disabled = element("by-hand").disabled = element("check").disabled = false;
  element("status").textContent = "Ready.";
}

/** A module of one function that uses a 128-bit value. */
function hasSimd() {
  const code = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
  return "WebAssembly" in globalThis && WebAssembly.validate(new Uint8Array(code));
}

// From a picture to faces -------------------------------------------------------------------------------------------

async function takeFile(file) {
  fail("");
  if (!file) return;
  await ready;
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  } catch {
    return fail(`${file.name || "the picture"}: cannot be decoded as an image by this browser`);
  }
  if (bitmap.width * bitmap.height > MAX_PIXELS) {
    return fail(`${file.name}: ${bitmap.width} x ${bitmap.height} pixels; at most ${MAX_PIXELS / 1e6} million`);
  }
  const start = performance.now();
  takePixels(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  const small = Math.max(picture.width, picture.height) <= CROP_SIDE;
  guide.place(small ? { x: 0, y: 0, width: picture.width, height: picture.height } : middle());
  if (small) await lookInFrame(true, "A small picture: taken as one face.");
  else await find("No face was found: put the frame around one, forehead to chin.");
  element("whole").textContent = milliseconds(performance.now() - start);
}

function takePixels(source, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  context.clearRect(0, 0, width, height); // else what is transparent shows the picture before
  context.drawImage(source, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  Object.assign(picture, { width, height, pixels: pixels.data, planes: toPicture(pixels.data, height, width, model.spec.preprocess) });
  canvas.hidden = false;
  stage.style.setProperty("--shown-width", `${Math.max(width, SMALLEST_SHOWN)}px`);
  stage.style.setProperty("--ratio", width / height);
  stage.classList.add("filled");
}

function middle() {
  const side = 0.7 * Math.min(picture.width, picture.height);
  return { x: (picture.width - side) / 2, y: (picture.height - side) / 2, width: side, height: side };
}

/** Look at the faces that are found; without one, or by hand, at what is in the frame. */
async function find(without) {
  if (byHand()) return lookInFrame(false, "Put the frame around the face: forehead to chin.");
  const faces = await (await detector)(picture.pixels, picture.width, picture.height, camera.stream !== null);
  if (!faces.length) return lookInFrame(false, without);
  element("guide").hidden = true;
  element("note").textContent = faces.length === 1 ? "" : `${faces.length} faces; choose one to see its answer.`;
  await look(faces);
}

async function lookInFrame(whole, text) {
  element("guide").hidden = false;
  element("note").textContent = text;
  await look([guided()], whole);
}

function byHand() {
  return element("by-hand").getAttribute("aria-pressed") === "true";
}

/** Once a frame at most, however fast the guide is dragged; the camera looks by itself. */
function lookSoon() {
  if (camera.stream || shown.asked) return;
  shown.asked = requestAnimationFrame(() => {
    shown.asked = 0;
    guarded(look([guided()]));
  });
}

/** Classify faces of the current picture and show them; `whole` takes the picture as one face, whatever its shape. */
async function look(faces, whole = false) {
  const { spec } = model;
  const crops = faces.map((face) => (whole ? fit(picture.planes, spec.preprocess) : cutFace(picture.planes, face, spec.preprocess)));
  const between = performance.now();
  const logits = await model.logits(crops);
  const end = performance.now();
  if (faces.length) networkTimes.push((end - between) / faces.length);
  if (networkTimes.length > 30) networkTimes.shift();
  const found = faces.map((face, i) => ({ ...face, logits: logits[i], probabilities: softmax(logits[i], spec.temperature) }));
  shown.faces = camera.stream ? smoothed(found, end) : found.map((face) => ({ ...face, at: end }));
  shown.chosen = Math.min(shown.chosen, Math.max(found.length - 1, 0));
  element("latency").textContent = milliseconds(median(networkTimes));
  showFaces();
  showAnswer();
}

/** Exponential averages of each face's probabilities; a face is the one of the last frame that its box overlaps most. */
function smoothed(found, now) {
  return found.map((face) => {
    const before = shown.faces.map((old) => [overlap(old.box, face.box), old]).sort((a, b) => b[0] - a[0])[0];
    if (!before || before[0] < 0.3) return { ...face, at: now };
    const share = 1 - Math.exp(-(now - before[1].at) / SMOOTHING_MS);
    const mixed = face.probabilities.map((p, k) => share * p + (1 - share) * before[1].probabilities[k]);
    return { ...face, at: now, probabilities: mixed };
  });
}

function overlap(a, b) {
  const across = Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x);
  const down = Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y);
  const common = Math.max(across, 0) * Math.max(down, 0);
  return common / (a.width * a.height + b.width * b.height - common);
}

// The camera --------------------------------------------------------------------------------------------------------

async function startCamera() {
  fail("");
  const asked = ++camera.asked; // a picture that is chosen meanwhile, or a second press, withdraws the request
  let stream = null;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 640 } } });
  } catch (error) {
    const reasons = { NotAllowedError: "it is not allowed; allow it in the browser's address bar", NotFoundError: "there is none" };
    return fail(`The camera cannot be used: ${reasons[error.name] ?? error.message}. A picture works without it.`);
  }
  if (asked !== camera.asked) return stream.getTracks().forEach((track) => track.stop());
  camera.stream = stream;
  camera.video.srcObject = stream;
  camera.video.muted = camera.video.playsInline = true;
  try {
    await camera.video.play();
  } catch (error) {
    if (camera.stream === stream) stopCamera();
    return fail(`The camera's picture cannot be shown: ${error.message}.`);
  }
  if (camera.stream !== stream) return;
  Object.assign(shown, { faces: [], chosen: 0 });
  stage.classList.add("mirrored");
  setPressed(true);
  await watch();
}

function stopCamera() {
  camera.asked += 1;
  camera.stream?.getTracks().forEach((track) => track.stop());
  camera.stream = null;
  stage.classList.remove("mirrored");
  setPressed(false);
  element("rate").textContent = "-";
}

function setPressed(on) {
  element("camera").setAttribute("aria-pressed", on);
  element("camera").textContent = on ? "Stop the camera" : "Use the camera";
}

async function watch() {
  const { stream, video } = camera;
  const ends = [];
  let placed = false;
  while (camera.stream === stream) {
    await new Promise((next) => (video.requestVideoFrameCallback ?? requestAnimationFrame).call(video.requestVideoFrameCallback ? video : globalThis, next));
    if (camera.stream !== stream) return;
    const start = performance.now();
    takePixels(video, video.videoWidth, video.videoHeight);
    if (!placed) guide.place(middle());
    placed = true;
    await find("No face was found: keep yours in the frame, forehead to chin.");
    ends.push(performance.now());
    element("whole").textContent = milliseconds(ends.at(-1) - start);
    while (ends.length > 1 && ends.at(-1) - ends[0] > 2000) ends.shift();
    if (ends.length > 1) element("rate").textContent = ((1000 * (ends.length - 1)) / (ends.at(-1) - ends[0])).toFixed(1);
  }
}

/** A button on each face that was found: the chosen one's answer is shown. */
function showFaces() {
  const box = element("faces");
  const found = element("guide").hidden ? shown.faces : [];
  while (box.childElementCount > found.length) box.lastElementChild.remove();
  while (box.childElementCount < found.length) {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "face" });
    const number = box.childElementCount;
    button.addEventListener("click", () => {
      shown.chosen = number;
      showFaces();
      showAnswer();
    });
    button.append(document.createElement("span"));
    box.append(button);
  }
  found.forEach((face, i) => {
    const button = box.children[i];
    button.setAttribute("aria-pressed", i === shown.chosen);
    button.firstChild.textContent = answerOf(face).text;
    button.ariaLabel = `Face ${i + 1} of ${found.length}: ${answerOf(face).text}`;
    const { x, y, width, height } = face.box;
    Object.assign(button.style, {
      left: `${(100 * x) / picture.width}%`, top: `${(100 * y) / picture.height}%`,
      width: `${(100 * width) / picture.width}%`, height: `${(100 * height) / picture.height}%`,
      transform: `rotate(${face.roll}rad)`,
    });
  });
}

// What is shown -----------------------------------------------------------------------------------------------------

function answerOf({ probabilities }) {
  const best = bestOf(probabilities);
  const sure = 100 * probabilities[best] >= element("threshold").valueAsNumber;
  const name = model.spec.classes[best];
  return { best, sure, name, text: sure ? `${name} ${percent(probabilities[best])}` : "unsure" };
}

function showAnswer() {
  const face = shown.faces[shown.chosen];
  if (!face) return;
  const { best, sure, name } = answerOf(face);
  const head = Object.assign(document.createElement("strong"), { textContent: sure ? name : "unsure" });
  element("label").replaceChildren(head, sure ? ` ${percent(face.probabilities[best])}` : ` perhaps ${name}, ${percent(face.probabilities[best])}`);
  element("label").classList.toggle("unsure", !sure);
  showBars(face.probabilities, best);
  speak(sure ? name : "unsure");
}

/** For screen readers: at once for a picture, before the camera when the label changes and not too often. */
function speak(key) {
  const now = performance.now();
  if (camera.stream && (key === shown.spoken || now - shown.spokenAt < SPOKEN_EVERY_MS)) return;
  Object.assign(shown, { spoken: key, spokenAt: now });
  element("spoken").textContent = element("label").textContent;
}

function showBars(probabilities, best = -1) {
  const list = element("bars");
  if (list.childElementCount !== probabilities.length) {
    list.replaceChildren(...model.spec.classes.map((name) => {
      const row = document.createElement("li");
      row.innerHTML = '<span class="name"></span><span class="track"><span class="fill"></span></span><span class="value"></span>';
      row.querySelector(".name").textContent = name;
      return row;
    }));
  }
  probabilities.forEach((p, i) => {
    const row = list.children[i];
    row.classList.toggle("best", i === best);
    row.querySelector(".fill").style.width = percent(p).replace(" ", "");
    row.querySelector(".value").textContent = best < 0 ? "" : percent(p);
  });
}

function showModel(ort, bytes) {
  const { contract, spec } = model;
  const size = spec.preprocess;
  const facts = [
    ["model", `${spec.name}, ${contract.precision}${contract.target ? ` for ${contract.target}` : ""}, ${bytes.toLocaleString("en")} bytes`],
    ["input", `${size.width_px} x ${size.height_px} pixels, ${inColour(size) ? "colour" : "gray"}, ${spec.input_dtype}`],
    ["temperature of the probabilities", String(spec.temperature)],
    ["runtime", `ONNX Runtime Web ${ort.env.versions.web}, WebAssembly, ${ort.env.wasm.numThreads === 1 ? "1 thread" : `${ort.env.wasm.numThreads} threads`}`],
    ...config.facts,
  ];
  element("facts").replaceChildren(...facts.map(([name, value]) => {
    const row = document.createElement("div");
    row.append(Object.assign(document.createElement("dt"), { textContent: name }), Object.assign(document.createElement("dd"), { textContent: value }));
    return row;
  }));
}

async function showCheck() {
  const button = element("check");
  button.disabled = true;
  stopCamera();
  const outcome = element("outcome");
  outcome.textContent = "Checking.";
  try {
    const { lines, passed, medianMs } = await runCheck(model, readCheck(await readPart("check.bin")));
    const list = document.createElement("ul");
    list.append(...lines.map((line) => Object.assign(document.createElement("li"), { textContent: `${line.passed ? "Pass" : "Fail"}: ${line.text}` })));
    list.append(Object.assign(document.createElement("li"), { textContent: `A face takes ${milliseconds(medianMs)} here, ${Math.round(1000 / medianMs)} a second (median of 100, one at a time).` }));
    const verdict = passed ? "This device answers as it should." : "This device does not answer as it should: do not rely on it.";
    const head = Object.assign(document.createElement("p"), { textContent: verdict, className: `outcome ${passed ? "passed" : "failed"}` });
    outcome.replaceChildren(head, list);
  } catch (error) {
    outcome.replaceChildren(Object.assign(document.createElement("p"), { textContent: `The check could not run: ${error.message}`, className: "outcome failed" }));
  }
  button.disabled = false;
}

async function showLicences() {
  const box = element("licences");
  if (box.querySelector("pre")) return;
  for (const name of config.texts) {
    const head = Object.assign(document.createElement("h3"), { textContent: name });
    const text = Object.assign(document.createElement("pre"), { textContent: await readText(name), tabIndex: 0 });
    box.append(head, text);
  }
}

function fail(text) {
  element("error").textContent = text;
}

function milliseconds(ms) {
  return Number.isFinite(ms) ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : "-";
}

// Events ------------------------------------------------------------------------------------------------------------

const guarded = (task) => task.catch((error) => fail(error.message));
element("file").addEventListener("change", (event) => {
  guarded(takeFile(event.target.files[0]));
  event.target.value = "";
});
element("camera").addEventListener("click", () => (camera.stream ? stopCamera() : guarded(startCamera())));
element("check").addEventListener("click", () => guarded(showCheck()));
element("by-hand").addEventListener("click", () => {
  element("by-hand").setAttribute("aria-pressed", !byHand());
  if (picture.planes && !camera.stream) guarded(find("No face was found: put the frame around one, forehead to chin."));
});
element("licences").addEventListener("toggle", () => guarded(showLicences()));
element("threshold").addEventListener("input", (event) => {
  element("threshold-value").textContent = `${event.target.value} %`;
  showFaces();
  showAnswer();
});
document.addEventListener("paste", (event) => guarded(takeFile([...event.clipboardData.files].find((file) => file.type.startsWith("image/")))));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", () => stage.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  guarded(takeFile(event.dataTransfer.files[0]));
});
if ("serviceWorker" in navigator && config.worker) {
  navigator.serviceWorker.register(config.worker).catch(() => (element("note").textContent = "This server does not allow offline use."));
}
ready = open();
ready.catch((error) => {
  element("status").textContent = "The model could not be opened.";
  fail(error.message);
});

/** For scripts: `await rarnEdge.ready`, then `rarnEdge.logits(...)` of pictures { data, height, width } of any size, with one byte
 *  a pixel or three (red, green, blue). */
globalThis.rarnEdge = {
  ready,
  shown,
  logits: (pictures) => model.logits(pictures.map((each) => fit(pictureOf(each), model.spec.preprocess))),
};
