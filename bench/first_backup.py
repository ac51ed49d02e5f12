"""The first backup of a large file, against a plain copy.

  filedup  `filedup add` and `filedup sync`, with a new daemon and a new store each time
  cp       `cp --reflink=never` and an fsync of the copy

By turns, in shuffled order, on one file system, the source in the page cache and written back. The
ratio is of the speeds: 1 is as fast as cp.
"""

import os
import random
import shutil
import subprocess
import time

from harness import Daemon, fill, median, need_space, read_pass, say, table, verdict


def with_cp(source, folder, _):
    folder.mkdir()
    copy = folder / "copy"
    start = time.monotonic()
    subprocess.run(["cp", "--reflink=never", source, copy], check=True)
    subprocess.run(["sync", copy], check=True)  # fsync of that file
    return time.monotonic() - start


def with_filedup(source, folder, options):
    with Daemon(options.bindir, folder) as daemon:
        start = time.monotonic()
        daemon.filedup("add", "--backup", "on-close", "--recover", "manual", source)
        daemon.filedup("sync", source)
        took = time.monotonic() - start
        restored = folder / "restored"
        daemon.filedup("restore", source, "--to", restored)
        subprocess.run(["cmp", source, restored], check=True)
    return took


def run(folder, options):
    source = folder / "source"
    size_bytes = (options.size or 1024) << 20
    need_space(folder, 4 * size_bytes)
    fill(source, size_bytes, random)
    contenders = {"cp --reflink=never + fsync": with_cp, "filedup add + sync": with_filedup}
    samples = {name: [] for name in contenders}
    for number in range(options.runs):
        for name in random.sample(list(contenders), len(contenders)):
            read_pass(source)
            os.sync()
            samples[name].append(contenders[name](source, folder / "target", options))
            shutil.rmtree(folder / "target")
            os.sync()
        say(f"first backup: run {number + 1} of {options.runs}: " +
            ", ".join(f"{name} {times[-1]:.2f} s" for name, times in samples.items()))
    return report(samples, size_bytes >> 20, options)


def report(samples, size_mib, options):
    rows = []
    for name, times in samples.items():
        rows.append([name, f"{median(times):.2f} ({min(times):.2f} to {max(times):.2f})",
                     f"{size_mib / median(times):.0f}"])
    cp, filedup = (median(times) for times in samples.values())
    ratio = cp / filedup
    text = (f"### First backup of a file of {size_mib} MiB\n\nSource in the page cache; "
            f"{options.runs} runs each, in shuffled order; medians, in brackets the range.\n\n")
    text += table(["", "s", "MiB/s"], rows)
    return text + f"\nSpeed against cp: {ratio:.2f} ({verdict(ratio, 0.7, at_most=False)}).\n"
