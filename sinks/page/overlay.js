// The page: keeps what the server says of each camera, shows the chosen one, and says so when nothing comes any more.

import { drawStrip, STRIP_S } from "/strip.js";
import { drawDepth, drawPicture, unpackPicture } from "/view.js";

const DEAD_S = 2; // silence after which a camera counts as dead; heartbeats come once a second
const STILL_S = 2.5; // heartbeats, but no new frame
const FIGURES_S = 0.5; // figures that change faster cannot be read
const LISTED_EVENTS = 5;
const KEPT_EVENTS = 64;
const WORDS = {
  waiting: "Waiting", live: "Live", still: "No new frames", lost: "Camera lost", paused: "Paused", ended: "Ended",
  failed: "Failed", dead: "Dead",
};

const cameras = new Map();
let chosen = "";
let socket = null;
let connectedOnce = false;
let heardAt = performance.now();
let dirty = true;
let arrived = 0; // pictures so far; decoding may overtake
let shownTurn = 0;
let figuresAt = -Infinity;

const element = (id) => document.getElementById(id);
const seconds = () => performance.now() / 1000;

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/feed`);
  socket.binaryType = "arraybuffer";
  socket.addEventListener("open", () => {
    connectedOnce = true;
    if (chosen) socket.send(chosen);
  });
  socket.addEventListener("message", ({ data }) => {
    heardAt = performance.now();
    if (typeof data === "string") takeNews(JSON.parse(data));
    else takePicture(data);
  });
  socket.addEventListener("close", () => setTimeout(connect, 1000));
}

function newCamera(name) {
  return {
    name, session: null, status: null, scores: [], events: new Map(), picture: null, latency: null, lost: 0,
    frame: -1, movedAt: seconds(), silent: 0, toldAt: seconds(),
  };
}

function takeNews(news) {
  if (!news.camera) return;
  if (!cameras.has(news.camera)) {
    cameras.set(news.camera, newCamera(news.camera));
    chosen = chosen || news.camera;
    showTabs();
  }
  let camera = cameras.get(news.camera);
  if (news.session && camera.session && news.session.session !== camera.session.session) {
    camera = newCamera(news.camera);
    cameras.set(news.camera, camera);
  }
  if (news.session) camera.session = news.session;
  if (news.status) camera.status = news.status;
  camera.latency = news.latency_ms;
  camera.lost = news.lost;
  camera.silent = news.silent_s;
  camera.toldAt = seconds();
  for (const row of news.scores) takeScore(camera, row);
  for (const event of news.events) {
    camera.events.set(event.id, event);
    if (camera.events.size > KEPT_EVENTS) camera.events.delete(camera.events.keys().next().value);
  }
  dirty = true;
}

function takeScore(camera, row) {
  camera.scores.push(row);
  if (row[0] !== camera.frame) {
    camera.frame = row[0];
    camera.movedAt = seconds();
  }
  const oldest = row[2] === null ? -Infinity : row[2] - STRIP_S - 1;
  while (camera.scores.length > 1200 || (camera.scores.length && (camera.scores[0][2] ?? Infinity) < oldest)) {
    camera.scores.shift();
  }
}

async function takePicture(bytes) {
  const turn = (arrived += 1);
  const picture = await unpackPicture(bytes);
  const camera = cameras.get(picture.camera);
  if (!camera || turn < shownTurn) return;
  shownTurn = turn;
  camera.picture?.image.close();
  camera.picture?.depth?.close();
  camera.picture = picture;
  dirty = true;
}

function stateOf(camera) {
  const serverSilent = (performance.now() - heardAt) / 1000;
  const ended = camera?.session?.state;
  if (ended === "ended" || ended === "failed") return ended;
  if (!camera) return connectedOnce && serverSilent > DEAD_S ? "dead" : "waiting";
  if (serverSilent <= DEAD_S && ended === "paused") return "paused"; // its silence is what was asked for
  if (serverSilent > DEAD_S || camera.silent + seconds() - camera.toldAt > DEAD_S) return "dead";
  if (camera.status?.device === "lost") return "lost";
  if (camera.frame < 0) return "waiting";
  return seconds() - camera.movedAt > STILL_S ? "still" : "live";
}

function alarmOf(state, camera) {
  const silent = camera ? camera.silent + seconds() - camera.toldAt : (performance.now() - heardAt) / 1000;
  return {
    dead: `Dead: nothing heard for ${silent.toFixed(0)} s. What you see is past.`,
    failed: "The session has failed. What you see is past.",
    ended: "The session has ended. What you see is past.",
    lost: "The camera is lost; waiting for it to come back.",
    paused: "Paused: nothing is stored or sent. What you see is past.",
    still: "No new frames: paused, or the camera is slow.",
  }[state] ?? "";
}

function paint() {
  const camera = cameras.get(chosen);
  const state = stateOf(camera);
  const blind = Boolean(camera?.session?.blind);
  showState(camera, state);
  for (const part of document.querySelectorAll("[data-result]")) part.hidden = blind;
  element("blind").hidden = !blind;
  if (!camera) return;
  showSession(camera);
  showPicture(camera, blind);
  if (seconds() - figuresAt > FIGURES_S) {
    figuresAt = seconds();
    showQuality(camera);
  }
  if (blind) {
    element("events").replaceChildren();
    return;
  }
  showEvents(camera);
  drawStrip(element("strip"), {
    scores: camera.scores, events: [...camera.events.values()], threshold: camera.session?.threshold,
    shown: camera.picture?.frame,
  });
}

function setText(id, text) {
  const place = element(id);
  if (place.textContent !== text) place.textContent = text;
}

function showState(camera, state) {
  setText("state", WORDS[state]);
  element("state").dataset.state = state;
  const alarm = element("alarm");
  const text = alarmOf(state, camera);
  alarm.hidden = !text;
  alarm.dataset.state = state;
  setText("alarm", text);
  for (const id of ["view", "depth"]) {
    element(id).classList.toggle("past", ["dead", "failed", "ended", "paused"].includes(state));
  }
  document.title = camera ? `${state === "live" ? "" : `${WORDS[state]}: `}${camera.name} - sfam-live` : "sfam-live";
  for (const tab of document.querySelectorAll("[role=tab]")) {
    tab.dataset.state = stateOf(cameras.get(tab.dataset.camera));
  }
}

function showSession({ session }) {
  if (!session || element("camera").dataset.session === `${session.camera} ${session.session} ${session.state}`) return;
  element("camera").dataset.session = `${session.camera} ${session.session} ${session.state}`;
  const model = session.model ?? {};
  setText("session-name", `${session.camera} · session ${session.session} · privacy ${session.privacy}`);
  setText("threshold", typeof session.threshold === "number" ? `threshold ${session.threshold.toFixed(2)}` : "no threshold");
  setText("model-name", [model.name, model.version && `version ${model.version}`, model.licence].filter(Boolean).join(" · "));
  setText("model-limit", model.limits?.length ? `Limit: ${model.limits[0]}` : "");
  setText("model-training", model.training_data ? `Trained on: ${model.training_data}` : "");
  element("model-limits").replaceChildren(...(model.limits ?? []).map((limit) => withText("li", limit)));
  element("model-more").hidden = !model.training_data && !(model.limits ?? []).length;
  setText("notice", session.notice);
  setText("unsuitable", `Not for: ${(session.unsuitable_uses ?? []).join("; ")}.`);
}

function showPicture({ picture, session }, blind) {
  const canvas = element("picture");
  if (!picture) {
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
    setText("picture-frame", session?.state === "running" ? "no image yet, or none at this privacy tier" : "no frame yet");
    setText("picture-score", "-");
    canvas.removeAttribute("data-frame");
    showDepth(null);
    return;
  }
  const show = {
    face: element("show-face").checked,
    region: element("show-region").checked,
    flow: element("show-flow").checked && !blind,
  };
  drawPicture(canvas, picture, show);
  showDepth(picture);
  const face = picture.faces.find(({ spot }) => spot !== null) ?? picture.faces[0];
  const score = face && face.spot !== null ? face.spot.toFixed(2) : "-";
  setText("picture-frame", `frame ${picture.frame}`);
  setText("picture-score", score);
  canvas.dataset.frame = picture.frame;
  element("picture-score").dataset.frame = picture.frame;
  const told = blind ? "" : `, score ${score}`;
  canvas.setAttribute("aria-label", `Live image: frame ${picture.frame}, ${picture.faces.filter(({ box }) => box).length} face(s)${told}`);
}

/** The depth of the same frame, where the picture came with one. */
function showDepth(picture) {
  element("depth-card").hidden = !picture?.depth;
  if (!picture?.depth) return;
  const canvas = element("depth");
  drawDepth(canvas, picture);
  canvas.dataset.frame = picture.frame;
  const [near, far] = picture.depth_m.map((limit) => `${limit.toFixed(2)} m`);
  setText("depth-near", near);
  setText("depth-far", far);
  canvas.setAttribute("aria-label", `Depth view: frame ${picture.frame}, from ${near} to ${far}`);
}

function showQuality({ status, latency, lost }) {
  const dropped = Object.entries(status?.dropped ?? {}).filter(([, count]) => count);
  const total = status?.stages?.total;
  const noise = status?.noise;
  const rows = [
    ["Rate", status ? status.fps.toFixed(1) : "-", "fps"],
    ["Latency", latency === null ? "-" : latency.toFixed(1), "ms", total && `p99 ${(total.p99_us / 1000).toFixed(1)} ms`],
    ["Dropped", String(dropped.reduce((sum, [, count]) => sum + count, 0)), "frames", dropped.map(([cause, count]) => `${count} ${cause}`).join(", ")],
    ["Faces", status ? String(status.faces) : "-", ""],
    ["Noise floor", noise?.u_px != null ? Math.hypot(noise.u_px, noise.v_px).toFixed(3) : "-", noise?.u_px != null ? "px" : "not measured", noise?.w_mm != null && `depth ${noise.w_mm.toFixed(2)} mm`],
    ["Not received", String(lost), "messages"],
  ];
  const made = rows.map(([name, value, unit, note]) => {
    const row = document.createElement("div");
    const told = withText("dd", `${value} `);
    told.append(withText("small", unit));
    if (note) told.append(Object.assign(withText("small", note), { className: "note" }));
    row.append(withText("dt", name), told);
    return row;
  });
  element("quality").replaceChildren(...made);
  const stages = Object.entries(status?.stages ?? {}).map(([name, { p50_us, p95_us, p99_us }]) => {
    const row = document.createElement("tr");
    row.append(withText("td", name), ...[p50_us, p95_us, p99_us].map((us) => withText("td", (us / 1000).toFixed(2))));
    return row;
  });
  element("stages").replaceChildren(...stages);
}

/** Newest first; withdrawn ones only as long as the strip reaches back, so that they do not push out the others. */
function showEvents({ events, scores }) {
  const begin = (scores[scores.length - 1]?.[2] ?? 0) - STRIP_S;
  const listed = [...events.values()].filter(({ state, offset }) => state !== "withdrawn" || offset.t_s > begin);
  const newest = listed.sort((a, b) => b.onset.frame - a.onset.frame || b.id - a.id);
  element("no-events").hidden = newest.length > 0;
  element("events").replaceChildren(...newest.slice(0, LISTED_EVENTS).map((event) => {
    const row = document.createElement("li");
    row.dataset.state = event.state;
    const length = Math.round((event.offset.t_s - event.onset.t_s) * 1000);
    const detail = [event.state, `frames ${event.onset.frame} to ${event.offset.frame}`, `${length} ms`, ...event.flags];
    for (const [name, text] of [["label", `${event.kind} · ${event.emotion}`], ["score", event.score.toFixed(2)], ["detail", detail.join(", ")]]) {
      row.append(Object.assign(withText("span", text), { className: name }));
    }
    return row;
  }));
}

function withText(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function showTabs() {
  const list = element("cameras");
  list.hidden = cameras.size < 2;
  list.replaceChildren(...[...cameras.keys()].sort().map((name) => {
    const tab = withText("button", name);
    Object.assign(tab, { type: "button", tabIndex: name === chosen ? 0 : -1 });
    tab.dataset.camera = name;
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-selected", String(name === chosen));
    tab.setAttribute("aria-controls", "camera");
    tab.addEventListener("click", () => choose(name));
    return tab;
  }));
}

function choose(name) {
  chosen = name;
  showTabs();
  document.querySelector('[role=tab][aria-selected="true"]').focus();
  if (socket.readyState === WebSocket.OPEN) socket.send(name);
  figuresAt = -Infinity;
  dirty = true;
}

element("cameras").addEventListener("keydown", ({ key }) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
  const names = [...cameras.keys()].sort();
  if (step) choose(names[(names.indexOf(chosen) + step + names.length) % names.length]);
});
for (const id of ["show-face", "show-region", "show-flow"]) {
  element(id).addEventListener("change", () => { dirty = true; });
}
for (const change of [matchMedia("(prefers-color-scheme: dark)"), window]) {
  change.addEventListener(change === window ? "resize" : "change", () => { dirty = true; });
}
setInterval(() => { dirty = true; }, 250);

function onFrame() {
  if (dirty) {
    dirty = false;
    paint();
  }
  requestAnimationFrame(onFrame);
}

connect();
onFrame();
