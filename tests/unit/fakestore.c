/* fakestore.c - a store's reader for tests: of files that are only said to be there
 *
 * It tells who it runs as, and does what a reader that a store has taken over could do.
 */

#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "store/verify.h"
#include "tests/unit/fakestore.h"

static const char *const usual[] = {"/a", NULL};
const char *const *fakestore_files = usual;

struct StoreReader {
    int folder_fd;
};

StoreReader *
store_reader_open(const char *path, GError **error)
{
    g_autofree char *lock = g_build_filename(path, "lock", NULL);
    StoreReader *r;

    if (access(lock, F_OK) == 0) {
        throw_error(error, FILEDUP_ERROR_BUSY, "store '%s': in use", path);
        return NULL;
    }
    r = g_new0(StoreReader, 1);
    r->folder_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return r;
}

void
store_reader_close(StoreReader *r)
{
    if (!r)
        return;
    fd_clear(r->folder_fd);
    g_free(r);
}

const char *
store_reader_uuid(G_GNUC_UNUSED StoreReader *r)
{
    return FAKESTORE_UUID;
}

void
stored_file_free(StoredFile *f)
{
    g_free(f->path);
    g_free(f);
}

void
stored_content_clear(StoredContent *c)
{
    fd_clear(c->fd);
    c->fd = -1;
    g_clear_pointer(&c->sums, g_bytes_unref);
    g_clear_pointer(&c->attributes, g_bytes_unref);
}

void
stored_check_clear(StoredCheck *c)
{
    g_clear_pointer(&c->bad, g_array_unref);
    g_clear_pointer(&c->bad_points, g_array_unref);
}

/* One file, whose principal is who we are, and whose sequence is which process. */
GPtrArray *
store_reader_list(G_GNUC_UNUSED StoreReader *r, G_GNUC_UNUSED GError **error)
{
    GPtrArray *files = g_ptr_array_new_with_free_func((GDestroyNotify) stored_file_free);
    StoredFile *f = g_new0(StoredFile, 1);

    f->path = g_strdup("/a\n\xff");
    f->principal = geteuid();
    f->sequence = (guint64) getpid();
    g_ptr_array_add(files, f);
    return files;
}

GArray *
store_reader_points(G_GNUC_UNUSED StoreReader *r, const char *path, GError **error)
{
    GArray *points = g_array_new(FALSE, TRUE, sizeof(StoredPoint));

    if (!g_strv_contains(fakestore_files, path)) {
        g_array_unref(points);
        throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
        return NULL;
    }
    for (guint id = 3; id > 0; id--)
        g_array_append_vals(points,
                            &(StoredPoint){.id = id,
                                           .size_bytes = id * 10,
                                           .time_usec = (gint64) id * 1000 * G_USEC_PER_SEC,
                                           .name = (char *) (id == 1 ? "the first" : ""),
                                           .cause = CAUSE_QUIET,
                                           .kept = KEPT_NAMED | KEPT_BOOT,
                                           .newest = id == 3},
                            1);
    return points;
}

static int
fd_of_content(const char *path)
{
    int pair[2];

    if (g_str_equal(path, "/fifo")) {
        g_assert(pipe2(pair, O_CLOEXEC) == 0);
        (void) close(pair[1]);
        return pair[0];
    }
    if (g_str_equal(path, "/folder"))
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd_from_bytes("content", "content", 7, NULL);
}

gboolean
store_reader_content(G_GNUC_UNUSED StoreReader *r, const char *path, guint64 point,
                     StoredContent *ret_content, G_GNUC_UNUSED GError **error)
{
    if (g_str_equal(path, "/crash"))
        _exit(7);
    *ret_content = (StoredContent){
        .fd = fd_of_content(path),
        .size_bytes = 7,
        .stat = {.mode = 0100640, .uid = 1, .gid = 2, .size_bytes = 7},
        .attributes = g_bytes_new("attributes", 10),
        .quality = QUALITY_STABLE,
        .time_usec = 5,
        .point = point,
        .sums = g_bytes_new("12345678", g_str_equal(path, "/sums") ? 7 : 8),
    };
    return TRUE;
}

gboolean
store_reader_content_at(StoreReader *r, const char *path, gint64 time_usec,
                        StoredContent *ret_content, GError **error)
{
    return store_reader_content(r, path, (guint64) time_usec, ret_content, error);
}

gboolean
store_reader_verify(G_GNUC_UNUSED StoreReader *r, G_GNUC_UNUSED const char *path, gboolean points,
                    StoredCheck *ret_check, G_GNUC_UNUSED GError **error)
{
    *ret_check = (StoredCheck){
        .bytes = 7,
        .bad = g_array_new(FALSE, FALSE, sizeof(BadRange)),
        .points = points ? 2 : 0,
        .bad_points = g_array_new(FALSE, FALSE, sizeof(guint64)),
    };
    g_array_append_vals(ret_check->bad, &(BadRange){3, 4}, 1);
    return TRUE;
}
