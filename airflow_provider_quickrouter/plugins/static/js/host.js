// The Airflow page around this one. In its sandbox this page cannot open tabs or start downloads. The
// page around it can, and has the same origin.

function host() {
  try {
    return window.parent !== window && window.parent.document ? window.parent : window;
  } catch {
    return window;
  }
}

function click(props) {
  const around = host();
  const link = around.document.createElement("a");
  Object.assign(link, { rel: "noopener noreferrer", ...props });
  around.document.body.append(link);
  link.click();
  link.remove();
}

export const openTab = (url) => click({ href: url, target: "_blank" });

export const download = (url) => click({ href: url, download: "" });

// Opens a path of Airflow without a reload.
export function goTo(path) {
  const around = host();
  const url = new URL(path, around.document.baseURI).href;
  if (around === window) return window.location.assign(url);
  around.history.pushState({}, "", url);
  return around.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
}

export const framed = () => host() !== window;

export { host };
