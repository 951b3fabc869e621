// The `rocketchat` dialect: node rocketchat.mjs ADDRESS NAME, with PASSWORD (and CODE).
const [address, user] = process.argv.slice(2);
const { PASSWORD: password, CODE: code = '' } = process.env;
const headers = { 'content-type': 'application/json' };

async function ask(method, path, body) {
  const response = await fetch(`${address}/api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const told = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${told.error ?? told.message}`);
  return told;
}

const { data } = await ask('POST', 'login', { user, password, code });
headers['x-user-id'] = data.userId;
headers['x-auth-token'] = data.authToken;
console.log(`logged in as ${data.me.username}`);
for (const session of (await ask('GET', 'sessions/list')).sessions) {
  console.log(`session ${session.sessionId} from ${session.ip}${session.current ? ' (this one)' : ''}`);
}
await ask('POST', 'logout');
console.log('logged out');
