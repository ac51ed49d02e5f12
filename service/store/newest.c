/* newest.c - what an append is checked against: the newest content of its file
 *
 * Of a content that is pending the sums are in memory (Transaction.sums), of another in the catalog.
 * After a replay they are not in memory: then what is pending of the file is applied first.
 */

#include "config.h"

#include <string.h>

#include "base/error.h"
#include "base/sums.h"
#include "store/intake.h"
#include "store/mirror.h"

#define HEADS_MAX 16384

GHashTable *
intake_heads_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

gboolean
head_find(Keeper *k, const char *path, Head *ret_head, GError **error)
{
    const Head *known = g_hash_table_lookup(k->heads, path);

    if (known) {
        *ret_head = *known;
        return TRUE;
    }
    g_autoptr(FileView) v = store_view(&k->store, path, CATALOG_NEWEST, error);
    if (!v) {
        keeper_fail(k, error ? *error : NULL);
        return FALSE;
    }
    *ret_head = (Head){.file = v->id ? v->id : k->next_file++, .suspicion = v->suspicion};
    if (v->current) {
        ret_head->content = v->current->id;
        ret_head->size_bytes = v->current->size_bytes;
    }
    const Point *stable = v->current && v->current->size_bytes == 0 && view_stable_point(v)
                              ? view_point(v, view_stable_point(v))
                              : NULL;
    ret_head->emptied_bytes = stable ? stable->size_bytes : 0;
    return TRUE;
}

void
head_remember(Keeper *k, const Transaction *t, Head head)
{
    if (capture_has_content(&t->capture) && t->capture.cause != CAUSE_BEFORE_RESTORE) {
        gboolean emptied = t->capture.quality < QUALITY_STABLE && t->capture.size_bytes == 0;
        guint64 before = head.size_bytes ? head.size_bytes : head.emptied_bytes;
        head.emptied_bytes = emptied ? before : 0;
        head.content = t->seq;
        head.size_bytes = t->capture.size_bytes;
    } else if (t->capture.kind == APPEND_ATTRIBUTES && t->capture.quality >= QUALITY_STABLE) {
        head.emptied_bytes = 0;
    }
    head.suspicion |= t->capture.suspicion;
    if (g_hash_table_size(k->heads) >= HEADS_MAX)
        g_hash_table_remove_all(k->heads);
    g_hash_table_insert(k->heads, g_strdup(t->capture.path), g_memdup2(&head, sizeof head));
}

void
newest_clear(Newest *n)
{
    g_clear_pointer(&n->sums, g_bytes_unref);
    g_clear_pointer(&n->view, view_free);
}

/* The transaction that brought the newest content, if it is pending. */
static const Transaction *
newest_pending(Keeper *k, const char *path)
{
    const GPtrArray *list = pending_of(k->store.pending, path);

    for (guint i = list ? list->len : 0; i-- > 0;) {
        const Transaction *t = list->pdata[i];
        if (capture_has_content(&t->capture) && t->capture.cause != CAUSE_BEFORE_RESTORE)
            return t;
    }
    return NULL;
}

static gboolean
newest_in_mirror(Keeper *k, const char *path, Newest *newest, GError **error)
{
    g_autoptr(FileView) v = catalog_load(k->store.catalog, path, CATALOG_NEWEST, error);
    guint8 hash[HASH_BYTES];

    if (!v) {
        keeper_fail(k, error ? *error : NULL);
        return FALSE;
    }
    if (!v->current)
        return throw_error(error, FILEDUP_ERROR_NO_ENTRY, "the store has nothing of it");
    newest->size_bytes = v->current->size_bytes;
    memcpy(newest->hash, v->current->hash, HASH_BYTES);
    if (!(newest->sums = catalog_sums(k->store.catalog, v->id, error))) {
        keeper_fail(k, error ? *error : NULL);
        return FALSE;
    }
    sums_hash(newest->sums, newest->size_bytes, hash);
    if (g_bytes_get_size(newest->sums) != sums_length(newest->size_bytes) ||
        memcmp(hash, newest->hash, HASH_BYTES) != 0 || mirror_is_missing(k->store.layout, v))
        return throw_error(error, FILEDUP_ERROR_DAMAGED,
                           "its content is not in the store any more");
    newest->view = g_steal_pointer(&v);
    return TRUE;
}

gboolean
intake_newest(Keeper *k, const char *path, Newest *ret_newest, GError **error)
{
    g_auto(Newest) newest = {0};
    const Transaction *t = newest_pending(k, path);

    if (t && !t->sums) { /* it was replayed: its sums come with its apply */
        if (!keeper_apply(k, path, error))
            return FALSE;
        t = NULL;
    }
    if (t) {
        newest.size_bytes = t->capture.size_bytes;
        memcpy(newest.hash, t->capture.hash, HASH_BYTES);
        newest.sums = g_bytes_ref(t->sums);
    } else if (!newest_in_mirror(k, path, &newest, error)) {
        return FALSE;
    }
    *ret_newest = newest;
    newest = (Newest){0};
    return TRUE;
}
