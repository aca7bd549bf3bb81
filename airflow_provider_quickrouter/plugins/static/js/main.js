// The page: asks for cards, shows them, and asks again while something is on its way.

import { load, Trouble } from "./api.js";
import { tick } from "./card.js";
import { el } from "./dom.js";
import { Feature } from "./feature.js";
import { Grid } from "./grid.js";
import { Lightbox } from "./lightbox.js";
import { barrenNotice, emptyNotice, nothingFound, troubleNotice } from "./notices.js";
import { Pager } from "./pager.js";
import { here } from "./params.js";
import { followTheme } from "./theme.js";
import { Toolbar } from "./toolbar.js";

const LIMIT = 48;
const SOON = 3000;
const LATE = 30_000;

const wanted = { state: null, q: "", offset: 0, limit: LIMIT };
let page = { cards: [] };
let asked = 0;
let pause = SOON;
let timer;
let ahead = 0;

const root = document.getElementById("gallery");
const notes = el("div", { class: "notes" });
const lightbox = new Lightbox(({ card, n }) => (feature.node.hidden ? grid.focus(card.key, n) : feature.focus(n)));
const open = (card, n) => lightbox.open(page.cards, card, n, ahead);
const grid = new Grid(open);
const feature = new Feature(open);
const toolbar = new Toolbar((choice) => choose(choice));
const pager = new Pager((to) => turn(to));

function choose(choice) {
  Object.assign(wanted, choice, { offset: 0 });
  refresh();
}

async function turn(to) {
  wanted.offset = (to - 1) * LIMIT;
  await refresh();
  window.scrollTo({ top: 0 });
}

async function refresh() {
  const mine = (asked += 1);
  clearTimeout(timer);
  root.setAttribute("aria-busy", "true");
  try {
    const answer = await load(wanted);
    if (mine === asked) show(answer);
  } catch (trouble) {
    if (mine === asked) complain(trouble);
  }
  if (mine === asked) root.setAttribute("aria-busy", "false");
}

function show(answer) {
  const changed = JSON.stringify(answer.cards) !== JSON.stringify(page.cards);
  page = answer;
  ahead = Date.parse(page.now) - Date.now();
  toolbar.show(page, wanted);
  showCards();
  pager.show(page);
  notes.replaceChildren(...notesOf(page));
  tick(root, ahead);
  pause = changed ? SOON : Math.min(LATE, pause * 1.3);
  plan();
}

function showCards() {
  const alone = here.taskId !== null && page.all === 1;
  toolbar.node.hidden ||= alone;
  feature.show(alone ? page.cards[0] : null, ahead);
  grid.show(alone ? [] : page.cards);
}

function notesOf({ all, total, failed_tasks }) {
  const barren = failed_tasks ? [barrenNotice(page)] : [];
  if (!all) return [emptyNotice(page, here.taskId !== null), ...barren];
  return total ? barren : [nothingFound(() => choose({ state: null, q: "" })), ...barren];
}

// What is shown stays, unless it may no longer be.
function complain(trouble) {
  if (!(trouble instanceof Trouble)) throw trouble;
  if ([401, 403, 404].includes(trouble.status)) forget();
  notes.replaceChildren(troubleNotice(trouble, refresh));
  pause = Math.min(LATE, pause * 2);
  if (trouble.status === 0 || trouble.status >= 500) plan();
}

function forget() {
  page = { cards: [], live: false };
  showCards();
  toolbar.node.hidden = true;
  pager.node.hidden = true;
}

// Nothing is asked while nobody looks, or once all is over.
function plan() {
  clearTimeout(timer);
  if (page.live && document.visibilityState === "visible") timer = setTimeout(refresh, pause);
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && page.live) refresh();
  else clearTimeout(timer);
});
setInterval(() => tick(document, ahead), 1000);

followTheme();
root.classList.toggle("one-task", here.taskId !== null);
root.replaceChildren(toolbar.node, notes, feature.node, grid.node, pager.node);
document.body.append(lightbox.node);
refresh();
