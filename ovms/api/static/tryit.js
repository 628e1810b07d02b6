// The form that asks a model: its inputs, its answer, and how to ask the same from elsewhere.

import { boxesOf, Drawing } from "./boxes.js";
import { ask } from "./client.js";
import { element, labelled, select, setOptions } from "./dom.js";
import { durationText } from "./figures.js";
import { parse, toAscii } from "./json.js";
import { pictureLayouts, PictureInput } from "./picture.js";
import { curlCommand, needsFile, pythonSnippet, REQUEST_FILE } from "./snippets.js";
import { exampleShape, isShort, shapeText, signatureText, zeros } from "./tensors.js";

const MOST_SHOWN = 20000; // characters of an answer

export class TryIt {
  #model = null;
  #server = null;
  #inputs = [];
  #signature = "";
  #target = select([]);
  #fields = element("div");
  #button = element("button", {}, "Predict");
  #answer = element("div", { className: "answer" });
  #curl = element("pre", { className: "curl" });
  #python = element("pre", { className: "python" });
  #file = element("a", { download: REQUEST_FILE, hidden: true }, `Save ${REQUEST_FILE}`);
  #elsewhere = element("details", {}, element("summary", {}, "The same with curl and Python"),
    this.#file, element("h3", {}, "curl, over REST"), this.#curl, element("h3", {}, "Python, over gRPC"), this.#python);
  #asking = false;

