// Calls the provincial interface as hospitals' Node programs do: everything it knows comes from the WSDL.
// node call.js WSDL < [[arg0, arg1], …]   writes what each call returned, as a JSON list of strings.
"use strict";
const soap = require("soap");

async function main(wsdl) {
  const pieces = [];
  for await (const piece of process.stdin) pieces.push(piece);
  const client = await soap.createClientAsync(wsdl);
  const returned = [];
  for (const [arg0, arg1] of JSON.parse(Buffer.concat(pieces).toString("utf8"))) {
    const [answer] = await client.RHCMessageServerAsync({ arg0, arg1 });
    returned.push(answer.return);
  }
  process.stdout.write(JSON.stringify(returned));
}

main(process.argv[2]).catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
