"""A hundred changed blocks in a large file, and nobody knows where.

  read pass        the file read once from the page cache: whoever does not know where the changes
                   are can hardly do with less
  filedup          from close() to the stamp that the keeper takes after its fdatasync
  rsync --inplace  into the copy that it made before, with --no-whole-file and --fsync
  cp               all of it, and an fsync of the copy

By turns, in shuffled order, on one file system. filedup has a file of its own, since it starts by
itself when that is closed; the others share one. Before each turn filedup is at rest, and the file
has been left alone for some times as long as its last backup took: what is measured is a quiet
file's change. (One that is always being changed is backed up at a bounded share of the time.)
"""

import os
import random
import shutil
import subprocess
import time

from harness import (Daemon, change, digest, fill, installed, median, need_space, read_pass, say,
                     table, verdict, without)

CHANGES = 100
LOST_SEC = 60
PASS = "read pass"
FILEDUP = "filedup"


class Filedup:
    def __init__(self, folder, options, size_bytes):
        folder.mkdir()
        self.source = folder / "file"
        fill(self.source, size_bytes, random)
        self.daemon = Daemon(options.bindir, folder / "daemon").__enter__()
        self.lines = self.daemon.listen()
        self.daemon.filedup("add", "--backup", "on-close", "--recover", "manual", self.source)
        self.daemon.filedup("sync", self.source)
        change(self.source, CHANGES, random)
        self.daemon.filedup("sync", self.source)
        self.rest_sec = 2

    def measure(self):
        self.daemon.settle()
        time.sleep(self.rest_sec)  # a file that changes all the time is looked at less often
        called, start = change(self.source, CHANGES, random)
        while True:
            line = self.lines.next(LOST_SEC)
            if line is None:
                raise RuntimeError("a change never became durable:\n" +
                                   self.daemon.log_path.read_text())
            end = int(line.split()[1]) / 1e3
            if end >= called:
                break
        self.rest_sec = 5 * (end - start) / 1e3
        return (end - start) / 1e3

    def check(self):
        self.daemon.filedup("sync", self.source)
        restored = self.source.with_name("restored")
        self.daemon.filedup("restore", self.source, "--to", restored)
        if digest(restored) != digest(self.source):
            raise RuntimeError("the backup is not the file")
        restored.unlink()

    def close(self):
        self.daemon.__exit__()


def timed(*commands):
    start = time.monotonic()
    for command in commands:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return time.monotonic() - start


def rsync(source, copy):
    return timed(["rsync", "--times", "--inplace", "--no-whole-file", "--fsync", source, copy])


def cp(source, copy):
    return timed(["cp", "--reflink=never", source, copy], ["sync", copy])


def turn(name, peers, filedup, source, number):
    if name == FILEDUP:
        return filedup.measure()
    if name == PASS:
        return read_pass(source)
    change(source, CHANGES, random, 1_600_000_000 + number)  # rsync compares whole seconds
    return peers[name](source, source.with_name(f"copy of {name}"))


def run(folder, options):
    size_bytes = (options.size or 1024) << 20
    need_space(folder, 6 * size_bytes)
    present, missing = installed("rsync")
    peers = {"cp + fsync": cp}
    if present:
        peers["rsync --inplace"] = rsync
    source = folder / "file"
    fill(source, size_bytes, random)
    for peer in peers:
        shutil.copyfile(source, source.with_name(f"copy of {peer}"))
    os.sync()
    filedup = Filedup(folder / "filedup", options, size_bytes)
    samples = {name: [] for name in [PASS, FILEDUP, *peers]}
    try:
        for number in range(options.runs):
            for name in random.sample(list(samples), len(samples)):
                samples[name].append(turn(name, peers, filedup, source, number))
            say(f"delta: run {number + 1} of {options.runs}: " +
                ", ".join(f"{name} {times[-1]:.3f} s" for name, times in samples.items()))
        filedup.check()
    finally:
        filedup.close()
    return report(samples, size_bytes, options, missing)


def report(samples, size_bytes, options, missing):
    floor = median(samples[PASS])
    rows = [[name, f"{median(times):.3f} ({min(times):.3f} to {max(times):.3f})",
             f"{median(times) / floor:.2f}"] for name, times in samples.items()]
    ratio = median(samples[FILEDUP]) / floor
    return (f"### {CHANGES} changed blocks in a file of {size_bytes >> 20} MiB\n\n4 KiB each, at "
            "random, rewritten in place, and where is not known; the file in the page cache; to "
            f"durable; {options.runs} runs each, in shuffled order; medians, in brackets the range."
            + without(missing) + "\n\n" + table(["", "s", "of a read pass"], rows) +
            f"\nfiledup against a read pass: {ratio:.2f} ({verdict(ratio, 1.5)}).\n")
