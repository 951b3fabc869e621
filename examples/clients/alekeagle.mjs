// The `alekeagle` dialect: node alekeagle.mjs ADDRESS NAME, with PASSWORD (and CODE).
const [address, user] = process.argv.slice(2);
const { PASSWORD: pass, CODE: code } = process.env;
const headers = { 'content-type': 'application/json' };

async function ask(method, path, body) {
  const response = await fetch(`${address}/api/user${path}`, { method, headers, body: body && JSON.stringify(body) });
  const told = await response.json();
  if (!response.ok && !told.token) throw new Error(`${path}: ${response.status} ${told.message}`);
  return { ok: response.ok, ...told };
}

let login = await ask('POST', '/session', { user, pass });
if (!login.ok) login = await ask('POST', '/session', { '2fa': { token: login.token, type: 'totp', code } });
headers.authorization = login.token;
const own = await ask('GET', '/session');
console.log(`logged in as ${user}, from ${own.name}`);
console.log(`${(await ask('GET', '/sessions')).count} sessions`);
await ask('DELETE', `/session/${own.iat}`);
console.log('logged out');
