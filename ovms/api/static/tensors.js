// Tensors as TensorFlow Serving's metadata names them.

export const DTYPES = {
  DT_FLOAT: ["f32", "np.float32"], DT_DOUBLE: ["f64", "np.float64"], DT_HALF: ["f16", "np.float16"],
  DT_BFLOAT16: ["bf16", "ml_dtypes.bfloat16"],
  DT_INT8: ["i8", "np.int8"], DT_INT16: ["i16", "np.int16"], DT_INT32: ["i32", "np.int32"], DT_INT64: ["i64", "np.int64"],
  DT_UINT8: ["u8", "np.uint8"], DT_UINT16: ["u16", "np.uint16"], DT_UINT32: ["u32", "np.uint32"],
  DT_UINT64: ["u64", "np.uint64"],
  DT_BOOL: ["bool", "np.bool_"], DT_STRING: ["string", "object"],
};
const MOST_SHOWN = 2000; // elements of a prefilled value

export function shortName(dtype) {
  return DTYPES[dtype]?.[0] ?? dtype;
}

export function shapeText(shape) {
  return shape === null ? "any rank" : `[${shape.map((size) => (size < 0 ? "?" : size)).join(",")}]`;
}

export function signatureText(tensor) {
  return `${shortName(tensor.dtype)} ${shapeText(tensor.shape)}`;
}

// Sizes that the model is likely to take.
export function exampleShape(input) {
  return (input.example ?? []).map((size) => (size < 0 ? 1 : size));
}

// A JSON text for an input: zeros, empty strings.
export function zeros(input) {
  const zero = { DT_BOOL: "false", DT_STRING: '""' }[input.dtype] ?? (isFloat(input.dtype) ? "0.0" : "0");
  return exampleShape(input).reduceRight((inner, size) => `[${Array(size).fill(inner).join(", ")}]`, zero);
}

export function isFloat(dtype) {
  return ["DT_FLOAT", "DT_DOUBLE", "DT_HALF", "DT_BFLOAT16"].includes(dtype);
}

// Whether zeros() is something to read and to edit.
export function isShort(input) {
  return exampleShape(input).reduce((count, size) => count * size, 1) <= MOST_SHOWN;
}

// The sizes of nested lists, by their first elements.
export function sizesOf(value) {
  const sizes = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) sizes.push(inner.length);
  return sizes;
}
