/* layout.c - the folders of a store, its identity, and who has it
 *
 *   STORE/store.conf   format = 1; uuid = "...";  written last: a folder without it is no store
 *         lock         flock; "host pid boot-id" of the keeper that has it, empty after an orderly
 * end journal/     journal.c catalog.db   catalog.c mirrors/     mirror.c history/     points:
 * whole contents, mirror.c staged/      contents that are on their way into mirrors/ or history/
 *
 * INVARIANTS
 *  (1) A store is known by its uuid. Where another one, or none, is found, nothing is created or
 *      written: it may be an empty mount point.
 *  (2) Everything is 0700 or 0600.
 *  (3) What is created is synced, folder by folder, before store.conf says that it is there.
 */

#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <libconfig.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/error.h"
#include "base/path.h"
#include "store/catalog.h"
#include "store/layout.h"

#define CONF_NAME       "store.conf"
#define CONF_MAX_BYTES  65536
#define LOCK_NAME       "lock"
#define DYING_WAIT_USEC (10 * G_USEC_PER_SEC)
#define LEAVE_WAIT_USEC (G_USEC_PER_SEC / 2)
#define LOCK_POLL_USEC  20000
#define MIB             (G_GUINT64_CONSTANT(1024) * 1024)

static const char *const folders[] = {"journal", "mirrors", "history", "staged"};

void
layout_close(Layout *l)
{
    if (!l)
        return;
    fd_clear(l->journal);
    fd_clear(l->mirrors);
    fd_clear(l->history);
    fd_clear(l->staged);
    fd_clear(l->root);
    fd_clear(l->lock);
    g_free(l->path);
    g_free(l);
}

/* ---- owners of the folders above ---- */

static gboolean
check_owner(const char *path, GError **error)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT || throw_errno(error, "'%s'", path);
    if (st.st_uid != 0)
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "'%s' is owned by uid %u: every folder above a store of the system must "
                           "be root's",
                           path, st.st_uid);
    if (S_ISLNK(st.st_mode))
        return TRUE;
    if ((st.st_mode & S_IWOTH) || ((st.st_mode & S_IWGRP) && st.st_gid != 0))
        return throw_error(error, FILEDUP_ERROR_FATAL,
                           "'%s' can be written by others: chmod go-w it, or choose another place "
                           "for the store",
                           path);
    return TRUE;
}

static gboolean
check_prefixes(const char *path, GError **error)
{
    g_autofree char *prefix = g_strdup(path);

    if (!check_owner("/", error))
        return FALSE;
    for (char *slash = strchr(prefix + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!check_owner(prefix, error))
            return FALSE;
        *slash = '/';
    }
    return check_owner(prefix, error);
}

/* The path as given (whoever owns a link's folder decides where it leads), and where it leads. */
static gboolean
check_owners(const char *path, GError **error)
{
    g_autofree char *real = NULL;
    char *resolved = realpath(path, NULL);

    real = g_strdup(resolved);
    free(resolved);
    return check_prefixes(path, error) && (!real || check_prefixes(real, error));
}

/* ---- store.conf ---- */

static gboolean
parse_conf(const char *text, char *ret_uuid, GError **error)
{
    config_t conf;
    int format = 0;
    const char *uuid = NULL;
    gboolean ok = FALSE;

    config_init(&conf);
    if (!config_read_string(&conf, text))
        throw_error(error, FILEDUP_ERROR_FATAL, CONF_NAME ": line %d: %s", config_error_line(&conf),
                    config_error_text(&conf));
    else if (!config_lookup_int(&conf, "format", &format) || format < 1)
        throw_error(error, FILEDUP_ERROR_FATAL, CONF_NAME " does not say its format");
    else if (format > STORE_FORMAT)
        throw_error(error, FILEDUP_ERROR_FATAL,
                    "the store has format %d, this filedup knows %d: use a newer one", format,
                    STORE_FORMAT);
    else if (!config_lookup_string(&conf, "uuid", &uuid) || !g_uuid_string_is_valid(uuid))
        throw_error(error, FILEDUP_ERROR_FATAL, CONF_NAME " has no valid uuid");
    else
        ok = g_strlcpy(ret_uuid, uuid, UUID_TEXT_BYTES) < UUID_TEXT_BYTES;
    config_destroy(&conf);
    return ok;
}

