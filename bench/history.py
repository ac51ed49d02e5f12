"""Fifty versions of a file: what keeping them all costs, and what getting them back does.

A file of incompressible bytes is backed up; then, for each further version, one in a hundred of
its 4 KiB blocks, at random, are rewritten in place, and it is backed up again. Each version is
durable before the next one is made. The clock runs from close() to the end of the command that
makes it so (`filedup sync`; the backup command of the others). Writing the changes is not in it,
nor is what filedup does meanwhile; that is why the time until it is at rest is shown as well.

One contender after the other, each with a file of its own with the same bytes, since what one
does in the background would disturb the next. Each restored version is compared by its hash.
"""

import json
import os
import pathlib
import random
import shutil
import subprocess
import time

from harness import (BLOCK_BYTES, Daemon, change, digest, fill, installed, median, mib,
                     need_space, say, space, table, verdict, without)

SEED = "history"
MTIME_SEC = 1_600_000_000  # a version's whole seconds differ: rsync and rdiff-backup compare those


def quietly(command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}")
    return done.stdout


def first(path, size_bytes):
    fill(path, size_bytes, random.Random(f"{SEED}-1"))
    os.utime(path, (MTIME_SEC, MTIME_SEC))


def changed(path, version):
    change(path, changed_blocks(path.stat().st_size), random.Random(f"{SEED}-{version}"),
           MTIME_SEC + 10 * version)


