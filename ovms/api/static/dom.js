// Elements made of properties and text. Nothing here reads text as markup, and the page's policy lets nothing do so: what
// it shows comes from models and may be hostile.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// Sets a text only if it is another one, so that what is selected stays selected.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function select(options, chosen) {
  const made = element("select");
  setOptions(made, options, chosen);
  return made;
}

// options: [value, text] each.
export function setOptions(node, options, chosen = node.value) {
  node.replaceChildren(...options.map(([value, text]) => element("option", { value }, text)));
  if (options.some(([value]) => value === chosen)) node.value = chosen;
}

export function labelled(text, control) {
  return element("label", {}, `${text} `, control);
}
