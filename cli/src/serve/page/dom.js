// Elements. Text becomes text and never markup, whatever is in it.

/** An element: attributes, `on…` listeners, then children; null ones are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

export function button(text, onclick, attributes = {}) {
  return el('button', { type: 'button', onclick, ...attributes }, text);
}

/** Text in which `this` is code. */
export function prose(text) {
  return text.split('`').map((part, index) => (index % 2 ? el('code', {}, part) : part));
}

/** An error of the server, or of the way to it, as a reader needs it. */
export function trouble({ what, message, cause, cure }) {
  const row = (name, text) => text && el('p', {}, `${name}: `, prose(text));
  // A compiler says much: after the first line it is shown as it stands.
  const [first, ...more] = (what ?? message).split('\n');
  return el('div', { class: 'live-trouble' },
    el('p', {}, el('strong', {}, '✗ ', prose(first))),
    more.length > 0 ? el('pre', { tabindex: 0 }, more.join('\n')) : null,
    row('Likely cause', cause), row('Cure', cure));
}
