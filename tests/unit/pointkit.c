/* pointkit.c - a store with an account of every content that was given to it */

#include "config.h"

#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/packfile.h"
#include "store/thin.h"
#include "tests/unit/pointkit.h"
#include "tests/unit/unit.h"

typedef struct Content {
    char *path;
    guint64 id;
    GBytes *bytes;
} Content;

static void
content_free(gpointer data)
{
    Content *c = data;

    g_free(c->path);
    g_bytes_unref(c->bytes);
    g_free(c);
}

void
pointkit_open(PointKit *p)
{
    g_autoptr(GError) error = NULL;

    kit_open(&p->kit, p->path);
    (void) thin_sweep(&p->kit.store, &error);
    UNIT_NO_ERROR(error);
}

void
pointkit_close(PointKit *p)
{
    kit_close(&p->kit);
}

void
pointkit_init(PointKit *p)
{
    *p = (PointKit){.path = unit_path("store"), .noise = 1};
    p->contents = g_ptr_array_new_with_free_func(content_free);
    pointkit_open(p);
}

void
pointkit_clear(PointKit *p)
{
    pointkit_close(p);
    g_ptr_array_unref(p->contents);
    g_free(p->path);
}

void
pointkit_noise(PointKit *p, guint8 *data, gsize n)
{
    for (gsize i = 0; i < n; i++) {
        p->noise = p->noise * G_GUINT64_CONSTANT(6364136223846793005) + 1442695040888963407u;
        data[i] = (guint8) (p->noise >> 33);
    }
}

/* ---- contents ---- */

static const Content *
newest(const PointKit *p, const char *path)
{
    for (guint i = p->contents->len; i-- > 0;)
        if (g_str_equal(((const Content *) p->contents->pdata[i])->path, path))
            return p->contents->pdata[i];
    return NULL;
}

static guint64
save(PointKit *p, const char *path, const void *data, gsize n, gboolean whole)
{
    const Content *before = whole ? NULL : newest(p, path);
    Content *c = g_new0(Content, 1);
    gsize n_old = 0;
    const void *old = before ? g_bytes_get_data(before->bytes, &n_old) : NULL;

    c->path = g_strdup(path);
    c->bytes = g_bytes_new(data, n);
    c->id = before ? kit_append_ranges(&p->kit, path, old, n_old, data, n, QUALITY_STABLE)
                   : kit_append(&p->kit, path, data, n, CAUSE_FIRST, QUALITY_STABLE);
    g_ptr_array_add(p->contents, c);
    kit_apply_all(&p->kit);
    return c->id;
}

guint64
pointkit_save(PointKit *p, const char *path, const void *data, gsize n)
{
    return save(p, path, data, n, FALSE);
}

guint64
pointkit_save_whole(PointKit *p, const char *path, const void *data, gsize n)
{
    return save(p, path, data, n, TRUE);
}

guint64
pointkit_change(PointKit *p, const char *path, gsize at, gsize n)
{
    gsize size;
    const void *old = g_bytes_get_data(newest(p, path)->bytes, &size);
    g_autofree guint8 *data = g_memdup2(old, size);

    g_assert(at + n <= size);
    pointkit_noise(p, data + at, n);
    return pointkit_save(p, path, data, size);
}

guint64
pointkit_vary(PointKit *p, GRand *random, const char *path, gsize most)
{
    const Content *before = newest(p, path);
    gsize old_size = before ? g_bytes_get_size(before->bytes) : 0, size = old_size;
    g_autofree guint8 *data = g_malloc0(most);

    if (size == 0 || g_rand_int_range(random, 0, 3) == 0)
        size = (gsize) g_rand_int_range(random, 1, (gint32) most);
    if (before && old_size > 0)
        memcpy(data, g_bytes_get_data(before->bytes, NULL), MIN(size, old_size));
    for (gint i = g_rand_int_range(random, 1, 4); i > 0; i--) {
        gsize at = (gsize) g_rand_int_range(random, 0, (gint32) size);
        gsize n = (gsize) g_rand_int_range(random, 1, 20000);
        n = MIN(n, size - at);
        if (g_rand_int_range(random, 0, 4) == 0)
            memset(data + at, 0, n);
        else
            pointkit_noise(p, data + at, n);
    }
    data[0] = (guint8) p->contents->len; /* no two are the same */
    return pointkit_save(p, path, data, size);
}

