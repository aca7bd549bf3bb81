// The Airflow page around this one. Its sandbox lets this page open no tab and leave no download
// behind; the page around it may do both, and both come from the same origin.

function host() {
  try {
    return window.parent !== window && window.parent.document ? window.parent : window;
  } catch {
    return window;
  }
}

function press(props) {
  const around = host();
  const link = around.document.createElement("a");
  Object.assign(link, { rel: "noopener noreferrer", ...props });
  around.document.body.append(link);
  link.click();
  link.remove();
}

export const openTab = (url) => press({ href: url, target: "_blank" });

export const download = (url) => press({ href: url, download: "" });

// A path of Airflow's own, without leaving it.
export function goTo(path) {
  const around = host();
  const url = new URL(path, around.document.baseURI).href;
  if (around === window) return window.location.assign(url);
  around.history.pushState({}, "", url);
  return around.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
}

export const framed = () => host() !== window;

export { host };
