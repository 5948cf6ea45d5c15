/** Does the model answer in this browser as it did where the page was made? Faces, answers and limits are in check.bin. */

import { compareLogits, median } from "./model.js";
import { pictureOf } from "./preprocess.js";

const TIMED = 100;
const ODD_DB = 25; // of images that are no faces, whose logits are large

/** check.bin: length of a JSON header [uint32, little endian], the header, then its arrays one after the other. */
export function readCheck(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  let at = 4 + view.getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, at)));
  const { images, height, width, depth, classes } = header;
  const pictures = Array.from({ length: images }, () => {
    const data = bytes.slice(at, (at += height * width * depth));
    return pictureOf({ data, height, width });
  });
  const rows = () =>
    Array.from({ length: images }, () => new Float32Array(bytes.slice(at, (at += 4 * classes)).buffer));
  const answers = rows();
  return { ...header, pictures, answers, reference: header.reference ? { ...header.reference, rows: rows() } : null };
}

/** Lines { text, passed }, the outcome of all, and the time of a face in milliseconds. */
export async function runCheck(model, check) {
  const found = await model.logits(check.pictures);
  const lines = [];
  const same = compareLogits(found.slice(0, check.faces), check.answers.slice(0, check.faces));
  lines.push({
    text: `the same file on the CPU where this page was made: ${same.alike} of ${check.faces} faces decided alike, logits at most ${figure(same.apart)} apart (allowed ${check.limit})`,
    passed: same.alike === check.faces && same.apart <= check.limit,
  });
  if (check.images > check.faces) {
    const odd = compareLogits(found.slice(check.faces), check.answers.slice(check.faces));
    lines.push({
      text: `${odd.faces} images that are no faces: signal to noise ${odd.noiseDb.toFixed(1)} dB (at least ${ODD_DB})`,
      passed: odd.noiseDb >= ODD_DB,
    });
  }
  if (check.reference) {
    const { name, min_agreement: agreement, min_snr_db: snr, max_abs_logit: apart, rows } = check.reference;
    const other = compareLogits(found.slice(0, check.faces), rows.slice(0, check.faces));
    const limits = [];
    if (agreement !== null) limits.push([`${percent(other.alike / check.faces)} of decisions (at least ${percent(agreement)})`, other.alike / check.faces >= agreement]);
    if (snr !== null) limits.push([`signal to noise ${other.noiseDb.toFixed(1)} dB (at least ${snr})`, other.noiseDb >= snr]);
    if (apart !== null) limits.push([`logits at most ${figure(other.apart)} apart (allowed ${apart})`, other.apart <= apart]);
    lines.push({ text: `the parity bundle's answers by ${name}: ${limits.map(([text]) => text).join(", ")}`, passed: limits.every(([, passed]) => passed) });
  }
  const times = [];
  for (let i = 0; i < TIMED; i++) {
    const start = performance.now();
    await model.logits([check.pictures[i % check.pictures.length]]);
    times.push(performance.now() - start);
  }
  return { lines, passed: lines.every((line) => line.passed), medianMs: median(times), bestMs: Math.min(...times), apart: same.apart };
}

function figure(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(2))) : "not a number";
}

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}
