#!/usr/bin/env python3
"""How fast `srsync daemon` follows its sources and the kernel, and what it costs at rest.

    cargo build --release && benches/daemon.py            # ten rounds of each
    benches/daemon.py --rounds 50 --rest 60

Needs no root: without it, a user namespace is made too. Times are taken from the kernel's own
notifications, as any other program would see the routes change:

- swap: from the rename of a ConfigMap's `..data` until the last of 1,000 routes has its new gateway;
  beside it `ip -batch`, told to replace the same routes.
- drift: from the notification that a route was deleted until the notification that it is back, with
  10,000 routes held.
- flush: from the end of somebody's `ip route flush` of 100,000 routes until all are back.
- rest: resident memory and CPU time of a daemon that holds 10,000 routes while nothing happens.
"""

import argparse
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTA_DST, RTA_GATEWAY = 1, 5
GATEWAYS = ("10.116.0.5", "10.116.0.9")
DOCUMENT = """apiVersion: srsync.dev/v1alpha1
kind: StaticRoute
metadata: {{name: many}}
spec:
  gateway: {gateway}
  destinations:
"""


def main():
    args = arguments()
    if os.environ.get("SRSYNC_BENCH_INSIDE") != "1":
        enter_namespace()
    print(f"kernel {os.uname().release}, {os.cpu_count()} CPUs; minimum, median, maximum\n")
    with tempfile.TemporaryDirectory() as folder:
        swap(args, os.path.join(folder, "swap"))
        drift(args, os.path.join(folder, "drift"))
        flush(args, os.path.join(folder, "flush"))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--rest", type=float, default=35, help="seconds to watch the daemon at rest")
    parser.add_argument("--held", type=int, default=10_000)
    parser.add_argument("--flushed", type=int, default=100_000)
    parser.add_argument("--srsync", default="target/release/srsync")
    args = parser.parse_args()
    args.srsync = os.path.abspath(args.srsync)
    return args


