// The mesh worker's shim: loads the bundle that the page names, hands it the page's messages, and tells the page that it
// lives, or that it cannot go on. wasm-bindgen's glue stands before this in the published file; the mesh itself is Rust.
//
// The messages are described in docs/protocol.md.
(() => {
  "use strict";

  const BEAT_MS = 1000;
  let early = []; // messages that came before the bundle had started; null from then on
  let failed = false;

  /** A trap leaves the instance unusable: the page is told, and starts another worker. */
  function fail(why) {
    if (failed) return;
    failed = true;
    postMessage({ cmd: "error", text: "mesh worker: " + (why?.message ?? why) });
    close();
  }

  async function start(message) {
    const response = await fetch(message.wasm);
    if (!response.ok) throw new Error(`${message.wasm} was answered with ${response.status}`);
    await wasm_bindgen({ module_or_path: await response.arrayBuffer() });
    wasm_bindgen.mesh_start(message);
    setInterval(() => postMessage({ cmd: "beat" }), BEAT_MS);
    postMessage({ cmd: "beat" });
    const waited = early;
    early = null;
    for (const later of waited) wasm_bindgen.mesh_message(later);
  }

  addEventListener("message", ({ data }) => {
    if (failed) return;
    if (data?.start) start(data.start).catch(fail);
    else if (early) early.push(data);
    else wasm_bindgen.mesh_message(data);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    fail(event.message);
  });
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    fail(event.reason);
  });
})();
