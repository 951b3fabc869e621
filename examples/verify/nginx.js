// Believe Doorward's signature and no header: for nginx 1.22 and later with njs. nginx.conf shows
// how it is called.
const P256 = Buffer.from("3059301306072a8648ce3d020106082a8648ce3d030107034200", "hex");

async function verify(request) {
  let claims = null;
  try {
    claims = await read(request);
  } catch (error) {
    request.error(`assertion: ${error.message}`);
  }
  if (claims === null) {
    request.return(401, "This application answers through Doorward alone.\n");
    return;
  }
  request.variables.doorward_user = claims.preferred_username;
  request.internalRedirect("@application");
}

async function read(request) {
  const parts = (request.headersIn["X-Doorward-Assertion"] || "").split(".");
  if (parts.length !== 3) return null;
  const header = JSON.parse(Buffer.from(parts[0], "base64url").toString());
  const claims = JSON.parse(Buffer.from(parts[1], "base64url").toString());
  const answer = await request.subrequest("/doorward-keys"); // which nginx keeps
  if (answer.status !== 200) throw new Error(`no keys: ${answer.status}`);
  const key = JSON.parse(answer.responseText).keys.find((each) => each.kid === header.kid);
  // The key says how it signs; what the token says of that is never obeyed.
  if (key === undefined || key.alg !== "ES256" || header.alg !== "ES256") return null;
  const point = [P256, Buffer.from([4]), Buffer.from(key.x, "base64url"), Buffer.from(key.y, "base64url")];
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const publicKey = await crypto.subtle.importKey("spki", Buffer.concat(point), algorithm, false, ["verify"]);
  const signature = Buffer.from(parts[2], "base64url");
  const how = { name: "ECDSA", hash: "SHA-256" };
  const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
  if (!(await crypto.subtle.verify(how, publicKey, signature, signed))) return null;
  const now = Date.now() / 1000;
  const isDue = claims.iat <= now + 60 && now < claims.exp;
  const isOurs = claims.iss === request.variables.doorward_issuer
    && claims.aud === request.variables.doorward_audience;
  return isDue && isOurs ? claims : null;
}

export default { verify };
