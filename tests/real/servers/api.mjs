// The API of the end-to-end tests: npm's express-oauth2-jwt-bearer checks the tokens by the issuer's published keys.
//
//   node api.mjs '{"issuer":"http://127.0.0.1:1234","audience":"urn:example:api","keepAlive":5000}'
//
// Prints one line of JSON once it listens. Ends when its standard input does.
import express from 'express';
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer';

const options = { port: 0, keepAlive: 5000, ...JSON.parse(process.argv[2] ?? '{}') };
const counts = {};
const app = express();
app.disable('x-powered-by');

const bearer = auth({
  issuer: options.issuer,
  audience: options.audience,
  jwksUri: `${options.issuer}/jwks`,
  tokenSigningAlg: 'ES256',
  clockTolerance: 0,
  // Half a minute otherwise, during which a new signing key is not looked for.
  cooldownDuration: 0,
});

app.use((request, response, next) => {
  response.on('finish', () => {
    const name = `${request.path} ${response.statusCode}`;
    counts[name] = (counts[name] ?? 0) + 1;
  });
  next();
});
app.get('/counts', (_request, response) => response.json(counts));

const echo = (request, response) => response.json({ sub: request.auth.payload.sub, scope: request.auth.payload.scope });
app.all('/notes', bearer, echo);
app.all('/notes/write', bearer, requiredScopes('notes:write'), echo);
app.all('/notes/admin', bearer, requiredScopes('notes:admin'), echo);

// The same check, with challenges as other servers write them.
const challenges = {
  '/one-line': (own) => `Basic realm="old, and \\"odd\\"", ${own}, Negotiate`,
  '/two-lines': (own) => ['Basic realm="old"', own],
  '/none': () => [],
  '/basic-only': () => 'Basic realm="old"',
};
app.all(Object.keys(challenges), bearer, echo);
// A scope is missing, and the answer does not say so.
app.all('/unclear', bearer, (_request, response) => response.status(401).end());

app.use((error, request, response, _next) => {
  const own = error.headers?.['WWW-Authenticate'];
  if (!own) console.error(`api: ${error}`);
  const challenge = challenges[request.path];
  const value = challenge && error.status === 401 ? challenge(own) : own;
  if (value?.length) response.setHeader('WWW-Authenticate', value);
  response.status(error.status ?? 500).json({ error: error.code ?? 'failed' });
});

const server = app.listen(options.port, '127.0.0.1', () => {
  server.keepAliveTimeout = options.keepAlive;
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` }));
});
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0));