def enter_namespace():
    flags = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
    os.environ["SRSYNC_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def node():
    subprocess.run(["ip", "link", "del", "east"], stderr=subprocess.DEVNULL)
    ip("link", "add", "east", "type", "veth", "peer", "name", "west")
    ip("link", "set", "east", "up")
    ip("link", "set", "west", "up")
    ip("addr", "add", "10.116.0.1/24", "dev", "east")


def prefixes(count):
    return [f"{11 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24" for n in range(count)]


def write(path, count, gateway):
    with open(path, "w") as file:
        file.write(DOCUMENT.format(gateway=gateway))
        file.writelines(f"    - {prefix}\n" for prefix in prefixes(count))


class Routes:
    """The kernel's news about routes."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
        self.socket.bind((0, 0x40))
        self.socket.settimeout(30)

    def __iter__(self):
        """(moment, kind, destination, gateway) of each message."""
        while True:
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                if error.errno == 105:  # ENOBUFS: what is missed is not waited for
                    continue
                raise
            moment = time.monotonic()
            while data:
                length, kind = struct.unpack_from("=IH", data)
                attributes = dict(self.attributes(data[28:length]))
                yield moment, kind, attributes.get(RTA_DST), attributes.get(RTA_GATEWAY)
                data = data[(length + 3) & ~3:]

    @staticmethod
    def attributes(data):
        while len(data) >= 4:
            length, kind = struct.unpack_from("=HH", data)
            yield kind, data[4:length]
            data = data[(length + 3) & ~3:]


class Daemon:
    def __init__(self, args, source, folder):
        self.process = subprocess.Popen([
            args.srsync, "daemon", source, "--socket", os.path.join(folder, "sock"), "-q",
        ])

    def wait_for(self, count):
        deadline = time.monotonic() + 60
        while owned() < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                sys.exit("the daemon did not install its routes")
            time.sleep(0.05)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self):
        self.process.terminate()
        self.process.wait()
        ip("route", "flush", "proto", "83")


def owned():
    shown = subprocess.run(["ip", "route", "show", "proto", "83"], capture_output=True, check=True)
    return shown.stdout.count(b"\n")


def until(routes, count, gateway):
    """The moment at which the last of so many routes led to this gateway."""
    wanted = socket.inet_aton(gateway)
    seen = set()
    for moment, kind, destination, via in routes:
        if kind == RTM_NEWROUTE and via == wanted:
            seen.add(destination)
            if len(seen) == count:
                return moment


def swap(args, folder):
    node()
    count, mounted = 1000, os.path.join(folder, "mounted")
    os.makedirs(mounted)

    def publish(version, gateway):
        """As kubelet's atomic writer does it."""
        target = f"..2026_11_21_04_00_{version:02}.{version}"
        os.mkdir(os.path.join(mounted, target))
        write(os.path.join(mounted, target, "routes.yaml"), count, gateway)
        os.symlink(target, os.path.join(mounted, "..data_tmp"))
        before = time.monotonic()
        os.rename(os.path.join(mounted, "..data_tmp"), os.path.join(mounted, "..data"))
        return before

    publish(0, GATEWAYS[0])
    os.symlink("..data/routes.yaml", os.path.join(mounted, "routes.yaml"))
    daemon = Daemon(args, mounted, folder)
    daemon.wait_for(count)
    ours, others = [], []
    for version in range(1, args.rounds + 1):
        gateway = GATEWAYS[version % 2]
        routes = Routes()
        before = publish(version, gateway)
        ours.append(until(routes, count, gateway) - before)
        time.sleep(0.3)
    daemon.stop()
    batch = os.path.join(folder, "batch")
    for version in range(args.rounds + 1):
        gateway = GATEWAYS[version % 2]
        with open(batch, "w") as file:
            file.writelines(f"route replace {prefix} via {gateway} proto 83\n" for prefix in prefixes(count))
        routes = Routes()
        before = time.monotonic()
        ip("-batch", batch)
        others.append(until(routes, count, gateway) - before)
    ip("route", "flush", "proto", "83")
    show("swap of a ConfigMap, 1,000 routes", ours)
    show("  the same by `ip -batch`", others[1:])


def drift(args, folder):
    node()
    os.makedirs(folder)
    source = os.path.join(folder, "routes.yaml")
    write(source, args.held, GATEWAYS[0])
    daemon = Daemon(args, source, folder)
    daemon.wait_for(args.held)
    times = []
    for prefix in prefixes(args.held)[:: args.held // args.rounds][: args.rounds]:
        routes = Routes()
        destination = socket.inet_aton(prefix.split("/")[0])
        ip("route", "del", prefix)
        gone = None
        for moment, kind, about, _ in routes:
            if about == destination and kind == RTM_DELROUTE:
                gone = moment
            elif about == destination and gone is not None:
                times.append(moment - gone)
                break
        time.sleep(0.3)
    show(f"drift repaired, {args.held:,} routes held", times)
    before = daemon.cpu()
    time.sleep(args.rest)
    cpu = (daemon.cpu() - before) / args.rest
    print(f"{'at rest, ' + format(args.held, ',') + ' routes held':46}"
          f"{daemon.memory():.1f} MB resident, {100 * cpu:.3f} % CPU, {daemon.descriptors()} descriptors")
    daemon.stop()


def flush(args, folder):
    node()
    os.makedirs(folder)
    source = os.path.join(folder, "routes.yaml")
    write(source, args.flushed, GATEWAYS[0])
    daemon = Daemon(args, source, folder)
    daemon.wait_for(args.flushed)
    # Stopped meanwhile, or it would repair faster than `ip` deletes.
    daemon.process.send_signal(19)
    ip("route", "flush", "proto", "83")
    before = time.monotonic()
    daemon.process.send_signal(18)
    daemon.wait_for(args.flushed)
    print(f"{format(args.flushed, ',') + ' routes flushed, all back after':46}{time.monotonic() - before:.2f} s")
    print(f"{'  memory then':46}{daemon.memory():.1f} MB resident")
    daemon.stop()


def show(what, seconds):
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{what:46}{1000 * low:.1f} ms, {1000 * middle:.1f} ms, {1000 * high:.1f} ms")


if __name__ == "__main__":
    main()
