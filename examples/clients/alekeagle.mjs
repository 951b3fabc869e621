// Log in through the `alekeagle` dialect, list the sessions, log out.
//
//     PASSWORD=… node alekeagle.mjs http://127.0.0.1:8080 alice

import { createInterface } from "node:readline/promises";

const CHALLENGE = "SECOND_FACTOR_CHALLENGE_REQUIRED_ERROR";
const [address, user] = process.argv.slice(2);
let token;

async function ask(method, path, body) {
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = token;
  const answer = await fetch(`${address}/api/user${path}`, { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json(); // on every answer, whatever its status
  if (answer.status === 429) throw new Error(`wait ${answer.headers.get("Retry-After")} seconds`);
  if (!answer.ok && said.code !== CHALLENGE) throw new Error(`${said.code}: ${said.message}`);
  return said;
}

async function login(password) {
  let said = await ask("POST", "/session", { user, pass: password });
  if (said.code === CHALLENGE) {
    const terminal = createInterface({ input: process.stdin, output: process.stdout });
    const code = await terminal.question(`Code (${said.types.join(", ")}): `);
    terminal.close();
    said = await ask("POST", "/session", { "2fa": { token: said.token, type: said.types[0], code } });
  }
  token = said.token;
}

try {
  await login(process.env.PASSWORD);
  const own = await ask("GET", "/session");
  for (const session of (await ask("GET", "/sessions")).items) {
    const since = new Date(session.iat * 1000).toISOString().slice(0, 16).replace("T", " ");
    console.log(`${session.iat === own.iat ? "*" : " "} ${since} ${session.name}`);
  }
  await ask("DELETE", `/session/${own.iat}`);
  console.log("logged out");
} catch (fault) {
  console.error(fault.message);
  process.exitCode = 1;
}
