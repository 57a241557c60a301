#!/usr/bin/env python3
"""Times srsync against `ip -batch` on the same routes, side by side, in a network namespace of its own.

    cargo build --release && benches/routes.py            # 100,000 IPv4 /24, five runs of each
    benches/routes.py --routes 10000 --runs 9 --family 6
    benches/routes.py --prefixes ranges.txt               # real prefixes, one a line

Needs no root: without it, a user namespace is made too. The two programs take turns (A B A B …), so
that a machine whose speed drifts cannot favour one. Figures are of the whole process as the kernel
accounts for it (wall clock, user + system time, peak resident memory): minimum, median, maximum.
"""

import argparse
import ipaddress
import os
import statistics
import subprocess
import sys
import tempfile
import time

GATEWAYS = {4: ("10.116.0.5", "10.116.0.9"), 6: ("fd00:116::5", "fd00:116::9")}


def main():
    args = arguments()
    if os.environ.get("SRSYNC_BENCH_INSIDE") != "1":
        enter_namespace()
    with tempfile.TemporaryDirectory() as folder:
        routes = in_child(lambda: Inputs(args, folder).write())
        floor = measure(["true"]).memory
        print(f"{routes} routes, {args.runs} runs of each after one warm-up, kernel {os.uname().release}, "
              f"{os.cpu_count()} CPUs\n(memory below {floor:.1f} MB cannot be seen: it is that of this script)\n")
        print(f"{'':34}{'wall clock, s':>24}{'CPU, s':>9}{'memory, MB':>12}")
        print(f"{'':34}{'min':>8}{'median':>8}{'max':>8}{'median':>9}{'max':>12}\n")
        Bench(args, folder).all()


