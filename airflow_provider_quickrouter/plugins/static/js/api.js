// The requests to the plugin's own API, and their errors.

import { here } from "./params.js";

const ROOT = new URL(`api/dags/${encodeURIComponent(here.dagId ?? "")}/`, document.baseURI);
const TIMEOUT = 20_000;

export class ApiError extends Error {
  // Status 0: no response.
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

async function request(url) {
  try {
    return await fetch(url, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(TIMEOUT) });
  } catch {
    throw new ApiError(0, "");
  }
}

async function detail(response) {
  try {
    const { detail: message } = await response.json();
    return typeof message === "string" ? message : "";
  } catch {
    return "";
  }
}

export async function load({ state, q, offset, limit }) {
  const only = here.taskId === null ? {} : { task_id: here.taskId, map_index: here.mapIndex };
  const response = await request(address("pictures", { run_id: here.runId, ...only, state, q, offset, limit }));
  if (!response.ok) throw new ApiError(response.status, await detail(response));
  return response.json();
}

// `tag` changes with the file, so that the browser can cache it.
export function fileUrl(file, size, download = false) {
  const { task_id, map_index, n, tag } = file;
  const query = { run_id: here.runId, task_id, map_index, n, size, v: tag };
  return address("file", download ? { ...query, download: true } : query);
}

export async function loadText(url) {
  const response = await request(url);
  if (!response.ok) throw new ApiError(response.status, await detail(response));
  return response.text();
}

export const reasonOf = (url) => loadText(url).then(() => "The browser cannot show this file.", ({ message }) => message);
