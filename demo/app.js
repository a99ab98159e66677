// The atlas: lists the islands, opens their plates, draws the sea, and shows who carried the bytes.
"use strict";

const $ = (id) => document.getElementById(id);

/** "1.4 MB" */
function size(bytes) {
  const units = ["B", "kB", "MB", "GB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit++;
  }
  return `${bytes.toFixed(unit > 0 && bytes < 100 ? 1 : 0)} ${units[unit]}`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function load(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
}

// ------------------------------------------------------------------------------------------------------ the panel

const SOURCES = ["peer", "cache", "origin"];

function showState(text, reload = false) {
  if ($("state").textContent !== text) $("state").textContent = text;
  $("reload").hidden = !reload;
}

async function showFigures() {
  const stats = await window.peerage.stats();
  $("figures").hidden = false;
  const total = SOURCES.reduce((sum, source) => sum + stats.bytes[source], 0);
  for (const source of SOURCES) {
    $(source).textContent = size(stats.bytes[source]);
    $("bar").querySelector(`[data-of=${source}]`).style.flexGrow = total ? stats.bytes[source] / total : 0;
  }
  const part = (source) => (total ? Math.round((100 * stats.bytes[source]) / total) : 0);
  $("bar").setAttribute(
    "aria-label",
    `${part("peer")} % from other visitors, ${part("cache")} % from this device, ${part("origin")} % from the server`,
  );
  $("uploaded").textContent = size(stats.bytes.uploaded);
  $("peers").textContent = stats.peers;
  $("version").textContent = stats.version
    ? new Date(stats.version * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })
    : "–";
  const granted = stats.consent === "granted";
  $("consent").textContent = granted ? "Stop sharing" : "Share";
  $("consent").onclick = async () => {
    await window.peerage.consent(!granted);
    await showFigures();
  };
  showState(
    !granted
      ? "Files come from this device and from the server. You send nothing to other visitors."
      : stats.peers > 0
        ? "You and other visitors carry the atlas for each other."
        : "You share. Nobody else is here at the moment.",
  );
}

async function watch() {
  if (!(await window.peerage.ready)) {
    showState(`The atlas comes from its server, as any site would: ${window.peerage.reason}.`);
    return;
  }
  const again = () => showFigures().catch(() => {});
  window.peerage.addEventListener("stats", again);
  window.peerage.addEventListener("consent", again);
  window.peerage.addEventListener("update", () => showState("A new edition is out: it opens with the next page.", true));
  setInterval(() => document.hidden || again(), 1000);
  await again();
}

async function findPeerage() {
  const workers = navigator.serviceWorker;
  if (!workers) {
    showState("This browser offers no service workers here. The atlas comes from its server, as any site would.");
    return;
  }
  $("reload").onclick = () => location.reload();
  // The worker puts `page.js` into the pages that it answers, so a first visit has none.
  for (let tries = 0; !window.peerage && tries < 20; tries++) {
    if (!workers.controller) showState("The service worker is being installed…");
    await new Promise((resolve) => setTimeout(resolve, 250));
    if (workers.controller && document.readyState === "complete" && tries > 4) break;
  }
  if (window.peerage) await watch();
  else if (workers.controller) showState("The service worker is here. From the next page on, it works.", true);
  else showState("No service worker has come: the atlas is served as any site would be.", true);
}

// ---------------------------------------------------------------------------------------------------- the islands

let atlas = null;

async function listIslands() {
  atlas = await (await load("data/atlas.json")).json();
  atlas.islands.forEach((island, number) => {
    const picture = element("img", { alt: "", width: 341, height: 256, loading: "lazy", decoding: "async" });
    picture.src = `thumbs/${island.slug}.png`;
    const card = element(
      "button",
      { type: "button", className: "card" },
      picture,
      element("span", { className: "name" }, island.name),
      element("span", { className: "note" }, island.note),
      element("span", { className: "height" }, `${island.highest} m · ${island.area_km2} km²`),
    );
    card.onclick = () => openPlate(number);
    $("list").append(element("li", {}, card));
  });
}

let open = 0; // the island whose plate is open
let walk = null; // its heights

