// The box of a card in which its pictures are, or what is to be said in their place.

import { fileUrl, whyNot } from "./api.js";
import { breakable, button, el } from "./dom.js";
import { moment, plural } from "./format.js";
import { icon } from "./icons.js";

const IN_MOSAIC = 4;
const REMEDY = "Store outputs with output_path= or QuickRouterToObjectStorageOperator.";

export const mediaOf = (card) => [...card.stored, ...card.live];

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
  return [el("div", { class: `mosaic of-${shown.length}` }, shots), tally];
}

function counted(items) {
  return plural(items.length, items.every(({ kind }) => kind === "image") ? "picture" : "file");
}

function shot(card, item, n, count, open) {
  const which = count > 1 ? `picture ${n + 1} of ${count}` : "picture";
  const label = `Open ${which}: ${card.prompt ?? card.key}`;
  return button(label, () => open(card, n), { class: "shot", title: null }, medium(item, "thumb"));
}

export function medium(item, size) {
  if (item.kind === "image") return image(item, size);
  if (item.kind === "file") return el("span", { class: "note" }, icon("image"), "A file that is no picture");
  const controls = size === "full";
  const props = { src: sourceOf(item, "full"), preload: "metadata", muted: !controls, controls };
  return el(item.kind, { class: "medium", ...props });
}

function image(item, size) {
  const lazy = size === "thumb" ? { loading: "lazy" } : {};
  const node = el("img", { class: "medium", alt: "", ...lazy, decoding: "async" });
  if (item.width && item.height && size === "full") [node.width, node.height] = [item.width, item.height];
  node.addEventListener("load", () => node.classList.add("loaded"));
  node.addEventListener("error", () => excuse(node, item, size));
  node.src = sourceOf(item, size);
  return node;
}

async function excuse(node, item, size) {
  if (item.url) return node.replaceWith(gone());
  const said = el("span", { class: "note broken" }, icon("warning"), "This picture could not be loaded.");
  node.replaceWith(said);
  const why = await whyNot(fileUrl(item, size)).catch(() => "");
  if (why) said.lastChild.data = why;
}

// Nothing has failed: a gateway keeps no file for long.
function gone() {
  const text = "The gateway does not give this picture any more";
  return el("span", { class: "note gone" }, icon("clock"), el("strong", {}, text), el("span", {}, breakable(REMEDY)));
}

function blank(card, open) {
  const { text, sign, hint } = excuseOf(card);
  const label = `Open details: ${card.prompt ?? card.key}`;
  const said = [icon(sign), el("strong", {}, text), hint && el("span", { class: "hint" }, breakable(hint))];
  const bar = card.state === "running" && el("span", { class: "bar", role: "presentation" });
  return button(label, () => open(card, 0), { class: `shot blank ${card.state}`, title: null }, ...said, bar);
}

export function excuseOf(card) {
  if (card.state === "running") return { text: waiting(card), sign: "spark", hint: "" };
  if (card.state === "failed") return { text: "Failed", sign: "warning", hint: card.error || "The gateway gave no reason." };
  if (card.state === "canceled") return { text: "Canceled", sign: "stop", hint: card.error };
  if (card.state === "lost") return lost(card);
  if (card.expired) return { text: `Expired at ${moment(card.expired)}`, sign: "clock", hint: REMEDY };
  return { text: "No pictures", sign: "image", hint: "The output holds no file." };
}

const waiting = (card) => (card.status === "processing" ? "In the making" : "Waiting for the model");

function lost(card) {
  if (card.task_state === "failed") {
    return { text: "Its task failed before it saw the end", sign: "warning", hint: "The task's log says why." };
  }
  const hint = `No task waits for it any more; last seen ${card.status || "in an unknown state"}.`;
  return { text: "Not followed to its end", sign: "warning", hint };
}

export function wordsOf({ text, sign, hint }, card) {
  const bar = card.state === "running" && el("span", { class: "bar", role: "presentation" });
  return el("div", { class: `words ${card.state}` }, icon(sign), el("strong", {}, text), hint && el("p", {}, breakable(hint)), bar);
}
