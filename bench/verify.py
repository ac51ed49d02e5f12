"""What it costs to know that a backup is good.

  read pass       the backup read once from the page cache
  filedup verify  the whole command, against the sums that the store has
  b3sum, sha256sum    of the same file: what one would keep lists of
  cmp             with the original, which must then be there, and unchanged

By turns, in shuffled order; everything in the page cache.
"""

import os
import random
import subprocess
import time

from harness import (Daemon, fill, installed, median, need_space, read_pass, say, table, verdict,
                     without)

PASS = "read pass"
FILEDUP = "filedup verify"
PEERS = ["b3sum", "sha256sum", "cmp"]


def mirror_of(daemon, source):
    for top, _, names in os.walk(daemon.store / "mirrors"):
        if source.name in names:
            return os.path.join(top, source.name)
    raise RuntimeError("the backup is in no mirror")


def timed(command):
    start = time.monotonic()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def turn(name, daemon, source, mirror):
    if name == PASS:
        return read_pass(mirror)
    if name == FILEDUP:
        start = time.monotonic()
        daemon.filedup("verify", source)
        return time.monotonic() - start
    return timed(["cmp", source, mirror] if name == "cmp" else [name, mirror])


def catches_damage(daemon, source, mirror, size_bytes):
    """A verify that finds nothing wrong in what is wrong would be quick, too."""
    with open(mirror, "r+b") as f:
        f.seek(size_bytes // 2)
        byte = f.read(1)
        f.seek(size_bytes // 2)
        f.write(bytes([byte[0] ^ 1]))
    try:
        daemon.filedup("verify", source)
    except RuntimeError:
        return
    raise RuntimeError("a flipped bit went unnoticed")


def run(folder, options):
    size_bytes = (options.size or 1024) << 20
    need_space(folder, 3 * size_bytes)
    present, missing = installed(*PEERS)
    source = folder / "file"
    fill(source, size_bytes, random)
    samples = {name: [] for name in [PASS, FILEDUP, *present]}
    with Daemon(options.bindir, folder / "daemon") as daemon:
        daemon.filedup("add", "--backup", "on-close", "--recover", "manual", source)
        daemon.filedup("sync", source)
        daemon.settle()
        mirror = mirror_of(daemon, source)
        read_pass(mirror)
        read_pass(source)
        for number in range(options.runs):
            for name in random.sample(list(samples), len(samples)):
                samples[name].append(turn(name, daemon, source, mirror))
            say(f"verify: run {number + 1} of {options.runs}: " +
                ", ".join(f"{name} {times[-1]:.3f} s" for name, times in samples.items()))
        catches_damage(daemon, source, mirror, size_bytes)
    return report(samples, size_bytes, options, missing)


def report(samples, size_bytes, options, missing):
    floor = median(samples[PASS])
    rows = [[name, f"{median(times):.3f} ({min(times):.3f} to {max(times):.3f})",
             f"{median(times) / floor:.2f}"] for name, times in samples.items()]
    ratio = median(samples[FILEDUP]) / floor
    return (f"### Verifying a backup of {size_bytes >> 20} MiB\n\nIn the page cache; "
            f"{options.runs} runs each, in shuffled order; medians, in brackets the range. "
            "A flipped bit was found." + without(missing) + "\n\n" + table(["", "s", "of a read pass"], rows) +
            f"\nfiledup verify against a read pass: {ratio:.2f} ({verdict(ratio, 1.3)}).\n")
