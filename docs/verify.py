#!/usr/bin/env python3
"""verify.py STREAM KEY END [CHECKPOINT...]: checks one stream of an archive as docs/custody.md says, without
Wharfinger. END is `now` or a time such as 2026-11-21T09:00:00Z. Exit codes are those of `wharfinger verify`."""
import base64, datetime, hashlib, os, re, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
b64 = lambda digest: base64.b64encode(digest).decode()
read = lambda path: open(path, "rb").read()
when = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
files = lambda *at: {os.path.relpath(os.path.join(d, f), stream) for d, _, fs in os.walk(os.path.join(stream, *at)) for f in fs}
def fault(code, what): print(f"{code}: {what}"); sys.exit(code)
def parse_key(text):
    name, ident, raw = *(parts := text.strip().split("+", 2))[:2], base64.b64decode(parts[2])
    assert raw[0] == 1 and sha(name.encode(), b"\n", raw)[:4].hex() == ident, "the key is damaged"
    return name, raw[1:], bytes.fromhex(ident)
def signed(note, key):
    text, lines = (note.rsplit(b"\n\n", 1) + [b""])[:2]
    for name, both in re.findall(r"^\u2014 (\S+) (\S+)$", lines.decode(), re.M):
        both = base64.b64decode(both)
        if (name, both[:4]) == (key[0], key[2]):
            try: Ed25519PublicKey.from_public_bytes(key[1]).verify(both[4:], text + b"\n"); return text.decode() + "\n"
            except InvalidSignature: return None
def root(peaks):
    top = peaks[-1]
    for left in reversed(peaks[:-1]): top = sha(b"\x01", left, top)
    return b64(top)
stream, key, end = sys.argv[1], parse_key(sys.argv[2]), sys.argv[3]
anchors, objects, checkpoints = [(int(read(a).split(b"\n")[1]), read(a)) for a in sys.argv[4:]], files("data"), files("checkpoint")
expected, prev, epoch, ingest, peaks, last = 0, b64(bytes(32)), 0, None, [], None
for name in sorted(files("seal")):
    if not re.fullmatch(r"seal/\d{12}", name): fault(12, name)
    if (seq := int(name[5:])) != expected: fault(11, f"seal {expected} is missing")
    text = signed(note := read(os.path.join(stream, name)), key) or fault(13, name)
    fact = dict(line.split(" ", 1) for line in text.splitlines()[1:])
    if int(fact["seq"]) != seq or fact["prev"] != prev: fault(11, f"{name} is not the next one")
    if int(fact["epoch"]) != epoch or fact["origin"] != key[0]: fault(10, name)
    if last and last["type"] == "close": fault(10, f"{name} stands behind the end")
    if fact["type"] == "data":
        (first, behind), tally = map(int, fact["ingest"].split()), [int(n) for n in re.findall(r"=(\d+)", fact["tally"])]
        if ingest not in (None, first): fault(11, f"{name}: numbers are missing before {first}")
        if tally[0] != sum(tally[1:]) or tally[0] != behind - first + 1 or tally[1] != int(fact["records"]): fault(10, name)
        if fact["object"] not in objects: fault(11, fact["object"])
        objects.remove(fact["object"]); ingest = behind + 1; stored = read(os.path.join(stream, fact["object"]))
        if len(stored) != int(fact["bytes"]) or b64(sha(stored)) != fact["sha256"]: fault(10, fact["object"])
    if fact["type"] == "rotate":
        key = parse_key(fact["next"]); epoch += 1; signed(note, key) or fault(13, name)
    leaf, size, expected, prev, last = sha(b"\0", text.encode()), seq, seq + 1, b64(sha(text.encode())), fact
    while size & 1: leaf, size = sha(b"\x01", peaks.pop(), leaf), size >> 1
    peaks.append(leaf)
    here = [(10, read(os.path.join(stream, c))) for c in checkpoints if c == f"checkpoint/{expected:012}"]
    for code, note in here + [(15, note) for size, note in anchors if size == expected]:
        text = signed(note, key) or fault(15 if code == 15 else 13, f"checkpoint {expected}")
        if text.splitlines()[:3] != [key[0], str(expected), root(peaks)]: fault(code, f"checkpoint {expected}")
if objects: fault(12, sorted(objects)[0])
if any(int(c[11:23]) > expected for c in checkpoints): fault(11, "a checkpoint is over more seals")
if any(size > expected for size, _ in anchors): fault(15, "an anchor is over more")
until = datetime.datetime.now(datetime.timezone.utc) if end == "now" else when(end)
if not last or last["type"] != "close" and until - when(last["time"]) > datetime.timedelta(minutes=10): fault(14, "the end")
print(f"good: {expected} seals")
