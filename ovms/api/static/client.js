// Asks the server that the page came from.

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export class Unreachable extends Error {}

const SECONDS = 20;

// In this variable and nowhere else: it goes with the page.
let key = "";

// What is done when a call needs a key that the page has not: a browser's password does for looking, not for predictions.
let onNeed = () => {};

export function setKey(text) {
  key = text;
}

export function hasKey() {
  return key !== "";
}

export function whenKeyIsNeeded(action) {
  onNeed = action;
}

// Where a path of the server is; relative to the page, which a proxy may have moved.
export function urlOf(path) {
  return new URL(path, new URL(".", location.href)).href;
}

// The text of an answer; Refused if it is an error, with the server's own words; Unreachable if there is none, or for a
// GET none within SECONDS.
export async function ask(path, body) {
  const get = body === undefined;
  const url = urlOf(path);
  const options = {
    ...(get ? { signal: AbortSignal.timeout(SECONDS * 1000) } : { method: "POST", body }),
    headers: { ...(key ? { "X-API-Key": key } : {}), ...(get ? {} : { "Content-Type": "application/json" }) },
    cache: "no-store",
    redirect: "error",
  };
  let answer, text;
  try {
    answer = await fetch(url, options);
    text = await answer.text();
  } catch (error) {
    throw new Unreachable(`the server does not answer: ${error.message}`);
  }
  if (answer.status === 401) onNeed();
  if (!answer.ok) throw new Refused(answer.status, errorIn(text) ?? `HTTP ${answer.status}`);
  return text;
}

function errorIn(text) {
  try {
    const error = JSON.parse(text).error;
    return typeof error === "string" ? error : null; // another program's answer, such as a proxy's
  } catch {
    return null;
  }
}
