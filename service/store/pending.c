/* pending.c - what the journal has and the mirrors have not, in memory */

#include "config.h"

#include "store/pending.h"

struct Pending {
    GQueue queue;      /* of Transaction, linked by their own links, by sequence */
    GHashTable *paths; /* path -> GPtrArray of the same, owned here */
    guint64 bytes;
};

Pending *
pending_new(void)
{
    Pending *p = g_new0(Pending, 1);

    g_queue_init(&p->queue);
    p->paths =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify) g_ptr_array_unref);
    return p;
}

void
pending_free(Pending *p)
{
    if (!p)
        return;
    g_hash_table_unref(p->paths);
    g_free(p);
}

static guint64
content_bytes(const Transaction *t)
{
    switch (t->capture.kind) {
    case APPEND_CONTENT:
        return t->capture.size_bytes;
    case APPEND_RANGES:
        return transaction_extent_bytes(t);
    default:
        return 0;
    }
}

void
pending_add(Pending *p, Transaction *t)
{
    GPtrArray *list = g_hash_table_lookup(p->paths, t->capture.path);

    if (!list) {
        list = g_ptr_array_new_with_free_func((GDestroyNotify) transaction_free);
        g_hash_table_insert(p->paths, g_strdup(t->capture.path), list);
    }
    g_ptr_array_add(list, t);
    t->link = (GList){.data = t};
    g_queue_push_tail_link(&p->queue, &t->link);
    p->bytes += content_bytes(t);
}

const Transaction *
pending_oldest(const Pending *p)
{
    return p->queue.head ? p->queue.head->data : NULL;
}

const Transaction *
pending_oldest_but(const Pending *p, GHashTable *paths)
{
    for (const GList *l = p->queue.head; l; l = l->next) {
        const Transaction *t = l->data;
        if (!paths || !g_hash_table_contains(paths, t->capture.path))
            return t;
    }
    return NULL;
}

guint
pending_count(const Pending *p)
{
    return p->queue.length;
}

guint64
pending_bytes(const Pending *p)
{
    return p->bytes;
}

GPtrArray *
pending_of(const Pending *p, const char *path)
{
    return g_hash_table_lookup(p->paths, path);
}

GList *
pending_paths(const Pending *p)
{
    return g_hash_table_get_keys(p->paths);
}

GPtrArray *
pending_all(const Pending *p)
{
    GPtrArray *all = g_ptr_array_new();

    for (const GList *l = p->queue.head; l; l = l->next)
        g_ptr_array_add(all, l->data);
    return all;
}

guint64
pending_applied_after(const Pending *p, GHashTable *through, guint64 last)
{
    for (const GList *l = p->queue.head; l; l = l->next) {
        const Transaction *t = l->data;
        const guint64 *gone = g_hash_table_lookup(through, t->capture.path);
        if (!gone || t->seq > *gone)
            return t->first_seq - 1;
    }
    return last;
}

void
pending_remove(Pending *p, const char *path, guint64 through)
{
    GPtrArray *list = pending_of(p, path);
    guint n = 0;

    if (!list)
        return;
    for (; n < list->len && ((Transaction *) list->pdata[n])->seq <= through; n++) {
        Transaction *t = list->pdata[n];
        g_queue_unlink(&p->queue, &t->link);
        p->bytes -= content_bytes(t);
    }
    if (n == list->len)
        g_hash_table_remove(p->paths, path);
    else if (n > 0)
        g_ptr_array_remove_range(list, 0, n);
}
