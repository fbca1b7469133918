#!/usr/bin/env python3
"""witness.py FOLDER: a witness (c2sp.org/tlog-witness) for tests, from its specification and RFC 9162 alone.

FOLDER/logs has a public key of a log on each line; FOLDER/asked gets a line for each request. Prints its public
key and its port.
"""
import base64, hashlib, http.server, json, os, struct, sys, time
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

NAME = "witness.test/one"
folder = sys.argv[1]
seed = os.path.join(folder, "seed")
if not os.path.exists(seed):
    open(seed, "wb").write(os.urandom(32))
private = Ed25519PrivateKey.from_private_bytes(open(seed, "rb").read())
public = b"\x04" + private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
ident = hashlib.sha256(NAME.encode() + b"\n" + public).digest()[:4]
seen = {}


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def is_consistent(first, second, first_hash, second_hash, path):
    """RFC 9162, 2.1.4.2, step by step."""
    if first == second:
        return not path and first_hash == second_hash
    if not path:
        return False
    if first & (first - 1) == 0:
        path = [first_hash] + path
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return fr == first_hash and sr == second_hash and sn == 0


def is_signed(text, lines, key):
    name, hexed, both = key.split("+", 2)
    raw = base64.b64decode(both)
    for line in lines:
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob)
        if signer == name and blob[:4].hex() == hexed and raw[0] == 1:
            try:
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(blob[4:], text.encode())
                return True
            except InvalidSignature:
                return False
    return False


def add_checkpoint(body):
    head, note = body.split("\n\n", 1)
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    old, *proof = head.split("\n")
    old, proof = int(old.removeprefix("old ")), [base64.b64decode(line) for line in proof]
    origin, size, root = text.split("\n")[:3]
    size, root = int(size), base64.b64decode(root)
    logs = [line.strip() for line in open(os.path.join(folder, "logs")) if line.strip()]
    logs = [key for key in logs if key.split("+")[0] == origin]
    if not logs:
        return 404, b"", old
    if not any(is_signed(text, signatures.strip("\n").split("\n"), key) for key in logs):
        return 403, b"", old
    if old > size:
        return 400, b"", old
    last, last_root = seen.get(origin, (0, None))
    if old != last:
        return 409, b"%d\n" % last, old
    if last == 0 and proof or last and not is_consistent(last, size, last_root, root, proof):
        return 422, b"", old
    seen[origin] = size, root
    now = int(time.time())
    signature = private.sign(f"cosignature/v1\ntime {now}\n{text}".encode())
    blob = base64.b64encode(ident + struct.pack(">Q", now) + signature).decode()
    return 200, f"\u2014 {NAME} {blob}\n".encode(), old


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        old = None
        try:
            status, answer, old = add_checkpoint(body) if self.path == "/log/add-checkpoint" else (405, b"", None)
        except (ValueError, IndexError) as error:
            status, answer = 400, str(error).encode()
        with open(os.path.join(folder, "asked"), "a") as asked:
            lines = body.split("\n\n")[0].count("\n")
            asked.write(json.dumps({"status": status, "old": old, "proof": lines}) + "\n")
        self.send_response(status)
        if status == 409:
            self.send_header("Content-Type", "text/x.tlog.size")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(f"{NAME}+{ident.hex()}+{base64.b64encode(public).decode()}")
print(f"port {server.server_port}", flush=True)
server.serve_forever()
