// One card: pictures, prompt, model, state, time.

import { fileUrl } from "./api.js";
import { button, el } from "./dom.js";
import { STATES, hour, left, seconds, stateWord, taskName } from "./format.js";
import { frameOf } from "./frame.js";
import { download, openTab } from "./host.js";
import { icon } from "./icons.js";

const SOON = 10 * 60;

export function badge(card) {
  return el("span", { class: `badge ${card.state}` }, icon(STATES[card.state].icon), stateWord(card));
}

export function promptText(card) {
  if (card.prompt) return el("p", { class: "prompt", title: card.prompt }, card.prompt);
  return el("p", { class: "prompt absent" }, "Airflow has not stored the prompt");
}

export function timeOf(card) {
  if (card.state !== "running") return el("span", { class: "time" }, seconds(card.total ?? card.run));
  return el("span", { class: "time ticking", "data-since": card.created_at ?? "" });
}

export function downloadButton(card) {
  const first = card.stored.find(({ served }) => served);
  const many = card.stored.length > 1 ? ` file ${card.stored.indexOf(first) + 1} of ${card.stored.length}` : "";
  if (first) return button(`Download${many}`, () => download(fileUrl(first, "full", true)), { class: "ghost" }, icon("download"));
  const [linked] = card.live;
  const props = { class: "ghost", "data-until": card.expires_at };
  return linked && button("Open at the gateway", () => openTab(linked.url), props, icon("external"));
}

const name = (model) => model.split("/").at(-1);

function meta(card) {
  const facts = [card.model && el("span", { title: card.model }, name(card.model))];
  if (card.seed !== null) facts.push(el("span", { class: "fixed" }, `seed ${card.seed}`));
  facts.push(el("span", { title: taskName(card) }, taskName(card)));
  return el("p", { class: "meta" }, facts);
}

export function cardOf(card, open) {
  const foot = el("div", { class: "foot" }, badge(card), timeOf(card), el("span", { class: "push" }), downloadButton(card));
  const body = el("div", { class: "body" }, promptText(card), meta(card), foot);
  return el("li", { class: `card ${card.state}`, "data-key": card.key }, frameOf(card, open), body);
}

// Uses the server's clock, since the server wrote the times.
export function tick(root, ahead) {
  for (const node of root.querySelectorAll(".ticking")) {
    const since = Date.parse(node.dataset.since);
    if (since) node.textContent = seconds(Math.max(0, (Date.now() + ahead - since) / 1000));
  }
  for (const node of root.querySelectorAll("[data-until]")) {
    expire(node, (Date.parse(node.dataset.until) - Date.now() - ahead) / 1000);
  }
}

// Hides a button to an expired file.
function expire(node, rest) {
  if (node.matches("button")) node.hidden = rest <= 0;
  else if (node.matches(".unstored")) warn(node, rest);
  else node.textContent = rest > 0 ? `in ${left(rest)}` : "expired";
}

function warn(node, rest) {
  node.classList.toggle("soon", rest < SOON);
  node.lastChild.data = `Not stored, ${rest > 0 ? "expires" : "expired"} at ${hour(node.dataset.until)}`;
}
