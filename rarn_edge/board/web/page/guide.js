/** The frame that a person puts around a face: dragged, resized at its corner, or moved with the keyboard. */

const STEP = 0.02; // of the picture's shorter side
const LEAST = 16; // pixels of the picture

/** `place(box)` puts the frame at a box {x, y, width, height} in the picture's pixels; `onMove(box)` tells of every change. */
export function makeGuide(element, stage, picture, onMove) {
  let box = null;

  function place(next) {
    const { width, height } = picture;
    const side = { width: clip(next.width, LEAST, width), height: clip(next.height, LEAST, height) };
    box = { x: clip(next.x, 0, width - side.width), y: clip(next.y, 0, height - side.height), ...side };
    const x = stage.classList.contains("mirrored") ? width - box.x - box.width : box.x;
    element.style.left = `${(100 * x) / width}%`;
    element.style.top = `${(100 * box.y) / height}%`;
    element.style.width = `${(100 * box.width) / width}%`;
    element.style.height = `${(100 * box.height) / height}%`;
  }

  function change(next) {
    place(next);
    onMove(box);
  }

  element.addEventListener("pointerdown", (start) => {
    const from = box;
    const resizes = start.target !== element;
    const scale = picture.width / stage.getBoundingClientRect().width;
    const mirror = stage.classList.contains("mirrored") ? -1 : 1;
    const move = (event) => {
      const right = (event.clientX - start.clientX) * scale * mirror;
      const down = (event.clientY - start.clientY) * scale;
      const grow = Math.max(right, down);
      if (resizes) change({ ...from, width: from.width + grow, height: from.width + grow });
      else change({ ...from, x: from.x + right, y: from.y + down });
    };
    element.setPointerCapture(start.pointerId);
    element.addEventListener("pointermove", move);
    element.addEventListener("lostpointercapture", () => element.removeEventListener("pointermove", move), { once: true });
    start.preventDefault();
    element.focus();
  });

  element.addEventListener("keydown", (event) => {
    const step = STEP * Math.min(picture.width, picture.height) * (event.shiftKey ? 5 : 1);
    const mirror = stage.classList.contains("mirrored") ? -1 : 1;
    const moves = { ArrowLeft: [-step * mirror, 0], ArrowRight: [step * mirror, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (event.key in moves) {
      const [right, down] = moves[event.key];
      change({ ...box, x: box.x + right, y: box.y + down });
    } else if (["+", "=", "-", "_"].includes(event.key)) {
      const grow = "+=".includes(event.key) ? step : -step;
      change({ x: box.x - grow / 2, y: box.y - grow / 2, width: box.width + grow, height: box.width + grow });
    } else return;
    event.preventDefault();
  });

  return { place, box: () => box };
}

function clip(value, low, high) {
  return Math.max(low, Math.min(value, high));
}
