/** Where the faces are: BlazeFace as rarn_edge/device/blazeface.py runs it, and the crop turned upright by the eyes. */

import { clamp, cropUpright, cutBox, cutOut, fit, plane, resize, roundEven } from "./preprocess.js";

const INPUT_SIDE = 128;
const PICTURE_SIDE = 640; // larger pictures are reduced to this side for the search
const TILE_SIDE = 320; // no smaller tiles
const SAME_FACE = 0.3; // intersection over union from which two answers are of one face
const MIN_SCORE = 0.6;
const [TOWARDS_EYES, DOWN, SIDE] = [0.72, 0.07, 1.25]; // FER-2013's crop in the detector's box

export async function openDetector(ort, bytes) {
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });

  /** Canvas pixels (RGBA) -> faces { box, score, eyes } in them, the surest first; `quick` searches the picture as a whole only. */
  return async function detect(rgba, width, height, quick = false) {
    const scale = Math.max(1, Math.max(width, height) / PICTURE_SIDE);
    const planes = [0, 1, 2].map((channel) => reduced(plane(rgba, height, width, channel), scale));
    const { width: across, height: down } = planes[0];
    const tiles = tilesOf(across, down).slice(0, quick ? 1 : undefined);
    const input = new Float32Array(tiles.length * 3 * INPUT_SIDE ** 2);
    tiles.forEach((tile, i) => planes.forEach((each, k) => fill(input, (3 * i + k) * INPUT_SIDE ** 2, each, tile)));
    const { scores, boxes } = await session.run({ input: new ort.Tensor("float32", input, [tiles.length, 3, INPUT_SIDE, INPUT_SIDE]) });
    const anchors = scores.dims[1];
    const found = [];
    tiles.forEach((tile, i) => {
      const sure = [];
      for (let k = i * anchors; k < (i + 1) * anchors; k++) {
        if (scores.data[k] >= MIN_SCORE) sure.push({ score: scores.data[k], points: Array.from(boxes.data.subarray(16 * k, 16 * k + 16)) });
      }
      for (const { score, points } of merged(sure)) {
        if (i > 0 && !inside(points, tile, across, down)) continue;
        const moved = points.map((value, k) => value * tile.side + (k === 2 || k === 3 ? 0 : k % 2 ? tile.top : tile.left));
        found.push({ score, points: moved.map((value) => value * scale) });
      }
    });
    return distinct(found).map(asFace);
  };
}

function reduced(picture, scale) {
  return scale === 1 ? picture : resize(picture, Math.max(1, roundEven(picture.height / scale)), Math.max(1, roundEven(picture.width / scale)));
}

/** Squares { left, top, side }: one around the whole picture, then half as large ones that overlap by half, and so on. */
export function tilesOf(width, height) {
  const whole = Math.max(width, height);
  const tiles = [{ left: Math.floor((width - whole) / 2), top: Math.floor((height - whole) / 2), side: whole }];
  for (let side = whole >> 1; side >= TILE_SIDE; side >>= 1) {
    for (const top of startsOf(height, side)) for (const left of startsOf(width, side)) tiles.push({ left, top, side });
  }
  return tiles;
}

function startsOf(length, side) {
  if (length <= side) return [Math.floor((length - side) / 2)];
  const count = 1 + Math.ceil((2 * (length - side)) / side);
  return Array.from({ length: count }, (_, index) => roundEven((index * (length - side)) / (count - 1)));
}

/** One channel of a tile, -1..1, black beyond the picture's edge. */
function fill(input, at, picture, { left, top, side }) {
  const [x0, y0] = [Math.max(left, 0), Math.max(top, 0)];
  const width = Math.min(left + side, picture.width) - x0;
  const height = Math.min(top + side, picture.height) - y0;
  const scale = INPUT_SIDE / side;
  const small = resize(cutOut(picture, y0, x0, height, width), Math.max(1, roundEven(height * scale)), Math.max(1, roundEven(width * scale)));
  const [right, down] = [roundEven(Math.max(-left, 0) * scale), roundEven(Math.max(-top, 0) * scale)];
  input.fill(-1, at, at + INPUT_SIDE ** 2);
  for (let y = 0; y < Math.min(small.height, INPUT_SIDE - down); y++) {
    for (let x = 0; x < Math.min(small.width, INPUT_SIDE - right); x++) {
      input[at + (y + down) * INPUT_SIDE + x + right] = Math.fround(small.data[y * small.width + x] / 127.5) - 1;
    }
  }
}

/** Whether a box lies in its tile, or leaves it only where the picture ends: else another tile has the face whole. */
function inside([x, y, width, height], { left, top, side }, across, down) {
  return (
    (x - width / 2 >= 0 || left <= 0) && (y - height / 2 >= 0 || top <= 0) &&
    (x + width / 2 <= 1 || left + side >= across) && (y + height / 2 <= 1 || top + side >= down)
  );
}

