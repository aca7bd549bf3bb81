// The page: requests cards, shows them, and requests them again while predictions are running.

import { load, ApiError } from "./api.js";
import { tick } from "./card.js";
import { el } from "./dom.js";
import { Feature } from "./feature.js";
import { Grid } from "./grid.js";
import { Lightbox } from "./lightbox.js";
import { failedTasksNotice, emptyNotice, nothingFound, errorNotice, unreadableNotice } from "./notices.js";
import { Pager } from "./pager.js";
import { here } from "./params.js";
import { followTheme } from "./theme.js";
import { Toolbar } from "./toolbar.js";

const LIMIT = 48;
const SHORTEST_PAUSE = 3000;
const LONGEST_PAUSE = 30_000;

const wanted = { state: null, q: "", offset: 0, limit: LIMIT };
let page = { cards: [] };
let latest = 0;
let pause = SHORTEST_PAUSE;
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
  const mine = (latest += 1);
  clearTimeout(timer);
  root.setAttribute("aria-busy", "true");
  try {
    const response = await load(wanted);
    if (mine === latest) show(response);
  } catch (error) {
    if (mine === latest) showError(error);
  }
  if (mine === latest) root.setAttribute("aria-busy", "false");
}

function show(response) {
  const changed = JSON.stringify(response.cards) !== JSON.stringify(page.cards);
  page = response;
  ahead = Date.parse(page.now) - Date.now();
  toolbar.show(page, wanted);
  showCards();
  pager.show(page);
  notes.replaceChildren(...notesOf(page));
  tick(root, ahead);
  pause = changed ? SHORTEST_PAUSE : Math.min(LONGEST_PAUSE, pause * 1.3);
  scheduleRefresh();
}

function showCards() {
  const alone = here.taskId !== null && page.all === 1;
  toolbar.node.hidden ||= alone;
  feature.show(alone ? page.cards[0] : null, ahead);
  grid.show(alone ? [] : page.cards);
}

function notesOf({ all, total, failed_tasks, unreadable }) {
  const failures = failed_tasks ? [failedTasksNotice(page)] : [];
  if (all && unreadable) failures.push(unreadableNotice(page));
  if (!all) return [emptyNotice(page, here.taskId !== null), ...failures];
  return total ? failures : [nothingFound(() => choose({ state: null, q: "" })), ...failures];
}

// The cards stay, unless the user has no access to them any more.
function showError(error) {
  if (!(error instanceof ApiError)) throw error;
  if ([401, 403, 404].includes(error.status)) clear();
  notes.replaceChildren(errorNotice(error, refresh));
  pause = Math.min(LONGEST_PAUSE, pause * 2);
  if (error.status === 0 || error.status >= 500) scheduleRefresh();
}

function clear() {
  page = { cards: [], live: false };
  showCards();
  toolbar.node.hidden = true;
  pager.node.hidden = true;
}

// No requests while the page is hidden, or when all predictions have ended.
function scheduleRefresh() {
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
