'use strict';

// 1. Times become "12 s ago", and stay true.
const ago = (seconds) => {
  if (seconds < 2) return 'just now';
  if (seconds < 120) return `${Math.round(seconds)} s ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h ago`;
  return null;
};
const tellTimes = () => {
  for (const time of document.querySelectorAll('time.ago')) {
    const text = ago((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (text !== null) {
      time.title = time.dateTime;
      time.textContent = text;
    }
  }
};
tellTimes();
setInterval(tellTimes, 1000);

// 2. The probe asks for a page and shows what its headers say about the way it came.
const kindOf = (response) => {
  const word = (response.headers.get('X-Cache') || '').split(/[\s,]/)[0].toUpperCase();
  return word || (response.headers.has('Age') ? 'HIT' : 'NONE');
};
const probe = (root) => {
  const find = (name) => root.querySelector(`[data-probe-${name}]`);
  const rows = find('rows');
  const cells = find('cells');
  rows.replaceChildren();

  const show = (response, ms) => {
    const kind = kindOf(response);
    const cell = document.createElement('span');
    cell.className = 'cell';
    cell.dataset.kind = kind;
    cells.append(cell);
    if (cells.children.length > 240) cells.firstChild.remove();

    const badge = document.createElement('span');
    badge.className = 'badge';
    badge.dataset.kind = kind;
    badge.textContent = kind;
    const age = response.headers.get('Age');
    const row = document.createElement('tr');
    const values = [badge, `${ms.toFixed(ms < 10 ? 1 : 0)} ms`, age === null ? '–' : `${age} s`, response.headers.get('Cache-Status') || '–'];
    for (const value of values) {
      row.insertCell().append(value);
    }
    rows.prepend(row);
    if (rows.children.length > 6) rows.lastChild.remove();
  };

  const ask = async (url) => {
    const start = performance.now();
    const response = await fetch(url);
    await response.arrayBuffer();
    show(response, performance.now() - start);
  };

  const busy = async (button, work) => {
    button.disabled = true;
    try {
      await work();
    } catch (error) {
      const row = document.createElement('tr');
      row.insertCell().append(`No answer: ${error.message}`);
      rows.prepend(row);
    } finally {
      button.disabled = false;
    }
  };

  for (const button of root.querySelectorAll('[data-probe-ask]')) {
    button.addEventListener('click', () => busy(button, async () => {
      for (let i = 0; i < Number(button.dataset.probeAsk); i++) {
        await ask(find('page').value);
      }
    }));
  }
  find('fresh').addEventListener('click', (event) => busy(event.currentTarget, async () => {
    const url = new URL(find('page').value, location.href);
    url.searchParams.set('fresh', Math.random().toString(36).slice(2));
    await ask(url);
    await ask(url);
  }));
  ask(location.pathname).catch(() => {});
};
document.querySelectorAll('[data-probe]').forEach(probe);

// 3. The experiments show an answer while it arrives.
for (const card of document.querySelectorAll('[data-experiment]')) {
  const button = card.querySelector('button');
  const output = card.querySelector('pre');
  button.addEventListener('click', async () => {
    button.disabled = true;
    output.hidden = false;
    output.textContent = '';
    const start = performance.now();
    try {
      const response = await fetch(card.dataset.experiment);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        output.textContent += part.value;
      }
      output.textContent += `— whole after ${((performance.now() - start) / 1000).toFixed(2)} s`;
    } catch (error) {
      output.textContent += `— cut off: ${error.message}`;
    }
    button.disabled = false;
  });
}
