// Makes one container on an Azure Blob server: PUT ENDPOINT/ACCOUNT/CONTAINER?restype=container,
// signed with the account's key (the "Shared Key" scheme of Azure Storage).
const { createHmac } = require("node:crypto");
const { ENDPOINT, ACCOUNT, ACCOUNT_KEY, CONTAINER } = process.env;

const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-12-02" };
const path = `/${ACCOUNT}/${CONTAINER}`;
const toSign = [
  "PUT", "", "", "", "", "", "", "", "", "", "", "",
  `x-ms-date:${headers["x-ms-date"]}`,
  `x-ms-version:${headers["x-ms-version"]}`,
  // The emulator's path holds the account already, and the scheme names it once more.
  `/${ACCOUNT}${path}`,
  "restype:container",
].join("\n");
const signature = createHmac("sha256", Buffer.from(ACCOUNT_KEY, "base64")).update(toSign, "utf8").digest("base64");
headers.authorization = `SharedKey ${ACCOUNT}:${signature}`;

fetch(`${ENDPOINT}${path}?restype=container`, { method: "PUT", headers }).then(async (answer) => {
  if (answer.status !== 201) {
    console.error(`status ${answer.status}: ${await answer.text()}`);
    process.exit(1);
  }
});
