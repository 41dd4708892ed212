"""OpenStack Swift with its S3 API in one process: proxy, account, container and object server, one disk, one replica.

Usage: s3-on-swift.py DIRECTORY PORT KEY SECRET REGION RESERVE [CERTIFICATE KEY]
Everything lies in DIRECTORY, so that a server that was killed finds its objects again. RESERVE is the share of the disk, in
per cent, that must stay free: 100 makes the disk full. Says "ready" on its standard output when it answers.
"""
import os
import pwd
import sys

from swift.common import utils

utils.eventlet_monkey_patch()

import eventlet
import eventlet.wsgi
from eventlet.green import socket, ssl

root, port, key, secret, region, reserve = sys.argv[1:7]
tls = sys.argv[7:9]
user = pwd.getpwuid(os.getuid()).pw_name
group, name = key.split(":")


def write(path, text):
    with open(os.path.join(root, path), "w") as file:
        file.write(text)


def listen(number):
    sock = eventlet.listen(("127.0.0.1", number), backlog=512)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


os.makedirs(os.path.join(root, "disks", "d1"), exist_ok=True)
write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = test\n[swift-constraints]\n[storage-policy:0]\nname = all\ndefault = yes\n")
utils.set_swift_dir(root)
utils.validate_configuration()
# Room is looked for before a file is written.
utils.FALLOCATE_RESERVE, utils.FALLOCATE_IS_PERCENT = utils.config_fallocate_value(f"{reserve}%")

from swift.common import constraints
from swift.common.http_protocol import SwiftHttpProtocol
from swift.common.ring import RingBuilder
from swift.common.wsgi import loadapp

constraints.reload_constraints()

common = f"""
swift_dir = {root}
user = {user}
devices = {root}/disks
mount_check = false
log_level = CRITICAL
workers = 0
"""
backends = {}
for kind in ("account", "container", "object"):
    backends[kind] = listen(0)
    ring = RingBuilder(2, 1, 0)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": backends[kind].getsockname()[1], "device": "d1", "weight": 1.0})
    ring.rebalance()
    ring.get_ring().save(os.path.join(root, f"{kind}.ring.gz"))
    write(f"{kind}-server.conf", f"""[DEFAULT]{common}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
""")
write("proxy-server.conf", f"""[DEFAULT]{common}
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats cache s3api tempauth bulk slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:cache]
# Required, and nobody answers there: Swift goes without.
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:s3api]
use = egg:swift#s3api
location = {region}
storage_domain = localhost
# So that small files can have many parts; services in production say 5 MiB.
min_segment_size = 65536
[filter:tempauth]
use = egg:swift#tempauth
user_{group}_{name} = {secret} .admin
user_{group}_stranger = {secret}
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
""")


def serve(sock, kind):
    app = loadapp(os.path.join(root, f"{kind}-server.conf"), {"log_name": kind})
    # As Swift's own launcher does: S3 clients need the header "ETag", not "Etag".
    eventlet.spawn(eventlet.wsgi.server, sock, app, utils.NullLogger(), protocol=SwiftHttpProtocol,
                   capitalize_response_headers=False, debug=False)


for kind, sock in backends.items():
    serve(sock, kind)
front = listen(int(port))
if tls:
    front = ssl.wrap_socket(front, certfile=tls[0], keyfile=tls[1], server_side=True)
serve(front, "proxy")
print("ready", flush=True)
while True:
    eventlet.sleep(3600)
