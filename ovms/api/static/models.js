// One model: its versions as they are, what they do at this moment, and the form to try it.

import { element, setText } from "./dom.js";
import { durationText, rateText } from "./figures.js";
import { signatureText } from "./tensors.js";
import { TryIt } from "./tryit.js";

const COLUMNS = ["version", "state", "calls/s", "failed/s", "p50", "p95", "infer requests in use", "waiting", "calls"];

export class ModelSection {
  #labels = element("span");
  #problem = element("p", { className: "cause problem" });
  #body = element("tbody");
  #signature = element("div", { className: "table" });
  #signatureDetails = element("details", {}, element("summary", {}, "Inputs and outputs"), this.#signature);
  #tryIt = new TryIt();
  #tryDetails = element("details", { className: "try" }, element("summary", {}, "Try it"), this.#tryIt.node);
  #rows = new Map();
  #told = "";

  constructor(name) {
    this.name = name;
    const head = element("tr", {}, ...COLUMNS.map((column) => element("th", { scope: "col" }, column)));
    const table = element("table", {}, element("thead", {}, head), this.#body);
    this.node = element("section", {}, element("div", {}, element("h2", {}, name), this.#labels), this.#problem,
      element("div", { className: "table" }, table), this.#signatureDetails, this.#tryDetails);
    this.node.dataset.model = name;
  }

  update(model, overview) {
    const told = JSON.stringify([model, overview.grpc, overview.keys]);
    if (told === this.#told) return;
    this.#told = told;
    this.#labels.replaceChildren(...Object.entries(model.labels).map(([label, version]) =>
      element("span", { className: "label" }, `${label} → ${version}`)));
    setText(this.#problem, model.problem || (model.versions.length ? "" : "no version was found yet"));
    this.#problem.hidden = this.#problem.textContent === "";
    this.#rows = new Map(model.versions.map((version) => [version.version, rowOf(version)]));
    this.#body.replaceChildren(...[...this.#rows.values()].flatMap((row) => row.nodes));
    const served = model.versions.filter((version) => version.inputs);
    this.#signatureDetails.hidden = !served.length;
    this.#signature.replaceChildren(...served.flatMap((version) => signatureOf(version, served.length > 1)));
    this.#tryDetails.hidden = !served.length;
    this.#tryIt.update(model, overview);
  }

  showFigures(figures) {
    for (const [version, row] of this.#rows) {
      const now = figures.now(this.name, version);
      const gauges = figures.gauges(this.name, version);
      const texts = [
        ...(now ? [rateText(now.ok), rateText(now.failed), durationText(now.p50), durationText(now.p95)] : ["-", "-", "-", "-"]),
        ...(gauges ? [`${gauges.active} of ${gauges.nireq}`, `${gauges.waiting}`] : ["-", "-"]),
        now ? `${now.total}` : "-",
      ];
      row.cells.forEach((cell, i) => setText(cell, texts[i]));
    }
  }
}

function rowOf(version) {
  const failed = version.error_code !== "OK";
  const state = element("td", {}, element("span", { className: `state ${version.state}${failed ? " failed" : ""}` },
    failed ? `${version.state}: ${version.error_code}` : version.state));
  const cells = COLUMNS.slice(2).map(() => element("td", {}, "-"));
  const nodes = [element("tr", {}, element("td", {}, version.version), state, ...cells)];
  nodes[0].dataset.version = version.version;
  if (version.error_message) {
    const cause = element("pre", { className: "cause" }, version.error_message);
    nodes.push(element("tr", {}, element("td", { colSpan: COLUMNS.length }, cause)));
  }
  return { cells, nodes };
}

function signatureOf(version, several) {
  const rows = [["input", version.inputs], ["output", version.outputs]].flatMap(([kind, tensors]) =>
    tensors.map((tensor) => element("tr", {}, element("td", { className: "faint" }, kind),
      element("td", { className: "name" }, tensor.name), element("td", {}, element("code", {}, signatureText(tensor))))));
  return [...(several ? [element("h3", {}, `version ${version.version}`)] : []),
    element("table", {}, element("tbody", {}, ...rows))];
}
