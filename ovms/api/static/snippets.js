// The same request from elsewhere: as a curl command, and in Python through ovms_client.

import { urlOf } from "./client.js";
import { pythonString, toAscii, toPython } from "./json.js";
import { DTYPES } from "./tensors.js";

export const REQUEST_FILE = "request.json";
const MOST_INLINE = 4000; // characters

export function needsFile(body) {
  return body.length > MOST_INLINE;
}

function shellQuoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

// keys: whether the server needs one.
export function curlCommand(path, body, keys) {
  const words = ["curl"];
  if (keys) words.push('-H "Authorization: Bearer $KEY"');
  words.push("--data-binary", needsFile(body) ? `@${REQUEST_FILE}` : shellQuoted(toAscii(body)), shellQuoted(urlOf(path)));
  return words.join(" ");
}

// inputs: {name, dtype, text} each; target: {version} or {label} or neither; server: its overview.
export function pythonSnippet(model, target, inputs, body, { grpc, keys }) {
  const inFile = (input) => needsFile(body) && input.dtype !== "DT_STRING";
  const values = inputs.map(({ name, dtype, text }) => {
    const value = inFile({ dtype }) ? `sent[${pythonString(name)}]` : toPython(text);
    return `    ${pythonString(name)}: np.array(${value}, ${DTYPES[dtype]?.[1] ?? "None"}),\n`;
  });
  const client = [pythonString(`${location.hostname}:${grpc.port}`)];
  if (grpc.tls) client.push("credentials=grpc.ssl_channel_credentials()");
  if (keys) client.push('api_key=os.environ["KEY"]');
  const call = [pythonString(model), "inputs"];
  if (target.version) call.push(`version=${target.version}`);
  if (target.label) call.push(`label=${pythonString(target.label)}`);
  const fromFile = inputs.some(inFile);
  const standard = [
    ...(values.some((value) => value.includes("base64.b64decode(")) ? ["base64"] : []),
    ...(fromFile ? ["json"] : []),
    ...(keys ? ["os"] : []),
  ];
  const others = [
    ...(grpc.tls ? ["import grpc"] : []),
    ...(inputs.some(({ dtype }) => dtype === "DT_BFLOAT16") ? ["import ml_dtypes"] : []),
    "import numpy as np",
    "from ovms_client import Client",
  ];
  return [
    ...(standard.length ? [standard.map((name) => `import ${name}`).join("\n") + "\n"] : []),
    others.join("\n") + "\n",
    ...(fromFile ? [`with open(${pythonString(REQUEST_FILE)}) as file:\n    sent = json.load(file)["inputs"]`] : []),
    `inputs = {\n${values.join("")}}`,
    `with Client(${client.join(", ")}) as client:\n    print(client.predict(${call.join(", ")}))`,
  ].join("\n") + "\n";
}