  constructor() {
    const form = element("form", {}, labelled("version", this.#target), this.#fields,
      element("div", { className: "choices" }, this.#button));
    form.onsubmit = (event) => (event.preventDefault(), this.#predict());
    this.#target.onchange = () => (this.#showInputs(), this.#showElsewhere());
    this.#elsewhere.ontoggle = () => this.#showElsewhere();
    this.node = element("div", {}, form, this.#answer, this.#elsewhere);
  }

  // What is known of the model now. What was typed stays, unless the signature is another one.
  update(model, server) {
    this.#model = model;
    this.#server = server;
    const served = model.versions.filter((version) => version.inputs).map((version) => version.version);
    const options = [
      ...(served.length ? [["", `default (${served.at(-1)})`]] : []),
      ...served.map((version) => [`versions/${version}`, version]),
      ...Object.entries(model.labels).map(([label, version]) => [`labels/${encodeURIComponent(label)}`, `${label} (${version})`]),
    ];
    const told = JSON.stringify(options);
    if (this.#target.dataset.options !== told) {
      this.#target.dataset.options = told;
      setOptions(this.#target, options);
      this.#showElsewhere(); // what was chosen may have gone
    }
    this.#button.disabled = this.#asking || !served.length;
    this.#showInputs();
  }

  // The version that is chosen; undefined if it is not served.
  get #version() {
    const [kind, name] = this.#target.value.split("/");
    const served = this.#model.versions.filter((version) => version.inputs);
    if (!kind) return served.at(-1);
    const number = kind === "versions" ? name : this.#model.labels[decodeURIComponent(name)];
    return served.find((version) => version.version === number);
  }

  get #path() {
    const target = this.#target.value;
    return `v1/models/${encodeURIComponent(this.#model.name)}${target && `/${target}`}:predict`;
  }

  #showInputs() {
    const inputs = this.#version?.inputs;
    if (!inputs || this.#signature === JSON.stringify(inputs)) return;
    this.#signature = JSON.stringify(inputs);
    this.#inputs = inputs.map((input) => new InputField(input, () => this.#showElsewhere()));
    this.#fields.replaceChildren(...this.#inputs.map((field) => field.node));
    this.#showElsewhere();
  }

  #body() {
    return `{"inputs": {${this.#inputs.map((field) => `${toAscii(JSON.stringify(field.name))}: ${field.text}`).join(", ")}}}`;
  }

  #showElsewhere() {
    if (!this.#elsewhere.open) return;
    const [kind, name] = this.#target.value.split("/");
    const target = kind === "versions" ? { version: name } : kind === "labels" ? { label: decodeURIComponent(name) } : {};
    try {
      for (const field of this.#inputs) field.check();
      const body = this.#body();
      this.#curl.textContent = curlCommand(this.#path, body, this.#server.keys);
      this.#python.textContent = pythonSnippet(this.#model.name, target, this.#inputs, body, this.#server);
      this.#file.hidden = !needsFile(body);
      URL.revokeObjectURL(this.#file.href);
      if (needsFile(body)) this.#file.href = URL.createObjectURL(new Blob([toAscii(body)], { type: "application/json" }));
      else this.#file.removeAttribute("href");
    } catch (error) {
      this.#curl.textContent = this.#python.textContent = error.message;
      this.#file.hidden = true;
    }
  }

  async #predict() {
    this.#showElsewhere();
    this.#asking = this.#button.disabled = true;
    this.#answer.replaceChildren("asking ...");
    const picture = this.#inputs.map((field) => field.picture).find((one) => one);
    const outputs = this.#version?.outputs ?? [];
    try {
      for (const field of this.#inputs) field.check();
      const began = performance.now();
      const text = await ask(this.#path, this.#body());
      this.#showAnswer(text, (performance.now() - began) * 1e3, outputs, picture);
    } catch (error) {
      const code = error.status ? `${error.status} ` : "";
      this.#answer.replaceChildren(element("p", { className: "error" }, `${code}${error.message}`));
    } finally {
      this.#asking = this.#button.disabled = false;
    }
  }

  #showAnswer(text, took, outputs, picture) {
    const value = parse(text).outputs;
    const byName = outputs.length === 1 ? { [outputs[0].name]: value } : value;
    const boxes = picture ? boxesOf(byName, picture.width, picture.height) : null;
    const shown = text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)} ... (${text.length} characters)` : text;
    this.#answer.replaceChildren(
      element("p", { className: "faint" }, `Answered after ${durationText(took)}, the way here included: `,
        outputs.map((output) => `${output.name} ${signatureText(output)}`).join(", ")),
      ...(boxes ? [new Drawing(picture.bitmap, boxes).node] : []),
      element("pre", {}, shown),
    );
  }
}

// One input. Empty, its text stands for zeros.
class InputField {
  #input;
  #picture = null;
  #pixels = null;
  #area = element("textarea", { spellcheck: false });

  constructor(input, onChange) {
    this.#input = input;
    const zero = `zeros ${shapeText(exampleShape(input))}`;
    this.#area.placeholder = `${zero}, or JSON`;
    this.#area.ariaLabel = input.name;
    if (isShort(input)) this.#area.value = zeros(input);
    const layouts = pictureLayouts(input);
    this.node = element("div", { className: "input" }, element("b", {}, input.name), element("code", {}, signatureText(input)));
    if (layouts) {
      this.#picture = new PictureInput(input, layouts, (text) => {
        this.#pixels = text;
        this.#area.value = "";
        this.#area.placeholder = text === null ? `${zero}, or JSON` : `the picture, ${text.length} characters; or JSON`;
        onChange();
      });
      this.node.append(this.#picture.node);
    }
    this.node.append(this.#area);
    this.#area.oninput = onChange;
  }

  get name() {
    return this.#input.name;
  }

  get dtype() {
    return this.#input.dtype;
  }

  // The picture that is sent; null if it is something else.
  get picture() {
    return this.#area.value.trim() === "" && this.#pixels !== null ? this.#picture.picture : null;
  }

  get text() {
    return this.#area.value.trim() || (this.#pixels ?? zeros(this.#input));
  }

  check() {
    const typed = this.#area.value.trim();
    if (!typed && this.#picture?.error) throw new Error(`${this.name}: ${this.#picture.error}`);
    try {
      if (typed) parse(typed);
    } catch (error) {
      throw new Error(`${this.name}: expected JSON: ${error.message}`);
    }
    if (typed.includes('"b64"') && this.dtype !== "DT_STRING") throw new Error(`${this.name}: expected numbers, not b64`);
  }
}
