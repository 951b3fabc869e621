// The `xhr` dialect: node xhr.mjs ADDRESS NAME, with PASSWORD (and CODE) in the environment.
const [address, username] = process.argv.slice(2);
const { PASSWORD: password, CODE } = process.env;
let cookie = '';

async function ask(method, path, body) {
  const headers = { cookie, ...(body && { 'content-type': 'application/json' }) };
  const response = await fetch(address + path, { method, headers, body: body && JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  const [line] = response.headers.getSetCookie().slice(-1); // a browser does this by itself
  if (line) cookie = line.split(';')[0];
  return response.status === 204 ? null : response.json();
}

const { session } = await ask('POST', '/xhr/login', { username, password });
if (session.totp) await ask('POST', '/xhr/totp', { token: CODE });
const told = await ask('GET', '/xhr/session');
console.log(`logged in as ${told.user.username}, for ${Math.floor(told.session.maxAge / 60000)} minutes`);
await ask('POST', '/xhr/logout');
console.log('logged out');
