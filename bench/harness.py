"""What the workloads share: a private daemon, statistics, tables."""

import contextlib
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
        done = subprocess.run([self.bindir / "filedup", *arguments], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"filedup {' '.join(map(str, arguments))}: exit "
                               f"{done.returncode}\n{done.stdout}\n{self.log_path.read_text()}")

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
