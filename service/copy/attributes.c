/* attributes.c - reading and giving extended attributes, owner, mode and times
 *
 * THE BLOB is a GVariant a(ayay): name (with its NUL) and value, sorted by name. It holds no number
 * wider than a byte, so it is the same on every machine; a file without attributes has an empty
 * one.
 *
 * ORDER when giving: owner (the kernel then takes set-uid bits and file capabilities away),
 * extended attributes and ACLs (an ACL changes the mode's group bits), mode, times. A set-uid bit
 * is given only if the owner is right.
 */

#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "base/path.h"
#include "copy/attributes.h"

#define BLOB_TYPE     "a(ayay)"
#define BLOB_BYTES    (48 * 1024)
#define PRIVILEGED    (S_ISUID | S_ISGID)
#define PERMISSIONS   07777
#define XATTR_LIST    65536 /* the kernel's limits */
#define XATTR_VALUE   65536
#define ACL_PREFIX    "system.posix_acl_"
#define NAME_OVERHEAD 16 /* framing of an element, generously */

static int
compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* The names, sorted; they lie in *ret_list. NULL with errno. */
static GPtrArray *
list_names(int fd, char **ret_list)
{
    char few[1024];
    gssize n = flistxattr(fd, few, sizeof few);
    g_autofree char *list = NULL;

    if (n >= 0) {
        list = g_memdup2(few, (gsize) n);
    } else if (errno == ERANGE) {
        list = g_malloc(XATTR_LIST);
        n = flistxattr(fd, list, XATTR_LIST);
    } else if (errno == EOPNOTSUPP) {
        n = 0;
    }
    if (n < 0)
        return NULL;
    GPtrArray *names = g_ptr_array_new();
    for (char *p = list; p && p < list + n; p += strlen(p) + 1)
        g_ptr_array_add(names, p);
    g_ptr_array_sort(names, compare_names);
    *ret_list = g_steal_pointer(&list);
    return names;
}

GBytes *
attributes_read(int fd, char **ret_note, GError **error)
{
    g_autofree char *list = NULL;
    g_autoptr(GPtrArray) names = list_names(fd, &list);
    g_autofree char *value = NULL;
    gsize total = 0, left_out = 0;

    if (ret_note)
        *ret_note = NULL;
    if (!names) {
        throw_errno(error, "listing extended attributes");
        return NULL;
    }
    if (names->len == 0)
        return g_bytes_new_static("", 0);

    g_auto(GVariantBuilder) builder = G_VARIANT_BUILDER_INIT(G_VARIANT_TYPE(BLOB_TYPE));
    value = g_malloc(XATTR_VALUE);
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        gssize n = fgetxattr(fd, name, value, XATTR_VALUE);
        if (n < 0 && (errno == EIO || errno == ENOMEM || errno == EUCLEAN)) {
            g_autofree char *shown = path_escape(name);
            throw_errno(error, "reading attribute %s", shown);
            return NULL;
        }
        if (n < 0)
            continue; /* not ours to read, or gone meanwhile */
        gsize size = strlen(name) + 1 + (gsize) n + NAME_OVERHEAD;
        if (total + size > BLOB_BYTES) {
            left_out++;
            continue;
        }
        total += size;
        g_variant_builder_add(&builder, "(@ay@ay)", g_variant_new_bytestring(name),
                              g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, value, (gsize) n, 1));
    }
    if (left_out > 0 && ret_note)
        *ret_note = g_strdup_printf("%" G_GSIZE_FORMAT " extended attributes left out: more than "
                                    "%d KiB together",
                                    left_out, BLOB_BYTES / 1024);
    g_autoptr(GVariant) blob = g_variant_ref_sink(g_variant_builder_end(&builder));
    return g_variant_get_data_as_bytes(blob);
}

