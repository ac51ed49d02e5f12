#pragma once

/* Packs, the inside: what its files (pack.c, pack_open.c) share. */

#include "base/fd.h"
#include "store/pack.h"
#include "store/packfile.h"
#include "store/packreader.h"

G_BEGIN_DECLS

/* One that may be written to, or has been. */
typedef struct Pack {
    guint64 id;
    guint64 known; /* the catalog's length                                      */
    guint64 end;   /* of what is prepared                                       */
    gboolean fresh, prepared, sealed, bad;
} Pack;

struct Packs {
    Fd folder;
    char *uuid;
    gboolean writable;
    PackReader *reader;
    Codec *codec;

    gboolean failed;
    gboolean rolled; /* the next batch is to begin a new pack */
    GArray *packs;   /* Pack, by id */
    guint64 next_id;
    GPtrArray *recovered; /* GBytes */
    GArray *changed;      /* PackInfo */

    gboolean writing, full; /* a batch */
    PackFile *file;         /* it goes to; kept for the next one */
    guint64 batch, at, chain;
    guint8 *gathered; /* for the frame that comes at `at` */
    gsize n_gathered;
    guint8 *out;
};

Packs *packs_new(int history_fd, const char *uuid, gboolean writable, GError **error);

Pack    *pack_at(const Packs *p, guint i);
gboolean pack_unlink(const Packs *p, guint64 id, GError **error);

G_END_DECLS
