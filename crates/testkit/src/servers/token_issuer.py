"""A double of an issuer of tokens (OpenID Connect): one client, whose secret it checks, and the key that brokers check with.

usage: token_issuer.py PORT FOLDER CLIENT SECRET
"""

import base64
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

PORT, FOLDER, CLIENT, SECRET = int(sys.argv[1]), *sys.argv[2:5]
KEY = f"{FOLDER}/issuer.key"
# Short enough that a client which never asks again is seen within a test.
VALID_SECONDS = 10


def openssl(*arguments, stdin=b""):
    return subprocess.run(["openssl", *arguments], input=stdin, capture_output=True, check=True).stdout


def coded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(fields):
    return coded(json.dumps(fields).encode())


def token(subject, scope):
    now = int(time.time())
    claims = {"sub": subject, "iss": "turnstile-tests", "iat": now, "exp": now + VALID_SECONDS, "scope": scope}
    signed = f"{part({'alg': 'RS256', 'kid': 'one'})}.{part(claims)}"
    return f"{signed}.{coded(openssl('dgst', '-sha256', '-sign', KEY, stdin=signed.encode()))}"


openssl("genrsa", "-out", KEY, "2048")
MODULUS = bytes.fromhex(openssl("rsa", "-in", KEY, "-noout", "-modulus").decode().strip().split("=")[1])
KEYS = {"keys": [{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": coded(MODULUS), "e": "AQAB"}]}


class Issuer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/keys" else 404, KEYS)

    def do_POST(self):
        asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        login = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") != login:
            return self.answer(401, {"error": "invalid_client", "error_description": "unknown client or wrong secret"})
        if asked.get("grant_type") != ["client_credentials"]:
            return self.answer(400, {"error": "unsupported_grant_type"})
        scope = asked.get("scope", ["default"])[0]
        self.answer(200, {"access_token": token(CLIENT, scope), "token_type": "Bearer", "expires_in": VALID_SECONDS})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


ThreadingHTTPServer(("127.0.0.1", PORT), Issuer).serve_forever()
