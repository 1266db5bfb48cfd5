// What of a picture the network sees, as data/images.py has it: a square or the whole, resized to
// `side`, of which the central size x size pixels are kept. Bundles of 0.1.0 name no crop: all.

export function geometry({ size, crop = 1 }) {
  const side = Math.floor(size / crop);
  return { side, margin: halfToEven(side - size) };
}

// Python's round((side - size) / 2).
function halfToEven(difference) {
  const lower = Math.floor(difference / 2);
  return difference % 2 === 1 && lower % 2 === 1 ? lower + 1 : lower;
}

// The largest centred square, in whole pixels.
export function centralSquare(width, height) {
  const side = Math.min(width, height);
  return { left: Math.floor((width - side) / 2), top: Math.floor((height - side) / 2), side };
}

// The view's place in a picture of width x height pixels, in its (fractional) pixels.
export function viewOf(width, height, how) {
  let left = 0, top = 0;
  if (how.fit === "crop") {
    const square = centralSquare(width, height);
    [left, top, width, height] = [square.left, square.top, square.side, square.side];
  }
  const { side, margin } = geometry(how);
  return {
    left: left + width * margin / side, top: top + height * margin / side,
    width: width * how.size / side, height: height * how.size / side,
  };
}
