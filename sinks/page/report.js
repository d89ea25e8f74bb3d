"use strict";
// The review: each event is accepted, rejected or corrected, and all of it saved as the CSV that training reads.

const data = JSON.parse(document.getElementById("data").textContent);
const COLUMNS = ["subject", "video", "onset", "offset", "emotion", "kind", "verdict", "comment"];
const PLOT = { width: 960, left: 112, right: 10 };
let changed = false;

const field = (card, name) => card.querySelector(`[name="${name}"]`);
const verdictOf = (card) => card.querySelector('input[type="radio"]:checked')?.value ?? "";

function across(card, frame) {
  const { begin_s: begin, end_s: end, seconds } = data.windows[card.dataset.event];
  const second = seconds[Math.max(0, Math.min(seconds.length - 1, frame - data.windows[card.dataset.event].first))];
  return PLOT.left + ((second - begin) / (end - begin)) * (PLOT.width - PLOT.left - PLOT.right);
}

function showInterval(card) {
  const [onset, offset] = [Number(field(card, "onset").value), Number(field(card, "offset").value)];
  const band = card.querySelector(".interval");
  if (!band) return;
  band.setAttribute("x", across(card, onset));
  band.setAttribute("width", Math.max(1, across(card, offset) - across(card, onset)));
}

function scrub(card) {
  const slider = field(card, "scrub");
  const frame = Number(slider.value);
  const { first, spot } = data.windows[card.dataset.event];
  const score = spot[frame - first];
  const x = across(card, frame);
  const cursor = card.querySelector(".cursor");
  cursor.setAttribute("x1", x);
  cursor.setAttribute("x2", x);
  card.querySelector(".at").textContent = `frame ${frame}, score ${score == null ? "none" : score.toFixed(2)}`;
  for (const film of card.querySelectorAll(".film")) {
    const pictures = [...film.querySelectorAll("figure")];
    const distance = (picture) => Math.abs(Number(picture.dataset.frame) - frame);
    const nearest = Math.min(...pictures.map(distance));
    for (const picture of pictures) picture.classList.toggle("here", distance(picture) === nearest);
  }
}

/** Verdict from what was edited: an interval that differs from the detected one is corrected. */
function afterEdit(card) {
  const found = data.events[card.dataset.event];
  if (found) {
    const same = ["onset", "offset", "emotion", "kind"].every((name) => field(card, name).value === String(found[name]));
    if (!same) card.querySelector('[value="corrected"]').checked = true;
    else if (verdictOf(card) === "corrected") card.querySelector('[value="confirmed"]').checked = true;
  }
  const [onset, offset] = [field(card, "onset"), field(card, "offset")];
  const wrong = Number(offset.value) < Number(onset.value);
  offset.setCustomValidity(wrong ? "The offset lies before the onset." : "");
  showInterval(card);
  afterVerdict(card);
}

function afterVerdict(card) {
  card.dataset.verdict = verdictOf(card);
  card.querySelector(".printed").textContent = `Review: ${verdictOf(card) || "open"}. ${field(card, "comment").value}`;
  showProgress();
}

function showProgress() {
  const cards = [...document.querySelectorAll(".card")];
  document.getElementById("progress").textContent = `${cards.filter(verdictOf).length} of ${cards.length} reviewed`;
}

function quoted(text) {
  const plain = String(text);
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

/** Rows of the reviewed cards only: an event nobody looked at is neither right nor wrong. */
function reviewCsv() {
  const rows = [...document.querySelectorAll(".card")].filter(verdictOf).map((card) => [
    data.subject, data.video, field(card, "onset").value, field(card, "offset").value, field(card, "emotion").value,
    field(card, "kind").value, verdictOf(card), field(card, "comment").value,
  ]);
  return [COLUMNS, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function save() {
  const wrong = [...document.querySelectorAll(".card input")].find((input) => !input.reportValidity());
  if (wrong) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([reviewCsv()], { type: "text/csv" }));
  link.download = `${data.session}_review.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  changed = false;
}

function options(name, values, chosen) {
  const select = Object.assign(document.createElement("select"), { name });
  for (const value of values) select.append(new Option(value, value, false, value === chosen));
  return select;
}

function labelled(text, control) {
  const label = document.createElement("label");
  label.append(text, control);
  return label;
}

function number(name, value) {
  return Object.assign(document.createElement("input"), { type: "number", name, min: 0, max: data.last_frame, step: 1, value, required: true });
}

function addCard() {
  const card = Object.assign(document.createElement("article"), { className: "card" });
  card.dataset.event = "added";
  const title = Object.assign(document.createElement("h3"), { textContent: "Added event" });
  const review = Object.assign(document.createElement("div"), { className: "review" });
  const verdict = Object.assign(document.createElement("input"), { type: "radio", value: "added", checked: true, hidden: true });
  const comment = Object.assign(document.createElement("input"), { type: "text", name: "comment" });
  const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
  remove.addEventListener("click", () => {
    card.remove();
    showProgress();
  });
  review.append(verdict, labelled("Onset, frame", number("onset", 0)), labelled("Offset, frame", number("offset", 0)),
    labelled("Emotion", options("emotion", data.emotions)), labelled("Kind", options("kind", ["micro", "macro"])),
    labelled("Comment", comment), remove);
  card.append(title, review, Object.assign(document.createElement("p"), { className: "printed" }));
  document.getElementById("cards").append(card);
  watch(card);
  field(card, "onset").focus();
}

function watch(card) {
  card.addEventListener("input", ({ target }) => {
    if (target.name === "scrub") {
      scrub(card);
      return;
    }
    changed = true;
    if (["onset", "offset", "emotion", "kind"].includes(target.name)) afterEdit(card);
    else afterVerdict(card);
  });
  for (const button of card.querySelectorAll("[data-take]")) {
    button.addEventListener("click", () => {
      field(card, button.dataset.take).value = field(card, "scrub").value;
      changed = true;
      afterEdit(card);
    });
  }
  if (field(card, "scrub")) scrub(card);
  afterVerdict(card);
}

document.querySelectorAll(".card").forEach(watch);
document.getElementById("add").addEventListener("click", addCard);
document.getElementById("save").addEventListener("click", save);
addEventListener("beforeunload", (event) => { if (changed) event.preventDefault(); });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
