// Messages out of a text/event-stream. EventSource reads the same, but it can
// neither send a header nor make a POST.

/**
 * Makes a reader: it takes the text as it comes, in pieces that may end
 * anywhere, and answers with the messages that are complete, as `{event, data}`.
 */
export function reader() {
  let rest = '';
  let event = '';
  let data = [];

  function take(line) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === 'event') event = value;
    if (name === 'data') data.push(value);
  }

  function dispatch() {
    const message = { event: event || 'message', data: data.join('\n') };
    const empty = data.length === 0;
    event = '';
    data = [];
    return empty ? [] : [message];
  }

  return (text) => {
    // A CR at the end may be half of a CR LF: it waits for what follows.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    return lines.flatMap((line) => {
      if (line === '') return dispatch();
      take(line);
      return [];
    });
  };
}