/* FALSE without an error: there is none. */
static gboolean
read_conf(int root, char *ret_uuid, GError **error)
{
    g_auto(Fd) fd = openat(root, CONF_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    g_autofree char *text = g_malloc0(CONF_MAX_BYTES);

    if (fd < 0)
        return errno == ENOENT ? FALSE : throw_errno(error, CONF_NAME);
    if (fd_pread_most(fd, text, CONF_MAX_BYTES - 1, 0) < 0)
        return throw_errno(error, CONF_NAME);
    return parse_conf(text, ret_uuid, error);
}

static gboolean
write_conf(int root, const char *uuid, GError **error)
{
    g_autofree char *text =
        g_strdup_printf("# A filedup store. mirrors/ has the files; *.origin says whose.\n"
                        "format = %d;\nuuid = \"%s\";\n",
                        STORE_FORMAT, uuid);
    g_auto(Fd) fd = openat(root, CONF_NAME ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0 || !fd_pwrite_full(fd, text, strlen(text), 0) || fsync(fd) < 0 ||
        renameat(root, CONF_NAME ".new", root, CONF_NAME) < 0)
        return throw_errno(error, "writing " CONF_NAME);
    return fd_sync_folder(root, ".", error);
}

/* ---- lock ---- */

char *
layout_boot_id(void)
{
    char *text = NULL;

    if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
        return g_strdup("unknown");
    return g_strstrip(text);
}

/* The process has ended, or will without doing anything more: SIGKILL is pending. */
static gboolean
is_dying(pid_t pid, pid_t *ret_parent)
{
    g_autofree char *name = g_strdup_printf("/proc/%d/status", (int) pid);
    g_autofree char *text = NULL;
    gboolean dying = FALSE;

    if (!g_file_get_contents(name, &text, NULL, NULL))
        return TRUE;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (g_str_has_prefix(*line, "State:"))
            dying |= strpbrk(*line + 6, "ZX") != NULL; /* zombie, dead */
        if (g_str_has_prefix(*line, "SigPnd:") || g_str_has_prefix(*line, "ShdPnd:"))
            dying |= (g_ascii_strtoull(*line + 7, NULL, 16) & (1u << (9 - 1))) != 0;
        if (g_str_has_prefix(*line, "PPid:") && ret_parent)
            *ret_parent = (pid_t) g_ascii_strtoll(*line + 5, NULL, 10);
    }
    return dying;
}

/* A keeper dies with its parent. */
static gboolean
holder_is_dying(pid_t pid)
{
    pid_t parent = 0;

    return is_dying(pid, &parent) || (parent > 1 && is_dying(parent, NULL));
}

static gboolean
throw_holder(int fd, gboolean *ret_dying, GError **error)
{
    char text[512] = "";
    g_autofree char *boot = layout_boot_id();

    *ret_dying = FALSE;
    (void) fd_pread_most(fd, text, sizeof text - 1, 0);
    g_auto(GStrv) words = g_strsplit_set(text, " \n", 4);
    if (g_strv_length(words) < 3)
        return throw_error(error, FILEDUP_ERROR_BUSY, "the store is being read by another process");
    pid_t pid = (pid_t) g_ascii_strtoll(words[1], NULL, 10);
    gboolean here = g_str_equal(words[0], g_get_host_name()) && g_str_equal(words[2], boot);
    *ret_dying = here && holder_is_dying(pid);
    g_autofree char *host = path_escape(words[0]);
    return throw_error(error, FILEDUP_ERROR_BUSY, "the store is in use by process %d on host '%s'",
                       (int) pid, host);
}

