/** Pixels to network input, equal to rarn_edge/contract/preprocess.py: OpenCV's own integers and float32 steps, no canvas resize.
 *  A plane is { data: Uint8Array [height * width], height, width }; a picture is a list of planes: gray, or red, green and blue. */

/** Canvas pixels (RGBA) as what a network with this preprocessing looks at. */
export function toPicture(rgba, height, width, preprocess) {
  if (!inColour(preprocess)) return [toGray(rgba, height, width)];
  return [0, 1, 2].map((channel) => plane(rgba, height, width, channel));
}

/** One channel of pixels that have `depth` bytes each. */
export function plane(pixels, height, width, channel, depth = 4) {
  const data = new Uint8Array(height * width);
  for (let i = 0; i < data.length; i++) data[i] = pixels[depth * i + channel];
  return { data, height, width };
}

/** { data, height, width } with a byte a pixel, or three (red, green, blue), as a picture. */
export function pictureOf({ data, height, width }) {
  if (data.length === height * width) return [{ data, height, width }];
  return [0, 1, 2].map((channel) => plane(data, height, width, channel, 3));
}

export function inColour({ mean, color }) {
  return mean.length === 3 && (color ?? "rgb") !== "gray";
}

/** What the network is shown of a picture of any size: its colours or gray, the middle part if it crops, resized once. */
export function fit(picture, preprocess) {
  const { height_px: rows, width_px: columns, crop = 0, interpolation } = preprocess;
  const [{ height, width }] = picture;
  let planes = picture;
  if (inColour(preprocess) !== (planes.length === 3)) planes = planes.length === 3 ? [grayOf(planes)] : [planes[0], planes[0], planes[0]];
  if (crop) {
    const scale = crop * Math.min(height / rows, width / columns);
    const tall = Math.max(1, Math.min(height, Math.trunc(scale * rows + 0.5)));
    const wide = Math.max(1, Math.min(width, Math.trunc(scale * columns + 0.5)));
    planes = planes.map((each) => cutOut(each, (height - tall) >> 1, (width - wide) >> 1, tall, wide));
  }
  return planes.map((each) => resize(each, rows, columns, interpolation));
}

function grayOf([red, green, blue]) {
  const data = new Uint8Array(red.data.length);
  for (let i = 0; i < data.length; i++) data[i] = (red.data[i] * 9798 + green.data[i] * 19235 + blue.data[i] * 3735 + 16384) >> 15;
  return { data, height: red.height, width: red.width };
}

/** Rows and columns of a plane, its border repeated beyond its edge. */
export function cutOut(whole, top, left, height, width) {
  const data = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    const row = clamp(top + y, whole.height) * whole.width;
    for (let x = 0; x < width; x++) data[y * width + x] = whole.data[row + clamp(left + x, whole.width)];
  }
  return { data, height, width };
}

/** Canvas pixels (RGBA) to gray by OpenCV's 15-bit weights. */
export function toGray(rgba, height, width) {
  const data = new Uint8Array(height * width);
  for (let i = 0, at = 0; i < data.length; i++, at += 4) {
    data[i] = (rgba[at] * 9798 + rgba[at + 1] * 19235 + rgba[at + 2] * 3735 + 16384) >> 15;
  }
  return { data, height, width };
}

/** Of a plane: by default the area average when both sides shrink, bilinear otherwise. */
export function resize(gray, height, width, interpolation = "auto") {
  if (gray.height === height && gray.width === width) return gray;
  const shrinks = gray.height >= height && gray.width >= width;
  const halves = gray.height === 2 * height && gray.width === 2 * width; // there OpenCV's bilinear is the average too
  const area = shrinks && (interpolation === "auto" || halves);
  return { data: (area ? byArea : byLines)(gray, height, width), height, width };
}

/** Sizes of the network's input for so many pictures: [N, C, H, W] or [N, H, W, C]. */
export function inputShape(count, { preprocess, layout }) {
  const { height_px: height, width_px: width, mean } = preprocess;
  return layout === "NHWC" ? [count, height, width, mean.length] : [count, mean.length, height, width];
}

/** The network's input of pictures as `fit` gives them, in its channel order and layout; gray repeated for three channels. */
export function networkInput(pictures, spec) {
  const { height_px: height, width_px: width, mean, std, color } = spec.preprocess;
  const pixels = height * width;
  const channels = mean.length;
  const raw = spec.input_dtype === "uint8";
  const input = new (raw ? Uint8Array : Float32Array)(pictures.length * channels * pixels);
  const [across, down] = spec.layout === "NHWC" ? [channels, 1] : [1, pixels]; // from pixel to pixel, from channel to channel
  pictures.forEach((picture, number) => {
    for (let channel = 0; channel < channels; channel++) {
      const { data } = picture.length === 1 ? picture[0] : picture[color === "bgr" ? 2 - channel : channel];
      const centre = Math.fround(mean[channel]);
      const spread = Math.fround(std[channel]);
      let at = number * channels * pixels + channel * down;
      for (let i = 0; i < pixels; i++, at += across) input[at] = raw ? data[i] : Math.fround(data[i] - centre) / spread;
    }
  });
  return input;
}