static void add_problem(GString *problems, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void
add_problem(GString *problems, const char *format, ...)
{
    va_list args;

    if (problems->len > 0)
        g_string_append(problems, ", ");
    va_start(args, format);
    g_string_append_vprintf(problems, format, args);
    va_end(args);
}

/* TRUE if owner and group are as wanted afterwards. */
static gboolean
apply_owner(int fd, const struct stat *now, const FileStat *stat, gboolean privileged,
            GString *problems)
{
    uid_t uid = now->st_uid == stat->uid ? (uid_t) -1 : stat->uid;
    gid_t gid = now->st_gid == stat->gid ? (gid_t) -1 : stat->gid;

    if (uid == (uid_t) -1 && gid == (gid_t) -1)
        return TRUE;
    errno = EPERM;
    if (privileged && fchown(fd, uid, gid) == 0)
        return TRUE;
    int errnum = errno;
    /* A user may give a file of their own to another group of theirs; the kernel decides. */
    gboolean group_set =
        gid != (gid_t) -1 && (privileged || geteuid() != 0) && fchown(fd, (uid_t) -1, gid) == 0;
    if (uid == (uid_t) -1 && group_set)
        return TRUE;
    if (uid != (uid_t) -1)
        add_problem(problems, "owner %u (%s)", stat->uid, g_strerror(errnum));
    if (gid != (gid_t) -1 && !group_set)
        add_problem(problems, "group %u (%s)", stat->gid, g_strerror(errnum));
    return FALSE;
}

static gboolean
is_privileged_name(const char *name)
{
    return g_str_has_prefix(name, "security.") || g_str_has_prefix(name, "trusted.");
}

/* Attributes that the file has (from a default ACL, or because it is written in place) and should
 * not. Security labels are the system's to give: only file capabilities are taken away. */
static void
remove_others(int fd, GHashTable *wanted, gboolean privileged)
{
    g_autofree char *list = NULL;
    g_autoptr(GPtrArray) names = list_names(fd, &list);

    for (guint i = 0; names && i < names->len; i++) {
        const char *name = names->pdata[i];
        if (g_hash_table_contains(wanted, name))
            continue;
        if (g_str_has_prefix(name, "user.") || g_str_has_prefix(name, ACL_PREFIX) ||
            (privileged && g_str_equal(name, "security.capability")))
            (void) fremovexattr(fd, name);
    }
}

static gboolean
has_value(int fd, const char *name, const void *value, gsize n)
{
    g_autofree char *now = g_malloc(n + 1);
    gssize got = fgetxattr(fd, name, now, n + 1);

    return got >= 0 && (gsize) got == n && memcmp(now, value, n) == 0;
}

static void
apply_extended(int fd, GBytes *blob, gboolean privileged, gboolean owner_right, GString *problems)
{
    g_autoptr(GVariant) all =
        g_variant_ref_sink(g_variant_new_from_bytes(G_VARIANT_TYPE(BLOB_TYPE), blob, FALSE));
    g_autoptr(GHashTable) wanted = g_hash_table_new(g_str_hash, g_str_equal);
    GVariantIter iter;
    GVariant *key, *content;

    if (!g_variant_is_normal_form(all)) {
        add_problem(problems, "extended attributes (malformed in the backup)");
        return;
    }
    g_variant_iter_init(&iter, all);
    while (g_variant_iter_loop(&iter, "(@ay@ay)", &key, &content)) {
        const char *name = path_from_variant(key);
        gsize n;
        const void *value = g_variant_get_fixed_array(content, &n, 1);
        if (!name)
            continue;
        g_hash_table_add(wanted, (gpointer) name);
        if (has_value(fd, name, value ? value : "", n))
            continue;
        errno = EPERM;
        /* File capabilities are like a set-uid bit: not on somebody else's file. */
        gboolean allowed =
            !is_privileged_name(name) ||
            (privileged && (owner_right || !g_str_equal(name, "security.capability")));
        if (allowed && fsetxattr(fd, name, value ? value : "", n, 0) == 0)
            continue;
        int errnum = errno;
        g_autofree char *shown = path_escape(name);
        add_problem(problems, "%s (%s)", shown, g_strerror(errnum));
    }
    remove_others(fd, wanted, privileged);
}

static void
apply_mode(int fd, const FileStat *stat, gboolean privileged, gboolean owner_right,
           GString *problems)
{
    mode_t mode = stat->mode & PERMISSIONS;
    struct stat now;

    if ((mode & PRIVILEGED) && (!privileged || !owner_right)) {
        mode &= ~(mode_t) PRIVILEGED;
        add_problem(problems, "set-uid and set-gid bits (%s)", g_strerror(EPERM));
    }
    if (fstat(fd, &now) == 0 && (now.st_mode & PERMISSIONS) == mode)
        return;
    if (fchmod(fd, mode) < 0)
        add_problem(problems, "mode %04o (%s)", (guint) mode, g_strerror(errno));
}

static struct timespec
timespec_from_ns(gint64 ns)
{
    const gint64 second = G_GINT64_CONSTANT(1000000000);
    gint64 rest = ns % second;

    if (rest < 0)
        rest += second; /* before 1970 */
    return (struct timespec){.tv_sec = (time_t) ((ns - rest) / second), .tv_nsec = (long) rest};
}

void
attributes_apply(int fd, const FileStat *stat, GBytes *blob, gboolean privileged,
                 char **ret_problems)
{
    g_autoptr(GString) problems = g_string_new(NULL);
    struct stat now;

    if (fstat(fd, &now) < 0) {
        add_problem(problems, "all (%s)", g_strerror(errno));
    } else {
        gboolean owner_right = apply_owner(fd, &now, stat, privileged, problems);
        apply_extended(fd, blob, privileged, owner_right, problems);
        apply_mode(fd, stat, privileged, owner_right, problems);
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, timespec_from_ns(stat->mtime_ns)};
        if (futimens(fd, times) < 0)
            add_problem(problems, "modification time (%s)", g_strerror(errno));
    }
    if (ret_problems)
        *ret_problems = problems->len > 0 ? g_string_free(g_steal_pointer(&problems), FALSE) : NULL;
}
