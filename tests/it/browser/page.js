// A page of the browser: its size, and what goes wrong with it.
'use strict';

// The list into which the page's errors and warnings go, those of its content security policy too. `status`: the answer that is
// expected of the page, which Chromium reports as an error when it is one.
const collectProblems = (page, status = 200) => {
  const problems = [];
  page.on('console', (message) => {
    const isAnswer = status >= 400 && message.location().url === page.url() && message.text().includes(String(status));
    if (['error', 'warn', 'warning', 'assert'].includes(message.type()) && !isAnswer) {
      problems.push(`console ${message.type()}: ${message.text()}`);
    }
  });
  page.on('pageerror', (error) => problems.push(`script error: ${error.message}`));
  page.on('requestfailed', (request) => {
    // A page that is left or closed ends its stream.
    const isStream = request.resourceType() === 'eventsource' || request.url().includes('/live/');
    if (!isStream) problems.push(`request failed: ${request.url()} ${request.failure().errorText}`);
  });
  page.on('response', (response) => {
    const isPage = response.request().isNavigationRequest();
    if (response.status() >= 400 && !isPage) problems.push(`answered ${response.status()}: ${response.url()}`);
  });
  return problems;
};

// A window of this width, for a person who prefers `scheme`: light or dark.
const size = async (page, width, scheme) => {
  await page.setViewport({ width, height: 800 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
};

module.exports = { collectProblems, size };
