#!/usr/bin/env python3
"""What traffic notices when `srsync daemon` changes the gateway, with figures beside their goals.

    cargo build --release && benches/gateways.py          # 10,000 routes, three rounds of each
    benches/gateways.py --routes 100000 --rounds 5
    benches/gateways.py --family 6 --only dies,link

Needs no root: without it, a user namespace is made too. Everything is in namespaces of its own:

                         ,-- link_a -- gateway a -- far_a --.
    client -- lan -- node                                     far host
                         `-- link_b -- gateway b -- far_b --'

A stream of numbered datagrams goes from the client to the far host while gateways are drained,
edited, silenced, cut off and given back, and while the daemon is killed. Moments of arrival are the
kernel's. Nothing is asserted: figures are minimum, median, maximum. Parts (`--only`):

- control: the same stream while nothing happens. What this loses, other figures cannot show.
- edits: the order of the gateways swapped, the first one replaced. Then drain and undrain.
- restarts: SIGKILL and SIGTERM, and a new daemon.
- dies: the gateway drops everything and its link stays up; then it returns.
- busy: the gateway dies while an edit of one destination is taken up.
- link: the link goes down, on the node and on the other side; then it returns.
- segment: both gateways on one link; edits, and a gateway that dies.
- kernel: one message by hand on the daemon's own group: when do packets move, when is it acknowledged?
- shell: a script that pings and then replaces all routes.
- rest: CPU and memory of a daemon while nothing happens.

Needs a C compiler (`cc`): what sends and receives is benches/gateways.c.
"""

import argparse
import atexit
import ctypes
import datetime
import json
import mmap
import os
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

PARTS = "control edits restarts dies busy link segment kernel shell rest".split()
RATE = 10_000
PACKETS, MESSAGES, HEAD, PACKET, MESSAGE = 1 << 20, 1 << 16, 32, 24, 16
RTM_NEWNEXTHOP = 104
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class Family:
    def __init__(self, four):
        self.four = four
        self.ip = ["ip", "-4" if four else "-6"]
        self.far = "198.51.100.9" if four else "2001:db8:f::9"
        self.prefix = "198.51.100.0/24" if four else "2001:db8:f::/64"
        self.length = 24 if four else 64
        self.sysctls = "ipv4" if four else "ipv6"

    def address(self, link, host):
        return f"10.0.{link}.{host}" if self.four else f"fd00:{link}::{host}"

    def prefixes(self, count):
        """The last but half leads to the far host."""
        if self.four:
            made = [f"{11 + n // 65536}.{n // 256 % 256}.{n % 256}.0/24" for n in range(count - 1)]
        else:
            made = [f"2001:db9:{n >> 16:x}:{n & 0xffff:x}::/64" for n in range(count - 1)]
        made.insert(count // 2, self.prefix)
        return made


def main():
    args = arguments()
    if os.environ.get("SRSYNC_BENCH_INSIDE") != "1":
        enter_namespace()
    with tempfile.TemporaryDirectory() as folder:
        args.folder, args.traffic = folder, os.path.join(folder, "gateways")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gateways.c")
        subprocess.run(["cc", "-O2", "-o", args.traffic, source, "-lpthread"], check=True)
        print(f"kernel {os.uname().release}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; "
              f"{args.routes:,} routes, IPv{args.family}, {args.rounds} rounds")
        print(f"\n{'':52}{'min':>9}{'median':>9}{'max':>9}  goal")
        for part in args.only:
            Bench(args, part).run()


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--routes", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", type=int, choices=(4, 6), default=4)
    parser.add_argument("--only", type=lambda words: words.split(","), default=PARTS,
                        help="some of " + ",".join(PARTS))
    parser.add_argument("--rest", type=float, default=20, help="seconds to watch the daemon at rest")
    parser.add_argument("--log", help="append the log of all daemons here")
    parser.add_argument("--srsync", default="target/release/srsync")
    args = parser.parse_args()
    args.srsync = os.path.abspath(args.srsync)
    if unknown := set(args.only) - set(PARTS):
        parser.error(f"no such part: {', '.join(unknown)}")
    return args


