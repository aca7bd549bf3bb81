// The box of a card with its pictures, or with a placeholder.

import { fileUrl, reasonOf } from "./api.js";
import { breakable, button, el } from "./dom.js";
import { moment, plural } from "./format.js";
import { icon } from "./icons.js";
import { textBox } from "./text.js";

const IN_MOSAIC = 4;
const PRIVATE = "The output names an address in a private network, which the browser does not request.";
export const REMEDY = "Store outputs with output_path= or QuickRouterToObjectStorageOperator.";

// An output without files is a text, whether it is stored or not.
export function mediaOf({ stored, live, text }) {
  if (!text || live.length || stored.length > 1) return [...stored, ...live];
  return stored[0]?.kind === "text" || !stored.length ? [{ kind: "text", ...stored[0], text }] : stored;
}

export const sourceOf = (item, size) => item.url ?? fileUrl(item, size);

export function frameOf(card, open) {
  const items = mediaOf(card);
  return el("div", { class: "frame" }, items.length ? mosaic(card, items, open) : blank(card, open));
}

function mosaic(card, items, open) {
  const shown = items.slice(0, IN_MOSAIC);
  const more = items.length - shown.length;
  const shots = shown.map((item, n) => shot(card, item, n, items.length, open));
  if (more) shots.at(-1).append(el("span", { class: "more" }, `+${more}`));
  const tally = items.length > 1 && el("span", { class: "tally" }, counted(items));
  return [el("div", { class: `mosaic of-${shown.length}` }, shots), tally, card.live.length > 0 && unstored(card)];
}

// `tick` adds the hour.
export function unstored({ expires_at }) {
  const props = { class: "unstored", "data-until": expires_at, title: expires_at ? moment(expires_at) : REMEDY };
  return el("span", props, icon("clock"), "Not stored");
}

function counted(items) {
  return plural(items.length, items.every(({ kind }) => kind === "image") ? "picture" : "file");
}

function shot(card, item, n, count, open) {
  const word = item.kind === "image" ? "picture" : item.kind;
  const which = count > 1 ? `${word} ${n + 1} of ${count}` : word;
  const label = `Open ${which}: ${card.prompt ?? card.key}`;
  return button(label, () => open(card, n), { class: "shot", title: null }, medium(item, "thumb"));
}

export function medium(item, size) {
  if (item.kind === "image") return image(item, size);
  if (item.kind === "text") return textBox(item, size);
  const controls = size === "full";
  if (item.kind === "audio" && !controls) return fileNote("sound", item, "");
  if (item.kind === "file") return fileNote("file", item, "No preview");
  const props = { src: sourceOf(item, "full"), preload: "metadata", muted: !controls, controls };
  return el(item.kind, { class: "medium", ...props });
}

const fileNote = (sign, item, text) => el("span", { class: "note" }, icon(sign), el("strong", {}, item.type || "File"), text);

function image(item, size) {
  const lazy = size === "thumb" ? { loading: "lazy" } : {};
  const node = el("img", { class: "medium", alt: "", ...lazy, decoding: "async" });
  if (item.width && item.height && size === "full") [node.width, node.height] = [item.width, item.height];
  node.addEventListener("load", () => node.classList.add("loaded"));
  node.addEventListener("error", () => showLoadError(node, item, size));
  node.src = sourceOf(item, size);
  return node;
}

async function showLoadError(node, item, size) {
  if (item.url) {
    node.closest(".frame")?.querySelector(".unstored")?.remove();
    return node.replaceWith(gone());
  }
  const note = el("span", { class: "note broken" }, icon("warning"), "This picture could not be loaded.");
  node.replaceWith(note);
  const reason = await reasonOf(fileUrl(item, size));
  if (reason) note.lastChild.data = reason;
}

// Not an error: the gateway deletes files after an hour.
function gone() {
  const text = "The gateway has deleted this picture";
  return el("span", { class: "note gone" }, icon("clock"), el("strong", {}, text), el("span", {}, breakable(REMEDY)));
}

function blank(card, open) {
  const { text, sign, hint } = placeholderOf(card);
  const label = `Open details: ${card.prompt ?? card.key}`;
  const parts = [icon(sign), el("strong", {}, text), hint && el("span", { class: "hint" }, breakable(hint))];
  const bar = card.state === "running" && el("span", { class: "bar", role: "presentation" });
  return button(label, () => open(card, 0), { class: `shot blank ${card.state}`, title: null }, ...parts, bar);
}

export function placeholderOf(card) {
  if (card.state === "running") return { text: waiting(card), sign: "spark", hint: "" };
  if (card.state === "failed") return { text: "Failed", sign: "warning", hint: card.error || "The gateway gave no reason." };
  if (card.state === "canceled") return { text: "Canceled", sign: "stop", hint: card.error };
  if (card.state === "lost") return lost(card);
  if (card.expired) return { text: expiredText(card.expired), sign: "clock", hint: REMEDY };
  if (card.private) return { text: "Not shown", sign: "lock", hint: `${PRIVATE} ${REMEDY}` };
  return { text: "No pictures", sign: "image", hint: "The output contains no files." };
}

const expiredText = (since) => (since === true ? "Expired" : `Expired at ${moment(since)}`);

const waiting = (card) => (card.status === "processing" ? "Processing" : "Waiting for the model");

function lost(card) {
  if (card.task_state === "failed") {
    return { text: "The task failed before the prediction ended", sign: "warning", hint: "See the task's log." };
  }
  const hint = `No task waits for it. Its last known state is ${card.status || "unknown"}.`;
  return { text: "Its end is unknown", sign: "warning", hint };
}

export function placeholderBox({ text, sign, hint }, card) {
  const bar = card.state === "running" && el("span", { class: "bar", role: "presentation" });
  return el("div", { class: `words ${card.state}` }, icon(sign), el("strong", {}, text), hint && el("p", {}, breakable(hint)), bar);
}