/** Whole pixels of a box {x, y, width, height} of a plane, its border repeated beyond the edge, resized to side x side. */
export function cropUpright(gray, box, side) {
  return resize(cutBox(gray, box), side, side);
}

/** The same at the plane's own scale. */
export function cutBox(gray, box) {
  const left = roundEven(box.x);
  const top = roundEven(box.y);
  const width = Math.max(1, roundEven(box.x + box.width) - left);
  const height = Math.max(1, roundEven(box.y + box.height) - top);
  return cutOut(gray, top, left, height, width);
}

export function roundEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

export function clamp(index, length) {
  return Math.min(Math.max(index, 0), length - 1);
}

/** OpenCV's INTER_LINEAR on bytes: 11-bit weights, rows first; across, the edge's weight is 1, down, its row is taken twice. */
function byLines(gray, height, width) {
  const across = weights(gray.width, width, true);
  const down = weights(gray.height, height, false);
  const out = new Uint8Array(height * width);
  const value = (row, tap) => gray.data[row + tap.low] * tap.a + gray.data[row + tap.high] * tap.b;
  for (let y = 0; y < height; y++) {
    const upper = down[y].low * gray.width;
    const lower = down[y].high * gray.width;
    for (let x = 0; x < width; x++) {
      const first = (down[y].a * (value(upper, across[x]) >> 4)) >> 16;
      const second = (down[y].b * (value(lower, across[x]) >> 4)) >> 16;
      out[y * width + x] = (first + second + 2) >> 2;
    }
  }
  return out;
}

function weights(from, to, whole) {
  return Array.from({ length: to }, (_, index) => {
    const place = Math.fround((index + 0.5) * (from / to) - 0.5);
    const low = Math.floor(place);
    let part = Math.fround(place - low);
    if (whole && (low < 0 || low >= from - 1)) part = 0;
    const a = roundEven(Math.fround(1 - part) * 2048);
    return { low: clamp(low, from), high: clamp(low + 1, from), a, b: roundEven(part * 2048) };
  });
}

/** OpenCV's INTER_AREA on bytes: sums of whole cells where both factors are whole, float32 weights otherwise. */
function byArea(gray, height, width) {
  const out = new Uint8Array(height * width);
  if (gray.height % height === 0 && gray.width % width === 0) {
    const tall = gray.height / height;
    const wide = gray.width / width;
    const share = Math.fround(1 / (tall * wide));
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let v = 0; v < tall; v++) {
          const row = (y * tall + v) * gray.width + x * wide;
          for (let u = 0; u < wide; u++) sum += gray.data[row + u];
        }
        out[y * width + x] = tall === 2 && wide === 2 ? (sum + 2) >> 2 : roundEven(Math.fround(sum * share));
      }
    }
    return out;
  }
  const across = shares(gray.width, width);
  const down = shares(gray.height, height);
  const row = new Float32Array(width);
  const sums = new Float32Array(height * width);
  for (let k = 0, done = -1; k < down.to.length; k++) {
    const from = down.from[k];
    if (from !== done) {
      row.fill(0);
      const start = from * gray.width;
      for (let i = 0; i < across.to.length; i++) row[across.to[i]] += Math.fround(gray.data[start + across.from[i]] * across.share[i]);
      done = from;
    }
    const start = down.to[k] * width;
    const share = down.share[k];
    for (let x = 0; x < width; x++) sums[start + x] += Math.fround(row[x] * share);
  }
  for (let i = 0; i < out.length; i++) out[i] = roundEven(sums[i]);
  return out;
}

/** Every source pixel that a target pixel covers, and its share in it. */
function shares(length, targets) {
  const scale = length / targets;
  const [to, from, share] = [[], [], []];
  const add = (target, source, part) => {
    to.push(target);
    from.push(source);
    share.push(part);
  };
  for (let target = 0; target < targets; target++) {
    const start = target * scale;
    const end = start + scale;
    const cell = Math.min(scale, length - start);
    const last = Math.min(Math.floor(end), length - 1);
    const first = Math.min(Math.ceil(start), last);
    if (first - start > 1e-3) add(target, first - 1, (first - start) / cell);
    for (let source = first; source < last; source++) add(target, source, 1 / cell);
    if (end - last > 1e-3) add(target, last, Math.min(Math.min(end - last, 1), cell) / cell);
  }
  return { to: Int32Array.from(to), from: Int32Array.from(from), share: Float32Array.from(share) };
}
