// What a reader of the page that is open would stumble over, as sentences.
() => {
  const LEAST_CONTRAST = 3;
  const screen = document.documentElement;
  const troubles = [];
  const tell = (element, text) => {
    const words = element.textContent.trim().replace(/\s+/g, " ").slice(0, 40);
    troubles.push(`<${element.localName}> ${text}: ${element.currentSrc || words}`);
  };

  // The first of an element's ancestors that hides a part of it, unless one before it
  // can be scrolled, and can itself be seen.
  const cutBy = (element) => {
    for (let at = element; at.parentElement; at = at.parentElement) {
      const overflow = getComputedStyle(at.parentElement).overflowX;
      const scrolls = overflow === "auto" || overflow === "scroll";
      // Not the whole page: nobody would look for a part of it there.
      if (scrolls && at.parentElement.matches("article section *"))
        element = at.parentElement;
      const right = element.getBoundingClientRect().right;
      const hides = overflow === "hidden" || overflow === "clip";
      if (hides && right > at.parentElement.getBoundingClientRect().right + 1)
        return `<${at.parentElement.localName}>`;
    }
    const right = element.getBoundingClientRect().right;
    return right > screen.clientWidth + 1 ? "the screen" : null;
  };

  // The browser mixes nothing here: one pixel knows what a colour means.
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const parse = (color) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = color;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((byte) => {
      const part = byte / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (element) => {
    const shades = [parse(getComputedStyle(element).color), ground(element)];
    const [dark, light] = shades.map(luminance).sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };

  if (screen.scrollWidth > screen.clientWidth)
    tell(screen, `is ${screen.scrollWidth} px wide`);
  for (const element of document.querySelectorAll("article :is(table, img, svg, pre)")) {
    const culprit = element.checkVisibility() ? cutBy(element) : null;
    if (culprit) tell(element, `is cut by ${culprit}`);
  }
  for (const image of document.images)
    if (!image.complete || !image.naturalWidth) tell(image, "is not there");
  for (const cell of document.querySelectorAll("article td")) {
    const lines = new Set();
    const text = document.createRange();
    text.selectNodeContents(cell.querySelector("p") ?? cell);
    for (const box of text.getClientRects()) if (box.width) lines.add(box.bottom);
    const isNumber = /^[+−-]? ?\d[\d .,]*$/.test(cell.textContent.trim());
    if (isNumber && lines.size > 1) tell(cell, "is a number in pieces");
  }
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const parent = walker.currentNode.parentElement;
    if (seen.has(parent) || !walker.currentNode.data.trim()) continue;
    seen.add(parent);
    const shown = {visibilityProperty: true, opacityProperty: true};
    if (parent.checkVisibility(shown) && contrast(parent) < LEAST_CONTRAST)
      tell(parent, `has a contrast of ${contrast(parent).toFixed(1)}`);
  }
  return troubles;
};
