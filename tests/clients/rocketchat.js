// A story told with Rocket.Chat's own client: what it saw goes to standard output as JSON.
// BASE, USER, PASSWORD, LOGIN_CODE, NEXT_CODE and VICTIM (a session id) come from the environment.
const { RestClient } = require('@rocket.chat/api-client');

const { BASE, USER, PASSWORD, LOGIN_CODE, NEXT_CODE, VICTIM } = process.env;
const client = new RestClient({ baseUrl: BASE });

const refusal = async (promise) => {
  const response = await promise.then(() => { throw new Error('it was let through'); }, (r) => r);
  if (!(response instanceof Response)) throw response;
  return { status: response.status, body: await response.json() };
};

(async () => {
  const challenges = [];
  client.handleTwoFactorChallenge(async (challenge) => {
    challenges.push(challenge);
    if (challenges.length > 3) throw new Error('asked too often');
    return challenge.invalidAttempt ? NEXT_CODE : '000000';
  });

  const without = await refusal(client.post('/v1/login', { user: USER, password: PASSWORD }));
  const login = await client.post('/v1/login', { user: USER, password: PASSWORD, code: LOGIN_CODE });
  client.setCredentials({ 'X-User-Id': login.data.userId, 'X-Auth-Token': login.data.authToken });
  const me = await client.get('/v1/me');
  const list = await client.get('/v1/sessions/list', { count: 10, sort: '{"loginAt":-1}' });
  const ended = await client.post('/v1/sessions/logout', { sessionId: VICTIM });
  const again = await client.post('/v1/sessions/logout', { sessionId: VICTIM });
  const unknown = await refusal(client.post('/v1/sessions/logout', { sessionId: 'tTouumJMrHMjnedWf' }));
  const logout = await client.post('/v1/logout');
  const after = await refusal(client.get('/v1/me'));
  console.log(JSON.stringify({ without, login, me, list, ended, again, unknown, challenges, logout, after }));
})().catch((error) => { console.error(error); process.exitCode = 1; });
