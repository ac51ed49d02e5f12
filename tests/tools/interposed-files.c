/* interposed-files.c - writes, sizes and syncs, in the place of the C library's
 *
 * See interpose.c. What the kernel copies by itself is read back for the log.
 */

#include "config.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "tests/tools/interpose-inside.h"

/* ---- writes ---- */

/* So much of a write is done: any part of it where the process goes on; only whole pages where it is
 * killed, as the kernel takes a page or does not. */
static gsize
part_of(guint64 offset, gsize n, Verdict verdict)
{
    gsize part = n > 1 ? n * 2 / 3 : n;

    if (verdict == PART)
        return part;
    guint64 end = (offset + part) / 4096 * 4096;
    if (end <= offset)
        interpose_end();
    return end - offset;
}

static ssize_t
do_write(const char *call, int fd, const struct iovec *pieces, int n_pieces, off_t offset)
{
    struct iovec part;
    struct stat st;

    if (!interpose_watches(fd, &st))
        return offset < 0 ? REAL(writev)(fd, pieces, n_pieces)
                          : REAL(pwritev)(fd, pieces, n_pieces, offset);
    Verdict verdict = interpose_count(call, fd, NULL, TRUE);
    if (verdict == FAIL)
        return -1;
    off_t at = offset;
    if (offset < 0)
        at = (fcntl(fd, F_GETFL) & O_APPEND) ? st.st_size : lseek(fd, 0, SEEK_CUR);
    if (verdict != GO_ON) {
        part = pieces[0];
        part.iov_len = part_of((guint64) at, part.iov_len, verdict);
        pieces = &part;
        n_pieces = 1;
    }
    interpose_lock();
    ssize_t n = offset < 0 ? REAL(writev)(fd, pieces, n_pieces)
                           : REAL(pwritev)(fd, pieces, n_pieces, offset);
    if (n > 0)
        interpose_note(
            &(Op){
                .kind = OP_WRITE, .ino = st.st_ino, .offset = (guint64) at, .length = (guint64) n},
            NULL, NULL, pieces, n_pieces, (gsize) n);
    interpose_unlock();
    if (verdict == PART_AND_KILL)
        interpose_end();
    return n;
}

#define ONE(buffer, n) &(struct iovec){.iov_base = (void *) (guintptr) (buffer), .iov_len = (n)}, 1

ssize_t
write(int fd, const void *buffer, size_t n)
{
    struct stat st;

    if (!interpose_watches(fd, &st))
        return REAL(write)(fd, buffer, n);
    return do_write("write", fd, ONE(buffer, n), -1);
}

ssize_t
writev(int fd, const struct iovec *pieces, int n)
{
    return do_write("writev", fd, pieces, n, -1);
}

ssize_t
pwrite(int fd, const void *buffer, size_t n, off_t offset)
{
    return do_write("pwrite", fd, ONE(buffer, n), offset);
}

ssize_t
pwrite64(int fd, const void *buffer, size_t n, off64_t offset)
{
    return do_write("pwrite", fd, ONE(buffer, n), offset);
}

