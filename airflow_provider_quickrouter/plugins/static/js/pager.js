// The buttons for other pages.

import { button, el } from "./dom.js";
import { number } from "./format.js";
import { icon } from "./icons.js";

// The first and last pages, and those next to the current one; null is a gap.
export function pagesAround(page, count) {
  const near = [1, 2, page - 1, page, page + 1, count - 1, count];
  const shown = [...new Set(near)].filter((n) => n >= 1 && n <= count).sort((a, b) => a - b);
  return shown.flatMap((n, at) => (at && n - shown[at - 1] > 1 ? [null, n] : [n]));
}

export class Pager {
  constructor(turn) {
    this.node = el("nav", { class: "pager", "aria-label": "Pages" });
    this.turn = turn;
  }

  show({ offset, limit, total }) {
    const focused = this.node.contains(document.activeElement) && document.activeElement.dataset.to;
    const count = Math.ceil(total / limit);
    const page = Math.floor(offset / limit) + 1;
    this.node.hidden = count < 2;
    this.node.replaceChildren(range(offset, limit, total), this.steps(page, count));
    if (focused) (this.node.querySelector(`[data-to="${focused}"]:not(:disabled)`) ?? this.current())?.focus();
  }

  current() {
    return this.node.querySelector("[aria-current]");
  }

  steps(page, count) {
    const numbers = pagesAround(page, count).map((n) =>
      n === null ? el("span", { class: "gap" }, "…") : this.step(`Page ${n}`, n, n, n === page, String(n)),
    );
    const back = this.step("Previous page", page - 1, "back", false, icon("left"), page === 1);
    const on = this.step("Next page", page + 1, "on", false, icon("right"), page === count);
    return el("div", { class: "steps" }, back, numbers, on);
  }

  step(label, page, to, current, content, disabled = false) {
    const props = { class: "step", disabled, "data-to": to, "aria-current": current ? "page" : null };
    return button(label, () => this.turn(page), props, content);
  }
}

function range(offset, limit, total) {
  const last = Math.min(offset + limit, total);
  return el("span", { class: "range" }, `${number(offset + 1)}–${number(last)} of ${number(total)}`);
}