static gboolean
take_lock(Layout *l, LayoutMode mode, int *ret_errno, GError **error)
{
    int how = (mode == LAYOUT_READ ? LOCK_SH : LOCK_EX) | LOCK_NB;
    int flags = mode == LAYOUT_READ ? O_RDONLY : O_RDWR | O_CREAT;
    gint64 start = g_get_monotonic_time();
    g_autoptr(GError) holder = NULL;

    l->lock = openat(l->root, LOCK_NAME, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (l->lock < 0) {
        *ret_errno = errno;
        return throw_errno(error, "opening the store's lock");
    }
    while (flock(l->lock, how) < 0) {
        gboolean dying = FALSE;
        if (errno != EWOULDBLOCK && errno != EINTR) {
            *ret_errno = errno;
            return throw_errno(error, "locking the store");
        }
        g_clear_error(&holder);
        throw_holder(l->lock, &dying, &holder);
        gint64 patience = dying ? DYING_WAIT_USEC : LEAVE_WAIT_USEC; /* it may be about to exit */
        if (g_get_monotonic_time() - start > patience) {
            *ret_errno = EBUSY;
            g_propagate_error(error, g_steal_pointer(&holder));
            return FALSE;
        }
        g_usleep(LOCK_POLL_USEC);
    }
    if (mode == LAYOUT_READ)
        return TRUE;
    g_autofree char *boot = layout_boot_id();
    g_autofree char *text = g_strdup_printf("%s %d %s\n", g_get_host_name(), (int) getpid(), boot);
    if (ftruncate(l->lock, 0) < 0 || !fd_pwrite_full(l->lock, text, strlen(text), 0)) {
        *ret_errno = errno;
        return throw_errno(error, "writing the store's lock");
    }
    return TRUE;
}

void
layout_release(Layout *l)
{
    (void) !ftruncate(l->lock, 0);
}

/* ---- creating ---- */

static gboolean
is_ours(const char *name)
{
    static const char *const others[] = {
        LOCK_NAME,           CONF_NAME ".new",        CATALOG_NAME, CATALOG_NAME "-wal",
        CATALOG_NAME "-shm", CATALOG_NAME "-journal", "lost+found"};

    for (guint i = 0; i < G_N_ELEMENTS(folders); i++)
        if (g_str_equal(name, folders[i]))
            return TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(others); i++)
        if (g_str_equal(name, others[i]))
            return TRUE;
    return FALSE;
}