def enter_namespace():
    flags = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
    os.environ["SRSYNC_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])


def dies_with_us():
    libc.prctl(1, signal.SIGKILL)


class Namespace:
    def __init__(self, family):
        self.family = family
        ours = os.readlink("/proc/self/ns/net")
        self.process = subprocess.Popen(["unshare", "--net", "sleep", "3600"], preexec_fn=dies_with_us)
        atexit.register(self.process.kill)
        self.pid = str(self.process.pid)
        while os.readlink(f"/proc/{self.pid}/ns/net") == ours:
            time.sleep(0.005)
        # Before any link: a new one is quiet, and forwards, at once.
        for name, value in (("ipv6/conf/default/accept_dad", 0), ("ipv6/conf/all/accept_dad", 0),
                            ("ipv6/conf/default/router_solicitations", 0), ("ipv4/ip_forward", 1),
                            ("ipv6/conf/all/forwarding", 1), ("ipv4/conf/all/rp_filter", 0),
                            ("ipv4/conf/default/rp_filter", 0)):
            self.sysctl(name, value)
        self.ip("link set lo up")

    def inside(self, *words):
        return ["nsenter", "-t", self.pid, "-n", *words]

    def ip(self, words, **more):
        return subprocess.run(self.inside(*self.family.ip, *words.split()), check=True, **more)

    def enter(self, work):
        with open("/proc/self/ns/net") as ours, open(f"/proc/{self.pid}/ns/net") as theirs:
            assert libc.setns(theirs.fileno(), CLONE_NEWNET) == 0
            try:
                return work()
            finally:
                assert libc.setns(ours.fileno(), CLONE_NEWNET) == 0

    def knob(self, name):
        """Kept open it is turned at once, from anywhere."""
        return self.enter(lambda: open(f"/proc/sys/net/{name}", "wb", buffering=0))

    def sysctl(self, name, value):
        with self.knob(name) as knob:
            knob.write(str(value).encode())

    def join(self, name, address, other, other_name, other_address=None):
        self.ip(f"link add name {name} type veth peer name {other_name} netns {other.pid}")
        for namespace, link, address in ((self, name, address), (other, other_name, other_address)):
            if address:
                namespace.ip(f"addr add {address}/{self.family.length} dev {link}")
            namespace.ip(f"link set {link} up")


class Gateway(Namespace):
    """A router that can stop to do anything while its link stays up."""

    def __init__(self, family):
        super().__init__(family)
        four = family.four
        self.forwards = self.knob("ipv4/ip_forward" if four else "ipv6/conf/all/forwarding")
        self.ignores = self.knob("ipv4/icmp_echo_ignore_all" if four else "ipv6/icmp/echo_ignore_all")

    def lives(self, alive):
        for knob, turned in ((self.forwards, alive), (self.ignores, not alive)):
            os.pwrite(knob.fileno(), b"1" if turned else b"0", 0)


class World:
    def __init__(self, family, one_segment):
        self.family = family
        address = family.address
        self.client, self.node, self.far = (Namespace(family) for _ in range(3))
        self.gateways = [Gateway(family) for _ in range(2)]
        self.others = []
        self.node.join("lan", address(9, 1), self.client, "lan", address(9, 2))
        self.client.ip(f"route add default via {address(9, 1)}")
        self.far.ip(f"addr add {self.family.far} dev lo")
        if one_segment:
            self.a, self.b, self.c = (address(1, host) for host in (2, 3, 4))
            self.segment(address)
        else:
            self.a, self.b, self.c = address(1, 2), address(2, 2), address(1, 4)
            for n, name, gateway in ((1, "a", self.gateways[0]), (2, "b", self.gateways[1])):
                self.node.join(f"link_{name}", address(n, 1), gateway, "node", address(n, 2))
        # A second address of the first one: the gateway that replaces it in a document.
        self.gateways[0].ip(f"addr add {self.c}/{family.length} dev node")
        self.links = {}
        for n, name, gateway in ((5, "a", self.gateways[0]), (6, "b", self.gateways[1])):
            gateway.join("far", address(n, 1), self.far, f"far_{name}", address(n, 9))
            gateway.ip(f"route add {family.prefix} via {address(n, 9)}")
            gateway.ip(f"route add {address(9, 0)}/{family.length} via {address(1 if one_segment else n - 4, 1)}")
            self.far.ip(f"route add {address(9, 0)}/{family.length} via {address(n, 1)} metric {n}")
            shown = self.far.ip(f"-o link show far_{name}", stdout=subprocess.PIPE, text=True).stdout
            self.links[int(shown.split(":")[0])] = name

    def segment(self, address):
        switch = Namespace(self.family)
        self.others.append(switch)
        switch.ip("link add segment type bridge")
        switch.ip("link set segment up")
        self.node.join("link_a", address(1, 1), switch, "port_n")
        for n, gateway in ((2, self.gateways[0]), (3, self.gateways[1])):
            gateway.join("node", address(1, n), switch, f"port_{n}")
        for port in ("port_n", "port_2", "port_3"):
            switch.ip(f"link set {port} master segment")

    def close(self):
        for namespace in (self.client, self.node, self.far, *self.gateways, *self.others):
            namespace.process.kill()
            namespace.process.wait()


class Packet:
    __slots__ = ("number", "sent", "arrived", "way")

    def __init__(self, number, sent, arrived, way):
        self.number, self.sent, self.arrived, self.way = number, sent, arrived, way


class Stream:
    """Datagrams on their way, and the node's messages about nexthop objects."""

    def __init__(self, args, world):
        self.path = os.path.join(args.folder, f"stream-{world.node.pid}")
        self.world = world
        self.process = subprocess.Popen(
            [args.traffic, "stream", self.path, world.client.pid, world.node.pid, world.far.pid,
             world.family.far, str(RATE)], stdin=subprocess.PIPE)
        atexit.register(self.process.kill)
        size = HEAD + PACKETS * PACKET + MESSAGES * MESSAGE
        while not (os.path.exists(self.path) and os.path.getsize(self.path) == size):
            time.sleep(0.01)
        with open(self.path, "r+b") as file:
            self.shared = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)

    def head(self):
        return struct.unpack_from("=4Q", self.shared)

    def now(self):
        return self.head()[0]

    def packets(self, start, end):
        for number in range(start, end):
            sent, arrived, link, _ = struct.unpack_from("=QQII", self.shared, HEAD + number % PACKETS * PACKET)
            yield Packet(number, sent, arrived, self.world.links.get(link))

    def since(self, start):
        """All packets since that number, and those under way may arrive."""
        end = self.now()
        time.sleep(0.1)
        return list(self.packets(start, end))

    def way(self):
        """Where packets have just gone."""
        end = self.now()
        arrived = [packet.way for packet in self.packets(max(0, end - 200), end) if packet.arrived]
        return arrived[-1] if arrived else None

    def wait_for(self, way, seconds):
        deadline = time.monotonic() + seconds
        while self.way() != way:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def messages(self, start, end):
        """(moment, kind, number of the object) between two moments."""
        count = self.head()[1]
        base = HEAD + PACKETS * PACKET
        heard = (struct.unpack_from("=QII", self.shared, base + n % MESSAGES * MESSAGE)
                 for n in range(max(0, count - MESSAGES), count))
        return [message for message in heard if start <= message[0] < end]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        os.unlink(self.path)


