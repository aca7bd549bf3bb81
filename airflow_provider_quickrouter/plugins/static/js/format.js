// Numbers, times and words for people.

const NUMBER = new Intl.NumberFormat("en");

export const number = (value) => NUMBER.format(value);

// In the unit of the prices in the connection.
const AMOUNT = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 4 });

export const amount = (value) => (value === null || value === undefined ? "" : AMOUNT.format(value));

export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export function seconds(value) {
  if (value === null || value === undefined) return "";
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 59.5) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// Remaining time, in minutes if there are any, else in seconds.
export function left(value) {
  if (value < 60) return seconds(Math.floor(value));
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min` : seconds(value);
}

export function bytes(value) {
  if (value === null) return "";
  const units = ["B", "kB", "MB", "GB"];
  let at = 0;
  let size = value;
  while (size >= 999.5 && at < units.length - 1) [size, at] = [size / 1000, at + 1];
  return `${at && size < 9.95 ? size.toFixed(1) : Math.round(size)} ${units[at]}`;
}

const HOUR = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const MOMENT = { year: "numeric", month: "2-digit", day: "2-digit", ...HOUR, second: "2-digit" };

// In Airflow's format, and in the time zone that is chosen there.
const time = (iso, form) => new Intl.DateTimeFormat("sv-SE", { ...form, timeZone: zone() }).format(new Date(iso));

export const moment = (iso) => time(iso, MOMENT);

export const hour = (iso) => time(iso, HOUR);

function zone() {
  try {
    const chosen = JSON.parse(window.localStorage.getItem("timezone") ?? '"UTC"');
    return chosen === "local" ? undefined : new Intl.DateTimeFormat("en", { timeZone: chosen }) && chosen;
  } catch {
    return "UTC";
  }
}

export const pixels = (file) => (file.width && file.height ? `${file.width} × ${file.height}` : "");

export function taskName(card) {
  if (card.map_index < 0) return card.task_id;
  // The card already shows the prompt, so a label with its beginning is left out.
  const repeatsPrompt = !card.label || card.prompt?.startsWith(card.label);
  return `${card.task_id} [${repeatsPrompt ? card.map_index : card.label}]`;
}

export const STATES = {
  succeeded: { word: "Succeeded", icon: "check" },
  running: { word: "Running", icon: "spark" },
  failed: { word: "Failed", icon: "close" },
  canceled: { word: "Canceled", icon: "stop" },
  lost: { word: "Unknown", icon: "warning" },
};

// Of a running prediction, the API's own state is more exact.
export function stateWord(card) {
  const status = card.state === "running" && card.status;
  return status ? status[0].toUpperCase() + status.slice(1) : STATES[card.state].word;
}
