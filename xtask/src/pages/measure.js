// What is wrong with the page as it stands, as sentences.
(async () => {
  await document.fonts.ready;
  const wrong = [];
  const place = (node) => {
    const text = (node.textContent || "").trim().replace(/\s+/g, " ").slice(0, 40);
    return `<${node.tagName.toLowerCase()}${node.className?.baseVal ?? node.className ? " " + (node.className.baseVal ?? node.className) : ""}> "${text}"`;
  };

  const root = document.documentElement;
  const width = root.clientWidth;
  if (root.scrollWidth > width || document.body.scrollWidth > width) {
    const scrolled = (node) => {
      for (let up = node.parentElement; up; up = up.parentElement) {
        if (["auto", "scroll", "hidden"].includes(getComputedStyle(up).overflowX)) return true;
      }
      return false;
    };
    const beyond = [...document.querySelectorAll("body *")].filter((node) => node.getBoundingClientRect().right > width + 0.5 && !scrolled(node));
    wrong.push(`is ${root.scrollWidth} pixels wide where there are ${width}${beyond.length ? ": " + place(beyond.at(-1)) : ""}`);
  }
  if ((document.body.innerText || "").trim().length < 40) wrong.push("has next to no text");
  for (const image of document.images) {
    if (!image.complete || image.naturalWidth === 0) wrong.push(`an image is broken: ${image.alt}`);
    if (!image.hasAttribute("alt")) wrong.push("an image has no alt");
  }

  // Contrast by WCAG 2.2: 4.5, and 3 of large text.
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const colour = (css) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = css;
    pen.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
    return { rgb: [r, g, b], a: a / 255 };
  };
  const over = (top, below) => top.rgb.map((v, i) => v * top.a + below[i] * (1 - top.a));
  const paper = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
  const behind = (node) => {
    const layers = [];
    for (let up = node; up; up = up.parentElement) {
      const layer = colour(getComputedStyle(up).backgroundColor);
      if (layer.a > 0) layers.push(layer);
      if (layer.a === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), paper);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || ["STYLE", "SCRIPT", "TITLE", "title"].includes(node.tagName)) continue;
    if (!node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const below = behind(node);
    const ink = over(colour(node instanceof SVGElement ? style.fill : style.color), below);
    const [a, b] = [light(ink), light(below)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const key = [node.tagName, ink, below].join();
    if (contrast < least && !seen.has(key)) {
      seen.add(key);
      wrong.push(`text has a contrast of ${contrast.toFixed(2)}, below ${least}: ${place(node)}`);
    }
  }
  return wrong;
})()
