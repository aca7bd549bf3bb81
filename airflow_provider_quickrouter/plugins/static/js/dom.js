// Only this file creates elements. Strings become text nodes, so prompts, names of models and errors
// from outside cannot become markup.

const DIRECT = new Set(["value", "hidden", "disabled", "src", "loading", "decoding", "muted"]);

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) set(node, name, value);
  node.append(...children.flat().filter((child) => child || child === 0));
  return node;
}

function set(node, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (name === "on") for (const [event, call] of Object.entries(value)) node.addEventListener(event, call);
  else if (name === "class") node.className = value;
  else if (DIRECT.has(name)) node[name] = value;
  else node.setAttribute(name, value === true ? "" : value);
}

// Allows line breaks between the words of a class name.
export function breakable(text) {
  const parts = text.split(/(?<=[a-z])(?=[A-Z])/);
  return parts.flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
}

export function button(label, click, props = {}, ...children) {
  const named = children.length ? { "aria-label": label, title: label } : {};
  return el("button", { type: "button", ...named, ...props, on: { click } }, ...(children.length ? children : [label]));
}
