// Drives a Chromium for a story: a request a line on standard input, an answer a line on standard output, both JSON.
// {"do": "open", …} is answered by {"ok": value} or {"error": "why"}. The end of the input ends the browser.
//
// Environment: BROWSER, the program's path; SCREENSHOTS, the folder that pictures go to. Node finds puppeteer-core and
// axe-core by NODE_PATH.
'use strict';
const fs = require('node:fs');
const readline = require('node:readline');
const puppeteer = require('puppeteer-core');
const { walk } = require('./walk');
const { collectProblems, size } = require('./page');

// How long one request may take, milliseconds.
const LIMIT_MS = 110_000;
// How often a page is looked at that is waited for.
const LOOK_MS = 50;

// The page that a person has open, and what was wrong with it since.
let page = null;
let problems = [];

const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// What a person reads: text with its white space as one blank, without what is hidden.
const textsOf = (selector) => page.$$eval(selector, (found) =>
  found.map((element) => element.innerText.replace(/\s+/g, ' ').trim()));

const requests = {
  // Opens a page as a person has it; it stays open. `live`: waits until it is.
  async open({ url, live, width = 1280, scheme = 'light' }, browser) {
    if (page) await page.close();
    page = await browser.newPage();
    problems = collectProblems(page);
    await size(page, width, scheme);
    const answer = await page.goto(url, { waitUntil: 'load' });
    await page.evaluate(() => { window.openedByStory = true; });
    if (live) await page.waitForSelector('#live[data-state="on"]');
    return answer.status();
  },

  // The texts of all elements of the open page that `selector` finds.
  texts: ({ selector }) => textsOf(selector),

  // The rows of the table that `selector` finds: the texts of the cells, and where the first links to.
  rows: ({ selector }) => page.$eval(selector, (table) => [...table.tBodies[0].rows].map((row) => ({
    cells: [...row.cells].map((cell) => cell.innerText.replace(/\s+/g, ' ').trim()),
    href: row.querySelector('a') && row.querySelector('a').getAttribute('href'),
  }))),

  // Waits until the open page shows `text` in an element that `selector` finds, which it does by itself: a page that was
  // loaded again is an error. Answers after how many milliseconds.
  async see({ selector, text, within_ms: within }) {
    const began = Date.now();
    for (;;) {
      const texts = await textsOf(selector);
      if (!await page.evaluate(() => window.openedByStory === true)) throw new Error('the page was loaded again');
      if (texts.some((shown) => shown.includes(text))) return Date.now() - began;
      if (Date.now() - began > within) {
        throw new Error(`${selector} does not show ${JSON.stringify(text)} within ${within} ms but ${JSON.stringify(texts)}`);
      }
      await pause(LOOK_MS);
    }
  },

  // Presses keys one after the other, such as "g", "w" or "Control+Enter". `leads`: they lead to another page, which is waited for.
  async press({ keys, leads }) {
    const press = async () => { for (const key of keys) await combination(key); };
    if (leads) await leading(press); else await press();
    return page.url();
  },

  // Clicks what `selector` finds. `leads` as for keys.
  async click({ selector, leads }) {
    const click = () => page.click(selector);
    if (leads) await leading(click); else await click();
    return page.url();
  },

  // Replaces the text of a field.
  async fill({ selector, text }) {
    await page.$eval(selector, (field) => { field.value = ''; });
    await page.type(selector, text);
    return null;
  },

  // A picture of the open page.
  async picture({ name }) {
    const path = `${process.env.SCREENSHOTS}/${name}.png`;
    await page.screenshot({ path, fullPage: true });
    return path;
  },

  // Whatever was wrong with the open page since it was opened.
  problems: () => problems,

  walk: ({ name, url, status = 200 }, browser) => walk(browser, name, url, status, process.env.SCREENSHOTS),
};

// Does what leads to another page, which then is the one that a person has open.
async function leading(act) {
  await Promise.all([page.waitForNavigation({ waitUntil: 'load' }), act()]);
  await page.evaluate(() => { window.openedByStory = true; });
}

async function combination(key) {
  const held = key.split('+').slice(0, -1);
  for (const modifier of held) await page.keyboard.down(modifier);
  await page.keyboard.press(key.split('+').pop());
  for (const modifier of held) await page.keyboard.up(modifier);
}

async function answer(line, browser) {
  const request = JSON.parse(line);
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${line} took longer than ${LIMIT_MS} ms`)), LIMIT_MS);
  });
  try {
    const work = requests[request.do];
    if (!work) throw new Error(`no such request: ${request.do}`);
    return { ok: await Promise.race([Promise.resolve(work(request, browser)), late]) ?? null };
  } catch (error) {
    return { error: `${request.do}: ${error.message}` };
  } finally {
    clearTimeout(timer);
  }
}

(async () => {
  fs.mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  const browser = await puppeteer.launch({
    executablePath: process.env.BROWSER,
    headless: true,
    // By pipe, the browser ends with this process however that ends.
    pipe: true,
    // The sandbox needs rights that root and containers lack, and the pages are the project's own. /dev/shm is small in containers.
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  console.log(JSON.stringify({ ok: await browser.version() }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(line, browser)));
  }
  await browser.close();
})().catch((error) => {
  console.log(JSON.stringify({ error: error.message }));
  process.exitCode = 1;
});
