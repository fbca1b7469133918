#!/usr/bin/env python3
"""verify.py STREAM KEY END [CHECKPOINT...]: what docs/custody.md says, without Wharfinger. END is a time or `now`."""
import base64, datetime, functools, hashlib, os, re, sys
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
sha, b64 = lambda *parts: hashlib.sha256(b"".join(parts)).digest(), lambda digest: base64.b64encode(digest).decode()
root = lambda peaks: b64(functools.reduce(lambda right, left: sha(b"\x01", left, right), peaks[::-1]))
when = lambda text: datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
def fault(code, what): print(f"{code}: {what!r}"); sys.exit(code)
def read(path):
    if os.path.realpath(path) != path or not os.path.isfile(path): fault(10, path)
    return open(path, "rb").read()
def files(at):
    entries = os.scandir(os.path.join(stream, at)) if os.path.isdir(os.path.join(stream, at)) else []
    found = [(e, f"{at}/{e.name}") for e in entries if not e.name.startswith(".part-")]
    return set().union(*(files(path) if e.is_dir(follow_symlinks=False) else {path} for e, path in found))
def parse_key(text):
    name, ident, raw = *(parts := text.strip().split("+", 2))[:2], base64.b64decode(parts[2], validate=True)
    if raw[0] != 1 or sha(name.encode(), b"\n", raw)[:4].hex() != ident: fault(2, "the key is damaged")
    return name, raw[1:], bytes.fromhex(ident)
def signed(note, key):
    text, lines = note.rsplit(b"\n\n", 1)
    found = (re.fullmatch("\u2014 (\\S+) (\\S+)", line) for line in lines.decode()[:-1].split("\n"))
    own = [both[4:] for name, both in ((line[1], base64.b64decode(line[2], validate=True)) for line in found) if (name, both[:4]) == (key[0], key[2])]
    try: [Ed25519PublicKey.from_public_bytes(key[1]).verify(signature, text + b"\n") for signature in own]
    except InvalidSignature: return None
    return text.decode() + "\n" if own and lines.endswith(b"\n") else None
def main(key, end, anchors):
    objects, checkpoints, expected, prev, epoch, ingest, peaks, last = files("data"), files("checkpoint"), 0, b64(bytes(32)), 0, None, [], {}
    if odd := [c for c in checkpoints if not re.fullmatch(r"checkpoint/(?!0{12})\d{12}(\.tsr|\.witness-[0-9a-f]{8})?", c) or c[:23] not in checkpoints]: fault(12, odd)
    for name in sorted(files("seal")):
        if not re.fullmatch(r"seal/\d{12}", name): fault(12, name)
        if (seq := int(name[5:])) != expected: fault(11, f"seal {expected} is missing")
        text = signed(note := read(os.path.join(stream, name)), key) or fault(13, name)
        lines = [line.split(" ", 1) for line in text.split("\n")[1:-1]]; fact = dict(lines)
        if len([n for n, _ in lines if n != "source"]) != len(fact) - ("source" in fact): fault(10, name)
        if int(fact["seq"]) != seq or fact["prev"] != prev: fault(11, f"{name} is not the next one")
        if int(fact["epoch"]) != epoch or fact["origin"] != key[0] or last.get("type") == "close": fault(10, name)
        if fact["type"] == "data":
            (first, behind), tally = map(int, fact["ingest"].split()), [int(n) for n in re.findall(r"=(\d+)", fact["tally"])]
            if ingest not in (None, first): fault(11, f"{name}: numbers are missing before {first}")
            if tally[0] != sum(tally[1:]) or tally[0] != behind - first + 1 or tally[1] != int(fact["records"]): fault(10, name)
            if fact["object"] not in objects: fault(11, fact["object"])
            objects.remove(fact["object"]); ingest = behind + 1; stored = read(os.path.join(stream, fact["object"]))
            if len(stored) != int(fact["bytes"]) or b64(sha(stored)) != fact["sha256"]: fault(10, fact["object"])
        if fact["type"] == "rotate": key = parse_key(fact["next"]); epoch += 1; signed(note, key) or fault(13, name)
        leaf, size, expected, prev, last = sha(b"\0", text.encode()), seq, seq + 1, b64(sha(text.encode())), fact
        while size & 1: leaf, size = sha(b"\x01", peaks.pop(), leaf), size >> 1
        peaks += [leaf]
        here = [(10, 13, read(os.path.join(stream, c))) for c in checkpoints if c == f"checkpoint/{expected:012}"]
        for altered, bad, note in here + [(15, 15, a) for a in anchors if a.split(b"\n")[1] == b"%d" % expected]:
            if (signed(note, key) or fault(bad, expected)).split("\n")[:3] != [key[0], str(expected), root(peaks)]: fault(altered, expected)
    if objects: fault(12, sorted(objects)[0])
    if any(int(c[11:23]) > expected for c in checkpoints): fault(11, "a checkpoint is over more seals")
    if any(int(a.split(b"\n")[1]) not in range(1, expected + 1) for a in anchors): fault(15, "an anchor is over other seals")
    if not last or last["type"] != "close" and max(when(end) - when(last["time"]), when(last["time"]) - max(when(end), when(now))).total_seconds() > 600: fault(14, "the end")
    print(f"good: {expected} seals")
stream, now = os.path.realpath(sys.argv[1]), datetime.datetime.now(datetime.timezone.utc).isoformat()
try: main(parse_key(sys.argv[2]), now if sys.argv[3] == "now" else sys.argv[3], [open(a, "rb").read() for a in sys.argv[4:]])
except (ValueError, LookupError, TypeError, AttributeError, OSError) as error: fault(13, error)
