// The requests to the plugin's own API, and what can go wrong with them.

import { here } from "./params.js";

const ROOT = new URL(`api/dags/${encodeURIComponent(here.dagId ?? "")}/`, document.baseURI);
const PATIENCE = 20_000;

export class Trouble extends Error {
  // status 0: no answer at all.
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

function address(name, query) {
  const url = new URL(name, ROOT);
  for (const [key, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(key, value);
  }
  return url.href;
}

async function ask(url) {
  try {
    return await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    throw new Trouble(0, "");
  }
}

async function detail(answer) {
  try {
    const said = (await answer.json()).detail;
    return typeof said === "string" ? said : "";
  } catch {
    return "";
  }
}

export async function load({ state, q, offset, limit }) {
  const only = here.taskId === null ? {} : { task_id: here.taskId, map_index: here.mapIndex };
  const answer = await ask(address("pictures", { run_id: here.runId, ...only, state, q, offset, limit }));
  if (!answer.ok) throw new Trouble(answer.status, await detail(answer));
  return answer.json();
}

// `tag` changes with the file, so that the browser may keep it.
export function fileUrl(file, size, download = false) {
  const { task_id, map_index, n, tag } = file;
  const query = { run_id: here.runId, task_id, map_index, n, size, v: tag };
  return address("file", download ? { ...query, download: true } : query);
}

export async function whyNot(url) {
  const answer = await ask(url);
  return answer.ok ? "The browser cannot show this file." : detail(answer);
}
