// Pictures as tensors: which inputs may be pictures, and the JSON of one that the browser has read.

import { element, labelled, select } from "./dom.js";
import { isFloat } from "./tensors.js";

const LONGEST_SIDE = 640; // of a picture whose size is left to the client

const RANGES = {
  "0 to 255": (byte) => `${byte}.0`,
  "0 to 1": (byte) => String(Number((byte / 255).toFixed(6))),
  "-1 to 1": (byte) => String(Number((byte / 127.5 - 1).toFixed(6))),
};

// How pictures lie in an input, or null if they cannot: four dimensions, of which the second or the last is 1 or 3.
export function pictureLayouts(input) {
  const shape = input.shape;
  if (!["DT_FLOAT", "DT_UINT8"].includes(input.dtype) || shape?.length !== 4) return null;
  const layouts = [];
  if ([1, 3].includes(shape[1])) layouts.push("NCHW");
  if ([1, 3].includes(shape[3])) layouts.push("NHWC");
  return layouts.length ? layouts : null;
}

// The choices for an input; `onPicture` is called when there is another text to send.
export class PictureInput {
  #input;
  #onPicture;
  #picture = null;
  #error = element("span", { className: "error" });
  #file = element("input", { type: "file", accept: "image/*" });
  #width = element("input", { type: "number", min: 1, max: 8192 });
  #height = element("input", { type: "number", min: 1, max: 8192 });
  #layout;
  #colours = select([["RGB", "RGB"], ["BGR", "BGR"]]);
  #range = select(Object.keys(RANGES).map((name) => [name, name]));

  constructor(input, layouts, onPicture) {
    this.#input = input;
    this.#onPicture = onPicture;
    this.#layout = select(layouts.map((name) => [name, name]));
    const choices = [labelled("width", this.#width), labelled("height", this.#height)];
    if (layouts.length > 1) choices.push(labelled("layout", this.#layout));
    if (this.#channels === 3) choices.push(labelled("colours", this.#colours));
    if (isFloat(input.dtype)) choices.push(labelled("values", this.#range));
    this.node = element("div", { className: "choices" }, labelled("picture", this.#file), ...choices, this.#error);
    this.#file.onchange = () => this.#read();
    for (const one of [this.#width, this.#height, this.#colours, this.#range]) one.onchange = () => this.#write();
    this.#layout.onchange = () => (this.#setSize(), this.#write());
    this.#setSize();
  }

  // The picture as it was read, and the size in which it is sent; null if there is none.
  get picture() {
    return this.#picture && { bitmap: this.#picture, width: this.#width.valueAsNumber, height: this.#height.valueAsNumber };
  }

  // Why the picture that is chosen cannot be sent; empty if it can be.
  get error() {
    return this.#error.textContent;
  }

  get #channels() {
    return this.#input.shape[this.#layout.value === "NCHW" ? 1 : 3];
  }

  #setSize() {
    const at = this.#layout.value === "NCHW" ? 2 : 1;
    const [height, width] = this.#input.shape.slice(at, at + 2);
    const shrink = this.#picture ? Math.min(1, LONGEST_SIDE / Math.max(this.#picture.width, this.#picture.height)) : 0;
    const fields = [[this.#width, width, this.#picture?.width], [this.#height, height, this.#picture?.height]];
    for (const [field, size, own] of fields) {
      field.disabled = size >= 0;
      if (size >= 0) field.value = size;
      else if (own) field.value = Math.max(1, Math.round(own * shrink));
    }
  }

  async #read() {
    const file = this.#file.files[0];
    const picture = file ? await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => null) : null;
    if (file !== this.#file.files[0]) return; // another one was chosen meanwhile
    this.#picture = picture;
    if (picture) {
      this.#setSize();
      this.#write();
    } else this.#tell(null, file ? `${file.name} is no picture that this browser can read` : "");
  }

  #write() {
    if (!this.#picture) return;
    const isSize = (field) => Number.isInteger(field.valueAsNumber) && field.checkValidity();
    if (!isSize(this.#width) || !isSize(this.#height)) {
      this.#tell(null, `width and height: expected whole numbers from 1 to ${this.#width.max}`);
      return;
    }
    try {
      this.#tell(this.#spelled(), "");
    } catch (error) { // more characters than a text can have, or more pixels than a canvas
      this.#tell(null, `the picture is too large for this browser: ${error.message}`);
    }
  }

  // An error takes the text of the last picture with it: no other one than is chosen may be sent.
  #tell(text, error) {
    this.#error.textContent = error;
    this.#onPicture(text);
  }

  #spelled() {
    const { width, height } = this.picture;
    const canvas = element("canvas", { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white"; // behind what is transparent
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#picture, 0, 0, width, height);
    const pixels = context.getImageData(0, 0, width, height).data;
    const spell = isFloat(this.#input.dtype) ? RANGES[this.#range.value] : String;
    const texts = Array.from({ length: 256 }, (_, byte) => spell(byte));
    const batch = Math.max(1, this.#input.shape[0]);
    const channels = this.#channels;
    const byte = bytesOf(pixels, channels, this.#colours.value);
    const one = this.#layout.value === "NCHW"
      ? list(channels, (c) => list(height, (y) => list(width, (x) => texts[byte(c, y * width + x)])))
      : list(height, (y) => list(width, (x) => list(channels, (c) => texts[byte(c, y * width + x)])));
    return `[${Array(batch).fill(one).join(",")}]`;
  }
}

// A function (channel, pixel) -> byte, of RGBA pixels.
function bytesOf(pixels, channels, colours) {
  if (channels === 1) {
    return (_, i) => Math.round(0.299 * pixels[4 * i] + 0.587 * pixels[4 * i + 1] + 0.114 * pixels[4 * i + 2]);
  }
  const at = colours === "BGR" ? [2, 1, 0] : [0, 1, 2];
  return (channel, i) => pixels[4 * i + at[channel]];
}

function list(length, item) {
  return `[${Array.from({ length }, (_, i) => item(i)).join(",")}]`;
}
