/* extract.c - a content that the daemon writes into a descriptor of ours
 *
 * The daemon opens no path for a caller. What arrived is read back, and is only believed if it has
 * the hash that the daemon told.
 */

#include "config.h"

#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/sums.h"
#include "cli/dict.h"
#include "cli/extract.h"

#define READ_BYTES (256 * 1024)

int
extract_scratch(GError **error)
{
    int fd = open(g_get_tmp_dir(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    g_autofree char *name = g_build_filename(g_get_tmp_dir(), "filedup-XXXXXX", NULL);
    fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0)
        throw_errno(error, "a temporary file in '%s'", g_get_tmp_dir());
    else
        (void) unlink(name);
    return fd;
}

GVariant *
extract_options(const When *when)
{
    g_auto(GVariantDict) dict = G_VARIANT_DICT_INIT(NULL);

    if (when && when->point)
        g_variant_dict_insert(&dict, "point", "t", when->point);
    if (when && when->time_usec)
        g_variant_dict_insert(&dict, "at", "x", when->time_usec);
    if (when && when->store)
        g_variant_dict_insert(&dict, "store", "s", when->store);
    return g_variant_ref_sink(g_variant_dict_end(&dict));
}

/* An "ay" of the answer that is no string. */
GBytes *
extract_bytes(GVariant *answer, const char *key)
{
    g_autoptr(GVariant) value = g_variant_lookup_value(answer, key, G_VARIANT_TYPE_BYTESTRING);

    return value ? g_variant_get_data_as_bytes(value) : g_bytes_new(NULL, 0);
}

/* What arrived is what the store has: read back, past the page cache where there is a way and it is
 * to last. Without a hash in the answer there is only the size to compare; then it is not called
 * verified. */
static gboolean
check_content(int fd, GVariant *answer, gboolean lasts, gboolean *ret_verified, GError **error)
{
    guint64 size = dict_u64(answer, "size");
    g_autoptr(GBytes) expected = extract_bytes(answer, "hash");
    g_autofree guint8 *buffer = g_malloc(READ_BYTES);
    guint8 hash[HASH_BYTES];
    struct stat st;

    if (lasts && fdatasync(fd) < 0)
        return throw_errno(error, "writing what was restored");
    if (fstat(fd, &st) < 0)
        return throw_errno(error, "fstat of what was restored");
    if (st.st_size < 0 || (guint64) st.st_size != size)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "%" G_GUINT64_FORMAT " bytes were expected, %" G_GINT64_FORMAT
                           " arrived",
                           size, (gint64) st.st_size);
    if (lasts)
        (void) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); /* a hint */
    g_autoptr(Sums) sums = sums_new(size);
    for (guint64 at = 0; at < size;) {
        gssize n = fd_pread_most(fd, buffer, MIN(READ_BYTES, size - at), (goffset) at);
        if (n <= 0)
            return throw_errno(error, "reading back what was restored");
        sums_add(sums, buffer, (gsize) n);
        at += (guint64) n;
    }
    g_autoptr(GBytes) all = sums_finish(sums, hash);
    *ret_verified = g_bytes_get_size(expected) == HASH_BYTES;
    if (*ret_verified && memcmp(g_bytes_get_data(expected, NULL), hash, HASH_BYTES) != 0)
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "what was restored is not what the store has recorded. Nothing was "
                           "replaced. Try another --point or --store-name");
    return TRUE;
}

GVariant *
extract_content(FiledupManager1 *manager, const char *path, GVariant *options, int fd,
                gboolean lasts, gboolean *ret_verified, GError **error)
{
    g_autoptr(GUnixFDList) fds = g_unix_fd_list_new();
    g_autoptr(GVariant) answer = NULL;
    int index = g_unix_fd_list_append(fds, fd, error);

    if (index < 0)
        return NULL;
    if (!filedup_manager1_call_extract_sync(manager, path, g_variant_new_handle(index), options,
                                            fds, &answer, NULL, NULL, error))
        return NULL;
    return check_content(fd, answer, lasts, ret_verified, error) ? g_steal_pointer(&answer) : NULL;
}
