#!/usr/bin/env python3
"""Lets `srsync daemon` live through everything at random for a while, and watches what it costs.

    cargo build --release && benches/soak.py --minutes 30

Needs no root. In a namespace of its own: documents are edited, broken, mended, deleted and swapped,
links flap, others delete routes and flush them, status is asked for, config is reloaded. Each minute
it lets everything come to rest, checks that the tables are equal to the directory and that foreign
routes are untouched, and prints resident memory, file descriptors, threads and CPU time. Fails if
memory or descriptors grow from the first third to the last by more than a tenth.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

FOREIGN = ["192.168.77.0/24", "192.168.78.0/24"]
SIDES = ["east", "west"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--pace", type=float, default=0.25, help="seconds between two deeds, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--srsync", default="target/release/srsync")
    args = parser.parse_args()
    args.srsync = os.path.abspath(args.srsync)
    if os.environ.get("SRSYNC_BENCH_INSIDE") != "1":
        flags = ["--net"] if os.geteuid() == 0 else ["--net", "--user", "--map-root-user"]
        os.environ["SRSYNC_BENCH_INSIDE"] = "1"
        os.execvp("unshare", ["unshare", *flags, sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(Soak(args, folder).run())


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True).stdout


class Soak:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.random = random.Random(args.seed)
        self.routes = os.path.join(folder, "routes")
        self.mounted = os.path.join(folder, "configmap")
        self.socket = os.path.join(folder, "sock")
        os.makedirs(self.routes)
        os.makedirs(self.mounted)
        self.wanted = {}
        self.version = 0
        self.done = {}
        for side in SIDES:
            ip("link", "add", side, "type", "veth", "peer", "name", side + "-peer")
            ip("link", "set", side + "-peer", "up")
            self.up(side)
        for n in range(8):
            self.edit(n)
        self.swap()
        self.log = open(os.path.join(folder, "log"), "w+")
        self.daemon = subprocess.Popen(
            [args.srsync, "daemon", self.routes, self.mounted, "--socket", self.socket, "--max-removals=100%"],
            stderr=self.log)

    def up(self, side):
        ip("link", "set", side, "up")
        n = SIDES.index(side) + 1
        ip("addr", "replace", f"10.0.{n}.1/24", "dev", side)
        ip("route", "replace", FOREIGN[n - 1], "via", f"10.0.{n}.9", "proto", "static")

    def document(self, name, prefixes):
        gateway = f"10.0.{self.random.randint(1, 2)}.{self.random.randint(2, 200)}"
        lines = "".join(f"    - {prefix}\n" for prefix in prefixes)
        text = ("apiVersion: srsync.dev/v1alpha1\nkind: StaticRoute\n"
                f"metadata: {{name: {name}}}\nspec:\n  gateway: {gateway}\n  destinations:\n{lines}")
        return text, {prefix: gateway for prefix in prefixes}

    def path(self, n):
        return os.path.join(self.routes, f"d{n}.yaml")

    def edit(self, n=None):
        n = self.random.randrange(8) if n is None else n
        count = self.random.randint(1, 400)
        text, wanted = self.document(f"d{n}", [f"20.{n}.{i}.{j}/32" for i in range(count // 50 + 1) for j in range(50)])
        style = self.random.randrange(3)
        if style == 0:
            with open(self.path(n), "w") as file:
                file.write(text)
        else:
            with open(self.path(n) + "~", "w") as file:
                file.write(text)
            os.rename(self.path(n) + "~", self.path(n))
        self.wanted[n] = wanted

    def break_and_mend(self):
        n = self.random.randrange(8)
        if n not in self.wanted:
            return
        with open(self.path(n)) as file:
            good = file.read()
        with open(self.path(n), "w") as file:
            file.write(good.replace("gateway", "gatway"))
        time.sleep(self.random.random())
        with open(self.path(n), "w") as file:
            file.write(good)

    def delete(self):
        n = self.random.randrange(8)
        if len(self.wanted) > 3 and n in self.wanted:
            os.remove(self.path(n))
            del self.wanted[n]

    def swap(self):
        self.version += 1
        target = f"..v{self.version}"
        os.mkdir(os.path.join(self.mounted, target))
        text, wanted = self.document("map", [f"30.0.{i}.0/24" for i in range(self.random.randint(1, 250))])
        with open(os.path.join(self.mounted, target, "map.yaml"), "w") as file:
            file.write(text)
        os.symlink(target, os.path.join(self.mounted, "..data_tmp"))
        old = os.path.join(self.mounted, "..data")
        before = os.readlink(old) if os.path.islink(old) else None
        os.rename(os.path.join(self.mounted, "..data_tmp"), old)
        link = os.path.join(self.mounted, "map.yaml")
        if not os.path.islink(link):
            os.symlink("..data/map.yaml", link)
        if before:
            os.remove(os.path.join(self.mounted, before, "map.yaml"))
            os.rmdir(os.path.join(self.mounted, before))
        self.wanted["map"] = wanted

    def flap(self):
        side = self.random.choice(SIDES)
        ip("link", "set", side, "down")
        time.sleep(self.random.random() / 2)
        self.up(side)

    def undo(self):
        prefixes = [prefix for wanted in self.wanted.values() for prefix in wanted]
        for prefix in self.random.sample(prefixes, min(5, len(prefixes))):
            ip("route", "del", prefix, check=False)

    def flush(self):
        ip("route", "flush", "proto", "83", check=False)

    def look(self):
        for words in (["status"], ["status", "-o", "json"], ["events", "--no-follow"]):
            subprocess.run([self.args.srsync, *words, "--socket", self.socket], capture_output=True, check=True)

    def reload(self):
        subprocess.run([self.args.srsync, "reload", "--socket", self.socket], capture_output=True)

    def installed(self):
        shown = {}
        for line in ip("route", "show", "proto", "83").splitlines():
            words = line.split()
            prefix = words[0] if "/" in words[0] else words[0] + "/32"
            shown[prefix] = words[2]
        return shown

    def check(self):
        """Everything at rest: are the tables equal to the directories?"""
        wanted = {}
        for some in self.wanted.values():
            wanted.update(some)
        deadline = time.monotonic() + 150  # a contested route waits for up to a minute
        while self.installed() != wanted:
            if time.monotonic() > deadline or self.daemon.poll() is not None:
                missing = set(wanted.items()) ^ set(self.installed().items())
                self.log.seek(0)
                print(self.log.read()[-3000:])
                print(f"not equal: {len(missing)} differ, such as {sorted(missing)[:3]}")
                return False
            time.sleep(0.1)
        foreign = ip("route", "show", "proto", "static")
        return all(prefix in foreign for prefix in FOREIGN)

    def costs(self):
        with open(f"/proc/{self.daemon.pid}/status") as file:
            status = dict(line.split(":", 1) for line in file)
        with open(f"/proc/{self.daemon.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return (int(status["VmRSS"].split()[0]) / 1024, len(os.listdir(f"/proc/{self.daemon.pid}/fd")),
                int(status["Threads"]), cpu)

    def run(self):
        deeds = [self.edit] * 6 + [self.swap] * 6 + [self.undo] * 4 + [self.look] * 3 + \
            [self.break_and_mend] * 2 + [self.delete, self.flap, self.flush, self.reload]
        start, rows = time.monotonic(), []
        while time.monotonic() - start < 60 * self.args.minutes:
            minute = time.monotonic()
            while time.monotonic() - minute < 50:
                deed = self.random.choice(deeds)
                deed()
                self.done[deed.__name__] = self.done.get(deed.__name__, 0) + 1
                time.sleep(2 * self.args.pace * self.random.random())
            if not self.check():
                return 1
            rows.append(self.costs())
            memory, descriptors, threads, cpu = rows[-1]
            print(f"{(time.monotonic() - start) / 60:5.1f} min: {memory:.1f} MB resident, {descriptors} descriptors, "
                  f"{threads} threads, {cpu:.1f} s CPU", flush=True)
        print(self.done)
        self.daemon.terminate()
        third = max(1, len(rows) // 3)
        for what, column in (("memory", 0), ("descriptors", 1)):
            parts = (rows[:third], rows[third:-third] or rows, rows[-third:])
            first, middle, last = (statistics.median(row[column] for row in part) for part in parts)
            print(f"{what}: {first:.1f} in the first third, {middle:.1f} in the second, {last:.1f} in the last")
            if last > 1.1 * middle:
                return 1
        return self.daemon.wait()


if __name__ == "__main__":
    main()
