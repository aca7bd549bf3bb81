// The only card of a task instance: its pictures in full size, and its details next to them.

import { tick } from "./card.js";
import { detailsOf } from "./details.js";
import { button, el } from "./dom.js";
import { placeholderOf, mediaOf, medium, placeholderBox } from "./frame.js";

export class Feature {
  constructor(open) {
    this.node = el("div", { class: "feature", hidden: true });
    this.open = open;
    this.text = "";
  }

  show(card, ahead) {
    const text = JSON.stringify(card ?? null);
    this.node.hidden = !card;
    if (text === this.text) return;
    this.text = text;
    const focused = this.node.contains(document.activeElement);
    this.node.replaceChildren(...(card ? this.parts(card) : []));
    if (focused) this.focus(0);
    tick(this.node, ahead);
  }

  parts(card) {
    const items = mediaOf(card);
    const shown = items.length ? items.map((item, n) => this.picture(card, item, n)) : [placeholderBox(placeholderOf(card), card)];
    const side = el("aside", { class: "side", "aria-label": "Details" }, detailsOf(card, null));
    return [el("div", { class: `sheet of-${Math.min(2, shown.length)}` }, shown), side];
  }

  picture(card, item, n) {
    const made = medium(item, "full");
    if (item.kind !== "image") return made;
    const label = `Open picture ${n + 1}: ${card.prompt ?? card.key}`;
    return button(label, () => this.open(card, n), { class: "shot large", title: null }, made);
  }

  focus(n) {
    this.node.querySelectorAll(".shot")[n]?.focus();
  }
}
