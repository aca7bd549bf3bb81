// The details of a card, next to its picture.

import { badge, timeOf } from "./card.js";
import { breakable, button, el } from "./dom.js";
import { actionsOf, factsOf, filesOf } from "./files.js";
import { amount, moment, seconds, taskName } from "./format.js";
import { REMEDY, mediaOf, placeholderOf, unstored } from "./frame.js";
import { goTo } from "./host.js";
import { icon } from "./icons.js";
import { here } from "./params.js";

function facts(pairs) {
  const known = pairs.filter(([, value]) => value || value === 0);
  return el("dl", { class: "facts" }, known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function taskLink(card) {
  const mapped = card.map_index < 0 ? "" : `/mapped/${card.map_index}`;
  const [dag, run, task] = [here.dagId, here.runId, card.task_id].map(encodeURIComponent);
  return button(taskName(card), () => goTo(`dags/${dag}/runs/${run}/tasks/${task}${mapped}`), { class: "link" });
}

async function copy(text, node, label) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    fallback(text);
  }
  node.lastChild.data = "Copied";
  setTimeout(() => (node.lastChild.data = label), 1500);
}

// Without HTTPS, or in a frame without permission, `navigator.clipboard` does not exist.
function fallback(text) {
  const around = document.querySelector("dialog[open]") ?? document.body;
  const area = el("textarea", { value: text, class: "unseen" });
  around.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function copyButton(text, what, label = "Copy") {
  const node = button(`Copy ${what}`, () => copy(text, node, label), { class: "small" }, icon("copy"), label);
  return node;
}

function prompt(card) {
  if (!card.prompt) return el("p", { class: "absent" }, "Airflow has not stored the prompt: it was deleted, or the task has no such field.");
  const head = el("div", { class: "row" }, el("h3", {}, "Prompt"), copyButton(card.prompt, "prompt"));
  return el("div", { class: "full-prompt" }, head, el("p", {}, card.prompt));
}

// Without a picture, its placeholder shows this already.
function problem(card) {
  if (card.live.length) return el("div", { class: "problem succeeded" }, unstored(card), el("p", {}, breakable(REMEDY)));
  if (card.state === "succeeded" || card.state === "running" || !mediaOf(card).length) return null;
  const { text, hint } = placeholderOf(card);
  return el("div", { class: `problem ${card.state}` }, el("strong", {}, text), hint && el("p", {}, hint));
}

function timing(card) {
  if (card.state === "running") return [["Since", moment(card.created_at)], ["For", timeOf(card)]];
  const parts = [["Queue", seconds(card.queue)], ["Run", seconds(card.run)], ["Total", seconds(card.total)]];
  return [...parts, ["Created", card.created_at && moment(card.created_at)]];
}

function inputs(card) {
  const others = Object.entries(card.inputs);
  const python = card.python && copyButton(card.python, "the whole input as Python", "Copy as Python");
  if (!others.length && !python) return [];
  const head = el("div", { class: "row" }, el("h3", {}, others.length ? "Other inputs" : "Input"), python);
  return [head, others.length && facts(others)];
}

// `n` is the picture that is shown next to it, or null if all of them are.
export function detailsOf(card, n) {
  const items = mediaOf(card);
  const only = items.length === 1 ? items[0] : null;
  const known = [
    ["Model", card.model],
    ["Seed", card.seed],
    ...factsOf(card, only),
    ...timing(card),
    ["Cost", amount(card.cost)],
    ["Task", taskLink(card)],
    ["Attempt", card.try_number > 1 ? card.try_number : null],
    ["Prediction", card.id && el("code", {}, card.id)],
  ];
  const files = only ? [] : filesOf(card, items, n);
  return [el("div", { class: "row" }, badge(card)), problem(card), prompt(card), actionsOf(card, only), ...files, facts(known), ...inputs(card)].filter(Boolean);
}