def changed_blocks(size_bytes):
    return max(1, size_bytes // BLOCK_BYTES // 100)


class Contender:
    """A folder of its own, the source in it as `source/file`, the backups in `backups`."""

    checks_all = False

    def __init__(self, folder, _):
        self.folder = folder
        self.source = folder / "source" / "file"
        self.source.parent.mkdir(parents=True)
        self.backups = folder / "backups"

    def before(self, version):
        """What is no part of the backup."""

    def at_rest(self):
        """Seconds until nothing goes on in the background."""
        return 0

    def space(self):
        """What the versions take, and what is set aside besides."""
        return space(self.backups), 0

    def close(self):
        pass


class Filedup(Contender):
    name = "filedup"
    checks_all = True

    def __init__(self, folder, options):
        super().__init__(folder, options)
        self.daemon = Daemon(options.bindir, self.backups).__enter__()

    def backup(self, version):
        if version == 1:
            self.daemon.filedup("add", "--backup", "on-close", "--recover", "manual", self.source)
        self.daemon.filedup("sync", self.source)

    def at_rest(self):
        took = self.daemon.settle()
        points = json.loads(self.daemon.filedup("log", self.source, "--json"))["points"]
        self.points = [point["id"] for point in reversed(points)]
        return took

    def restore(self, version, folder):
        target = folder / "file"
        self.daemon.filedup("restore", self.source, "--at", str(self.points[version - 1]),
                            "--to", target)
        return target

    def space(self):
        journal = space(self.daemon.store / "journal")
        return space(self.daemon.store) - journal, journal

    def close(self):
        self.daemon.__exit__()


class Borg(Contender):
    """Without encryption, as filedup is."""

    name = "borg"
    program = "borg"
    arguments = []

    def __init__(self, folder, options):
        super().__init__(folder, options)
        self.environment = dict(os.environ, BORG_BASE_DIR=str(folder / "borg"),
                                BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
        self._borg("init", "--encryption", "none", self.backups)

    def _borg(self, *arguments, cwd=None):
        quietly(["borg", *arguments], env=self.environment, cwd=cwd)

    def backup(self, version):
        self._borg("create", *self.arguments, f"{self.backups}::v{version}", "file",
                   cwd=self.source.parent)

    def restore(self, version, folder):
        self._borg("extract", f"{self.backups}::v{version}", cwd=folder)
        return folder / "file"


class BorgFixed(Borg):
    name = "borg, fixed 4 KiB chunks"
    arguments = ["--chunker-params", "fixed,4096"]


class Restic(Contender):
    """It has no way but to encrypt."""

    name = "restic"
    program = "restic"

    def __init__(self, folder, options):
        super().__init__(folder, options)
        self.environment = dict(os.environ, RESTIC_PASSWORD="x",
                                RESTIC_REPOSITORY=str(self.backups),
                                RESTIC_CACHE_DIR=str(folder / "cache"))
        self._restic("init")

    def _restic(self, *arguments):
        quietly(["restic", "--quiet", *arguments], env=self.environment)

    def backup(self, version):
        self._restic("backup", "--tag", f"v{version}", self.source)

    def restore(self, version, folder):
        self._restic("restore", "latest", "--tag", f"v{version}", "--target", folder)
        return folder / self.source.relative_to("/")


class RdiffBackup(Contender):
    name = "rdiff-backup"
    program = "rdiff-backup"

    def before(self, version):
        time.sleep(1 - time.time() % 1 + 0.01)  # one backup a second is all that it can name
        self.last = version

    def _rdiff_backup(self, *arguments):
        quietly(["rdiff-backup", *arguments])

    def backup(self, version):
        self._rdiff_backup("backup", self.source.parent, self.backups)

    def restore(self, version, folder):
        target = folder / "restored"
        self._rdiff_backup("restore", "--at", f"{self.last - version}B", self.backups, target)
        return target / "file"


class RsyncLinkDest(Contender):
    name = "rsync --link-dest"
    program = "rsync"

    def _of(self, version):
        return self.backups / f"v{version}"

    def backup(self, version):
        self.backups.mkdir(exist_ok=True)
        before = ["--link-dest", self._of(version - 1)] if version > 1 else []
        quietly(["rsync", "-a", "--fsync", *before, f"{self.source.parent}/", self._of(version)])

    def restore(self, version, folder):
        shutil.copyfile(self._of(version) / "file", folder / "file")
        return folder / "file"


PEERS = [Borg, BorgFixed, Restic, RdiffBackup, RsyncLinkDest]


def hashes(folder, size_bytes, versions):
    """Of each version, from a file that nobody backs up."""
    path = folder / "reference"
    first(path, size_bytes)
    found = {1: digest(path)}
    for version in range(2, versions + 1):
        changed(path, version)
        found[version] = digest(path)
    path.unlink()
    return found


def restored(contender, version, folder, wanted):
    """Seconds until the version is on the disk again."""
    target = folder / "restored"
    target.mkdir()
    start = time.monotonic()
    path = contender.restore(version, target)
    quietly(["sync", path])  # fsync of that file, if it was not done yet
    took = time.monotonic() - start
    if digest(path) != wanted:
        raise RuntimeError(f"{contender.name}: version {version} is not what it was")
    shutil.rmtree(target)
    return took


def measure(contender, size_bytes, versions, wanted, runs):
    times = []
    for version in range(1, versions + 1):
        if version == 1:
            first(contender.source, size_bytes)
        contender.before(version)
        if version > 1:
            changed(contender.source, version)
        start = time.monotonic()
        contender.backup(version)
        times.append(time.monotonic() - start)
    rest = contender.at_rest()
    takes, aside = contender.space()
    restores = {version: median([restored(contender, version, contender.folder, wanted[version])
                                 for _ in range(runs)])
                for version in restored_versions(versions)}
    if contender.checks_all:
        for version in range(1, versions + 1):
            restored(contender, version, contender.folder, wanted[version])
    say(f"history: {contender.name}: {sum(times):.2f} s (a version {median(times):.3f} s, then at "
        f"rest {rest:.2f} s), {mib(takes)} MiB, restores " +
        ", ".join(f"{took:.2f}" for took in restores.values()) + " s")
    return {"time": sum(times), "each": median(times), "rest": rest, "space": takes,
            "aside": aside, "restores": restores}


def restored_versions(versions):
    return sorted({1, max(1, versions // 2), versions})


def run(folder, options):
    size_bytes = (options.size or 256) << 20
    versions = options.versions
    need_space(folder, size_bytes * (versions + 4))
    present, missing = installed(*dict.fromkeys(peer.program for peer in PEERS))
    wanted = hashes(folder, size_bytes, versions)
    results = {}
    for kind in [Filedup, *(peer for peer in PEERS if peer.program in present)]:
        place = folder / "contender"
        contender = kind(pathlib.Path(place), options)
        try:
            results[contender.name] = measure(contender, size_bytes, versions, wanted,
                                              options.runs)
        finally:
            contender.close()
        shutil.rmtree(place)
        os.sync()
    return report(results, size_bytes, versions, missing)


def report(results, size_bytes, versions, missing):
    ideal = size_bytes + (versions - 1) * changed_blocks(size_bytes) * BLOCK_BYTES
    rows = [["ideal: a full copy and the changed blocks", "", "", mib(ideal), "1.00"]]
    rows[0] += [""] * len(restored_versions(versions))
    for name, r in results.items():
        rows.append([name, f"{r['time']:.1f}", f"{r['each']:.3f}", mib(r["space"]),
                     f"{r['space'] / ideal:.2f}", *(f"{s:.2f}" for s in r["restores"].values())])
    mine = results[Filedup.name]
    text = (f"### {versions} versions of a file of {mib(size_bytes)} MiB\n\nIncompressible; "
            f"{changed_blocks(size_bytes)} random blocks of 4 KiB rewritten in place for each "
            "version, which is durable before the next. Time from close() to durable, all versions "
            "together, and the median of one; space on the disk; restores to durable." +
            without(missing) + "\n\n")
    text += table(["", "s", "s, one version", "MiB", "of the ideal",
                   *(f"restore v{v}, s" for v in restored_versions(versions))], rows)
    aside = mine["aside"] / (1 << 20)
    text += (f"\nfiledup is at rest {mine['rest']:.2f} s after the last version. Its journal, "
             f"recycled, stands apart: {aside:.0f} MiB ({verdict(aside, 128)}). Every one of its "
             f"versions was restored and compared.\n\nSpace against the ideal: "
             f"{mine['space'] / ideal:.2f} ({verdict(mine['space'] / ideal, 1.15)}).")
    others = {name: r for name, r in results.items() if name != Filedup.name}
    if others:
        fastest = min(others, key=lambda name: others[name]["time"])
        ratio = mine["time"] / others[fastest]["time"]
        all_in = (mine["time"] + mine["rest"]) / others[fastest]["time"]
        text += (f" Time against the fastest, {fastest}: {ratio:.3f} ({verdict(ratio, 0.125)}); "
                 f"until it is at rest: {all_in:.3f}.")
    for name in others:
        if name.startswith(("borg", "restic")):
            ratio = max(mine["restores"][v] / others[name]["restores"][v]
                        for v in mine["restores"])
            text += f" Restores against {name}, the worst ratio: {ratio:.2f} ({verdict(ratio, 1)})."
    return text + "\n"
