/** The model's contract, read from the bytes of its ONNX file: what it takes, what it answers, how its pixels are prepared. */

const METADATA_PROPS = 14; // field of ModelProto: repeated StringStringEntryProto { key = 1; value = 2 }
const KEY = "rarn_edge";

/** [field, value] of each field of a protobuf message: a number, or the bytes of a length-delimited field. */
function* fieldsOf(bytes) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (at >= bytes.length || scale > 2 ** 63) throw new Error("not an ONNX file: it is cut short or damaged");
      const byte = bytes[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    const field = Math.floor(tag / 8);
    if (wire === 0) {
      yield [field, varint()];
      continue;
    }
    const length = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : NaN;
    if (!(at + length <= bytes.length)) throw new Error("not an ONNX file: it is cut short or damaged");
    yield [field, bytes.subarray(at, at + length)];
    at += length;
  }
}

/** The contract's JSON as an object, its spec checked.
 *  @throws Error the bytes are no ONNX file, carry no contract, or one that this page cannot follow. */
export function readContract(bytes) {
  const utf8 = new TextDecoder();
  for (const [field, entry] of fieldsOf(bytes)) {
    if (field !== METADATA_PROPS) continue;
    const pair = new Map(fieldsOf(entry));
    if (utf8.decode(pair.get(1)) === KEY) return checked(JSON.parse(utf8.decode(pair.get(2))));
  }
  throw new Error("the model carries no rarn-edge contract; embed one: rarn-edge stamp MODEL.onnx --spec spec.toml -o OUT.onnx");
}

function checked(contract) {
  const require = (condition, rule) => {
    if (!condition) throw new Error(`the model's contract is damaged: ${rule}`);
  };
  const spec = contract?.spec;
  const size = spec?.preprocess;
  const numbers = (list) => Array.isArray(list) && [1, 3].includes(list.length) && list.every(Number.isFinite);
  require(spec?.schema_version === 1, "schema_version is 1");
  require(Array.isArray(spec.classes) && spec.classes.length > 1, "classes has at least 2 names");
  require(Number.isInteger(size?.height_px) && Number.isInteger(size?.width_px), "height_px and width_px are whole numbers");
  require(numbers(size.mean) && numbers(size.std) && size.mean.length === size.std.length, "mean and std have 1 or 3 numbers");
  require(["logits", "probabilities"].includes(spec.output), "output is logits or probabilities");
  require(["float32", "uint8"].includes(spec.input_dtype), "input_dtype is float32 or uint8");
  const one = (value, known, key) => require(value === undefined || known.includes(value), `${key} is one of ${known.join(", ")}`);
  one(size.color, ["gray", "rgb", "bgr"], "color");
  one(size.interpolation, ["auto", "bilinear"], "interpolation");
  one(spec.layout, ["NCHW", "NHWC"], "layout");
  require(size.crop === undefined || (size.crop >= 0 && size.crop <= 1), "crop is a share of 0 to 1");
  require(spec.temperature > 0, "temperature is a positive number");
  return contract;
}
