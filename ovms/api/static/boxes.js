// What a detector has found: read from its outputs, and drawn on the picture.

import { element } from "./dom.js";
import { sizesOf } from "./tensors.js";

const WIDEST = 720; // pixels of the drawing
const COLOUR = "#00c853";
const LARGEST_FRACTION = 2; // coordinates that are fractions may lie outside of the picture, but not far

// Outputs by name, as parsed JSON, and the size of the picture that was sent -> boxes as fractions of it, best first;
// null if these are no outputs of a detector. Two forms are known: one tensor [1,1,N,7] of (picture, label, score, left,
// top, right, bottom), which a negative picture ends; and [1,N,4] of left, top, right, bottom with [1,N] of scores, by
// their names.
export function boxesOf(outputs, width, height) {
  const found = ofRows(outputs) ?? ofPairs(outputs);
  if (!found) return null;
  const asFractions = found.every((box) => Math.max(box.left, box.top, box.right, box.bottom) <= LARGEST_FRACTION);
  const [across, down] = asFractions ? [1, 1] : [width, height];
  return found
    .map((box) => ({ ...box, left: box.left / across, right: box.right / across, top: box.top / down, bottom: box.bottom / down }))
    .sort((one, other) => other.score - one.score);
}

function ofRows(outputs) {
  for (const value of Object.values(outputs)) {
    const sizes = sizesOf(value);
    if (sizes.length !== 4 || sizes[0] !== 1 || sizes[1] !== 1 || sizes[3] !== 7) continue;
    const end = value[0][0].findIndex((row) => row[0] < 0);
    const rows = end < 0 ? value[0][0] : value[0][0].slice(0, end);
    return rows.map(([, label, score, left, top, right, bottom]) => ({ label, score, left, top, right, bottom }));
  }
  return null;
}

function ofPairs(outputs) {
  const named = Object.entries(outputs).map(([name, value]) => [name, value, sizesOf(value)]);
  const boxes = named.find(([name, , sizes]) => /box/i.test(name) && sizes.length === 3 && sizes[0] === 1 && sizes[2] === 4);
  const alike = ([, , sizes]) => sizes.length === 2 && sizes[0] === 1 && sizes[1] === boxes?.[2][1];
  const scores = named.find((one) => /scor|conf/i.test(one[0]) && alike(one));
  if (!boxes || !scores) return null;
  const labels = named.find((one) => /label|class/i.test(one[0]) && alike(one));
  return boxes[1][0].map(([left, top, right, bottom], i) => ({
    label: labels ? labels[1][0][i] : null, score: scores[1][0][i], left, top, right, bottom,
  }));
}

// A drawing of the picture with boxes, and a list of them in the picture's own pixels, of those above a score.
export class Drawing {
  #bitmap;
  #boxes;
  #canvas = element("canvas", { className: "drawing" });
  #list = element("ol");
  #least = element("input", { type: "number", min: 0, max: 1, step: 0.05, value: 0.5 });

  constructor(bitmap, boxes) {
    this.#bitmap = bitmap;
    this.#boxes = boxes;
    this.#least.oninput = () => this.#draw();
    const choice = element("label", {}, "boxes with a score above ", this.#least);
    this.node = element("div", { className: "found" }, this.#canvas, element("div", {}, choice, this.#list));
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#bitmap;
    const scale = Math.min(1, WIDEST / width);
    Object.assign(this.#canvas, { width: Math.round(width * scale), height: Math.max(1, Math.round(height * scale)) });
    const context = this.#canvas.getContext("2d");
    context.drawImage(this.#bitmap, 0, 0, this.#canvas.width, this.#canvas.height);
    const shown = this.#boxes.filter((box) => box.score > this.#least.valueAsNumber);
    for (const box of shown) drawBox(context, box, this.#canvas.width, this.#canvas.height);
    this.#list.replaceChildren(...shown.map((box) => element("li", {}, textOf(box, width, height))));
  }
}

function titleOf(box) {
  return (box.label === null ? "" : `${box.label} `) + box.score.toFixed(3);
}

function textOf(box, width, height) {
  const at = (fraction, size) => (fraction * size).toFixed(1);
  return `${titleOf(box)}: x ${at(box.left, width)} to ${at(box.right, width)}, y ${at(box.top, height)} to ${at(box.bottom, height)}`;
}

function drawBox(context, box, width, height) {
  const left = box.left * width, top = box.top * height;
  context.strokeStyle = context.fillStyle = COLOUR;
  context.lineWidth = 3;
  context.strokeRect(left, top, (box.right - box.left) * width, (box.bottom - box.top) * height);
  context.font = "bold 14px system-ui, sans-serif";
  context.textBaseline = "middle";
  const title = titleOf(box);
  const at = Math.max(0, top - 20); // a box at the upper edge has its title inside
  context.fillRect(left - 1.5, at, context.measureText(title).width + 10, 20);
  context.fillStyle = "#000";
  context.fillText(title, left + 3.5, at + 10.5);
}
