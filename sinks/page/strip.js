// The score strip: the last seconds of the spotting score, its threshold, and the events as bands.

export const STRIP_S = 10;
const MARGIN = { left: 26, right: 6, top: 8, bottom: 8 };
const LONGEST_STEP_S = 0.25; // between two scores; a longer one is a gap, and no line bridges it

/** Draw scores ([frame, face, t, spot]), events and threshold; `shown` is the frame in the picture. */
export function drawStrip(canvas, { scores, events, threshold, shown }) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const ink = (name) => style.getPropertyValue(`--${name}`);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const timed = scores.filter((row) => row[2] !== null);
  const now = timed.length ? timed[timed.length - 1][2] : 0;
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const across = (t) => right - ((now - t) / STRIP_S) * (right - MARGIN.left);
  const upwards = (spot) => bottom - spot * (bottom - MARGIN.top);

  drawScale(pen, upwards, right, ink);
  for (const event of events) drawEvent(pen, event, across, { top: MARGIN.top, bottom, right }, ink);
  if (typeof threshold === "number") {
    line(pen, [[MARGIN.left, upwards(threshold)], [right, upwards(threshold)]], ink("threshold"), 1.5, [5, 4]);
  }
  for (const trace of traces(timed, now)) {
    line(pen, trace.map(([, , t, spot]) => [across(t), upwards(spot)]), ink("accent"), 2, []);
  }
  const here = timed.find((row) => row[0] === shown && row[3] !== null);
  if (here) {
    pen.fillStyle = ink("text");
    pen.beginPath();
    pen.arc(across(here[2]), upwards(here[3]), 3.5, 0, 2 * Math.PI);
    pen.fill();
  }
}

function drawScale(pen, upwards, right, ink) {
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  pen.fillStyle = ink("muted");
  for (const mark of [0, 0.5, 1]) {
    line(pen, [[MARGIN.left, upwards(mark)], [right, upwards(mark)]], ink("rule"), 1, []);
    pen.fillText(mark === 0.5 ? "0.5" : String(mark), MARGIN.left - 6, upwards(mark));
  }
}

function drawEvent(pen, event, across, { top, bottom, right }, ink) {
  const end = Math.min(right, across(event.offset.t_s));
  const begin = Math.max(MARGIN.left, across(event.onset.t_s));
  if (event.state === "withdrawn" || end < MARGIN.left) return;
  pen.fillStyle = ink(event.state);
  pen.globalAlpha = 0.22;
  pen.fillRect(begin, top, Math.max(2, end - begin), bottom - top);
  pen.globalAlpha = 1;
  pen.fillRect(begin, bottom - 2, Math.max(2, end - begin), 2);
}

/** Scores of the first face, cut where there was none. */
function traces(timed, now) {
  const found = [[]];
  const face = timed.length ? timed[timed.length - 1][1] : 0;
  for (const row of timed) {
    const last = found[found.length - 1];
    if (row[1] !== face || row[2] < now - STRIP_S) continue;
    if (row[3] === null || (last.length && row[2] - last[last.length - 1][2] > LONGEST_STEP_S)) found.push([]);
    if (row[3] !== null) found[found.length - 1].push(row);
  }
  return found.filter((trace) => trace.length > 1);
}

function line(pen, points, color, width, dash) {
  pen.beginPath();
  pen.lineWidth = width;
  pen.lineJoin = "round";
  pen.strokeStyle = color;
  pen.setLineDash(dash);
  for (const [x, y] of points) pen.lineTo(x, y);
  pen.stroke();
  pen.setLineDash([]);
}
