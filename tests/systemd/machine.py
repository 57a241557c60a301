"""A small Debian with a real systemd as PID 1, in a container with a network of its own.

Owns how it is made, booted, asked and ended. Knows nothing of srsync.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

PACKAGES = "systemd,systemd-sysv,dbus,iproute2"
# A route of nobody's, added and removed to see how far a listener has come.
MARK = "blackhole 203.0.113.255 proto 99"


def eventually(what, seconds=10.0):
    """Waits until `what()` is true, and returns it, or what it was at last."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def children_of(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def image():
    """The directory of a bare system, made once: a minute, 250 MB."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # The suite of this machine if it is a Debian: a program built here needs its C library.
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    suite = release["VERSION_CODENAME"] if release.get("ID") == "debian" else "bookworm"
    root = cache / "srsync" / f"systemd-root-{suite}"
    if not root.exists():
        print(f"making {root}, once", flush=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        # A system that is half made must not be taken for one.
        unfinished = Path(tempfile.mkdtemp(dir=root.parent))
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, unfinished]
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            unfinished.chmod(0o755)
            unfinished.rename(root)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
    return root


class Machine:
    """A copy of the image, running."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="srsync-systemd-"))
        self.root = self.directory / "root"
        self.console = self.directory / "console"
        self.leader = None

    def __enter__(self):
        try:
            subprocess.run(["cp", "-a", image(), self.root], check=True)
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def boot(self):
        # This machine itself may have no systemd: nobody to register at, no unit to be in.
        command = ["systemd-nspawn", "--quiet", "--directory", self.root, "--boot", "--private-network"]
        command += ["--register=no", "--keep-unit", "--console=pipe"]
        with open(self.console, "wb") as console:
            self.outer = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        if not eventually(self.is_up, 60):
            sys.exit(f"the container does not boot:\n{self.console.read_text(errors='replace')}")

    def is_up(self):
        if self.outer.poll() is not None or not (pids := children_of(self.outer.pid)):
            return False
        self.leader = str(pids[0])
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    def __exit__(self, *_):
        if self.leader:
            self.run("systemctl", "poweroff", "--force", "--force", check=False)
        if hasattr(self, "outer"):
            try:
                self.outer.wait(15)
            except subprocess.TimeoutExpired:
                self.outer.kill()
                self.outer.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def inside(self, *command):
        """The command line that runs a command in the container, as root."""
        namespaces = ["-m", "-u", "-i", "-n", "-p", "-C"]
        environment = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        environment += ["LC_ALL=C", "HOME=/root"]
        return ["nsenter", "-t", self.leader, *namespaces, "-w/", *environment, *map(str, command)]

    def run(self, *command, check=True):
        ran = subprocess.run(
            self.inside(*command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check and ran.returncode != 0:
            line = " ".join(map(str, command))
            raise AssertionError(f"{line}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def shell(self, script):
        return self.run("bash", "-euc", script).stdout.strip()

    def path(self, inside):
        """A path inside, as it is named outside. Through the mounts of the container."""
        return Path(f"/proc/{self.leader}/root{inside}")

    def write(self, path, text, mode=0o644):
        """Writes a file in one step, as editors and tools do."""
        path = self.path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        new.chmod(mode)
        new.rename(path)

    def property(self, unit, name):
        return self.run("systemctl", "show", "--value", "--property", name, unit).stdout.strip()

    def pid_outside(self, inside):
        """The number outside of the process that has this number inside."""
        namespace = os.readlink(f"/proc/{self.leader}/ns/pid")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                numbers = re.search(r"^NSpid:.*\s(\d+)$", (process / "status").read_text(), re.M)
                here = os.readlink(process / "ns/pid") == namespace
            except OSError:
                continue  # it has ended
            if here and int(numbers[1]) == inside:
                return int(process.name)
        raise AssertionError(f"no process {inside}")

    def cursor(self):
        """The end of the journal now."""
        # What was said before is in the journal before.
        self.run("journalctl", "--sync", check=False)
        said = self.run("journalctl", "--show-cursor", "-n0", "-q").stdout
        return said.rsplit("cursor: ", 1)[1].strip()

    def journal(self, unit, since):
        """What a unit, and systemd about it, said since then."""
        said = self.run("journalctl", "-q", "-u", unit, "-o", "json", "--after-cursor", since).stdout
        return [json.loads(line) for line in said.splitlines()]

    def says(self, unit, since, text):
        """The first entry whose message has this text, once there is one."""
        def find():
            entries = self.journal(unit, since)
            return next((e for e in entries if text in str(e.get("MESSAGE"))), None)

        found = eventually(find)
        said = [e.get("MESSAGE") for e in self.journal(unit, since)] if not found else []
        assert found, f"{unit} does not say `{text}` but {said}"
        return found

    def routes(self):
        """The main table, both families."""
        return [
            line.strip()
            for family in ("-4", "-6")
            for line in self.run("ip", family, "route").stdout.splitlines()
        ]

    @contextmanager
    def route_changes(self):
        """What happens to routes meanwhile, as `ip monitor` prints it."""
        changes = []
        log = self.directory / "monitor"
        with open(log, "w") as out:
            monitor = subprocess.Popen(self.inside("ip", "monitor", "route"), stdout=out)
        mark = MARK.split()[1]

        def mark_is_seen(times):
            self.run("ip", "route", "add", *MARK.split())
            self.run("ip", "route", "del", *MARK.split())
            return log.read_text().count(mark) >= times

        try:
            assert eventually(lambda: mark_is_seen(1)), "ip monitor does not listen"
            before = log.read_text().count(mark)
            yield changes
            assert eventually(lambda: mark_is_seen(before + 1))
            changes += [line for line in log.read_text().splitlines() if line and mark not in line]
        finally:
            # nsenter waits for its child, which is the one to end.
            for child in children_of(monitor.pid):
                os.kill(child, signal.SIGKILL)
            monitor.kill()
            monitor.wait()

    def http(self, path, inside):
        """Status and text of a GET over a Unix socket inside."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.path(inside)))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        head, body = answer.split("\r\n\r\n", 1)
        return int(head.split()[1]), body


class Frozen:
    """One thread of a process held still, as a debugger does it; the others go on."""

    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
    ALL = 0x40000000  # __WALL

    def __init__(self, thread):
        self.thread = thread
        self.gone = False
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

    def trace(self, request):
        if self.libc.ptrace(request, self.thread, None, None) == -1:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))

    def __enter__(self):
        self.trace(self.SEIZE)
        self.trace(self.INTERRUPT)
        _, status = os.waitpid(self.thread, self.ALL)
        assert os.WIFSTOPPED(status), status
        return self

    def is_gone(self):
        """Whether it has been killed. Must be asked: until then its parent is not told."""
        if not self.gone:
            pid, status = os.waitpid(self.thread, self.ALL | os.WNOHANG)
            self.gone = pid != 0 and not os.WIFSTOPPED(status)
        return self.gone

    def __exit__(self, *_):
        # Or it stays as it is for as long as this program runs.
        if not self.is_gone():
            self.trace(self.DETACH)
