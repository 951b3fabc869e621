// An application for Node.js that says who its user is, protected by the function of the example.
import { createServer } from "node:http";
import { verifier } from "../../../examples/verify/verify.mjs";

const about = JSON.parse(process.argv[3]);
const verify = verifier(about.keys_url, about.issuer, about.audience);

createServer(async (request, response) => {
  const claims = await verify(request.headers["x-doorward-assertion"]).catch(() => null);
  response.writeHead(claims === null ? 401 : 200);
  response.end(claims?.preferred_username ?? "");
}).listen(Number(process.argv[2]), "127.0.0.1");
