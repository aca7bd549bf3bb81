// What the page was opened for. Airflow puts the ids into the address: 3.1 as they are, so that the
// plus of a run's id must not be read as a blank; later ones encode them. Of an unmapped task the
// map index stays as the placeholder.

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
