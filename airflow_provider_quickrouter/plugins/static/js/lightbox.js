// A picture in full size with its details; arrow keys show the others.

import { tick } from "./card.js";
import { detailsOf } from "./details.js";
import { button, el } from "./dom.js";
import { placeholderOf, mediaOf, medium, placeholderBox } from "./frame.js";
import { icon } from "./icons.js";

export class Lightbox {
  // Calls `left` with the card and picture that were shown last.
  constructor(left) {
    this.stage = el("div", { class: "stage" });
    this.side = el("aside", { class: "side", tabindex: "0", "aria-label": "Details" });
    this.count = el("span", { class: "place", role: "status" });
    this.back = button("Previous picture", () => this.step(-1), { class: "turn back" }, icon("left"));
    this.on = button("Next picture", () => this.step(1), { class: "turn on" }, icon("right"));
    const close = button("Close", () => this.node.close(), { class: "ghost close" }, icon("close"));
    const view = el("div", { class: "view" }, this.stage, this.back, this.on, this.count);
    this.node = el("dialog", { class: "lightbox", "aria-label": "Picture" }, view, this.side, close);
    this.node.addEventListener("keydown", (event) => this.key(event));
    this.node.addEventListener("click", (event) => event.target === this.node && this.node.close());
    this.node.addEventListener("close", () => left(this.slides[this.at]));
    this.slides = [];
    this.at = 0;
  }

  open(cards, card, n, ahead) {
    this.slides = slidesOf(cards);
    this.ahead = ahead;
    // By key: each load of the page makes new cards, while the button may be an older one's.
    this.at = this.slides.findIndex((slide) => slide.card.key === card.key && slide.n === n);
    this.show();
    this.node.showModal();
    this.on.focus();
  }

  key(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    const inside = event.target.closest("input, textarea, video, audio");
    if (!(event.key in steps) || inside || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    this.step(steps[event.key]);
  }

  step(by) {
    const to = Math.max(0, Math.min(this.slides.length - 1, this.at + by));
    if (to === this.at) return;
    this.at = to;
    this.show();
  }

  show() {
    const { card, n } = this.slides[this.at];
    const item = mediaOf(card)[n];
    this.stage.replaceChildren(item ? medium(item, "full") : placeholderBox(placeholderOf(card), card));
    const picture = this.stage.querySelector("img");
    if (picture) picture.alt = card.prompt ?? "";
    this.side.replaceChildren(...detailsOf(card, n));
    this.side.scrollTop = 0;
    this.count.textContent = `${this.at + 1} / ${this.slides.length}`;
    // Not `disabled`: a disabled button with the focus swallows the arrow keys.
    this.back.setAttribute("aria-disabled", this.at === 0);
    this.on.setAttribute("aria-disabled", this.at === this.slides.length - 1);
    tick(this.side, this.ahead);
  }
}

export function slidesOf(cards) {
  return cards.flatMap((card) => {
    const count = Math.max(1, mediaOf(card).length);
    return Array.from({ length: count }, (_, n) => ({ card, n }));
  });
}
