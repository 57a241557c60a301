"""Becomes a container, as Kubernetes would start it: the last step, in namespaces that are made already.

    enter.py DESCRIPTION    as JSON: root, mounts [[from, to, read_only]], capabilities, user, env, command

Owns mounts, the change of root, and what is given up, in the order of runc. A test's helper, for root.
"""

import ctypes
import json
import os
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
# linux/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
# linux/prctl.h, linux/capability.h
PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 23, 24, 38
CAPABILITIES = {"NET_ADMIN": 12, "NET_RAW": 13}
VERSION_3 = 0x20080522


def call(name, *args):
    if getattr(LIBC, name)(*args) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}{args}: {os.strerror(error)}")


def mount(source, target, kind, flags):
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)


def main():
    given = json.loads(sys.argv[1])
    root = given["root"]
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    mount(root, root, "", MS_BIND | MS_REC)
    for _, to, _ in given["mounts"]:
        os.makedirs(root + to, exist_ok=True)
    os.makedirs(root + "/proc", exist_ok=True)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV)
    # One of the paths that are read-only in a container that is not privileged.
    mount(root + "/proc/sys", root + "/proc/sys", "", MS_BIND)
    mount("none", root + "/proc/sys", "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    for source, to, read_only in given["mounts"]:
        mount(source, root + to, "", MS_BIND)
        if read_only:
            mount("none", root + to, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    mount("none", root, "", MS_BIND | MS_REMOUNT | MS_RDONLY)
    os.chroot(root)
    os.chdir("/")

    kept = {CAPABILITIES[name] for name in given["capabilities"]}
    call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for capability in range(64):
        known = LIBC.prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0
        if known and capability not in kept:
            call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setgid(given["user"])
    os.setuid(given["user"])
    # A user other than root has lost them all by now, and gets none back.
    mask = sum(1 << capability for capability in kept) if given["user"] == 0 else 0
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    # Effective, permitted, inheritable; the lower half and the upper one.
    sets = (ctypes.c_uint32 * 6)(mask & 0xFFFFFFFF, mask & 0xFFFFFFFF, 0, mask >> 32, mask >> 32, 0)
    call("capset", header, sets)
    command = given["command"]
    os.execve(command[0], command, given["env"])


if __name__ == "__main__":
    main()
