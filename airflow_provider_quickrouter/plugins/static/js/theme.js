// Copies the colours and the font of Airflow's theme, and follows its changes.

import { framed, host } from "./host.js";

const COLORS = [
  ...["bg", "bg-subtle", "bg-muted", "bg-emphasized", "bg-panel"],
  ...["fg", "fg-muted", "border", "border-emphasized", "success-solid", "failed-solid"],
  ...["brand-solid", "brand-contrast", "brand-focus-ring"],
];

function copy(root) {
  const style = host().getComputedStyle(root);
  for (const name of COLORS.map((color) => `--chakra-colors-${color}`)) {
    const value = style.getPropertyValue(name).trim();
    if (value) document.documentElement.style.setProperty(name, value);
  }
  const dark = root.classList.contains("dark");
  document.documentElement.classList.toggle("dark", dark);
  document.documentElement.style.colorScheme = dark ? "dark" : "light";
  document.documentElement.style.setProperty("--font", host().getComputedStyle(host().document.body).fontFamily);
}

function alone() {
  const wish = window.matchMedia("(prefers-color-scheme: dark)");
  const follow = () => document.documentElement.classList.toggle("dark", wish.matches);
  wish.addEventListener("change", follow);
  follow();
}

export function followTheme() {
  if (!framed()) return alone();
  const root = host().document.documentElement;
  copy(root);
  const watch = { attributes: true, attributeFilter: ["class", "style", "data-theme"] };
  return new MutationObserver(() => copy(root)).observe(root, watch);
}
