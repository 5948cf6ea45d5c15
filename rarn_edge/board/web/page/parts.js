/** Where the page's large parts come from: blocks inside the page itself, or files beside it. */

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

/** The bytes of a part; a block holds gzip in base 85. */
export async function readPart(name) {
  const block = document.getElementById(`part:${name}`);
  if (block) return gunzip(fromBase85(block.textContent.trim()));
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the server answered ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

export async function readText(name) {
  return new TextDecoder().decode(await readPart(name));
}

/** ONNX Runtime Web, opened on its own WebAssembly file; threads need a page that is cross-origin isolated. */
export async function openRuntime(config) {
  const inPage = document.getElementById(`part:${config.runtime}`) !== null;
  const source = readPart(config.runtime);
  const wasm = readPart(config.wasm);
  const address = inPage
    ? URL.createObjectURL(new Blob([await source], { type: "text/javascript" }))
    : new URL(config.runtime, document.baseURI).href;
  const { default: ort } = await import(address);
  if (inPage) URL.revokeObjectURL(address);
  ort.env.wasm.wasmBinary = await wasm;
  ort.env.wasm.numThreads = !inPage && globalThis.crossOriginIsolated ? 2 : 1;
  ort.env.logLevel = "error";
  return ort;
}

/** Five characters are four bytes, the highest digit first; a last group that is cut is filled with the highest digit. */
export function fromBase85(text) {
  const values = new Uint8Array(128);
  for (let i = 0; i < ALPHABET.length; i++) values[ALPHABET.charCodeAt(i)] = i;
  const groups = Math.ceil(text.length / 5);
  const bytes = new Uint8Array(groups * 4);
  const view = new DataView(bytes.buffer);
  for (let group = 0; group < groups; group++) {
    let word = 0;
    for (let at = group * 5; at < group * 5 + 5; at++) {
      word = word * 85 + (at < text.length ? values[text.charCodeAt(at)] : 84);
    }
    view.setUint32(group * 4, word);
  }
  return bytes.subarray(0, groups * 4 - (groups * 5 - text.length));
}

async function gunzip(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