function openPlate(number) {
  open = (number + atlas.islands.length) % atlas.islands.length;
  const island = atlas.islands[open];
  $("plate-name").textContent = island.name;
  $("plate-note").textContent = island.note;
  $("carried").textContent = "";
  $("facts").replaceChildren(fact("Highest point", `${island.highest} m`), fact("Land", `${island.area_km2} km²`));
  $("seal").src = `seals/${island.slug}.svg`;
  $("sound").src = `sounds/${island.slug}.wav`;
  $("map").replaceChildren(
    element("img", { src: `plates/${island.slug}.png`, alt: `Map of ${island.name}`, width: 1024, height: 768 }),
    element("hr"),
  );
  walk = null;
  drawWalk();
  if (!$("plate").open) $("plate").showModal();
  fill(island).catch((error) => {
    if (atlas.islands[open] === island) $("carried").textContent = `Not everything could be loaded (${error.message}).`;
  });
}

function fact(term, text) {
  return element("div", {}, element("dt", {}, term), element("dd", {}, text));
}

async function fill(island) {
  const stillOpen = () => atlas.islands[open] === island;
  const heights = `heights/${island.slug}.bin`;
  const data = `data/${island.slug}.json`;
  const [bytes, survey] = await Promise.all([
    load(heights).then((answer) => answer.arrayBuffer()),
    load(data).then((answer) => answer.json()),
  ]);
  if (!stillOpen()) return;
  walk = { columns: survey.columns / 2, rows: survey.rows / 2, metres: new Int16Array(bytes) };
  drawWalk();
  const deepest = survey.soundings.reduce((deep, sounding) => Math.min(deep, sounding[2]), 0);
  $("facts").append(
    fact("Soundings", String(survey.soundings.length)),
    fact("Deepest", `${-deepest} m`),
    fact("Across", `${Math.round((survey.columns * survey.metres_per_column) / 1000)} km`),
  );
  for (const place of survey.places) {
    const label = element("span", { className: `place ${place.kind}` }, place.name);
    label.style.left = `${place.x * 100}%`;
    label.style.top = `${place.y * 100}%`;
    $("map").append(label);
  }
  await $("map").querySelector("img").decode();
  if (stillOpen()) await tellCarried([`plates/${island.slug}.png`, heights, data], stillOpen);
}

async function tellCarried(paths, stillWanted) {
  if (!window.peerage) return;
  const sum = { peer: 0, cache: 0, origin: 0 };
  for (const answer of await Promise.all(paths.map((path) => window.peerage.explain(path)))) {
    for (const source of SOURCES) sum[source] += answer?.bytes[source] ?? 0;
  }
  const names = { peer: "other visitors", cache: "this device", origin: "the server" };
  const parts = SOURCES.filter((source) => sum[source] > 0).map((source) => `${size(sum[source])} from ${names[source]}`);
  if (parts.length && stillWanted()) $("carried").textContent = `Carried here: ${parts.join(", ")}.`;
}

function drawWalk() {
  const part = $("walk").value / 1000;
  const canvas = $("profile");
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  $("map").querySelector("hr").style.top = `${part * 100}%`;
  if (!walk) return;
  const row = Math.min(walk.rows - 1, Math.floor(part * walk.rows));
  const line = walk.metres.subarray(row * walk.columns, (row + 1) * walk.columns);
  const [low, high] = [-1200, 2000];
  const y = (metres) => canvas.height * (1 - (Math.max(low, metres) - low) / (high - low));
  const fill = (colour, height) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.moveTo(0, canvas.height);
    line.forEach((metres, column) => pen.lineTo((column / (line.length - 1)) * canvas.width, y(height(metres))));
    pen.lineTo(canvas.width, canvas.height);
    pen.fill();
  };
  fill("#5d9bb0", (metres) => Math.max(metres, 0));
  fill(style.getPropertyValue("--origin"), (metres) => metres);
}

function preparePlate() {
  $("previous").onclick = () => openPlate(open - 1);
  $("next").onclick = () => openPlate(open + 1);
  $("walk").oninput = drawWalk;
  $("plate").addEventListener("close", () => {
    $("sound").pause();
    $("sound").removeAttribute("src");
    $("list").children[open]?.querySelector("button").focus();
  });
  $("plate").addEventListener("click", (event) => event.target === $("plate") && $("plate").close());
  $("plate").addEventListener("keydown", (event) => {
    if (["INPUT", "AUDIO"].includes(event.target.tagName)) return;
    if (event.key === "ArrowLeft") openPlate(open - 1);
    if (event.key === "ArrowRight") openPlate(open + 1);
  });
}

// -------------------------------------------------------------------------------------------------- the whole sea

const SIDE = 1024;

