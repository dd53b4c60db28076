// Looks at one page as people do who differ: on a desk and on a telephone, by day and by night, with and without good eyes.
'use strict';
const fs = require('node:fs');
const { collectProblems, size } = require('./page');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const WIDTHS = [1280, 390];
const SCHEMES = ['light', 'dark'];

// Opens the page at each width and in each scheme. Answers what is wrong, a line each, and saves pictures in `folder`.
async function walk(browser, name, url, status, folder) {
  const found = [];
  for (const width of WIDTHS) {
    for (const scheme of SCHEMES) {
      // A person who comes for the first time: without cookies, which may hold another scheme.
      const person = await browser.createBrowserContext();
      try {
        const picture = `${folder}/${name}-${width}-${scheme}.png`;
        const problems = await look(await person.newPage(), url, status, width, scheme, picture);
        found.push(...problems.map((problem) => `${name} ${width} px ${scheme}: ${problem}`));
      } finally {
        await person.close();
      }
    }
  }
  return found;
}

async function look(page, url, status, width, scheme, picture) {
  const problems = collectProblems(page, status);
  await size(page, width, scheme);
  await page.bringToFront();
  const answer = await page.goto(url, { waitUntil: 'load' });
  if (answer.status() !== status) problems.push(`answered ${answer.status()}`);
  // The script has run, and what is live has come once.
  if (await page.$('#live')) await page.waitForSelector('#live[data-state="on"]');
  problems.push(...await tooWide(page));
  problems.push(...await silent(page), ...await wrongScheme(page, scheme));
  await page.screenshot({ path: picture, fullPage: true });
  // What axe itself does to the page is none of the page's problems: the list is copied first.
  return [...problems].concat(await violations(page));
}

// Whether a person would have to scroll sideways, and because of what.
const tooWide = (page) => page.evaluate(() => {
  const beyond = document.documentElement.scrollWidth - innerWidth;
  if (beyond <= 0) return [];
  const wide = [...document.querySelectorAll('main *, header *, nav *, footer *')]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1 && !element.closest('.scroll'));
  return [`${beyond} px wider than the window: ${wide.slice(0, 3).map((element) => element.outerHTML.slice(0, 100)).join(' | ')}`];
});

// Whether the page says nothing, or nothing beside a picture for those who cannot see it.
const silent = (page) => page.evaluate(() => {
  const problems = [];
  const main = document.querySelector('main');
  if (!main || !main.querySelector('h1') || main.innerText.trim().length < 20) return ['the page says nothing'];
  for (const picture of main.querySelectorAll('svg:not([aria-hidden="true"])')) {
    const part = picture.closest('section, .fragment') || main;
    const beside = part.querySelector('table') || part.innerText.trim().length > 20;
    if (!beside) problems.push(`nothing stands beside the picture ${picture.outerHTML.slice(0, 100)}`);
  }
  return problems;
});

// Whether a person who asked for a dark page got a light one, or the other way round.
const wrongScheme = (page, scheme) => page.evaluate((wanted) => {
  const colours = [document.body, document.documentElement].map((element) =>
    getComputedStyle(element).backgroundColor.match(/[\d.]+/g).map(Number));
  // A colour of three numbers is opaque, one whose fourth is 0 is not there.
  const [red, green, blue] = colours.find(([, , , alpha = 1]) => alpha > 0) || [255, 255, 255];
  const got = (red + green + blue) / 3 < 128 ? 'dark' : 'light';
  return got === wanted ? [] : [`the page is ${got}`];
}, scheme);

// What axe finds, a line for each rule.
async function violations(page) {
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return found.map(({ id, impact, help, nodes }) => {
    const where = nodes.slice(0, 3).map((node) => `${node.html.slice(0, 140)} (${node.failureSummary.replace(/\s+/g, ' ')})`);
    return `axe ${id}, ${impact}: ${help}, at ${nodes.length} places: ${where.join(' | ')}`;
  });
}

module.exports = { walk };