/* As somebody's request would have it, without the journal. */
void
pointkit_name(PointKit *p, const char *path, guint64 point, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) views = g_ptr_array_new_with_free_func((GDestroyNotify) view_free);
    FileView *v = catalog_load(p->kit.store.catalog, path, CATALOG_UNDO, &error);
    CatalogChange change = {.views = views};

    UNIT_NO_ERROR(error);
    g_ptr_array_add(views, v);
    Point *found = view_point(v, point);
    CU_ASSERT_PTR_NOT_NULL_FATAL(found);
    found->name = g_strdup(name);
    found->kept |= KEPT_NAMED;
    found->fresh = TRUE;
    (void) catalog_save(p->kit.store.catalog, &change, &error);
    UNIT_NO_ERROR(error);
}

void
pointkit_policy(PointKit *p, const char *path, const char *keep, guint last)
{
    CatalogChange change = {0};
    g_autoptr(GError) error = NULL;

    catalog_set_policy(p->kit.store.catalog, path, keep, last);
    (void) catalog_save(p->kit.store.catalog, &change, &error);
    UNIT_NO_ERROR(error);
}

RetentionNow
pointkit_now(gint64 later_usec)
{
    return (RetentionNow){.usec = g_get_real_time() + later_usec, .trusted = TRUE};
}

/* ---- checking ---- */

static const Content *
find(const PointKit *p, const char *path, guint64 id)
{
    for (guint i = 0; i < p->contents->len; i++) {
        const Content *c = p->contents->pdata[i];
        if (c->id == id && g_str_equal(c->path, path))
            return c;
    }
    return NULL;
}

guint
pointkit_check(PointKit *p)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) paths = catalog_paths(p->kit.store.catalog, &error);
    guint n = 0;

    UNIT_NO_ERROR(error);
    for (guint i = 0; i < paths->len; i++) {
        g_autoptr(FileView) v = store_view(&p->kit.store, paths->pdata[i], CATALOG_POINTS, &error);
        UNIT_NO_ERROR(error);
        g_autoptr(GPtrArray) points = view_points(v);
        for (guint k = 0; k < points->len; k++, n++) {
            const Point *point = points->pdata[k];
            const Content *c = find(p, v->path, point->id);
            gsize size;
            CU_ASSERT_PTR_NOT_NULL_FATAL(c);
            const void *data = g_bytes_get_data(c->bytes, &size);
            kit_expect_bytes(&p->kit, v->path, point->id, data, size);
        }
    }
    return n;
}

char *
pointkit_ids(PointKit *p, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(FileView) v = store_view(&p->kit.store, path, CATALOG_POINTS, &error);
    GString *text = g_string_new(NULL);

    UNIT_NO_ERROR(error);
    g_autoptr(GPtrArray) points = view_points(v);
    for (guint i = 0; i < points->len; i++)
        g_string_append_printf(text, "%s%" G_GUINT64_FORMAT, i ? " " : "",
                               ((const Point *) points->pdata[i])->id);
    return g_string_free(text, FALSE);
}

/* ---- crashes ---- */

gboolean
pointkit_crash(PointKit *p, const char *step, guint nth, PointKitFunc run)
{
    g_autofree char *crash = g_strdup_printf("%s:%u", step, nth);
    int status = 0;

    pointkit_close(p);
    pid_t child = fork();
    if (child == 0) {
        pointkit_open(p);
        g_setenv("FILEDUP_CRASH", crash, TRUE);
        run(p);
        _exit(0);
    }
    CU_ASSERT_EQUAL_FATAL(waitpid(child, &status, 0), child);
    pointkit_open(p);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return TRUE;
    CU_ASSERT_TRUE_FATAL(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return FALSE;
}

/* ---- files ---- */

static guint
count_history(PointKit *p, gboolean packs)
{
    g_autofree char *history = g_build_filename(p->path, "history", NULL);
    g_autoptr(GDir) dir = g_dir_open(history, 0, NULL);
    const char *name;
    guint64 id;
    guint n = 0;

    while (dir && (name = g_dir_read_name(dir)) != NULL)
        n += packfile_parse_name(name, &id) == packs;
    return n;
}

guint
pointkit_n_wholes(PointKit *p)
{
    return count_history(p, FALSE);
}

guint
pointkit_n_packs(PointKit *p)
{
    return count_history(p, TRUE);
}

static const void *wanted;
static gsize wanted_bytes;

static int
search(const char *path, const struct stat *st, int type, struct FTW *at)
{
    g_autofree char *data = NULL;
    gsize n = 0;

    if (memmem(path + at->base, strlen(path + at->base), wanted, wanted_bytes))
        return 1;
    if (type != FTW_F || st->st_size == 0 || !g_file_get_contents(path, &data, &n, NULL))
        return 0;
    return memmem(data, n, wanted, wanted_bytes) != NULL;
}

gboolean
pointkit_finds(PointKit *p, const void *needle, gsize n)
{
    wanted = needle;
    wanted_bytes = n;
    return nftw(p->path, search, 16, FTW_PHYS) == 1;
}
