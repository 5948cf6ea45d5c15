// node browser.mjs PLAN.json: opens each page of the plan in headless Chromium, does what its scenario says, and writes what
// was seen, one entry a page, to the plan's `out`. tests/web/test_page.py makes the plan and judges.
import { createRequire } from "node:module";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const plan = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const { chromium } = createRequire(path.join(plan.modules, "x.js"))("playwright-core");
const QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"]; // prettier-ignore
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".wasm": "application/wasm" };

function serve(folder, isolated) {
  const server = http.createServer((request, response) => {
    const name = request.url === "/" ? "index.html" : decodeURIComponent(request.url.slice(1).split("?")[0]);
    const file = path.join(folder, name);
    if (!fs.existsSync(file)) return response.writeHead(404).end();
    const headers = { "Content-Type": TYPES[path.extname(file)] ?? "application/octet-stream" };
    if (isolated) Object.assign(headers, { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" });
    response.writeHead(200, headers).end(fs.readFileSync(file));
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
}

/** Logits of pictures given as { data: base64, height, width }. */
function logitsOf(page, pictures) {
  return page.evaluate(async (list) => {
    const decoded = list.map(({ data, height, width }) => ({ data: Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), height, width }));
    return (await rarnEdge.logits(decoded)).map((row) => Array.from(row));
  }, pictures);
}

async function labelOf(page, file) {
  await page.evaluate(() => document.getElementById("label").replaceChildren());
  await page.setInputFiles("#file", file);
  await page.waitForFunction(() => document.getElementById("label").textContent || document.getElementById("error").textContent);
  return page.evaluate(() => ({
    label: document.getElementById("label").textContent,
    error: document.getElementById("error").textContent,
    note: document.getElementById("note").textContent,
    framed: !document.getElementById("guide").hidden,
    buttons: [...document.querySelectorAll(".face")].map((face) => face.ariaLabel),
    bars: [...document.querySelectorAll("#bars li")].map((row) => row.innerText.replace(/\s+/g, " ").trim()),
    logits: rarnEdge.shown.faces.map((face) => Array.from(face.logits)),
    boxes: rarnEdge.shown.faces.map((face) => face.box),
    rolls: rarnEdge.shown.faces.map((face) => face.roll),
  }));
}

async function checkOf(page) {
  await page.click("#check");
  await page.waitForSelector(".outcome.passed, .outcome.failed");
  return page.innerText("#outcome");
}

const scenarios = {
  async logits(page, { pictures, repeats = 0 }) {
    const seen = { logits: await logitsOf(page, pictures), times: [] };
    if (repeats) {
      seen.times = await page.evaluate(async ([{ data, height, width }, count]) => {
        const face = { data: Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), height, width };
        const times = [];
        for (let i = 0; i < count; i++) {
          const start = performance.now();
          await rarnEdge.logits([face]);
          times.push(performance.now() - start);
        }
        return times;
      }, [pictures[0], repeats]);
    }
    return seen;
  },

  /** A model of any contract: pictures by script, small files as a person drops them, the device check. */
  async dropped(page, { pictures, files }) {
    const seen = { logits: await logitsOf(page, pictures), labels: {} };
    for (const [name, file] of Object.entries(files)) seen.labels[name] = await labelOf(page, file);
    return { ...seen, facts: await page.innerText("#facts"), check: await checkOf(page) };
  },

  async check(page) {
    return { check: await checkOf(page) };
  },

  /** Everything a person does with pictures. */
  async pictures(page, { pictures, files }) {
    const seen = { logits: await logitsOf(page, pictures), labels: {}, widths: {} };
    for (const [name, file] of Object.entries(files)) seen.labels[name] = await labelOf(page, file);
    await labelOf(page, files.large);
    seen.stops = [];
    for (let i = 0; i < 6; i++) {
      await page.keyboard.press("Tab");
      seen.stops.push(await page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
    }
    await page.click("#by-hand");
    const box = () => page.evaluate(() => rarnEdge.shown.faces[0].box);
    const settled = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 100)))));
    await settled();
    seen.placed = await box();
    await page.focus("#guide");
    for (const key of ["ArrowRight", "ArrowDown", "+"]) await page.keyboard.press(key);
    await settled();
    seen.moved = await box();
    const frame = await page.locator("#guide").boundingBox();
    await page.mouse.move(frame.x + frame.width / 2, frame.y + frame.height / 2);
    await page.mouse.down();
    await page.mouse.move(frame.x + frame.width / 2 - 20, frame.y + frame.height / 2 - 10, { steps: 4 });
    await page.mouse.up();
    await settled();
    seen.dragged = await box();
    await page.click("#by-hand");
    await labelOf(page, files.two);
    const first = await page.textContent("#label");
    await page.locator(".face").nth(1).click();
    seen.chosen = [first, await page.textContent("#label"), await page.locator(".face").nth(1).getAttribute("aria-label")];
    await page.locator("#threshold").fill("100");
    seen.unsure = await page.textContent("#label");
    seen.check = await checkOf(page);
    await page.click("#licences summary");
    await page.waitForFunction(() => document.querySelectorAll("#licences pre").length === 6);
    seen.licences = await page.evaluate(() => [...document.querySelectorAll("#licences h3, #licences pre")].map((part) => part.textContent.slice(0, 400)));
    for (const width of [390, 768, 1440]) {
      await page.setViewportSize({ width, height: 900 });
      seen.widths[width] = await page.evaluate(() => document.documentElement.scrollWidth);
    }
    seen.unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, [tabindex]")]
      .filter((part) => !(part.ariaLabel || part.textContent.trim() || part.labels?.length || part.tagName === "PRE")).length);
    return seen;
  },

  /** Pressed twice while the browser still asks. */
  async camera(page) {
    await page.evaluate(() => {
      const devices = navigator.mediaDevices;
      const ask = devices.getUserMedia.bind(devices);
      globalThis.streams = [];
      devices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        streams.push(stream);
        return stream;
      };
      for (let i = 0; i < 2; i++) document.getElementById("camera").click();
    });
    await page.waitForFunction(() => parseFloat(document.getElementById("rate").textContent) > 0);
    const seen = await page.evaluate(() => ({
      rate: document.getElementById("rate").textContent,
      latency: document.getElementById("latency").textContent,
      best: rarnEdge.shown.faces[0].probabilities,
      pressed: document.getElementById("camera").ariaPressed,
      spoken: document.getElementById("spoken").textContent,
    }));
    await page.click("#camera");
    seen.streams = await page.evaluate(() => streams.map((stream) => stream.active));
    seen.stopped = await page.evaluate(() => [document.getElementById("camera").ariaPressed, document.getElementById("rate").textContent]);
    return seen;
  },

  async refusedCamera(page) {
    await page.click("#camera");
    await page.waitForFunction(() => document.getElementById("error").textContent);
    return { error: await page.textContent("#error") };
  },

  async site(page, { pictures }, server) {
    const facts = () => page.evaluate(() => ({ isolated: crossOriginIsolated, facts: document.getElementById("facts").innerText }));
    const seen = { ...(await facts()), logits: await logitsOf(page, pictures), check: await checkOf(page) };
    await page.evaluate(() => navigator.serviceWorker.ready);
    server.close();
    server.closeAllConnections();
    await page.reload();
    await page.evaluate(() => rarnEdge.ready);
    seen.offline = { logits: await logitsOf(page, pictures), check: await checkOf(page) };
    return seen;
  },

  /** The page itself says what is wrong. */
  async broken(page) {
    await page.waitForFunction(() => document.getElementById("error").textContent);
    return { error: await page.textContent("#error"), disabled: await page.isDisabled("#camera") };
  },
};

