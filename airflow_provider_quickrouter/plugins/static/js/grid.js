// The cards of a page. A refresh replaces only changed cards, so loaded pictures and the focus stay.

import { cardOf } from "./card.js";
import { el } from "./dom.js";

export class Grid {
  constructor(open) {
    this.node = el("ul", { class: "grid", "aria-label": "Pictures" });
    this.open = open;
    this.shown = new Map();
  }

  show(cards) {
    const shown = new Map();
    const nodes = cards.map((card) => {
      const text = JSON.stringify(card);
      const before = this.shown.get(card.key);
      const node = before?.text === text ? before.node : cardOf(card, this.open);
      shown.set(card.key, { text, node });
      return node;
    });
    this.shown = shown;
    this.place(nodes);
  }

  place(nodes) {
    const focused = document.activeElement?.closest?.(".card")?.dataset.key;
    nodes.forEach((node, at) => {
      if (this.node.children[at] !== node) this.node.insertBefore(node, this.node.children[at] ?? null);
    });
    while (this.node.children.length > nodes.length) this.node.lastChild.remove();
    if (focused && !document.activeElement?.closest?.(".card")) this.focus(focused);
  }

  focus(key, n = 0) {
    const shots = this.shown.get(key)?.node.querySelectorAll(".shot");
    shots?.[Math.min(n, shots.length - 1)]?.focus();
  }
}
