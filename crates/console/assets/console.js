// The console's script. Pages work without it: it makes them live, keeps ages current, and adds shortcuts.
// No dependency, no eval, no inline style: the content security policy allows none.
'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;

  // Ages: "12 s ago" goes on counting. The same words as in view/words.rs.
  const two = (big, bigUnit, small, smallUnit) => small ? `${big} ${bigUnit} ${small} ${smallUnit}` : `${big} ${bigUnit}`;
  const duration = (s) => {
    if (s < 60) return `${s} s`;
    if (s < 3600) return two(Math.floor(s / 60), 'min', s % 60, 's');
    if (s < 86400) return two(Math.floor(s / 3600), 'h', Math.floor(s % 3600 / 60), 'min');
    return two(Math.floor(s / 86400), 'd', Math.floor(s % 86400 / 3600), 'h');
  };
  const tick = () => {
    const now = Date.now();
    for (const time of document.querySelectorAll('time[data-age]')) {
      const ms = now - Date.parse(time.dateTime);
      if (Number.isNaN(ms) || Math.abs(ms) < 1000) continue;
      const text = duration(Math.floor(Math.abs(ms) / 1000));
      const words = time.dataset.age === 'for' ? text : ms < 0 ? `in ${text}` : `${text} ago`;
      if (time.textContent !== words) time.textContent = words;
    }
  };
  setInterval(tick, 1000);

  // Light and dark. The choice is a cookie, so that the server sends the page in it and nothing flashes.
  const theme = $('theme');
  const systemDark = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme || (systemDark.matches ? 'dark' : 'light')) === 'dark';
  const nameTheme = () => { theme.textContent = isDark() ? 'Light' : 'Dark'; };
  const toggleTheme = () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    document.cookie = `turnstile_theme=${root.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Strict`;
    nameTheme();
  };
  if (theme) {
    theme.hidden = false;
    theme.addEventListener('click', toggleTheme);
    systemDark.addEventListener('change', nameTheme);
    nameTheme();
  }

  // Live: what changed is written into the elements that are there, so that what a person has opened, focused, scrolled or
  // is about to click stays.
  const morph = (old, next) => {
    if (old.nodeName !== next.nodeName || old.id !== next.id) { old.replaceWith(next); return; }
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== next.data) old.data = next.data; return; }
    for (const { name } of [...old.attributes]) if (name !== 'open' && !next.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    morphChildren(old, next);
  };
  const morphChildren = (old, next) => {
    const [before, after] = [[...old.childNodes], [...next.childNodes]];
    after.forEach((child, at) => { if (before[at]) morph(before[at], child); else old.append(child); });
    before.slice(after.length).forEach((child) => child.remove());
  };
  // A selection, a form that is being filled in: not under a person's hands. It is replaced with the next change.
  const busy = (fragment) => {
    const selection = getSelection();
    const active = document.activeElement;
    return (selection && !selection.isCollapsed && fragment.contains(selection.anchorNode))
      || (active && fragment.contains(active) && active.matches('select, input, textarea'));
  };
  const waiting = new Map();
  const put = (fragment, html) => {
    if (busy(fragment)) { waiting.set(fragment.id, html); return; }
    waiting.delete(fragment.id);
    const template = document.createElement('template');
    template.innerHTML = html;
    morphChildren(fragment, template.content);
  };
  const apply = (change) => {
    const home = $('fragments');
    const changed = new Map(change.fragments.map((f) => [f.id, f.html]));
    if (changed.has('pulse')) put($('pulse'), changed.get('pulse'));
    for (const old of [...home.children]) if (!change.order.includes(old.id)) old.remove();
    change.order.forEach((id, at) => {
      let fragment = $(id);
      if (!fragment) { fragment = document.createElement('div'); fragment.id = id; fragment.className = 'fragment'; }
      if (home.children[at] !== fragment) home.insertBefore(fragment, home.children[at] || null);
      if (changed.has(id)) put(fragment, changed.get(id));
    });
    tick();
  };
  setInterval(() => { for (const [id, html] of waiting) { const f = $(id); if (f) put(f, html); else waiting.delete(id); } }, 1000);

  // On a narrow page the navigation scrolls: show where we are. The newest windows are on the right.
  const here = document.querySelector('nav.sections a[aria-current]');
  if (here) { const bar = here.closest('nav'); bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.clientWidth) / 2; }
  for (const picture of document.querySelectorAll('.scroll > .timeline')) picture.parentNode.scrollLeft = picture.parentNode.scrollWidth;

  const live = $('live');
  const address = document.body.dataset.live;
  let source = null;
  let again = null;
  const say = (word, text) => { if (live.dataset.state !== word) { live.dataset.state = word; live.textContent = text; } };
  const close = () => { clearTimeout(again); if (source) source.close(); source = null; };
  const open = () => {
    close();
    source = new EventSource(address);
    source.onopen = () => say('on', 'live');
    source.addEventListener('page', (event) => apply(JSON.parse(event.data)));
    source.onerror = () => {
      say('off', 'not live: reconnecting');
      // Closed by an answer that is no stream, such as 503: the browser does not try again by itself.
      if (source.readyState === EventSource.CLOSED) { close(); again = setTimeout(open, 5000); }
    };
  };
  if (address && live) {
    // A hidden tab gives its connection back: browsers allow six to a server.
    document.addEventListener('visibilitychange', () => { if (document.hidden) close(); else open(); });
    addEventListener('pagehide', close);
    if (!document.hidden) open();
  }

  // A double click acts once.
  const actions = $('actions');
  if (actions) actions.addEventListener('submit', (event) => {
    if (actions.dataset.sent) event.preventDefault();
    actions.dataset.sent = 'yes';
  });

  // SQL: a table's button fills the editor; Ctrl+Enter runs.
  const query = $('query');
  for (const button of document.querySelectorAll('button[data-query]')) {
    button.hidden = false;
    button.addEventListener('click', () => { query.value = button.dataset.query; query.focus(); });
  }
  if (query) query.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); query.form.requestSubmit(); }
  });

  // Keyboard: g and a letter goes to a page, ? lists all.
  const keys = $('keys');
  const help = $('help');
  if (help) { help.hidden = false; help.addEventListener('click', () => keys.showModal()); }
  let going = 0;
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    if (event.target.matches('input, textarea, select, [contenteditable]')) return;
    if (Date.now() - going < 1500) {
      going = 0;
      const link = document.querySelector(`nav.sections a[data-key="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
    } else if (event.key === 'g') { going = Date.now(); }
    else if (event.key === 't') { toggleTheme(); }
    else if (event.key === '?') { event.preventDefault(); keys.showModal(); }
    else if (event.key === '/') {
      event.preventDefault();
      if (query) query.focus(); else { const link = document.querySelector('nav.sections a[data-key="q"]'); if (link) link.click(); }
    }
  });
})();
