// The authorization server of the end-to-end tests: npm's oidc-provider, with switches for what goes wrong in the wild.
//
//   node issuer.mjs '{"port":0,"ttl":2,"tls":"DIR","state":"FILE","keepAlive":5000,"clientKeys":{"ES256":"PEM"},"par":false}'
//
// Prints one line of JSON once it listens. Ends when its standard input does, so it never outlives who started it.
// Every POST to /control sets or asks something; see `actions` below.
import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { exportJWK, generateKeyPair, importPKCS8 } from 'jose';

// It warns of each Node but the newest, and of the pages that are only for tests, to each of many tests.
const { warn } = console;
console.warn = () => {};
const { default: Provider } = await import('oidc-provider');

const options = { port: 0, ttl: 2, keepAlive: 5000, ...JSON.parse(process.argv[2] ?? '{}') };
const audience = 'urn:example:api';
const apiScope = 'notes:read notes:write';
const deviceGrant = 'urn:ietf:params:oauth:grant-type:device_code';

// Everything that the provider keeps, in one map; with `state` it outlives the process, so that a restart is survived.
const kept = new Map(options.state && existsSync(options.state) ? JSON.parse(readFileSync(options.state, 'utf8')) : []);
const keep = () => options.state && writeFileSync(options.state, JSON.stringify([...kept]));
class Store {
  constructor(kind) { this.kind = kind; }
  key(id) { return `${this.kind}:${id}`; }
  async upsert(id, payload) { kept.set(this.key(id), payload); keep(); }
  async find(id) { return kept.get(this.key(id)); }
  async findByUserCode(userCode) { return this.search((payload) => payload.userCode === userCode); }
  async findByUid(uid) { return this.search((payload) => payload.uid === uid); }
  async consume(id) { const payload = kept.get(this.key(id)); if (payload) payload.consumed = Math.floor(Date.now() / 1000); keep(); }
  async destroy(id) { kept.delete(this.key(id)); keep(); }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of kept) if (key.startsWith(`${this.kind}:`) && payload.grantId === grantId) kept.delete(key);
    keep();
  }
  search(fits) {
    for (const [key, payload] of kept) if (key.startsWith(`${this.kind}:`) && fits(payload)) return payload;
    return undefined;
  }
}

// A new key with each start: whoever keeps the old one meets tokens that it cannot verify.
const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const kid = randomBytes(4).toString('hex');
const key = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid };

const common = { redirect_uris: [], response_types: [], scope: 'openid offline_access' };
const publicClient = { ...common, token_endpoint_auth_method: 'none', application_type: 'native' };
// All that RFC 6749 appendix A allows and that needs care in a Basic header. (This server refuses what is not ASCII.)
const oddId = 'odd:id %+&/?';
const oddSecret = 'odd:secret %+&/?=~*';
const clients = [
  { ...publicClient, client_id: 'device', grant_types: ['refresh_token', deviceGrant] },
  { ...common, client_id: 'service', client_secret: 'service-secret', grant_types: ['client_credentials'] },
  { ...common, client_id: 'poster', client_secret: oddSecret, token_endpoint_auth_method: 'client_secret_post',
    grant_types: ['client_credentials', 'refresh_token'] },
  { ...common, client_id: oddId, client_secret: oddSecret, grant_types: ['client_credentials', 'refresh_token'] },
];

// A program that logs its user in by the browser, with any port of this machine.
clients.push({ ...publicClient, client_id: 'native', redirect_uris: ['http://127.0.0.1/callback'], response_types: ['code'],
  grant_types: ['authorization_code', 'refresh_token'] });
// Clients that show who they are by a key, each named after its algorithm.
for (const [alg, text] of Object.entries(options.clientKeys ?? {})) {
  const { kty, crv, x, y, n, e } = await exportJWK(await importPKCS8(text, alg, { extractable: true }));
  clients.push({ ...common, client_id: `keyed-${alg}`, grant_types: ['client_credentials', 'refresh_token'],
    token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [{ kty, crv, x, y, n, e, alg, kid: 'key-1' }] } });
}

