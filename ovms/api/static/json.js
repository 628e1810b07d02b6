// The server's JSON, which has NaN and infinities, and numbers that JavaScript has not; so it is handled as text.

const STRING = String.raw`"[^"\\]*(?:\\[^][^"\\]*)*"`;
const SPECIAL = new RegExp(`${STRING}|NaN|-?Infinity|-?Inf`, "g");
const WORDS = new RegExp(String.raw`\{\s*"b64"\s*:\s*(${STRING})\s*\}|(${STRING})|-?Infinity|-?Inf|[A-Za-z]+`, "g");
const PYTHON = {
  true: "True", false: "False", null: "None",
  NaN: "np.nan", Infinity: "np.inf", "-Infinity": "-np.inf", Inf: "np.inf", "-Inf": "-np.inf",
};

// What a text stands for; null in place of NaN and infinities. SyntaxError if it is no JSON.
export function parse(text) {
  return JSON.parse(text.replace(SPECIAL, (token) => (token[0] === '"' ? token : "null")));
}

// The same JSON in ASCII.
export function toAscii(text) {
  return text.replace(/[^\x00-\x7e]/g, (unit) => "\\u" + unit.charCodeAt(0).toString(16).padStart(4, "0"));
}

// A Python literal for a string.
export function pythonString(text) {
  const escaped = (character) => {
    const code = character.codePointAt(0);
    return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  };
  return JSON.stringify(text).replace(/[^\x20-\x7e]/gu, escaped);
}

// The Python expression for a JSON text that parse() takes; numbers stay as they are spelled.
export function toPython(text) {
  return text.replace(WORDS, (token, packed, string) => {
    if (packed !== undefined) return `base64.b64decode(${pythonString(JSON.parse(packed))})`;
    return string !== undefined ? pythonString(JSON.parse(string)) : (PYTHON[token] ?? token);
  });
}
