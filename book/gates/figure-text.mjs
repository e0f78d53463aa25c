// What `figure-text` asks inside a page. Sent to the browser as its text.

/**
 * Each text that is seen in a drawing, and its contrast. What lies behind it is
 * asked for at three points of its line: the shapes of the drawing that were
 * painted there before, and behind them the backgrounds of the page.
 */
export function figureContrasts() {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const parsed = new Map();

  /** Red, green, blue and alpha, each 0 to 1, however the colour is written. */
  function rgba(colour) {
    if (!parsed.has(colour)) {
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
      parsed.set(colour, [...canvas.getImageData(0, 0, 1, 1).data].map((value) => value / 255));
    }
    return parsed.get(colour);
  }

  function over([r, g, b, alpha], below) {
    return [r, g, b].map((value, at) => value * alpha + below[at] * (1 - alpha));
  }

  /** The opacity of an element and of all that it lies in. */
  function opacity(element) {
    let product = 1;
    for (let at = element; at; at = at.parentElement) product *= getComputedStyle(at).opacity;
    return product;
  }

  /** What the element is filled with, or stroked; nothing if that cannot be seen. */
  function paint(element, kind) {
    const style = getComputedStyle(element);
    if (style[kind] === 'none' || style[kind].startsWith('url(')) return undefined;
    const [r, g, b, alpha] = rgba(style[kind]);
    return [r, g, b, alpha * style[`${kind}Opacity`] * opacity(element)];
  }

  function pageBehind(svg) {
    const layers = [];
    for (let at = svg; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [1, 1, 1]);
  }

  /** A shape that is seen: its paint, and whether it covers a point. */
  function shapeOf(element) {
    const box = element.getBoundingClientRect();
    const inverse = element.getScreenCTM().inverse();
    return {
      element,
      fill: paint(element, 'fill'),
      covers: (x, y) => x >= box.left && x <= box.right && y >= box.top && y <= box.bottom
        && element.isPointInFill(new DOMPoint(x, y).matrixTransform(inverse)),
    };
  }

  /** A text may bring its own background: an outline that is painted first. */
  function halo(text) {
    const style = getComputedStyle(text);
    const wide = parseFloat(style.strokeWidth) >= 2;
    return style.paintOrder.startsWith('stroke') && wide ? paint(text, 'stroke') : undefined;
  }

  function luminance(colour) {
    const [r, g, b] = colour.map((value) => (
      value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  const found = [];
  for (const svg of document.querySelectorAll('main svg')) {
    const page = pageBehind(svg);
    const shapes = [...svg.querySelectorAll('rect, circle, ellipse, path, polygon')]
      .filter(gates.visible).map(shapeOf).filter(({ fill }) => fill);
    for (const text of svg.querySelectorAll('text, tspan, textPath')) {
      const fill = paint(text, 'fill');
      if (!gates.ownText(text) || !gates.visible(text) || !fill) continue;
      const box = text.getBoundingClientRect();
      const before = shapes.filter(({ element }) => (
        element.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING));
      const contrasts = [0.05, 0.5, 0.95].map((share) => {
        const [x, y] = [box.x + box.width * share, box.y + box.height / 2];
        const layers = before.filter(({ covers }) => covers(x, y)).map((shape) => shape.fill);
        const behind = [...layers, halo(text)].filter(Boolean)
          .reduce((below, layer) => over(layer, below), page);
        return contrast(over(fill, behind), behind);
      });
      found.push({
        text: `"${gates.ownText(text)}" in ${gates.name(text)}`,
        contrast: Math.min(...contrasts),
      });
    }
  }
  return found;
}
