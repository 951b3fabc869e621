// Believe Doorward's signature and no header: for Node.js 18 and later, without dependencies.
//
//   const verify = verifier("https://wiki.example.com/.doorward/jwks.json",
//                           "https://wiki.example.com", "wiki");
//   const claims = await verify(request.headers["x-doorward-assertion"]);   // null: refuse with 401
import { createPublicKey, verify as verifySignature } from "node:crypto";

const KEPT_MS = 300_000;

export function verifier(keysUrl, issuer, audience) {
  let keys = new Map();
  let fetchedAt = -Infinity;

  async function find(id) {
    const age = Date.now() - fetchedAt;
    // A key that is not known yet may be new; asked for at most every ten seconds.
    if (age > KEPT_MS || (!keys.has(id) && age > 10_000)) {
      const answer = await fetch(keysUrl);
      if (!answer.ok) throw new Error(`no keys: ${answer.status}`);
      keys = new Map((await answer.json()).keys.map((key) => [key.kid, key]));
      fetchedAt = Date.now();
    }
    return keys.get(id);
  }

  return async function verify(token) {
    const parts = (token ?? "").split(".");
    if (parts.length !== 3) return null;
    let header, claims;
    try {
      [header, claims] = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, "base64url")));
    } catch {
      return null;
    }
    const key = await find(header.kid);
    // The key says how it signs; what the token says of that is never obeyed.
    if (key === undefined || key.alg !== header.alg) return null;
    const signed = Buffer.from(`${parts[0]}.${parts[1]}`);
    const publicKey = { key: createPublicKey({ key, format: "jwk" }), dsaEncoding: "ieee-p1363" };
    const hash = key.kty === "EC" ? "sha256" : null;
    if (!verifySignature(hash, signed, publicKey, Buffer.from(parts[2], "base64url"))) return null;
    const isDue = claims.iat <= Date.now() / 1000 + 60 && Date.now() / 1000 < claims.exp;
    return isDue && claims.iss === issuer && claims.aud === audience ? claims : null;
  };
}