async function loadSea() {
  const button = $("load-sea");
  button.disabled = true;
  const answer = await load("sea/depths.bin");
  const total = Number(answer.headers.get("content-length")) || 8388608;
  const parts = [];
  let got = 0;
  const reader = answer.body.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    parts.push(next.value);
    got += next.value.length;
    button.textContent = `${Math.min(100, Math.round((100 * got) / total))} %`;
  }
  const metres = new Int16Array(await new Blob(parts).arrayBuffer());
  const chart = new Chart($("chart"), metres, atlas.sea_columns);
  button.hidden = true;
  $("chart").hidden = false;
  $("sea").classList.add("loaded");
  $("level-row").hidden = false;
  let drawing = 0;
  const draw = () => {
    const level = Number($("level").value);
    const left = atlas.islands.filter((island) => island.highest > level).length;
    const how = level === 0 ? "as it is" : `${Math.abs(level)} m ${level > 0 ? "higher" : "lower"}`;
    $("level-text").textContent = `The sea stands ${how}: ${left} of ${atlas.islands.length} islands are above it.`;
    cancelAnimationFrame(drawing);
    drawing = requestAnimationFrame(() => chart.draw(level));
  };
  $("level").oninput = draw;
  draw();
}

class Chart {
  constructor(canvas, metres, columns) {
    this.pen = canvas.getContext("2d");
    this.image = this.pen.createImageData(SIDE, SIDE);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.metres = new Int16Array(SIDE * SIDE);
    this.light = new Uint8Array(SIDE * SIDE);
    const every = columns / SIDE;
    for (let row = 0; row < SIDE; row++) {
      for (let column = 0; column < SIDE; column++) {
        const from = Math.floor(row * every) * columns + Math.floor(column * every);
        const slope = metres[from] - (metres[from - columns - 1] ?? metres[from]);
        this.metres[row * SIDE + column] = metres[from];
        this.light[row * SIDE + column] = Math.max(0, Math.min(7, Math.round(4 + slope / 16)));
      }
    }
    // One colour for each height above the water and each of eight lights.
    this.colours = new Uint32Array(8192 * 8);
    for (let height = -4096; height < 4096; height++) {
      for (let light = 0; light < 8; light++) {
        const [red, green, blue] = tint(height).map((c) => Math.min(255, c * (height < 0 ? 1 : 0.72 + light * 0.07)));
        this.colours[(height + 4096) * 8 + light] = 0xff000000 | (blue << 16) | (green << 8) | red;
      }
    }
  }

  draw(level) {
    for (let i = 0; i < this.pixels.length; i++) {
      const height = Math.max(0, Math.min(8191, this.metres[i] - level + 4096));
      this.pixels[i] = this.colours[height * 8 + this.light[i]];
    }
    this.pen.putImageData(this.image, 0, 0);
  }
}

/** Red, green and blue at a height above the water, in metres. */
function tint(height) {
  const stops = [
    [-2400, 24, 58, 84],
    [-1000, 48, 98, 122],
    [-250, 104, 160, 170],
    [-1, 190, 220, 210],
    [0, 226, 210, 168],
    [40, 156, 174, 110],
    [420, 148, 150, 104],
    [900, 196, 180, 146],
    [1500, 246, 244, 240],
  ];
  const above = stops.findIndex((stop) => height < stop[0]);
  if (above <= 0) return stops[above < 0 ? stops.length - 1 : 0].slice(1);
  const [low, high] = [stops[above - 1], stops[above]];
  const part = (height - low[0]) / (high[0] - low[0]);
  return [1, 2, 3].map((i) => Math.round(low[i] + (high[i] - low[i]) * part));
}

// -------------------------------------------------------------------------------------------------- take it along

async function takeEverything() {
  const total = atlas.files.reduce((sum, [, bytes]) => sum + bytes, 0);
  const queue = [...atlas.files];
  let done = 0;
  let missing = 0;
  $("take").disabled = true;
  $("taking").hidden = false;
  const take = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      await load(file[0])
        .then((answer) => answer.arrayBuffer())
        .catch(() => missing++);
      done += file[1];
      $("taking").value = done / total;
      $("taken").textContent = `${size(done)} of ${size(total)}`;
    }
  };
  await Promise.all([take(), take(), take(), take()]);
  $("taken").textContent = missing ? `${missing} files could not be loaded.` : `All ${size(total)} are on this device.`;
  $("take").disabled = false;
}

// ------------------------------------------------------------------------------------------------------- beginning

preparePlate();
$("load-sea").onclick = () =>
  loadSea().catch((error) => {
    $("load-sea").disabled = false;
    $("load-sea").textContent = `Once more (${error.message})`;
  });
$("take").onclick = () => takeEverything();
listIslands().catch((error) => $("list").append(element("li", {}, `The list could not be loaded: ${error.message}`)));
findPeerage();