/** Answers of one tile: those that overlap the surest are averaged by score, and so on. */
function merged(sure) {
  const found = [];
  let rest = [...sure].sort((a, b) => b.score - a.score);
  while (rest.length) {
    const [first] = rest;
    const same = rest.filter((other) => other === first || overlap16(first.points, other.points) > SAME_FACE);
    const sum = same.reduce((total, { score }) => total + score, 0);
    const points = first.points.map((_, k) => same.reduce((total, each) => total + each.score * each.points[k], 0) / sum);
    found.push({ score: first.score, points });
    rest = rest.filter((other) => !same.includes(other));
  }
  return found;
}

/** Of answers for one face from several tiles, the surest. */
function distinct(found) {
  const kept = [];
  for (const face of [...found].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => overlap16(face.points, other.points) <= SAME_FACE)) kept.push(face);
  }
  return kept;
}

function overlap16([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const across = Math.min(ax + aw / 2, bx + bw / 2) - Math.max(ax - aw / 2, bx - bw / 2);
  const down = Math.min(ay + ah / 2, by + bh / 2) - Math.max(ay - ah / 2, by - bh / 2);
  const common = Math.max(across, 0) * Math.max(down, 0);
  return common / (aw * ah + bw * bh - common);
}

/** The face with the square that FER-2013's crops are, and its eyes, the one further left first. */
function asFace({ score, points }) {
  const size = (points[2] + points[3]) / 2;
  const eyes = [points.slice(4, 6), points.slice(6, 8)].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const [along, rise] = [eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1]];
  const length = Math.max(Math.hypot(along, rise), 1e-9);
  const middle = [(eyes[0][0] + eyes[1][0]) / 2, (eyes[0][1] + eyes[1][1]) / 2];
  const x = points[0] + TOWARDS_EYES * (middle[0] - points[0]) - (DOWN * size * rise) / length;
  const y = points[1] + TOWARDS_EYES * (middle[1] - points[1]) + (DOWN * size * along) / length;
  const side = SIDE * size;
  return { score, eyes, roll: Math.atan2(rise, along), box: { x: x - side / 2, y: y - side / 2, width: side, height: side } };
}

/** The face as the network is shown it; one that is not turned is resized once. */
export function cutFace(picture, face, preprocess) {
  const side = roundEven(Math.max(preprocess.height_px, preprocess.width_px) / (preprocess.crop || 1));
  const cut = (each) => (face.roll ? cropFace(each, face, side) : cutBox(each, face.box));
  return fit(picture.map(cut), preprocess);
}

/** The face upright, side x side, of a plane: whole pixels where it is not turned, else sampled between pixels. */
export function cropFace(gray, { box, roll = 0 }, side) {
  if (roll === 0) return cropUpright(gray, box, side);
  const [cos, sin] = [(Math.cos(roll) * box.width) / side, (Math.sin(roll) * box.width) / side];
  const [centreX, centreY] = [box.x + box.width / 2, box.y + box.height / 2];
  const reach = ((Math.abs(cos) + Math.abs(sin)) * side) / 2;
  const left = clampTo(Math.floor(centreX - reach) - 1, gray.width);
  const top = clampTo(Math.floor(centreY - reach) - 1, gray.height);
  const right = clampTo(Math.ceil(centreX + reach) + 1, gray.width);
  const bottom = clampTo(Math.ceil(centreY + reach) + 1, gray.height);
  const part = cutOut(gray, top, left, bottom - top, right - left);
  const shrink = Math.max(1, Math.floor(box.width / side)); // single pixels are sampled: a large face is averaged first
  const small = resize(part, Math.max(1, roundEven(part.height / shrink)), Math.max(1, roundEven(part.width / shrink)));
  const [scaleX, scaleY] = [small.width / part.width, small.height / part.height];
  const data = new Uint8Array(side * side);
  for (let v = 0; v < side; v++) {
    for (let u = 0; u < side; u++) {
      const [across, down] = [u + 0.5 - side / 2, v + 0.5 - side / 2];
      const x = (centreX + cos * across - sin * down - left) * scaleX - 0.5;
      const y = (centreY + sin * across + cos * down - top) * scaleY - 0.5;
      data[v * side + u] = roundEven(between(small, x, y));
    }
  }
  return { data, height: side, width: side };
}

function clampTo(value, length) {
  return Math.min(Math.max(value, 0), length);
}

function between({ data, height, width }, x, y) {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const [partX, partY] = [x - left, y - top];
  const at = (row, column) => data[clamp(row, height) * width + clamp(column, width)];
  const upper = at(top, left) * (1 - partX) + at(top, left + 1) * partX;
  const lower = at(top + 1, left) * (1 - partX) + at(top + 1, left + 1) * partX;
  return upper * (1 - partY) + lower * partY;
}
