// The bar that asks a visitor for consent: small, at the bottom, in a shadow root, so that the site's styles and its own
// stay apart. It takes no focus and blocks nothing.

// A sheet made by script is allowed under every Content-Security-Policy; a <style> element is not.
const BAR_STYLE = `
  :host {
    all: initial; position: fixed; z-index: 2147483647; inset: auto 0 0 0; display: block; pointer-events: none;
    padding: 12px max(12px, env(safe-area-inset-right)) max(12px, env(safe-area-inset-bottom)) max(12px, env(safe-area-inset-left));
    font: 15px/1.45 system-ui, sans-serif; color-scheme: light dark;
    --paper: #fff; --ink: #1c2230; --quiet: #4d566b; --line: #d4d9e4; --strong: #1f4fd1; --on-strong: #fff;
  }
  @media (prefers-color-scheme: dark) {
    :host { --paper: #1b202c; --ink: #eef1f8; --quiet: #b4bdd0; --line: #3b4459; --strong: #9db8ff; --on-strong: #0d1426; }
  }
  section {
    pointer-events: auto; box-sizing: border-box; max-width: 46rem; margin: 0 auto; padding: 14px 16px; display: flex;
    flex-wrap: wrap; align-items: center; gap: 10px 20px; color: var(--ink); background: var(--paper);
    border: 1px solid var(--line); border-radius: 14px; box-shadow: 0 8px 30px rgb(0 0 0 / .22);
    animation: rise .3s ease-out;
  }
  @keyframes rise { from { transform: translateY(24px); opacity: 0; } }
  @media (prefers-reduced-motion: reduce) { section { animation: none; } }
  @media print { :host { display: none; } }
  p { margin: 0; flex: 1 1 20rem; color: var(--quiet); }
  strong { display: block; color: var(--ink); }
  a { color: var(--strong); white-space: nowrap; }
  div { display: flex; flex: 0 0 auto; gap: 10px; margin-inline-start: auto; }
  button {
    font: inherit; font-weight: 600; min-height: 44px; padding: 0 18px; border-radius: 10px; cursor: pointer;
    border: 1px solid var(--line); background: transparent; color: var(--ink);
  }
  button.share { border-color: var(--strong); background: var(--strong); color: var(--on-strong); }
  :focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
  @media (max-width: 30rem) { div, button { flex: 1 1 auto; } div { width: 100%; } }
`;

/** Makes the bar. `about` is where its link leads; `answer` is called once with true or false, and not at all on Escape. */
function makeConsentBar(about, answer) {
  const host = document.createElement("peerage-consent");
  const root = host.attachShadow({ mode: "open" });
  try {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(BAR_STYLE);
    root.adoptedStyleSheets = [sheet];
  } catch {
    root.append(element("style", {}, BAR_STYLE));
  }

  // A region, not a dialog: the page stays usable, and whoever ignores the question has answered nothing.
  const share = element("button", { type: "button", class: "share" }, "Share");
  const refuse = element("button", { type: "button" }, "No thanks");
  const region = element(
    "section",
    { "aria-label": "Share this site's files with other visitors" },
    element(
      "p",
      {},
      element("strong", {}, "Help carry this site?"),
      "Your browser would also send this site\u2019s public files to other visitors. They may see your IP address. ",
      element("a", { href: about, target: "_blank", rel: "noopener" }, "What is this?"),
    ),
    element("div", {}, share, refuse),
  );
  root.append(region);

  // Where the focus was before the visitor came here by keyboard. The event's own word for it is null in Firefox.
  const closed = new AbortController();
  let before = document.activeElement;
  const remember = (event) => event.target !== host && (before = event.target);
  document.addEventListener("focusin", remember, { signal: closed.signal });
  const dismiss = () => {
    const focused = root.activeElement !== null;
    closed.abort();
    host.remove();
    if (focused) before?.focus?.();
  };
  for (const [button, value] of [
    [share, true],
    [refuse, false],
  ]) {
    button.addEventListener("click", () => {
      dismiss();
      answer(value);
    });
  }
  region.addEventListener("keydown", (event) => {
    if (event.key === "Escape") dismiss();
  });
  return host;
}

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}
