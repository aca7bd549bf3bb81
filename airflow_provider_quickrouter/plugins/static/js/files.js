// The files of a card: their properties and buttons.

import { fileUrl } from "./api.js";
import { button, el } from "./dom.js";
import { bytes, moment, pixels, plural } from "./format.js";
import { download, openTab } from "./host.js";
import { icon } from "./icons.js";

const save = (item) => () => download(fileUrl(item, "full", true));
const original = (item) => () => openTab(fileUrl(item, "full"));
const weight = (item) => [item.type, bytes(item.size)].filter(Boolean).join(", ");

// `tick` writes its text.
function expiry(card) {
  return card.expires_at && el("span", { "data-until": card.expires_at, title: moment(card.expires_at) });
}

const hidden = ({ private: count }) => count > 0 && plural(count, "file in a private network", "files in a private network");

// Airflow serves other files as downloads only.
const opens = ({ served, kind }) => served && !["text", "file"].includes(kind);

export function actionsOf(card, item) {
  const made = [];
  if (item?.served) made.push(button("Download", save(item), { class: "solid" }, icon("download"), "Download"));
  if (item && opens(item)) made.push(button("Open the original in a tab", original(item), {}, icon("external"), "Original"));
  if (item?.url) {
    const props = { class: "solid", "data-until": card.expires_at };
    made.push(button("Open at the gateway", () => openTab(item.url), props, icon("external"), "At the gateway"));
  }
  if (card.url) made.push(button("Open the prediction's page", () => openTab(card.url), {}, icon("external"), "Prediction"));
  return made.length ? el("div", { class: "actions" }, made) : null;
}

export function factsOf(card, item) {
  if (!item?.path) return [["Expires", expiry(card)], ["Not shown", hidden(card)]];
  return [
    ["Size", pixels(item)],
    ["File", weight(item)],
    ["Stored at", el("code", {}, item.path)],
  ];
}

// One row for each of several files. If one picture is shown, its row is marked, and only this row
// shows the path.
export function filesOf(card, items, shown) {
  if (!items.length) return [];
  const rows = items.map((item, n) => row(card, item, n, shown));
  return [el("div", {}, el("h3", {}, plural(items.length, "file")), el("ol", { class: "files" }, rows))];
}

function row(card, item, n, shown) {
  const about = [item.key, pixels(item), weight(item)].filter(Boolean).join(", ");
  const where = (shown === null || shown === n || !about) && el("code", {}, item.path ?? item.url);
  const text = el("div", {}, about, where);
  return el("li", { "aria-current": shown === n && "true" }, el("span", { class: "n" }, n + 1), text, ...buttons(card, item, n + 1));
}

function buttons(card, item, n) {
  const ghost = { class: "ghost" };
  if (!item.path) {
    const props = { ...ghost, "data-until": card.expires_at };
    return [button(`Open file ${n} at the gateway`, () => openTab(item.url), props, icon("external"))];
  }
  return [
    item.served && button(`Download file ${n}`, save(item), ghost, icon("download")),
    opens(item) && button(`Open the original of file ${n} in a tab`, original(item), ghost, icon("external")),
  ];
}
