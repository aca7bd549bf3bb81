// Above the pictures: filters with their counts, the search, and the progress of the run.

import { button, el } from "./dom.js";
import { STATES, amount, number, plural } from "./format.js";
import { icon } from "./icons.js";

const PAUSE = 250;

export class Toolbar {
  constructor(choose) {
    this.choose = choose;
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Show only" });
    this.input = this.searchInput();
    this.status = el("span", { class: "status", role: "status" });
    this.bar = el("div", { class: "progress", role: "progressbar", "aria-label": "Finished predictions", "aria-valuemin": 0 }, el("span"));
    this.cost = el("span", { class: "cost", title: "In the unit of the prices in the connection" });
    const search = el("label", { class: "search" }, icon("search"), this.input);
    this.node = el("header", { class: "toolbar", hidden: true }, this.chips, this.status, this.cost, search, this.bar);
  }

  searchInput() {
    const props = { type: "search", placeholder: "Search prompts", "aria-label": "Search prompts", maxlength: 200, spellcheck: "false" };
    const input = el("input", props);
    let timer;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.choose({ q: input.value.trim() }), PAUSE);
    });
    return input;
  }

  show(page, wanted) {
    this.node.hidden = !page.all;
    const chosen = this.chips.contains(document.activeElement) && document.activeElement.dataset.state;
    this.chips.replaceChildren(...this.chipsOf(page, wanted));
    if (chosen !== false) this.chips.querySelector(`[data-state="${chosen}"]`)?.focus();
    if (document.activeElement !== this.input) this.input.value = wanted.q;
    this.cost.textContent = page.cost === null ? "" : `Cost: ${amount(page.cost)}`;
    this.progress(page);
  }

  chipsOf(page, wanted) {
    const counts = Object.entries(STATES).map(([state, { word }]) => [state, word, page.counts[state] ?? 0]);
    const all = ["", "All", counts.reduce((sum, [, , count]) => sum + count, 0)];
    const shown = [all, ...counts.filter(([state, , count]) => count || state === wanted.state)];
    return shown.map(([state, word, count]) => {
      const props = { class: "chip", "data-state": state, "aria-pressed": String(state === (wanted.state ?? "")), title: null };
      const amount = el("span", { class: "count" }, number(count));
      return button(`${word}: ${count}`, () => this.choose({ state: state || null }), props, word, amount);
    });
  }

  progress({ live, all, over, coming }) {
    const whole = all + coming;
    this.bar.hidden = !live;
    this.bar.setAttribute("aria-valuemax", whole);
    this.bar.setAttribute("aria-valuenow", over);
    this.bar.firstChild.style.setProperty("width", `${whole ? (100 * over) / whole : 0}%`);
    const text = live ? `${number(over)} of ${plural(whole, "prediction")} finished` : "";
    if (this.status.textContent !== text) this.status.textContent = text;
  }
}
