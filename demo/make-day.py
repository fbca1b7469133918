#!/usr/bin/env python3
"""Makes `day.log`: a day on forty machines, from what a Docker Engine 28.5 really said (fixtures/docker-events).

Each line is the second of the day, a space, and a line of syslog as a relay passes it on. The result is always the
same; run it in this folder after a change.
"""

import hashlib
import json
import random

DRAW = random.Random(7)
DAY = 1795219200  # 2026-11-21T00:00:00Z

LAB = [f"lab-{n:02}" for n in range(1, 9)]
APP = [f"app-{n:02}" for n in range(1, 13)]
REST = (
    [f"web-{n:02}" for n in range(1, 7)]
    + [f"db-{n:02}" for n in range(1, 7)]
    + ["mail-01", "mail-02", "dns-01", "dns-02", "payroll-01", "build-01", "backup-01", "files-01"]
)
SILENT = "backup-01"
TRUSTED = ["registry.example/shop/web:4.2", "registry.example/shop/api:7.0", "registry.example/base/redis:7.2"]
LAB_IMAGES = ["nginx:1.27", "python:3.13", "ghcr.io/example/try:latest", "registry.example/shop/web:4.3-rc1"]

lines = []


def say(host, second, text, app="-", severity=6):
    at = DAY + second
    stamp = f"2026-11-21T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}Z"
    lines.append((second, f"<{3 * 8 + severity}>1 {stamp} {host} {app} - - - {text}"))
    return at


def event(host, second, action, kind, actor, attributes):
    """As the engine writes it."""
    known = {"status": action, "id": actor, "Type": kind, "Action": action}
    if kind == "container":
        known["from"] = attributes["image"]
    known |= {"Actor": {"ID": actor, "Attributes": attributes}, "scope": "local"}
    known |= {"time": DAY + second, "timeNano": (DAY + second) * 10**9 + DRAW.randrange(10**9)}
    say(host, second, json.dumps(known, separators=(",", ":")))


def container(host, second, name, image, lasts=None, pulls=True):
    actor = hashlib.sha256(f"{host} {second} {name}".encode()).hexdigest()
    attributes = {"image": image, "name": name}
    if pulls:
        event(host, second, "pull", "image", image, {"name": image.split(":")[0]})
    event(host, second + 2, "create", "container", actor, attributes)
    event(host, second + 3, "start", "container", actor, attributes)
    if lasts:
        event(host, second + lasts, "die", "container", actor, {**attributes, "exitCode": "0"})
        event(host, second + lasts + 1, "destroy", "container", actor, attributes)
    return actor


for host in LAB + APP + REST:
    if host != SILENT:
        offset = DRAW.randrange(3600)
        for hour in range(24):
            say(host, hour * 3600 + offset, "Started Daily Cleanup of Temporary Directories.", "systemd")

for host in LAB:
    for number in range(4):
        begin = 28800 + DRAW.randrange(30000)
        container(host, begin, f"try-{number}", DRAW.choice(LAB_IMAGES), 600 + DRAW.randrange(7000))
for host in APP:
    for number, image in enumerate(TRUSTED):
        container(host, 60 + number * 7 + DRAW.randrange(300), image.split("/")[-1].split(":")[0], image)
    if DRAW.randrange(3) == 0:
        container(host, 40000 + DRAW.randrange(9000), "web-new", TRUSTED[0], 5000)

# What the policy does not allow.
container("payroll-01", 33120, "report", "registry.example/base/redis:7.2")
container("db-03", 50400, "quick-fix", "registry.example/shop/api:7.0", 900)
container("app-05", 38100, "miner", "docker.io/evil/xmrig:latest", 4000)
form = {"Image": TRUSTED[1], "Cmd": None, "HostConfig": {"Privileged": True, "NetworkMode": "default"}}
body = json.dumps(form, separators=(",", ":")).replace('"', '\\"')
say(
    "app-09", 45000,
    f'time="2026-11-21T12:30:00.120000000Z" level=debug msg="handling POST request" form-data="{body}" method=POST '
    'module=api request-url="/v1.50/containers/create?name=debug" vars="map[version:1.50]"',
    "dockerd", 7,
)

lines.sort()
with open("day.log", "w") as out:
    out.writelines(f"{second} {line}\n" for second, line in lines)

groups = [(LAB, "playground"), (APP, "apps"), (REST, "")]
with open("machines.yaml", "w") as out:
    out.write("# Forty machines, as somebody keeps a list of them. Exports of vCenter (RVTools) are read, too.\nmachines:\n")
    number = 0
    for hosts, group in groups:
        for host in hosts:
            number += 1
            uuid = hashlib.sha256(host.encode()).hexdigest()
            uuid = f"421f{uuid[:4]}-{uuid[4:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:28]}"
            member = f", group: {group}" if group else ""
            out.write(f"  - {{name: {host}, uuid: {uuid}, addresses: [192.0.2.{number}]{member}, power: \"on\"}}\n")
