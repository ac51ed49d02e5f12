"""What the workloads share: a private daemon, statistics, tables."""

import contextlib
import hashlib
import os
import pathlib
import platform
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PATIENCE_SEC = 60
CHUNK_BYTES = 1 << 20
BLOCK_BYTES = 4096


def now_ms():
    """CLOCK_MONOTONIC, as the keeper stamps it."""
    return time.clock_gettime(time.CLOCK_MONOTONIC) * 1e3


def say(text):
    print(text, file=sys.stderr, flush=True)


class Daemon:
    """A private filedupd with all that it keeps in one folder."""

    def __init__(self, bindir, folder):
        self.bindir = pathlib.Path(bindir)
        self.folder = pathlib.Path(folder)
        self.socket = self.folder / "control"
        self.log_path = self.folder / "log"
        self.environment = dict(os.environ, FILEDUP_SOCKET=str(self.socket))
        self.environment.pop("NOTIFY_SOCKET", None)
        self.listener = None

    def __enter__(self):
        self.folder.mkdir()
        config = self.folder / "filedupd.conf"
        config.write_text("# every path defaults to this folder\n")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [self.bindir / "filedupd", "--user", "--config", config],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_SEC
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise RuntimeError("filedupd did not start:\n" + self.log_path.read_text())
            time.sleep(0.01)
        return self

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self.socket)) == 0

    def filedup(self, *arguments):
        """What it prints; a failure ends the benchmark."""
        done = subprocess.run([self.bindir / "filedup", *arguments], env=self.environment,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"filedup {' '.join(map(str, arguments))}: exit {done.returncode}\n"
                               f"{done.stdout}{done.stderr}\n{self.log_path.read_text()}")
        return done.stdout

    @property
    def store(self):
        """The folder of the default store, made at the first backup."""
        return next(self.folder.rglob("store.conf")).parent

    def _pids(self):
        """The daemon's and its roles'."""
        found = [self.process.pid]
        for pid in found:
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def _effort(self):
        """CPU time in ns and bytes written by all of them, and whether one waits for a disk."""
        cpu, written, waits = 0, 0, False
        for pid in self._pids():
            with contextlib.suppress(OSError):
                for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                    cpu += int((task / "schedstat").read_text().split()[0])
                    waits |= (task / "stat").read_text().rsplit(")", 1)[1].split()[0] == "D"
                io = pathlib.Path(f"/proc/{pid}/io").read_text()
                written += int(io.split("\nwrite_bytes: ")[1].split()[0])
        return cpu, written, waits

    def settle(self):
        """Waits until it does nothing any more: what is durable has been applied, too. How long it
        was at work, without the half second that it takes to be sure."""
        quiet, last = 0, self._effort()
        start = end = time.monotonic()
        while quiet < 10:
            time.sleep(0.05)
            now = self._effort()
            busy = now[2] or now[1] != last[1] or now[0] - last[0] > 1000000
            quiet = 0 if busy else quiet + 1
            last = now
            end = time.monotonic() if busy else end
        return end - start

    def listen(self):
        self.listener = Lines([self.bindir / "bench" / "durable-listener", self.socket])
        if self.listener.next(PATIENCE_SEC) != "ready":
            raise RuntimeError("no subscription to Durable")
        return self.listener

    def __exit__(self, *_):
        if self.listener:
            self.listener.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SEC)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Lines:
    """A program whose output is read line by line, with a time limit."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        start_new_session=True, **options)
        self.buffer = b""
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def next(self, timeout_sec):
        """A line without its end; None when time is up or the program has ended."""
        end = time.monotonic() + timeout_sec
        while b"\n" not in self.buffer:
            left = end - time.monotonic()
            if left <= 0 or not self.selector.select(left):
                return None
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return None
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line.decode(errors="replace")

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 15)
        self.process.wait()
        self.selector.close()
        self.process.stdout.close()


@contextlib.contextmanager
def scratch(base):
    """A folder for all that a workload writes; gone afterwards."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="filedup-bench-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def quantile(samples, fraction):
    """The nearest-rank quantile."""
    ranked = sorted(samples)
    return ranked[min(len(ranked) - 1, int(fraction * len(ranked)))]


def spread(rounds, function):
    """function of all samples, and its range over the rounds."""
    each = [function(samples) for samples in rounds]
    return function([s for samples in rounds for s in samples]), min(each), max(each)


def median(samples):
    return statistics.median(samples)


def fill(path, size_bytes, source):
    """A file of random bytes, written back: not compressible, and no block like another."""
    with open(path, "wb") as f:
        for offset in range(0, size_bytes, CHUNK_BYTES):
            f.write(source.randbytes(min(CHUNK_BYTES, size_bytes - offset)))
        f.flush()
        os.fsync(f.fileno())


def change(path, count, source, mtime_sec=None):
    """Rewrites so many random blocks of 4 KiB in place. When close() was called, and when it had
    returned."""
    fd = os.open(path, os.O_WRONLY)
    for block in source.sample(range(os.fstat(fd).st_size // BLOCK_BYTES), count):
        os.pwrite(fd, source.randbytes(BLOCK_BYTES), block * BLOCK_BYTES)
    if mtime_sec is not None:
        os.utime(fd, (mtime_sec, mtime_sec))
    called = now_ms()
    os.close(fd)
    return called, now_ms()


def read_pass(path):
    """Seconds to read all of it, into one buffer: what the page cache gives at best."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    fd = os.open(path, os.O_RDONLY)
    offset, start = 0, time.monotonic()
    while (got := os.preadv(fd, [buffer], offset)) > 0:
        offset += got
    took = time.monotonic() - start
    os.close(fd)
    return took


def digest(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "blake2b").hexdigest()


def space(folder):
    """Bytes on the disk: blocks, not sizes; a file of several names once."""
    seen = {}
    for top, _, names in os.walk(folder):
        for name in [top, *(os.path.join(top, n) for n in names)]:
            st = os.lstat(name)
            seen[st.st_dev, st.st_ino] = st.st_blocks * 512
    return sum(seen.values())


def installed(*programs):
    """Those that are; the others are named, since a table without them proves less."""
    missing = [p for p in programs if not shutil.which(p)]
    for program in missing:
        say(f"*** {program} is not installed: NOT measured against it")
    return [p for p in programs if p not in missing], missing


def without(missing):
    return f" Not installed here, and so not measured: {', '.join(missing)}." if missing else ""


def mib(n_bytes):
    return f"{n_bytes / (1 << 20):.0f}"


def need_space(folder, size_bytes):
    if shutil.disk_usage(folder).free < size_bytes:
        raise RuntimeError(f"{folder}: {mib(size_bytes)} MiB of free space are needed")


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def verdict(ratio, limit, at_most=True):
    met = ratio <= limit if at_most else ratio >= limit
    return f"{'at most' if at_most else 'at least'} {limit}: {'met' if met else '**missed**'}"


def file_system(folder):
    done = subprocess.run(["findmnt", "--noheadings", "--output=FSTYPE", "--target", folder],
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine(folder):
    """A load near the number of cores or above says: others were at work, measure again."""
    kernel = ".".join(platform.release().split(".")[:2])
    return (f"{os.cpu_count()} cores, Linux {kernel}, {file_system(folder)}; load average at the start "
            f"{os.getloadavg()[0]:.1f}")
