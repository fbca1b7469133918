#!/usr/bin/env bash
# Runs a one-machine Ceph with its S3 gateway on loopback, data in memory:
# `radosgw.sh FOLDER S3-PORT MON-PORT-V2 MON-PORT-V1`. Says `ready` on stdout when user `test`
# (key `testkey`, secret `testsecret`) can log in. Ends, with all its daemons, on SIGTERM.
set -euo pipefail
folder=$1 port=$2 mon="[v2:127.0.0.1:$3,v1:127.0.0.1:$4]"
mkdir -p "$folder"/{mon,osd,rgw,run}
export CEPH_CONF=$folder/ceph.conf
fsid=$(cat /proc/sys/kernel/random/uuid) osd=$(cat /proc/sys/kernel/random/uuid)

# cephx stays on: radosgw hangs without authentication.
cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
mon host = $mon
public addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
mon max pg per osd = 1000
# A monitor ends itself when the disk is nearly full; ours keeps next to nothing there.
mon data avail crit = 0
mon data avail warn = 0
osd objectstore = memstore
mon data = $folder/mon
osd data = $folder/osd
rgw data = $folder/rgw
keyring = $folder/keyring
run dir = $folder/run
mon allow pool size one = true
admin socket = $folder/run/\$name.asok
log file = $folder/run/\$name.log
pid file = $folder/run/\$name.pid
CONF

daemons=()
trap 'kill "${daemons[@]}" 2>/dev/null; wait; exit 0' TERM
trap 'kill "${daemons[@]}" 2>/dev/null || true' EXIT

ceph-authtool --create-keyring "$folder/keyring" --gen-key -n mon. --cap mon 'allow *'
for name in client.admin osd.0 client.rgw; do
    ceph-authtool "$folder/keyring" --gen-key -n "$name" --cap mon 'allow *' --cap osd 'allow *'
done
monmaptool --create --addv a "$mon" --fsid "$fsid" "$folder/monmap"
ceph-mon --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
ceph-mon -f -i a & daemons+=($!)
ceph osd new "$osd"
ceph-osd -i 0 --mkfs --osd-uuid "$osd"
ceph-osd -f -i 0 & daemons+=($!)
radosgw -f -n client.rgw --rgw-frontends "beast endpoint=127.0.0.1:$port" & daemons+=($!)
until curl -so /dev/null "http://127.0.0.1:$port/"; do sleep .2; done
radosgw-admin user create --uid test --display-name test --access-key testkey --secret-key testsecret >/dev/null
echo ready
wait