ssize_t
pwritev(int fd, const struct iovec *pieces, int n, off_t offset)
{
    return do_write("pwritev", fd, pieces, n, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *pieces, int n, off64_t offset)
{
    return do_write("pwritev", fd, pieces, n, offset);
}

/* What the kernel copied is read back. */
static void
note_copied(int fd, guint64 ino, guint64 offset, guint64 length)
{
    if (!interpose_now->logging || length == 0)
        return;
    void *copy = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char path[64];
    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int again = REAL(open)(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = pread(again, copy, length, (off_t) offset);
    (void) close(again);
    if (n > 0)
        interpose_note(&(Op){.kind = OP_WRITE, .ino = ino, .offset = offset, .length = (guint64) n},
                       NULL, NULL, ONE(copy, (gsize) n), (gsize) n);
    (void) munmap(copy, length);
}

ssize_t
copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags)
{
    struct stat st;

    if (!interpose_watches(to, &st))
        return REAL(copy_file_range)(from, from_at, to, to_at, n, flags);
    Verdict verdict = interpose_count("copy_file_range", to, NULL, TRUE);
    if (verdict == FAIL)
        return -1;
    guint64 at = (guint64) (to_at ? *to_at : lseek(to, 0, SEEK_CUR));
    if (verdict != GO_ON)
        n = part_of(at, n, verdict);
    interpose_lock();
    ssize_t done = REAL(copy_file_range)(from, from_at, to, to_at, n, flags);
    if (done > 0)
        note_copied(to, st.st_ino, at, (guint64) done);
    interpose_unlock();
    if (verdict == PART_AND_KILL)
        interpose_end();
    return done;
}

ssize_t
sendfile(int to, int from, off_t *from_at, size_t n)
{
    struct stat st;

    if (!interpose_watches(to, &st))
        return REAL(sendfile)(to, from, from_at, n);
    Verdict verdict = interpose_count("sendfile", to, NULL, TRUE);
    if (verdict == FAIL)
        return -1;
    guint64 at = (guint64) lseek(to, 0, SEEK_CUR);
    if (verdict != GO_ON)
        n = part_of(at, n, verdict);
    interpose_lock();
    ssize_t done = REAL(sendfile)(to, from, from_at, n);
    if (done > 0)
        note_copied(to, st.st_ino, at, (guint64) done);
    interpose_unlock();
    if (verdict == PART_AND_KILL)
        interpose_end();
    return done;
}

ssize_t
sendfile64(int to, int from, off64_t *from_at, size_t n)
{
    return sendfile(to, from, from_at, n);
}

int
ioctl(int fd, unsigned long request, ...)
{
    struct stat st;
    va_list list;

    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    if ((request != FICLONE && request != FICLONERANGE) || !interpose_watches(fd, &st))
        return REAL(ioctl)(fd, request, argument);
    if (interpose_count("ioctl-clone", fd, NULL, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = REAL(ioctl)(fd, request, argument);
    if (result == 0 && fstat(fd, &st) == 0) {
        interpose_note(&(Op){.kind = OP_SIZE, .ino = st.st_ino, .offset = 0}, NULL, NULL, NULL, 0,
                       0);
        note_copied(fd, st.st_ino, 0, (guint64) st.st_size);
        interpose_note(&(Op){.kind = OP_SIZE, .ino = st.st_ino, .offset = (guint64) st.st_size},
                       NULL, NULL, NULL, 0, 0);
    }
    interpose_unlock();
    return result;
}

/* ---- sizes ---- */

int
ftruncate(int fd, off_t size)
{
    struct stat st;

    if (!interpose_watches(fd, &st))
        return REAL(ftruncate)(fd, size);
    if (interpose_count("ftruncate", fd, NULL, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = REAL(ftruncate)(fd, size);
    if (result == 0)
        interpose_note(&(Op){.kind = OP_SIZE, .ino = st.st_ino, .offset = (guint64) size}, NULL,
                       NULL, NULL, 0, 0);
    interpose_unlock();
    return result;
}

int
ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int
fallocate(int fd, int mode, off_t offset, off_t length)
{
    struct stat st;

    if (!interpose_watches(fd, &st))
        return REAL(fallocate)(fd, mode, offset, length);
    if (interpose_count("fallocate", fd, NULL, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = REAL(fallocate)(fd, mode, offset, length);
    Op op = {.ino = st.st_ino, .offset = (guint64) offset, .length = (guint64) length};
    if (result == 0 && (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))) {
        op.kind = OP_ZERO;
        interpose_note(&op, NULL, NULL, NULL, 0, 0);
    }
    if (result == 0 && !(mode & FALLOC_FL_KEEP_SIZE)) {
        op.kind = OP_GROW;
        op.offset += op.length;
        interpose_note(&op, NULL, NULL, NULL, 0, 0);
    }
    interpose_unlock();
    return result;
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    return fallocate(fd, mode, offset, length);
}

int
posix_fallocate(int fd, off_t offset, off_t length)
{
    struct stat st;

    if (!interpose_watches(fd, &st))
        return REAL(posix_fallocate)(fd, offset, length);
    return fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
}

int
posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    return posix_fallocate(fd, offset, length);
}

/* ---- syncs ---- */

/* Where in the program the call is, from one run to the next. */
static guint64
site_of(const char *text, const void *caller)
{
    Dl_info info;
    guint64 offset = (guint64) (guintptr) caller;

    if (dladdr(caller, &info))
        offset -= (guint64) (guintptr) info.dli_fbase;
    return offset * G_GUINT64_CONSTANT(0x9E3779B97F4A7C15) ^ g_str_hash(text);
}

static int
do_sync(const char *call, int fd, int (*really)(int), const void *caller)
{
    char text[192];
    struct stat st;

    if (!interpose_watches(fd, &st))
        return really(fd);
    if (interpose_count(call, fd, NULL, FALSE) == FAIL)
        return -1;
    interpose_lock();
    int result = interpose_now->skip_sync ? 0 : really(fd);
    if (result == 0 && interpose_now->logging) {
        interpose_describe(text, sizeof text, call, fd, NULL);
        interpose_note(&(Op){.kind = OP_SYNC, .ino = st.st_ino, .site = site_of(text, caller)},
                       text, NULL, NULL, 0, 0);
    }
    interpose_unlock();
    return result;
}

int
fsync(int fd)
{
    return do_sync("fsync", fd, REAL(fsync), __builtin_return_address(0));
}

int
fdatasync(int fd)
{
    return do_sync("fdatasync", fd, REAL(fdatasync), __builtin_return_address(0));
}

/* Promises nothing after a power cut: only counted. */
int
sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags)
{
    struct stat st;

    if (interpose_watches(fd, &st)) {
        if (interpose_count("sync_file_range", fd, NULL, FALSE) == FAIL)
            return -1;
        if (interpose_now->skip_sync)
            return 0;
    }
    return REAL(sync_file_range)(fd, offset, length, flags);
}

int
syncfs(int fd)
{
    struct stat st;

    if (interpose_watches(fd, &st)) {
        if (interpose_count("syncfs", fd, NULL, FALSE) == FAIL)
            return -1;
        if (interpose_now->skip_sync)
            return 0;
    }
    return REAL(syncfs)(fd);
}
