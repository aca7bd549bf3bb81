// The parameters of the page. Airflow puts the ids into the URL: 3.1 does not encode them, so a plus in
// a run's id is not a space; later versions encode them. The map index of an unmapped task is still the
// placeholder.

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function paramsOf(search) {
  const found = {};
  for (const pair of search.replace(/^\?/, "").split("&")) {
    const at = pair.indexOf("=");
    if (at > 0) found[pair.slice(0, at)] = decoded(pair.slice(at + 1));
  }
  const index = Number.parseInt(found.map_index ?? "", 10);
  const known = (value) => (value && !/^\{[A-Z_]+\}$/.test(value) ? value : null);
  return {
    dagId: known(found.dag_id),
    runId: known(found.run_id),
    taskId: known(found.task_id),
    mapIndex: Number.isNaN(index) ? -1 : index,
  };
}

export const here = paramsOf(window.location.search);
