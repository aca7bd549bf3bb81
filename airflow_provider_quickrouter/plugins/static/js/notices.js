// What is said in place of pictures, and what to do about it.

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

// There are tasks that could have made some.
function idle(onTask) {
  const who = onTask ? "This task has not made a prediction" : "The DAG's QuickRouter tasks have not made a prediction in this run";
  const batch = ["Or it was done by ", code("QuickRouterBatchPredictionOperator"), `: ${BATCH}.`];
  return [`${who}: skipped, or never started.`, batch];
}

export function emptyNotice(page, onTask) {
  const what = onTask ? "task instance" : "run";
  if (page.live) return notice("spark", "No predictions yet", ["The first ones appear here as soon as the gateway has accepted them."]);
  if (page.failed_tasks) return notice("warning", "No prediction was made", ["The tasks failed before; their logs say why."]);
  if (page.makers) return notice("image", `This ${what} has made no pictures`, idle(onTask));
  const makers = el("ul", { class: "makers" }, [
    el("li", {}, code("QuickRouterSubmitPredictionOperator"), " and ", code("QuickRouterPredictionSensor")),
    el("li", {}, code("QuickRouterRunPredictionOperator"), ", or ", code("@task.quickrouter")),
    el("li", {}, code("quickrouter_pictures"), ", a task group of submit, wait and store"),
    el("li", {}, code("QuickRouterToObjectStorageOperator"), ", which stores what they made"),
    el("li", {}, code("QuickRouterBatchPredictionOperator"), ": ", BATCH),
  ]);
  return notice("image", `This ${what} has made no pictures`, ["These operators make some:", makers]);
}

export function nothingFound(clear) {
  return notice("search", "Nothing matches", ["No prediction of this run is of that state and has this in its prompt."], button("Show all", clear, { class: "solid" }));
}

const TROUBLES = {
  0: ["warning", "Airflow does not answer", "The connection is down, or the API server is not running."],
  401: ["lock", "You are logged out", "Log in to Airflow again; then load this page once more."],
  403: ["lock", "You may not see this", "Pictures need the right to read the XComs and task instances of this DAG. An administrator of this Airflow can grant it."],
  404: ["search", "There is no such run", "It was deleted, or the address is wrong. Choose a run on the DAG's page."],
};

export function troubleNotice(trouble, again) {
  const otherwise = ["warning", "Something went wrong", `The API server answered ${trouble.status}; its log says why.`];
  const [sign, title, text] = TROUBLES[trouble.status] ?? otherwise;
  return notice(sign, title, [text], button("Try again", again, { class: "solid" }));
}

export function barrenNotice(page) {
  const named = page.failed_named.map(([task, index]) => (index < 0 ? task : `${task} [${index}]`));
  const more = page.failed_tasks > named.length ? ", …" : "";
  const text = `${plural(page.failed_tasks, "task")} failed before a prediction was made: ${named.join(", ")}${more}.`;
  return el("p", { class: "barren" }, icon("warning"), `${text} The logs say why.`);
}

