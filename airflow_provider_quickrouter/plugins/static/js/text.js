// A text or JSON: in a card its beginning, else the whole.

import { fileUrl, loadText } from "./api.js";
import { el } from "./dom.js";

const BEGINNING = 600; // characters in a card
const LARGEST = 1_000_000; // bytes of a text that is loaded whole
const REST = "\n\n[This is the beginning. Download the file to read all of it.]";

export function textBox(item, size) {
  const whole = size === "full";
  const node = el(whole ? "pre" : "span", { class: "medium text", tabindex: whole ? "0" : null });
  fill(node, whole ? item.text : item.text?.slice(0, BEGINNING));
  if (item.path && !item.served) fill(node, item.size ? "The text is too large to be shown." : "The text is empty.");
  else if (item.path && (whole || !item.text)) load(node, item, whole);
  return node;
}

function fill(node, text = "") {
  node.textContent = text;
  node.classList.toggle("json", /^[[{]/.test(text));
}

async function load(node, item, whole) {
  const cut = item.size > LARGEST;
  try {
    const text = await loadText(fileUrl(item, whole && !cut ? "full" : "thumb"));
    fill(node, whole && cut ? text + REST : text);
  } catch (error) {
    if (!node.textContent) fill(node, error.message || "This text could not be loaded.");
  }
}
