"""An authorization server of Authlib and Flask, for the grants that oidc-provider lacks: JWT bearer (RFC 7523 section 2.1), which
Authlib checks, and token exchange (RFC 8693), which is a few lines on its base.

The first argument has the options, in JSON: "key" is the client's private key in PEM, "ttl" how long a token lives, in seconds,
"ahead" how far the server's clock is ahead. It ends with its standard input.
"""
import json
import os
import secrets
import sys
import threading
import time
from types import SimpleNamespace

options = json.loads(sys.argv[1])
# Before anything else asks for the time: the date in the answers, and the check of the assertions, are by this clock.
real_time = time.time
time.time = lambda: real_time() + options.get('ahead', 0)

from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc7523 import JWTBearerGrant
from authlib.integrations.flask_oauth2 import AuthorizationServer
from flask import Flask, jsonify, request
from joserfc.jwk import ECKey
from werkzeug.serving import WSGIRequestHandler, make_server

EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
ttl = options.get('ttl', 60)
key = ECKey.import_key(options['key'], {'alg': 'ES256'})
tokens = {}
counts = {'token': 0, 'ok': 0, 'errors': {}}


class Client(ClientMixin):
    client_id = 'robot'

    def get_client_id(self):
        return self.client_id

    def get_allowed_scope(self, scope):
        return ' '.join(word for word in (scope or '').split() if word in ('read', 'write'))

    def check_client_secret(self, secret):
        return secrets.compare_digest(secret, 'robot-secret')

    def check_endpoint_auth_method(self, method, endpoint):
        return method == 'client_secret_basic'

    def check_grant_type(self, grant_type):
        return grant_type in (JWTBearerGrant.GRANT_TYPE, EXCHANGE)


class Token(TokenMixin):
    def __init__(self, client, user, by):
        self.client, self.user, self.by, self.end = client, user, by, time.time() + ttl

    def is_valid(self):
        return time.time() < self.end


robot, alice = Client(), SimpleNamespace(id='alice')


def save(fields, about):
    tokens[fields['access_token']] = Token(about.client, about.user, about.form['grant_type'])


class Assertion(JWTBearerGrant):
    LEEWAY = 0

    def resolve_issuer_client(self, issuer):
        return robot if issuer == robot.client_id else None

    def resolve_client_public_key(self, client):
        return key

    def authenticate_user(self, subject):
        return alice if subject == alice.id else None

    def has_granted_permission(self, client, user):
        return True

    def get_audiences(self):
        return [f'{url}/token']


class Exchange(grants.BaseGrant, grants.TokenEndpointMixin):
    GRANT_TYPE = EXCHANGE

    def validate_token_request(self):
        self.request.client = self.authenticate_token_endpoint_client()
        form = self.request.form
        if form.get('subject_token_type') != ACCESS_TOKEN:
            raise InvalidRequestError('unsupported subject_token_type')
        token = tokens.get(form.get('subject_token'))
        if not token or not token.is_valid():
            raise InvalidGrantError('the subject token is not valid')
        self.request.user = token.user

    def create_token_response(self):
        scope = self.request.form.get('scope')
        token = self.generate_token(scope=scope, user=self.request.user, include_refresh_token=False)
        self.save_token(token)
        return 200, {**token, 'issued_token_type': ACCESS_TOKEN}, self.TOKEN_RESPONSE_HEADER


class Quiet(WSGIRequestHandler):
    def log(self, *args):
        pass


os.environ['AUTHLIB_INSECURE_TRANSPORT'] = '1'  # Plain http on loopback.
app = Flask(__name__)
app.config['OAUTH2_TOKEN_EXPIRES_IN'] = {grant: ttl for grant in (JWTBearerGrant.GRANT_TYPE, EXCHANGE)}
server = AuthorizationServer(app, query_client={robot.client_id: robot}.get, save_token=save)
server.register_grant(Assertion)
server.register_grant(Exchange)


@app.post('/token')
def token():
    response = server.create_token_response()
    counts['token'] += 1
    if response.status_code == 200:
        counts['ok'] += 1
    else:
        code = response.get_json()['error']
        counts['errors'][code] = counts['errors'].get(code, 0) + 1
    return response


@app.get('/me')
def me():
    token = tokens.get(request.authorization.token if request.authorization else None)
    if not token or not token.is_valid():
        return '', 401, {'WWW-Authenticate': 'Bearer error="invalid_token"'}
    return jsonify(user=token.user.id, client=token.client.client_id, by=token.by)


@app.get('/counts')
def count():
    return jsonify(counts)


web = make_server('127.0.0.1', 0, app, threaded=True, request_handler=Quiet)
url = f'http://127.0.0.1:{web.server_port}'
print(json.dumps({'url': url}), flush=True)
threading.Thread(target=web.serve_forever, daemon=True).start()
sys.stdin.read()
