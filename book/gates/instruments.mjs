// What the gates use inside a page. The function is sent to the browser as its
// text: it can use nothing from out here.

/** Puts `gates` into the page: how to name, see and open what is in it. */
export function instruments() {
  /** Whether a reader can see the element: it is drawn, and has a size. */
  function visible(element) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) {
      return false;
    }
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0;
  }

  /** A short name: the element, and what it lies in up to something with an id. */
  function name(element) {
    const steps = [];
    for (let at = element; at && at !== document.body && steps.length < 4; at = at.parentElement) {
      const id = at.id ? `#${at.id}` : '';
      const classes = id ? '' : [...at.classList].map((one) => `.${one}`).join('');
      steps.unshift(`${at.localName}${id}${classes}`);
      if (id) break;
    }
    return steps.join(' > ');
  }

  /** The element's own text, without that of the elements in it. */
  function ownText(element) {
    return [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.data).join(' ').replace(/\s+/g, ' ').trim();
  }

  /** Takes the first option of each prediction, and unfolds each `details`. */
  function openAll() {
    for (const prediction of document.querySelectorAll('fieldset.predict')) {
      prediction.querySelector('input[type=radio]')?.click();
    }
    for (const details of document.querySelectorAll('details')) details.open = true;
  }

  globalThis.gates = { visible, name, ownText, openAll };
}