/* Calls back with each name; FALSE with an error, or when the callback said FALSE. */
static gboolean
each_name(int root, const char *folder, gboolean (*accept)(const char *name), GError **error)
{
    int fd = openat(root, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *item;
    gboolean ok = TRUE;

    if (!dir) {
        int errnum = errno;
        fd_clear(fd);
        errno = errnum;
        return errno == ENOENT || throw_errno(error, "reading folder '%s'", folder);
    }
    while (ok && (item = readdir(dir)))
        if (!g_str_equal(item->d_name, ".") && !g_str_equal(item->d_name, ".."))
            ok = accept(item->d_name) ||
                 throw_error(error, FILEDUP_ERROR_REFUSED,
                             "the folder is not empty and not a store: choose an empty one");
    closedir(dir);
    return ok;
}

static gboolean
accept_none(G_GNUC_UNUSED const char *name)
{
    return FALSE;
}

/* Empty, or what an interrupted creation left. */
static gboolean
may_create(int root, GError **error)
{
    return each_name(root, ".", is_ours, error) && each_name(root, "mirrors", accept_none, error) &&
           each_name(root, "history", accept_none, error) &&
           each_name(root, "staged", accept_none, error);
}

static gboolean
create_content(Layout *l, GError **error)
{
    g_autofree char *catalog_path = g_build_filename(l->path, CATALOG_NAME, NULL);
    g_autofree char *uuid = g_uuid_string_random();

    for (guint i = 0; i < G_N_ELEMENTS(folders); i++)
        if (mkdirat(l->root, folders[i], 0700) < 0 && errno != EEXIST)
            return throw_errno(error, "creating folder '%s'", folders[i]);
    g_autoptr(Catalog) catalog = catalog_open(catalog_path, TRUE, error);
    if (!catalog || !fd_sync_folder(l->root, ".", error))
        return FALSE;
    g_strlcpy(l->uuid, uuid, sizeof l->uuid);
    return write_conf(l->root, uuid, error); /* invariant 3 */
}

static gboolean
make_folder(const char *path, int *ret_errno, GError **error)
{
    g_autofree char *above = g_path_get_dirname(path);

    if (g_mkdir_with_parents(path, 0700) < 0) {
        *ret_errno = errno;
        return throw_errno(error, "creating it");
    }
    return fd_sync_folder(AT_FDCWD, above, error);
}

/* ---- opening ---- */

static int
open_folder(const Layout *l, const char *name, GError **error)
{
    int fd = openat(l->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        throw_errno(error, "opening folder '%s'", name);
    return fd;
}

static gboolean
open_folders(Layout *l, GError **error)
{
    return (l->journal = open_folder(l, "journal", error)) >= 0 &&
           (l->mirrors = open_folder(l, "mirrors", error)) >= 0 &&
           (l->history = open_folder(l, "history", error)) >= 0 &&
           (l->staged = open_folder(l, "staged", error)) >= 0;
}

static gboolean
throw_absent(int *ret_errno, GError **error, const char *why)
{
    *ret_errno = ENOENT;
    return throw_error(error, FILEDUP_ERROR_AGAIN, "the store is not there: %s", why);
}

static gboolean
open_steps(Layout *l, const char *uuid, LayoutMode mode, gboolean system, int *ret_errno,
           GError **error)
{
    g_autoptr(GError) local = NULL;
    struct statvfs fs;

    if (system && !check_owners(l->path, error))
        return FALSE;
    if (mode == LAYOUT_CREATE && !make_folder(l->path, ret_errno, error))
        return FALSE;
    l->root = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (l->root < 0 && errno == ENOENT)
        return throw_absent(ret_errno, error, "the folder does not exist");
    if (l->root < 0) {
        *ret_errno = errno;
        return throw_errno(error, "opening it");
    }
    gboolean there = read_conf(l->root, l->uuid, &local);
    if (local) {
        g_propagate_error(error, g_steal_pointer(&local));
        return FALSE;
    }
    if (!there && mode != LAYOUT_CREATE) /* invariant 1 */
        return throw_absent(ret_errno, error, "no " CONF_NAME " (is its disk mounted?)");
    if (there && mode != LAYOUT_CREATE && uuid[0] && !g_str_equal(uuid, l->uuid))
        return throw_absent(ret_errno, error, "another store is in its place");
    if (!there && !may_create(l->root, error))
        return FALSE;
    if (fstatvfs(l->root, &fs) == 0 && (fs.f_flag & ST_RDONLY) && mode != LAYOUT_READ) {
        *ret_errno = EROFS;
        return throw_error(error, FILEDUP_ERROR_AGAIN, "the store is mounted read-only");
    }
    if (!take_lock(l, mode, ret_errno, error))
        return FALSE;
    /* Somebody else may have made it while we waited. */
    if (!there && !read_conf(l->root, l->uuid, &local)) {
        if (local) {
            g_propagate_error(error, g_steal_pointer(&local));
            return FALSE;
        }
        if (!create_content(l, error))
            return FALSE;
    }
    return open_folders(l, error);
}

Layout *
layout_open(const char *path, const char *uuid, LayoutMode mode, gboolean system, int *ret_errno,
            GError **error)
{
    g_autoptr(Layout) l = g_new0(Layout, 1);
    int errnum = 0;

    l->path = g_strdup(path);
    l->root = l->journal = l->mirrors = l->history = l->staged = l->lock = -1;
    if (open_steps(l, uuid ? uuid : "", mode, system, &errnum, error)) {
        if (mode != LAYOUT_READ)
            (void) fchmod(l->root, 0700); /* invariant 2 */
        return g_steal_pointer(&l);
    }
    g_autofree char *text = path_escape(path);
    throw_prefixed(error, "store '%s'", text);
    if (ret_errno)
        *ret_errno = errnum;
    return NULL;
}

gboolean
layout_space(const Layout *l, LayoutSpace *ret_space, GError **error)
{
    struct statvfs fs;

    if (fstatvfs(l->root, &fs) < 0)
        return throw_errno(error, "statvfs");
    guint64 total = (guint64) fs.f_blocks * fs.f_frsize;
    *ret_space = (LayoutSpace){
        .free_bytes = (guint64) fs.f_bavail * fs.f_frsize,
        .total_bytes = total,
        .reserve_bytes = MIN(64 * MIB, total / 20),
        .segment_bytes = CLAMP(total / 64 / MIB * MIB, MIB, 16 * MIB),
    };
    return TRUE;
}
