// Messages in place of pictures, and what to do.

import { button, el } from "./dom.js";
import { plural } from "./format.js";
import { icon } from "./icons.js";

function notice(sign, title, lines, ...actions) {
  const text = lines.map((line) => el("p", {}, ...[line].flat()));
  const kind = { class: "notice", role: sign === "image" || sign === "search" ? "status" : "alert" };
  return el("section", kind, icon(sign), el("h2", {}, title), text, actions.length ? el("div", { class: "actions" }, actions) : null);
}

const code = (text) => el("code", {}, text);

const BATCH = "its results are in its output file, not here";

// The run has tasks of this provider, but they created no prediction.
function idle(onTask) {
  const who = onTask ? "This task has not created a prediction" : "The DAG's QuickRouter tasks have not created a prediction in this run";
  const batch = ["Or the run used ", code("QuickRouterBatchPredictionOperator"), `: ${BATCH}.`];
  return [`${who}: skipped, or never started.`, batch];
}

const unread = ({ tasks }) => `The XComs of ${plural(tasks, "task")} cannot be read here`;

export const unreadableNotice = ({ unreadable }) =>
  el("p", { class: "aside" }, icon("warning"), `${unread(unreadable)}. ${unreadable.reason}`);

export function emptyNotice(page, onTask) {
  const what = onTask ? "task instance" : "run";
  if (page.unreadable) return notice("warning", unread(page.unreadable), [page.unreadable.reason]);
  if (page.live) return notice("spark", "No predictions yet", ["They appear here when the gateway has accepted them."]);
  if (page.failed_tasks) return notice("warning", "No prediction was created", ["The tasks failed before they created one. See their logs."]);
  if (page.makers) return notice("image", `No pictures in this ${what}`, idle(onTask));
  const makers = el("ul", { class: "makers" }, [
    el("li", {}, code("QuickRouterSubmitPredictionOperator"), " and ", code("QuickRouterPredictionSensor")),
    el("li", {}, code("QuickRouterRunPredictionOperator"), ", or ", code("@task.quickrouter")),
    el("li", {}, code("quickrouter_pictures"), ", a task group of submit, wait and store"),
    el("li", {}, code("QuickRouterToObjectStorageOperator"), ", which stores their files"),
    el("li", {}, code("QuickRouterBatchPredictionOperator"), ": ", BATCH),
  ]);
  return notice("image", `No pictures in this ${what}`, ["These operators create pictures:", makers]);
}

export function nothingFound(clear) {
  return notice("search", "Nothing matches", ["No prediction of this run has this state and this text in its prompt."], button("Show all", clear, { class: "solid" }));
}

const ERRORS = {
  0: ["warning", "Airflow does not respond", "The connection is down, or the API server is not running."],
  401: ["lock", "You are logged out", "Log in to Airflow, then reload this page."],
  403: ["lock", "You have no access to these pictures", "You need permission to read the XComs and task instances of this DAG. Ask an administrator of this Airflow."],
  404: ["search", "This run does not exist", "It was deleted, or the URL is wrong. Choose a run on the DAG's page."],
};

export function errorNotice(error, again) {
  const other = ["warning", "The pictures could not be loaded", `The API server responded with status ${error.status}. See its log.`];
  const [sign, title, text] = ERRORS[error.status] ?? other;
  return notice(sign, title, [text], button("Try again", again, { class: "solid" }));
}

export function failedTasksNotice(page) {
  const named = page.failed_named.map(([task, index]) => (index < 0 ? task : `${task} [${index}]`));
  const more = page.failed_tasks > named.length ? ", …" : "";
  const text = `${plural(page.failed_tasks, "task")} failed before a prediction was created: ${named.join(", ")}${more}.`;
  return el("p", { class: "aside failed" }, icon("warning"), `${text} See the logs.`);
}

