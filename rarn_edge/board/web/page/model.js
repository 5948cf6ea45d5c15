/** A model with a contract, ready to answer; and the figures that its answers are judged by. */

import { readContract } from "./contract.js";
import { inputShape, networkInput } from "./preprocess.js";

const BATCH = 64;

export async function openModel(ort, bytes) {
  const contract = readContract(bytes);
  const { spec } = contract;
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  if (session.inputNames.join() !== spec.input_name || !session.outputNames.includes(spec.output_name)) {
    throw new Error(`the graph has ${session.inputNames} -> ${session.outputNames}, its contract says otherwise; export it again`);
  }
  /** Pictures as `fit` gives them -> one Float32Array of logits each (log-probabilities where the graph ends in a softmax). */
  async function logits(pictures, batch = BATCH) {
    const answers = [];
    for (let start = 0; start < pictures.length; start += batch) {
      const part = pictures.slice(start, start + batch);
      const input = new ort.Tensor(spec.input_dtype, networkInput(part, spec), inputShape(part.length, spec));
      const { [spec.output_name]: output } = await session.run({ [spec.input_name]: input }, [spec.output_name]);
      const classes = spec.classes.length;
      if (output.data.length !== part.length * classes) {
        throw new Error(`the graph answers ${output.data.length / part.length} values a face for ${classes} classes`);
      }
      for (let i = 0; i < part.length; i++) {
        const row = output.data.slice(i * classes, (i + 1) * classes);
        answers.push(spec.output === "probabilities" ? row.map((p) => Math.log(Math.max(p, 1.1754943508222875e-38))) : row);
      }
    }
    return answers;
  }
  return { contract, spec, logits };
}

/** Calibrated probabilities: softmax(logits / temperature). */
export function softmax(logits, temperature) {
  const scaled = Array.from(logits, (value) => value / temperature);
  const highest = Math.max(...scaled);
  const powers = scaled.map((value) => Math.exp(value - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((value) => value / sum);
}

export function bestOf(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/** How far apart two sets of logits are: equal decisions, largest difference, and signal to noise in dB. */
export function compareLogits(found, expected) {
  let alike = 0;
  let apart = 0;
  let signal = 0;
  let noise = 0;
  found.forEach((row, i) => {
    alike += bestOf(row) === bestOf(expected[i]);
    row.forEach((value, k) => {
      const difference = Math.abs(value - expected[i][k]);
      if (difference > apart || Number.isNaN(difference)) apart = difference; // once it is no number it stays so
      signal += expected[i][k] ** 2;
      noise += difference ** 2;
    });
  });
  return { faces: found.length, alike, apart, noiseDb: noise === 0 ? Infinity : 10 * Math.log10(signal / noise) };
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : NaN;
}
