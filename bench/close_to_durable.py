"""From close() to durable: a 64 KiB file is rewritten every 100 ms.

The contenders take turns, in shuffled order, each with files of its own on one file system:

  write + fsync      the floor: what the program would pay to make its save durable by itself
  overwrite + fsync  after the save, the same bytes over those of another file: no block to find, no
                     size to change; nothing that keeps a file system in order can be quicker
  filedup            until the stamp that the keeper takes after its fdatasync
  the loop           `inotifywait | cp + sync + mv + sync`, as one writes it oneself, until the
                     last sync

The clock starts when close() has returned (for the floor: before its open). A save is not made
before the one before it is durable, so that each result belongs to its save.
"""

import os
import random
import shutil
import time

from harness import (Daemon, Lines, median, now_ms, quantile, say, spread, table, verdict)

SIZE_BYTES = 64 * 1024
PERIOD_SEC = 0.1
LOST_SEC = 30

LOOP = r"""
inotifywait -m -q -e close_write --format %f "$1" | {
    while IFS= read -r name; do
        cp "$1/$name" "$2/.$name.new" && sync "$2/.$name.new" &&
            mv "$2/.$name.new" "$2/$name" && sync "$2" && echo "$EPOCHREALTIME"
    done
}
"""


def save(path, data):
    """When close() was called, and when it had returned."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, data)
    called = now_ms()
    os.close(fd)
    return called, now_ms()


class Floor:
    name = "write + fsync"

    def __init__(self, folder):
        folder.mkdir()
        self.path = folder / "file"

    def measure(self, data):
        start = now_ms()
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, data)
        os.fsync(fd)
        os.close(fd)
        return now_ms() - start

    def close(self):
        pass


class Overwrite:
    name = "overwrite + fsync"

    def __init__(self, folder):
        folder.mkdir()
        self.source = folder / "file"
        self.copy = os.open(folder / "copy", os.O_RDWR | os.O_CREAT, 0o644)
        os.write(self.copy, bytes(SIZE_BYTES))
        os.fsync(self.copy)

    def measure(self, data):
        _, start = save(self.source, data)
        os.pwrite(self.copy, data, 0)
        os.fsync(self.copy)
        return now_ms() - start

    def close(self):
        os.close(self.copy)


class Filedup:
    name = "filedup"

    def __init__(self, folder, bindir):
        folder.mkdir()
        self.source = folder / "file"
        save(self.source, bytes(SIZE_BYTES))
        self.daemon = Daemon(bindir, folder / "daemon").__enter__()
        self.lines = self.daemon.listen()
        self.daemon.filedup("add", "--backup", "on-close", "--recover", "manual", self.source)
        self.daemon.filedup("sync", self.source)

    def measure(self, data):
        called, start = save(self.source, data)
        while True:
            line = self.lines.next(LOST_SEC)
            if line is None:
                raise RuntimeError("a save never became durable:\n" +
                                   self.daemon.log_path.read_text())
            end = int(line.split()[1]) / 1e3
            # The close is announced from within close(), and on a busy machine its caller may get
            # to look at the clock late. What is stamped before the call is of the save before.
            if end >= called:
                return end - start

    def check(self):
        """What was measured is what comes back."""
        restored = self.source.with_name("restored")
        self.daemon.filedup("sync", self.source)
        self.daemon.filedup("restore", self.source, "--to", restored)
        if restored.read_bytes() != self.source.read_bytes():
            raise RuntimeError("the backup is not the last save")
        restored.unlink()

    def close(self):
        self.daemon.__exit__()


class Loop:
    name = "inotifywait, cp + sync + mv + sync"

    def __init__(self, folder):
        folder.mkdir()
        self.source = folder / "files" / "file"
        self.source.parent.mkdir()
        (folder / "copies").mkdir()
        self.lines = Lines(["bash", "-c", LOOP, "loop", self.source.parent, folder / "copies"])
        while self._save_and_wait(bytes(SIZE_BYTES), 0.2) is None:
            pass  # until inotifywait listens

    def _save_and_wait(self, data, timeout_sec):
        _, start = save(self.source, data)
        line = self.lines.next(timeout_sec)
        if line is None:
            return None
        real_to_monotonic = now_ms() - time.time() * 1e3
        return float(line) * 1e3 + real_to_monotonic - start

    def measure(self, data):
        result = self._save_and_wait(data, LOST_SEC)
        if result is None:
            raise RuntimeError("the loop lost a save")
        return result

    def close(self):
        self.lines.close()


def one_round(contender, saves):
    samples = []
    contender.measure(os.urandom(SIZE_BYTES))  # the turns of the others have cooled things down
    due = time.monotonic()
    for _ in range(saves):
        due = max(due + PERIOD_SEC, time.monotonic())
        time.sleep(max(0, due - time.monotonic()))
        samples.append(contender.measure(os.urandom(SIZE_BYTES)))
    return samples


def run(folder, options):
    filedup = Filedup(folder / "filedup", options.bindir)
    contenders = [Floor(folder / "floor"), Overwrite(folder / "overwrite"), filedup]
    if shutil.which("inotifywait"):
        contenders.append(Loop(folder / "loop"))
    else:
        say("inotifywait is not installed: measured without the loop")
    samples = {c.name: [] for c in contenders}
    try:
        for number in range(options.rounds):
            for contender in random.sample(contenders, len(contenders)):
                samples[contender.name].append(one_round(contender, options.saves))
            say(f"close to durable: round {number + 1} of {options.rounds}: " +
                ", ".join(f"{name} {median(rounds[-1]):.2f} ms"
                          for name, rounds in samples.items()))
            filedup.check()
    finally:
        for contender in contenders:
            contender.close()
    return report(samples, options)


def p99(samples):
    return quantile(samples, 0.99)


def against(samples, name, other):
    """The median of the rounds' ratios: a disk that is slow for a while is so for a round's both."""
    return median([median(mine) / median(theirs)
                   for mine, theirs in zip(samples[name], samples[other])])


def report(samples, options):
    rows = []
    tail = {name: spread(rounds, p99)[0] for name, rounds in samples.items()}
    floor = Floor.name
    for name, rounds in samples.items():
        rows.append([name,
                     "{:.2f} ({:.2f} to {:.2f})".format(*spread(rounds, median)),
                     f"{tail[name]:.2f}",
                     f"{against(samples, name, floor):.2f}",
                     f"{tail[name] / tail[floor]:.2f}"])
    ratio = against(samples, Filedup.name, floor)
    tail_ratio = tail[Filedup.name] / tail[floor]
    text = (f"### close() to durable\n\n64 KiB rewritten every 100 ms; {options.rounds} rounds of "
            f"{options.saves} saves each, in shuffled order; ms; in brackets the range of the "
            "rounds' medians.\n\n")
    text += table(["", "median", "p99", "median / floor", "p99 / floor"], rows)
    text += (f"\nMedian against the floor: {ratio:.2f} ({verdict(ratio, 3)}). "
             f"p99: {tail_ratio:.2f} ({verdict(tail_ratio, 2)}).")
    if Loop.name in samples:
        loop_ratio = against(samples, Filedup.name, Loop.name)
        text += f" Median against the loop: {loop_ratio:.2f} ({verdict(loop_ratio, 0.7)})."
    return text + "\n"
