// The page: asks for the models and the figures about once a second while it can be seen, and shows what it is told.

import { ask, hasKey, Refused, setKey, Unreachable, whenKeyIsNeeded } from "./client.js";
import { element, setText } from "./dom.js";
import { Figures, rateText } from "./figures.js";
import { ModelSection } from "./models.js";

const PAUSE = 1000; // ms from an answer to the next question
const SHARE = 10; // of the time at most that the server takes to answer
const LONG_PAUSE = 5000; // ms, when the server asks for fewer requests, or does not answer

const server = document.getElementById("server");
const notice = document.getElementById("notice");
const keyForm = document.getElementById("key");
const main = document.getElementById("models");

const figures = new Figures();
const sections = new Map();
let figuresRefused = ""; // why there are none, until there is another key
let answered = null; // when
let timer = null;
let asking = false;
let waitsForKey = false;
let wantsKey = false;

async function look() {
  timer = null;
  if (asking || waitsForKey || document.hidden) return;
  asking = true;
  const began = performance.now();
  let pause = PAUSE;
  try {
    const overview = JSON.parse(await ask("status/models"));
    await lookAtFigures(overview);
    show(overview);
    answered = new Date();
  } catch (error) {
    pause = fail(error);
  }
  asking = false;
  if (!waitsForKey) schedule(Math.max(pause, SHARE * (performance.now() - began)));
}

async function lookAtFigures(overview) {
  if (!overview.figures || figuresRefused) return;
  try {
    figures.add(JSON.parse(await ask("status/figures")));
  } catch (error) {
    if (!(error instanceof Refused) || ![401, 403].includes(error.status)) throw error;
    figures.clear();
    figuresRefused = error.message;
    if (!hasKey()) wantsKey = true; // of the browser's password, which the reader cannot change here
  }
}

function schedule(pause) {
  clearTimeout(timer);
  timer = document.hidden ? null : setTimeout(look, pause);
}

// What is to be said of an error, and how long to wait then.
function fail(error) {
  if (error instanceof Refused && [401, 403].includes(error.status)) {
    waitsForKey = true;
    keyForm.hidden = false;
    main.hidden = true;
    server.replaceChildren();
    tell(hasKey() || error.status === 403 ? `The server refuses this key: ${error.message}; it takes the scopes predict and, for figures, metrics` : "");
    return PAUSE;
  }
  main.classList.add("stale");
  const since = answered ? `; what is shown is of ${answered.toLocaleTimeString()}` : "";
  if (error instanceof Refused) tell(`The server answers ${error.status}: ${error.message}${since}`);
  else if (error instanceof Unreachable) tell(`The server does not answer${since}`);
  else {
    tell(`This page has failed: ${error.message}${since}`);
    reportError(error);
  }
  return LONG_PAUSE;
}

function tell(text) {
  setText(notice, text);
  notice.hidden = text === "";
}

function show(overview) {
  keyForm.hidden = !wantsKey;
  main.hidden = false;
  main.classList.remove("stale");
  tell(noteOf(overview));
  const configured = new Set(overview.models.map((model) => model.name));
  for (const name of [...sections.keys()]) {
    if (configured.has(name)) continue;
    sections.get(name).node.remove();
    sections.delete(name);
  }
  overview.models.forEach((model, i) => {
    if (!sections.has(model.name)) sections.set(model.name, new ModelSection(model.name));
    const section = sections.get(model.name);
    if (main.children[i] !== section.node) main.insertBefore(section.node, main.children[i] ?? null);
    section.update(model, overview);
    section.showFigures(figures);
  });
  showServer(overview);
}

function noteOf(overview) {
  const uncounted = figures.last?.uncounted ?? [];
  return [
    !overview.figures ? "Figures are told at the port of --metrics_port alone." : "",
    figuresRefused ? `No figures: ${figuresRefused} (scope metrics).` : "",
    uncounted.length ? `Calls over ${uncounted.join(" and ")} are not counted by this engine, or as --no_metrics says.` : "",
    !overview.models.length ? "No model is configured." : "",
  ].filter((text) => text).join(" ");
}

function showServer(overview) {
  const last = figures.last;
  const now = figures.all;
  const facts = [
    ["version", overview.version],
    ["OpenVINO", overview.openvino.split("-")[0]],
    ["up", uptimeText(overview.uptime_seconds)],
    ...(now ? [["predictions/s", rateText(now.ok + now.failed)]] : []),
    ...Object.entries(last?.connections ?? {}).map(([name, count]) => [`${name} connections`, String(count)]),
    ...(last ? [["refused", String(Object.values(last.refused).reduce((sum, count) => sum + count, 0))]] : []),
  ];
  server.replaceChildren(...facts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text))));
}

function uptimeText(seconds) {
  const [days, hours, minutes] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60].map(Math.floor);
  if (days) return `${days} d ${hours} h`;
  return hours ? `${hours} h ${minutes} min` : minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

keyForm.onsubmit = (event) => {
  event.preventDefault();
  const field = keyForm.querySelector("input");
  setKey(field.value.trim());
  field.value = "";
  waitsForKey = wantsKey = false;
  figuresRefused = "";
  look();
};
whenKeyIsNeeded(() => {
  wantsKey = true;
  keyForm.hidden = false;
});
document.onvisibilitychange = () => {
  if (!document.hidden && timer === null) look();
};
look();