if (options.mtls) {
  clients.push({ ...common, client_id: 'certified', grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'tls_client_auth', tls_client_auth_subject_dn: 'CN=certified' });
}

const pem = (name) => readFileSync(`${options.tls}/${name}.pem`);
// A client may show a certificate of the same CA.
const mutual = options.mtls ? { ca: pem('ca'), requestCert: true, rejectUnauthorized: false } : {};
const server = options.tls ? https.createServer({ cert: pem('cert'), key: pem('key'), ...mutual }) : http.createServer();
server.keepAliveTimeout = options.keepAlive;
await new Promise((listening) => { server.listen(options.port, '127.0.0.1', listening); });
const issuer = `http${options.tls ? 's' : ''}://127.0.0.1:${server.address().port}`;

const live = { ttl: options.ttl, rotate: true, deviceTtl: 600, pollEvery: 0, delay: 0 };
const provider = new Provider(issuer, {
  adapter: Store,
  clients,
  clockTolerance: 0,
  cookies: { keys: [randomBytes(16).toString('hex')] },
  jwks: { keys: [key] },
  clientAuthMethods: [
    'none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(options.mtls ? ['tls_client_auth'] : []),
  ],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  enabledJWA: { idTokenSigningAlgValues: ['ES256'], clientAuthSigningAlgValues: ['ES256', 'RS256'] },
  scopes: ['openid', 'offline_access'],
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  rotateRefreshToken: () => live.rotate,
  ttl: {
    AccessToken: () => live.ttl, ClientCredentials: () => live.ttl, RefreshToken: 3600, Grant: 86400,
    DeviceCode: () => live.deviceTtl, IdToken: 3600, Interaction: 600, Session: 86400,
  },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    // Pages with forms, for a login and a consent: any name and any password will do.
    devInteractions: { enabled: options.pages ?? false },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: options.par ?? false },
    revocation: { enabled: true },
    mTLS: {
      enabled: options.mtls ?? false,
      tlsClientAuth: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.socket.getPeerX509Certificate()?.toString(),
      certificateAuthorized: (ctx) => ctx.socket.authorized,
      certificateSubjectMatches: (ctx, _property, expected) => ctx.socket.getPeerX509Certificate()?.subject === expected,
    },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({
        audience, scope: apiScope, accessTokenFormat: 'jwt', accessTokenTTL: live.ttl, jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

console.warn = warn;

async function grant(clientId, scope = apiScope) {
  const made = new provider.Grant({ accountId: 'alice', clientId });
  made.addOIDCScope('openid offline_access');
  made.addResourceScope(audience, scope);
  return made.save();
}

// What is to happen to the next answers of an endpoint: a list of steps, each used once.
const steps = { '/token': [], '/device/auth': [], '/token/revocation': [] };
const counts = { token: 0, ok: {}, errors: {}, atOnce: 0, needless: 0, revoked: 0 };
const issued = new Map();
const polls = new Map();
let underWay = 0;

const actions = {
  // A login from before: the refresh token of a client, for a scope.
  async login({ client = 'device', scope = apiScope }) {
    const grantId = await grant(client, scope);
    const refreshToken = new provider.RefreshToken({
      accountId: 'alice', client: await provider.Client.find(client), grantId, gty: 'authorization_code',
      resource: audience, authTime: Math.floor(Date.now() / 1000), rotations: 0, scope: `openid offline_access ${scope}`,
    });
    return { refreshToken: await refreshToken.save(), grantId };
  },
  // What the user does with a code; without one, with the code that was given out last.
  async answer({ userCode, answer }) {
    const last = [...kept].findLast(([name]) => name.startsWith('DeviceCode:'))?.[1].userCode;
    const code = await provider.DeviceCode.findByUserCode(userCode?.replace(/[^A-Z0-9]/g, '') ?? last);
    if (!code) return { found: false };
    if (answer === 'deny') Object.assign(code, { error: 'access_denied', errorDescription: 'alice said no' });
    else {
      Object.assign(code, {
        accountId: 'alice', resource: audience, scope: code.params.scope, authTime: Math.floor(Date.now() / 1000),
        grantId: await grant(code.clientId),
      });
    }
    await code.save();
    return { found: true };
  },
  async end({ grantId }) { await provider.Grant.adapter.destroy(grantId); return {}; },
  async next({ path = '/token', ...step }) { steps[path].push(...Array(step.times ?? 1).fill(step)); return {}; },
  async set(values) { return Object.assign(live, values); },
  async counts() { return counts; },
};

// An access token may be replaced in the last part of its life, or when its `exp`, which has no fraction, is over. Like the
// client, it counts a life from the request: how long a busy machine takes to answer makes no difference.
function judge(grantId, expiresIn, askedAt) {
  const before = issued.get(grantId);
  if (before && askedAt < before.exp * 1000 && askedAt - before.askedAt < before.life * 1000 * 0.75) counts.needless += 1;
  issued.set(grantId, { askedAt, life: expiresIn, exp: Math.floor(Date.now() / 1000) + expiresIn });
}

function reshape(ctx, { without = [], lower }) {
  if (!ctx.body || typeof ctx.body !== 'object') return;
  for (const name of without) delete ctx.body[name];
  if (lower) ctx.body.token_type = ctx.body.token_type.toLowerCase();
}

provider.use(async (ctx, next) => {
  const queue = steps[ctx.path];
  if (!queue || ctx.method !== 'POST') return next();
  const askedAt = Date.now();
  const step = queue.shift() ?? {};
  const isToken = ctx.path === '/token';
  if (isToken) counts.token += 1;
  underWay += isToken;
  counts.atOnce = Math.max(counts.atOnce, underWay);
  try {
    if (live.delay) await new Promise((over) => { setTimeout(over, live.delay); });
    if (step.front) { // a proxy in front that does not let the request through
      ctx.status = step.front;
      if (step.retryAfter !== undefined) ctx.set('Retry-After', String(step.retryAfter));
      ctx.body = step.bare ? '' : '<html><body>no server available</body></html>';
      return undefined;
    }
    await next();
    const { params = {}, entities = {} } = ctx.oidc ?? {};
    if (isToken) {
      const ok = ctx.status === 200;
      const [sums, name] = ok ? [counts.ok, params.grant_type] : [counts.errors, ctx.body?.error ?? String(ctx.status)];
      sums[name] = (sums[name] ?? 0) + 1;
      if (ok && params.grant_type === 'refresh_token') judge(entities.Grant?.jti, ctx.body.expires_in, askedAt);
      if (ctx.body?.error === 'authorization_pending') {
        const last = polls.get(params.device_code);
        polls.set(params.device_code, Date.now());
        if (last && Date.now() - last < live.pollEvery * 1000) ctx.body = { error: 'slow_down' };
        if (ctx.body.error === 'slow_down') counts.errors.slow_down = (counts.errors.slow_down ?? 0) + 1;
      }
    } else if (ctx.path === '/token/revocation' && ctx.status === 200) counts.revoked += 1;
    reshape(ctx, step);
    if (step.lose) ctx.req.socket.destroy(); // carried out, and the answer is lost
    return undefined;
  } finally {
    underWay -= isToken;
  }
});

const handle = provider.callback();
server.on('request', async (request, response) => {
  if (request.url !== '/control') return handle(request, response);
  const { action, ...given } = JSON.parse((await request.toArray()).join(''));
  const answer = await actions[action](given).catch((error) => ({ error: String(error) }));
  return response.setHeader('content-type', 'application/json').end(JSON.stringify(answer));
});

console.log(JSON.stringify({ url: issuer, audience, kid }));
process.stdin.resume().on('end', () => process.exit(0)).on('error', () => process.exit(0));
