// The only card of a task instance has room: its pictures at their size, and all about it beside.

import { tick } from "./card.js";
import { detailsOf } from "./details.js";
import { button, el } from "./dom.js";
import { excuseOf, mediaOf, medium, wordsOf } from "./frame.js";

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
    const shown = items.length ? items.map((item, n) => this.picture(card, item, n)) : [wordsOf(excuseOf(card), card)];
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
