// The picture: an analysed frame with what was found in that very frame drawn on it.

const ARROW_GAIN = 10;
const ARROW_LEAST_PX = 0.12; // on the crop; about the noise of the flow
const CROP_PX = 128;
const GRID = 16;

/** Take a picture message apart: header, motion field and a decoded image. */
export async function unpackPicture(bytes) {
  const sizes = new DataView(bytes);
  const textBytes = sizes.getUint32(0, true);
  const fieldBytes = sizes.getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, textBytes)));
  const depthAt = 8 + textBytes + fieldBytes;
  const field = new Float32Array(bytes.slice(8 + textBytes, depthAt));
  const depth = header.depth_bytes ? await decoded(bytes, depthAt, header.depth_bytes) : null;
  return { ...header, field, depth, image: await decoded(bytes, depthAt + header.depth_bytes) };
}

function decoded(bytes, at, length) {
  return createImageBitmap(new Blob([new Uint8Array(bytes, at, length)], { type: "image/jpeg" }));
}

/** Draw the depth of a picture, in the colors it came in. */
export function drawDepth(canvas, { depth }) {
  if (canvas.width !== depth.width || canvas.height !== depth.height) {
    canvas.width = depth.width;
    canvas.height = depth.height;
  }
  canvas.getContext("2d").drawImage(depth, 0, 0);
}

/** Draw a picture in full; `show` says which of face, region and flow to draw. */
export function drawPicture(canvas, picture, show) {
  const { width, height } = picture;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.style.objectFit = "contain";
  }
  const pen = canvas.getContext("2d");
  const colors = getComputedStyle(canvas);
  pen.drawImage(picture.image, 0, 0, width, height);
  const stroke = Math.max(1, width / 480);
  if (show.region && picture.crop) drawRegion(pen, picture.crop, stroke, colors.getPropertyValue("--region"));
  if (show.flow && picture.crop && picture.field.length) {
    drawFlow(pen, picture, stroke, colors.getPropertyValue("--flow"));
  }
  if (show.face) {
    for (const { box } of picture.faces) if (box) drawBox(pen, box, stroke, colors.getPropertyValue("--face"));
  }
}

function drawRegion(pen, { x, y, size }, stroke, color) {
  pen.lineWidth = stroke;
  pen.strokeStyle = color;
  pen.setLineDash([stroke * 4, stroke * 4]);
  pen.strokeRect(x, y, size, size);
  pen.setLineDash([]);
}

/** Corners rather than a full frame: the face stays in view. */
function drawBox(pen, [x, y, width, height], stroke, color) {
  const arm = Math.max(8, 0.14 * Math.min(width, height));
  pen.lineWidth = 2 * stroke;
  pen.strokeStyle = color;
  pen.beginPath();
  for (const [cornerX, alongX] of [[x, arm], [x + width, -arm]]) {
    for (const [cornerY, alongY] of [[y, arm], [y + height, -arm]]) {
      pen.moveTo(cornerX + alongX, cornerY);
      pen.lineTo(cornerX, cornerY);
      pen.lineTo(cornerX, cornerY + alongY);
    }
  }
  pen.stroke();
}

function drawFlow(pen, { crop, field }, stroke, color) {
  const perPx = crop.size / CROP_PX;
  const step = CROP_PX / GRID;
  const cells = GRID * GRID;
  pen.beginPath();
  for (let cell = 0; cell < cells; cell += 1) {
    const u = field[cell];
    const v = field[cells + cell];
    if (Math.hypot(u, v) < ARROW_LEAST_PX) continue;
    const x = crop.x + ((cell % GRID) + 0.5) * step * perPx;
    const y = crop.y + (Math.floor(cell / GRID) + 0.5) * step * perPx;
    arrow(pen, x, y, u * perPx * ARROW_GAIN, v * perPx * ARROW_GAIN);
  }
  for (const [width, ink] of [[3 * stroke, "rgb(0 0 0 / 55%)"], [1.2 * stroke, color]]) {
    pen.lineWidth = width;
    pen.strokeStyle = ink;
    pen.stroke();
  }
}

function arrow(pen, x, y, dx, dy) {
  const tipX = x + dx;
  const tipY = y + dy;
  pen.moveTo(x, y);
  pen.lineTo(tipX, tipY);
  pen.moveTo(tipX - 0.3 * dx - 0.18 * dy, tipY - 0.3 * dy + 0.18 * dx);
  pen.lineTo(tipX, tipY);
  pen.lineTo(tipX - 0.3 * dx + 0.18 * dy, tipY - 0.3 * dy - 0.18 * dx);
}