class Daemon:
    def __init__(self, args, world, source):
        self.args, self.world, self.source = args, world, source
        self.socket = os.path.join(args.folder, "sock")
        self.start()

    def start(self):
        self.lines = []
        command = [self.args.srsync, "daemon", self.source, "--socket", self.socket, "--log-format", "json"]
        self.process = subprocess.Popen(self.world.node.inside(*command), stderr=subprocess.PIPE,
                                        text=True, preexec_fn=dies_with_us)
        atexit.register(self.process.kill)
        threading.Thread(target=self.read, args=(self.process.stderr, self.lines), daemon=True).start()
        if self.moment("Ready", 0, 60) is None:
            sys.exit("the daemon did not get ready:\n" + "".join(self.lines))

    def read(self, stream, lines):
        for line in stream:
            lines.append(line)
            if self.args.log:
                with open(self.args.log, "a") as log:
                    log.write(line)

    def told(self, kind):
        """Moments at which this was told, by the daemon's clock, in nanoseconds."""
        for line in list(self.lines):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry["fields"].get("kind") == kind:
                yield datetime.datetime.fromisoformat(entry["timestamp"]).timestamp() * 1e9

    def moment(self, kind, after, seconds=0):
        deadline = time.monotonic() + seconds
        while True:
            for moment in self.told(kind):
                if moment >= after:
                    return moment
            if time.monotonic() >= deadline or self.process.poll() is not None:
                return None
            time.sleep(0.02)

    def ask(self, *words):
        return subprocess.run([self.args.srsync, *words, "--socket", self.socket], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait()


class Bench:
    def __init__(self, args, part):
        self.args, self.part, self.family = args, part, Family(args.family == 4)
        self.source = os.path.join(args.folder, "routes.yaml")
        self.prefixes = self.family.prefixes(args.routes)

    def run(self):
        self.world = World(self.family, one_segment=self.part == "segment")
        print(f"\n{self.part}")
        self.stream = Stream(self.args, self.world)
        try:
            getattr(self, self.part)()
            self.account()
        finally:
            self.stream.close()
            self.world.close()

    def account(self):
        sent, _, overflowed, refused = self.stream.head()
        if sent < 2:
            return
        end = min(sent, PACKETS) - 1
        first, last = (next(self.stream.packets(sent - back, sent - back + 1)) for back in (end, 1))
        rate = (end - 1) / max(1, last.sent - first.sent) * 1e9
        said = f"  (really {rate:,.0f} packets/s"
        if overflowed or refused:
            said += f"; {overflowed} lost by the receiver, {refused} refused to the sender"
        print(said + ")")

    def document(self, gateways, interval="100ms"):
        with open(self.source + ".new", "w") as file:
            file.write(
                "apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata: {name: many}\nspec:\n"
                f"  healthCheck: {{icmp: {{}}, interval: {interval}, fall: 3, rise: 2, holdDown: 1s}}\n"
                "  gateways:\n" + "".join(f"    - {{address: '{gateway}'}}\n" for gateway in gateways)
                + "  destinations:\n" + "".join(f"    - '{prefix}'\n" for prefix in self.prefixes))
        os.rename(self.source + ".new", self.source)

    def daemon(self, interval="100ms"):
        """A daemon on a fresh node, and traffic by the first gateway."""
        self.document((self.world.a, self.world.b), interval)
        daemon = Daemon(self.args, self.world, self.source)
        # Both proven, and settled.
        time.sleep(2.5)
        if not self.stream.wait_for("a", 10):
            sys.exit("no packet arrives")
        return daemon

    def finish(self, daemon):
        daemon.end()
        self.clear()

    def clear(self):
        for what in ("nexthop", "route"):
            subprocess.run(self.world.node.inside(*self.family.ip, what, "flush", "proto", "83"),
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def over(self, work, settle):
        """Packets while something is done, and while it takes effect."""
        start = self.stream.now()
        work()
        time.sleep(settle)
        return self.stream.since(start)

    # The parts

    def control(self):
        daemon = self.daemon()
        show("nothing happens: lost packets", [lost(self.over(lambda: None, 3)) for _ in range(self.args.rounds)], 0)
        self.finish(daemon)

    def edits(self):
        daemon = self.daemon()
        a, b, c = self.world.a, self.world.b, self.world.c
        swapped, back, replaced = [], [], []
        times = []
        for _ in range(self.args.rounds):
            for gateways, results in (((b, a), swapped), ((a, b), back), ((c, b), replaced), ((a, b), back)):
                edited = time.time() * 1e9
                packets = self.over(lambda: self.document(gateways), 3)
                results.append(lost(packets))
                if results is swapped:
                    times += [(p.arrived - edited) / 1e6 for p in packets if p.way == "b"][:1]
        show("order swapped: lost packets", swapped, 0)
        show("  the other gateway after, ms", times, None)
        show("first gateway replaced: lost packets", replaced, 0)
        show("as it was again: lost packets", back, 0)
        if self.part == "edits":
            self.drains(daemon)
        self.finish(daemon)

    def drains(self, daemon):
        if (asked := daemon.ask("gateway", "drain", self.world.a)).returncode != 0:
            print(f"  {'drain and undrain':50}skipped: {(asked.stderr.splitlines() or ['refused'])[0]}")
            return
        daemon.ask("gateway", "undrain", self.world.a)
        self.stream.wait_for("a", 30)
        drained, undrained, moves = [], [], []
        for _ in range(self.args.rounds):
            asked = time.time() * 1e9
            packets = self.over(lambda: daemon.ask("gateway", "drain", self.world.a), 2)
            drained.append(lost(packets))
            moves += [(p.arrived - asked) / 1e6 for p in packets if p.way == "b"][:1]
            start = self.stream.now()
            daemon.ask("gateway", "undrain", self.world.a)
            if not self.stream.wait_for("a", 30):
                print("  undrained, but packets do not return")
            undrained.append(lost(self.stream.since(start)))
        show("drain: lost packets", drained, 0)
        show("  the other gateway after, ms", moves, None)
        show("undrain: lost packets", undrained, 0)

    def restarts(self):
        daemon = self.daemon()
        for name, how in (("SIGKILL", signal.SIGKILL), ("SIGTERM", signal.SIGTERM)):
            results, messages = [], []

            def restart():
                daemon.end(how)
                time.sleep(0.3)
                daemon.start()

            for _ in range(self.args.rounds):
                start = time.time() * 1e9
                results.append(lost(self.over(restart, 2.5)))
                messages.append(len(self.stream.messages(start, time.time() * 1e9)))
            show(f"{name} and restart: lost packets", results, 0)
            show("  messages about nexthop objects", messages, 0)
        self.finish(daemon)

    def dies(self, checks=(("100ms", 500), ("20ms", 120))):
        for interval, goal in checks:
            for compat in (1, 0):
                self.world.node.sysctl("ipv4/nexthop_compat_mode", compat)
                daemon = self.daemon(interval)
                self.outages(daemon, f"dies silently, {interval}, compat mode {compat}", goal,
                             lambda: self.world.gateways[0].lives(False),
                             lambda: self.world.gateways[0].lives(True))
                self.finish(daemon)

    def busy(self):
        outage = []
        for _ in range(self.args.rounds):
            daemon = self.daemon("20ms")
            self.prefixes.pop()
            self.document((self.world.a, self.world.b), "20ms")
            # The debounce is over, and the pass is about to begin.
            time.sleep(0.2)
            start, killed = self.stream.now(), time.time() * 1e9
            self.world.gateways[0].lives(False)
            self.stream.wait_for("b", 15)
            outage += [(p.arrived - killed) / 1e6 for p in self.stream.since(start) if p.way == "b"][:1]
            self.world.gateways[0].lives(True)
            self.finish(daemon)
        show("dies silently, 20ms, amid an edit: ms", outage, 120)

    def link(self):
        node, other = self.world.node, self.world.gateways[0]

        def knock(namespace, link):
            """Without a process to start between two moments."""
            index = namespace.enter(lambda: socket.if_nametoindex(link))
            talk = namespace.enter(lambda: Netlink())
            address = self.world.family.address(1, 1 if namespace is node else 2)

            def up():
                talk.link(index, True)
                if not self.family.four:
                    # Global addresses go with the link; whoever sets it up gives them back.
                    namespace.ip(f"addr replace {address}/64 dev {link}")

            return lambda: talk.link(index, False), up

        for what, (down, up) in (("link down on the node", knock(node, "link_a")),
                                 ("carrier lost", knock(other, "node"))):
            daemon = self.daemon()

            def restore():
                up()
                # The gateway's own addresses, and routes by this link, go with it.
                if not self.family.four and "carrier" not in what:
                    return
                far = self.world.family.address(9, 0)
                other.ip(f"route replace {far}/{self.family.length} via {self.world.family.address(1, 1)}")

            self.outages(daemon, what, 50, down, restore)
            self.finish(daemon)

    def segment(self):
        self.edits()
        self.dies(checks=(("100ms", 500),))

    def outages(self, daemon, what, goal, kill, restore):
        outage, detection, decision, count, after, gone, gone_back, returns, held = ([] for _ in range(9))
        for _ in range(self.args.rounds):
            # Not in step with the probes.
            time.sleep(0.05 + os.urandom(1)[0] / 2560)
            start, killed = self.stream.now(), time.time() * 1e9
            kill()
            if not self.stream.wait_for("b", 15):
                print(f"  {what}: packets do not take the other gateway")
                restore()
                self.stream.wait_for("a", 60)
                continue
            time.sleep(1)
            packets = self.stream.since(start)
            other = next(packet for packet in packets if packet.way == "b")
            outage.append((other.arrived - killed) / 1e6)
            gone.append(lost(packets))
            held.append(held_up(packets))
            decided = daemon.moment("GatewayDown", killed, 3)
            if decided is not None:
                detection.append((decided - killed) / 1e6)
                decision.append((other.arrived - decided) / 1e6)
            messages = [m for m in self.stream.messages(killed, killed + 0.9e9) if m[1] == RTM_NEWNEXTHOP]
            count.append(len(messages))
            after += [(m[0] - other.arrived) / 1e6 for m in messages[:1]]
            start, back = self.stream.now(), time.time() * 1e9
            restore()
            if not self.stream.wait_for("a", 60):
                sys.exit(f"{what}: packets do not return")
            packets = self.stream.since(start)
            gone_back.append(lost(packets))
            returns += [(p.arrived - back) / 1e6 for p in packets if p.way == "a" and p.sent > back][:1]
            time.sleep(1)
        show(f"{what}: without packets, ms", outage, goal)
        show("  lost packets", gone, None)
        show("  until it is known to be down, ms", detection, None)
        show("  from then to the other gateway's first, ms", decision, 60)
        show("  messages NEWNEXTHOP", count, 1)
        show("  the first one is heard after the packet, ms", after, None)
        show("  the sender itself was held up, ms", held, None)
        show("  back again after, ms", returns, None)
        show("  lost packets on return", gone_back, 0)

    def kernel(self):
        for compat in (1, 0):
            self.world.node.sysctl("ipv4/nexthop_compat_mode", compat)
            daemon = self.daemon("1s")
            daemon.end(signal.SIGKILL)
            self.by_hand(compat)
            self.clear()

    def by_hand(self, compat):
        shown = subprocess.run(self.world.node.inside("ip", "nexthop"), stdout=subprocess.PIPE, text=True).stdout
        group = re.search(r"id (\d+) group (\S+)", shown)
        if not group:
            print("  the daemon made no group: skipped")
            return
        members = [tuple(map(int, (member + ",1").split(",")[:2])) for member in group[2].split("/")]
        first, second = members[0][0], members[1][0]
        talk = self.world.node.enter(lambda: Netlink())
        moves, acked, heard, gone, held = [], [], [], [], []
        way = "a"
        for _ in range(2 * self.args.rounds):
            first, second, way = second, first, "b" if way == "a" else "a"
            start = self.stream.now()
            sent = time.time() * 1e9
            error = talk.resilient(int(group[1]), [(first, 256), (second, 1)])
            done = time.time() * 1e9
            if error:
                print(f"  the kernel refused: {os.strerror(error)}")
                return
            time.sleep(0.7)
            packets = self.stream.since(start)
            gone.append(lost(packets))
            held.append(held_up(packets))
            moves += [(p.arrived - sent) / 1e6 for p in packets if p.way == way][:1]
            heard += [(m[0] - sent) / 1e6 for m in self.stream.messages(sent, sent + 6e8)][:1]
            acked.append((done - sent) / 1e6)
        show(f"compat mode {compat}: from the message to the first packet, ms", moves, 60)
        show("  to RTM_NEWNEXTHOP, ms", heard, None)
        show("  to the acknowledgement, ms", acked, None)
        show("  the sender itself was held up, ms", held, None)
        show("  lost packets", gone, 0)

    def shell(self):
        ip, node = " ".join(self.family.ip), self.world.node
        probe = f"{self.args.traffic} ping {self.world.a}"
        batches = {}
        for way, gateway in (("a", self.world.a), ("b", self.world.b)):
            batches[way] = os.path.join(self.args.folder, f"batch-{way}")
            with open(batches[way], "w") as file:
                file.writelines(f"route replace {prefix} via {gateway} proto 83\n" for prefix in self.prefixes)
        each = f"while read -r words; do {ip} $words; done <"
        ways = [("`ip -batch`", f"{ip} -batch ")]
        if self.args.routes <= 10_000:
            ways.append(("one `ip` for each route", each))
        for interval, goal in ((0.1, 500), (0.02, 120)):
            for name, replace in ways:
                outage, gone, whole = [], [], []
                for _ in range(self.args.rounds if "batch" in name else 1):
                    node.ip(f"-batch {batches['a']}")
                    assert self.stream.wait_for("a", 10)
                    script = (f"fails=0; while [ $fails -lt 3 ]; do if {probe} {int(interval * 1000)}; "
                              f"then fails=0; sleep {interval}; else fails=$((fails + 1)); fi; done; "
                              f"{replace}{batches['b']}")
                    process = subprocess.Popen(node.inside("sh", "-c", script), preexec_fn=dies_with_us)
                    time.sleep(0.5)
                    start, killed = self.stream.now(), time.time() * 1e9
                    self.world.gateways[0].lives(False)
                    process.wait()
                    whole.append(time.time() * 1e3 - killed / 1e6)
                    self.stream.wait_for("b", 10)
                    packets = self.stream.since(start)
                    outage += [(p.arrived - killed) / 1e6 for p in packets if p.way == "b"][:1]
                    gone.append(lost(packets))
                    self.world.gateways[0].lives(True)
                show(f"script, ping each {1000 * interval:.0f} ms, {name}: ms", outage, goal)
                show("  lost packets", gone, None)
                show("  until all routes are replaced, ms", whole, None)

    def rest(self):
        self.stream.process.send_signal(signal.SIGSTOP)
        for interval in ("1s", "100ms", "20ms"):
            self.document((self.world.a, self.world.b), interval)
            daemon = Daemon(self.args, self.world, self.source)
            time.sleep(3)
            before = daemon.cpu()
            time.sleep(self.args.rest)
            cpu = (daemon.cpu() - before) / self.args.rest
            print(f"  {'two gateways, each ' + interval:50}{100 * cpu:8.3f} % CPU, {daemon.memory():.1f} MB resident")
            self.finish(daemon)
        self.stream.process.send_signal(signal.SIGCONT)


class Netlink:
    """Two messages, sent without starting a program."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def link(self, index, up):
        self.ask(16, 0, struct.pack("=BxHiII", 0, 0, index, 1 if up else 0, 1))

    def resilient(self, group, members):
        def attribute(kind, data):
            return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)

        listed = b"".join(struct.pack("=IBBH", member, weight - 1, 0, 0) for member, weight in members)
        table = attribute(1, struct.pack("=H", 4)) + attribute(2, bytes(4)) + attribute(3, bytes(4))
        return self.ask(RTM_NEWNEXTHOP, 0x500, struct.pack("=BBBBI", 0, 0, 83, 0, 0) + attribute(1, struct.pack("=I", group))
                        + attribute(2, listed) + attribute(3, struct.pack("=H", 1)) + attribute(12 | 0x8000, table))

    def ask(self, kind, flags, body):
        """The kernel's error, or 0."""
        self.socket.send(struct.pack("=IHHII", 16 + len(body), kind, 5 | flags, 1, 0) + body)
        return -struct.unpack_from("=i", self.socket.recv(65536), 16)[0]


def lost(packets):
    return sum(1 for packet in packets if not packet.arrived)


def held_up(packets):
    """The longest time between two packets sent, in ms: what the sender's processor was busy with."""
    return max((b.sent - a.sent) / 1e6 for a, b in zip(packets, packets[1:]))


def show(what, values, goal):
    if not values:
        print(f"  {what:50}        none seen")
        return
    digits = 0 if all(isinstance(value, int) for value in values) else 1
    spread = "".join(f"{value:9.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    judged = "" if goal is None else f"  {goal}" + ("" if max(values) <= goal else "  MISSED")
    print(f"  {what:50}{spread}{judged}", flush=True)


if __name__ == "__main__":
    main()