def in_child(work):
    """Runs it in a child, so that this process stays small: children inherit its peak memory."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, str(work()).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        result = pipe.read()
    if os.wait()[1] != 0 or not result:
        sys.exit("cannot write the inputs")
    return int(result)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--routes", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--family", type=int, choices=(4, 6), default=4)
    parser.add_argument("--prefixes", help="a file with one prefix a line, instead of --routes")
    parser.add_argument("--srsync", default="target/release/srsync")
    args = parser.parse_args()
    args.srsync = os.path.abspath(args.srsync)
    return args


def prefixes_of(args):
    if args.prefixes:
        with open(args.prefixes) as lines:
            texts = [line.split("#")[0].strip() for line in lines]
        return disjoint({ipaddress.ip_network(text) for text in texts if text})
    first = {4: 11 << 24, 6: 0x20010DB8 << 96}[args.family]
    step = {4: 1 << 8, 6: 1 << 64}[args.family]
    length = {4: 24, 6: 64}[args.family]
    return [ipaddress.ip_network((first + i * step, length)) for i in range(args.routes)]


def disjoint(prefixes):
    """Without those that another one covers: srsync collapses them, `ip` would not."""
    kept = []
    for prefix in sorted(prefixes, key=lambda p: (p.version, p.network_address, p.prefixlen)):
        if not (kept and kept[-1].version == prefix.version and prefix.subnet_of(kept[-1])):
            kept.append(prefix)
    return kept


def enter_namespace():
    flags = "-n" if os.geteuid() == 0 else "-rn"
    os.environ["SRSYNC_BENCH_INSIDE"] = "1"
    os.execvp("unshare", ["unshare", flags, "--", sys.executable, *sys.argv])


class Inputs:
    """The same routes as documents and as batches of `ip`, through each of two gateways."""

    def __init__(self, args, folder):
        self.folder, self.prefixes = folder, prefixes_of(args)
        self.families = sorted({p.version for p in self.prefixes})

    def write(self):
        for which in (0, 1):
            self.document(which)
            for verb in ("add", "replace", "del"):
                self.batch(verb, which)
        return len(self.prefixes)

    def document(self, which):
        gateways = "".join(f"  - address: {GATEWAYS[family][which]}\n" for family in self.families)
        with open(f"{self.folder}/routes-{which}.yaml", "w") as file:
            file.write("apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\nmetadata:\n  name: bench\n"
                       f"spec:\n  gateways:\n{gateways}  destinations:\n")
            file.writelines(f"  - {prefix}\n" for prefix in self.prefixes)

    def batch(self, verb, which):
        with open(f"{self.folder}/{verb}-{which}.batch", "w") as file:
            file.writelines(f"route {verb} {prefix} via {GATEWAYS[prefix.version][which]} dev wan proto 83\n"
                            for prefix in self.prefixes)


class Bench:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.ip("link add wan type veth peer name wan-peer")
        for link in ("lo", "wan", "wan-peer"):
            self.ip(f"link set {link} up")
        self.ip("address add 10.116.0.3/24 dev wan")
        self.ip("address add fd00:116::3/64 dev wan nodad")
        self.documents = [f"{folder}/routes-{which}.yaml" for which in (0, 1)]
        self.batches = {(verb, which): f"{folder}/{verb}-{which}.batch"
                        for verb in ("add", "replace", "del") for which in (0, 1)}

    def all(self):
        srsync, ip = [self.args.srsync], ["ip", "-batch"]
        first, second = self.documents
        nothing = lambda: None
        self.versus("add all, into an empty table", self.clear,
                    srsync + ["apply", first], ip + [self.batches["add", 0]])
        self.versus("change the gateway of all", self.fill,
                    srsync + ["apply", second], ip + [self.batches["replace", 1]])
        self.versus("remove all", self.fill,
                    srsync + ["flush", "--yes"], ip + [self.batches["del", 0]])
        self.fill()
        self.alone("apply again, nothing to do", nothing, srsync + ["apply", first])
        self.alone("plan, nothing to do", nothing, srsync + ["plan", first])
        self.alone("validate", nothing, srsync + ["validate", first])

    def versus(self, what, prepare, ours, theirs):
        a, b = [], []
        for run in range(self.args.runs + 1):
            for command, runs in ((ours, a), (theirs, b)):
                prepare()
                runs.append(measure(command))
        print(what)
        row("srsync", a[1:])
        row("ip -batch", b[1:])
        ratios = [x.wall / y.wall for x, y in zip(a[1:], b[1:])]
        print(f"  {'srsync / ip, by pairs':<32}{spread(ratios)}\n")

    def alone(self, what, prepare, command):
        runs = []
        for _ in range(self.args.runs + 1):
            prepare()
            runs.append(measure(command))
        print(what)
        row("srsync", runs[1:])
        print()

    def clear(self):
        """Taking the link down removes every route by it, faster than any program could."""
        self.ip("link set wan down")
        self.ip("route flush proto 83 table all", check=False)
        self.ip("-6 route flush proto 83 table all", check=False)
        self.ip("link set wan up")
        self.ip("-6 address replace fd00:116::3/64 dev wan nodad")

    def fill(self):
        self.clear()
        subprocess.run(["ip", "-batch", self.batches["add", 0]], check=True)

    @staticmethod
    def ip(arguments, check=True):
        subprocess.run(["ip", *arguments.split()], check=check, stderr=subprocess.DEVNULL if not check else None)


class Run:
    def __init__(self, wall, usage):
        self.wall, self.cpu, self.memory = wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(command):
    with open(os.devnull, "w") as null:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=null)
        _, status, usage = os.wait4(child.pid, 0)
        run = Run(time.monotonic() - start, usage)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(command)} exited with {child.returncode}")
    return run


def spread(values):
    return f"{min(values):8.3f}{statistics.median(values):8.3f}{max(values):8.3f}"


def row(name, runs):
    print(f"  {name:<32}{spread([r.wall for r in runs])}"
          f"{statistics.median(r.cpu for r in runs):9.3f}{max(r.memory for r in runs):12.1f}")


if __name__ == "__main__":
    main()