const results = [];
for (const entry of plan.pages) {
  const camera = entry.video
    ? ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", `--use-file-for-fake-video-capture=${entry.video}`]
    : entry.scenario === "refusedCamera" ? ["--use-fake-device-for-media-stream", "--deny-permission-prompts"] : [];
  const browser = await chromium.launch({ executablePath: plan.chromium, args: [...QUIET, ...camera] });
  const result = { requests: [], messages: [] };
  const server = entry.folder ? await serve(entry.folder, entry.isolated) : null;
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: entry.dark ? "dark" : "light" });
    const page = await context.newPage();
    page.setDefaultTimeout(120_000);
    page.on("request", (request) => result.requests.push(request.url().slice(0, 200)));
    page.on("console", (message) => result.messages.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => result.messages.push(`error: ${error.message}`));
    if (entry.script) await page.addInitScript(entry.script);
    const start = performance.now();
    await page.goto(server ? `http://127.0.0.1:${server.address().port}/` : `file://${entry.page}`);
    if (entry.scenario !== "broken") await page.evaluate(() => rarnEdge.ready);
    result.readyMs = performance.now() - start;
    Object.assign(result, await scenarios[entry.scenario](page, entry, server));
  } catch (error) {
    result.failed = String(error.stack);
  }
  await browser.close();
  server?.close();
  results.push(result);
}
fs.writeFileSync(plan.out, JSON.stringify(results));
