// Elements are made here and nowhere else. Text becomes a text node: nothing that somebody wrote
// into a prompt, a model's name or an error can become markup.

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

// Long names of classes may be broken where a new word begins.
export function breakable(text) {
  const parts = text.split(/(?<=[a-z])(?=[A-Z])/);
  return parts.flatMap((part, at) => (at ? [el("wbr"), part] : [part]));
}

export function button(label, click, props = {}, ...children) {
  const named = children.length ? { "aria-label": label, title: label } : {};
  return el("button", { type: "button", ...named, ...props, on: { click } }, ...(children.length ? children : [label]));
}
