// The `datepoll` dialect: node datepoll.mjs ADDRESS NAME, with PASSWORD (and CODE).
const [address, username] = process.argv.slice(2);
const { PASSWORD: password, CODE: code = '' } = process.env;
const SESSIONS = '/api/v1/user/myself/session';
let token = '';

async function ask(method, path, body) {
  const response = await fetch(`${address}${path}?token=${encodeURIComponent(token)}`, {
    method,
    headers: body && { 'content-type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

const login = { username, password, code, stay_logged_in: true, session_information: 'an example' };
const { session_token } = await ask('POST', '/api/auth/signin', login);
console.log(`logged in as ${username}`);

// The token lives for an hour; the secret gets another whenever one is needed.
({ token } = await ask('POST', '/api/auth/IamLoggedIn', { session_token }));
for (const session of (await ask('GET', SESSIONS)).sessions) {
  console.log(`session ${session.id}: ${session.information}`);
}
await ask('POST', `${SESSIONS}/logoutCurrentSession`, { session_token });
console.log('logged out');
