#pragma once

/* Footer: what a prepared batch is for: says where all contents of its files are once it is done. */

#include <glib.h>

#include "store/view.h"

G_BEGIN_DECLS

#define FOOTER_FORMAT 1

typedef enum {
    FOOTER_APPLY, /* files with what apply makes of them         */
    FOOTER_MOVED, /* compaction: the points whose undo has moved */
} FooterKind;

struct FooterFile {
    guint64    id;
    char      *path;
    uid_t      principal;
    guint64    through;  /* the transactions up to here; 0: none (FOOTER_MOVED)               */
    guint64    before_bytes; /* size of the mirror's content before                           */
    guint32    suspicion;
    gint64     suspicion_since_usec;
    guint64    suspicion_point;
    Point     *current;  /* with no place of its own; NULL: none                              */
    GPtrArray *points;   /* Point: new, or changed; undo and whole set                        */
    GArray    *dropped;  /* guint64 ids: points that are none any more                        */
};
FooterFile *footer_file_new(const FileView *v); /* of its fresh points and dropped ones */
FooterFile *footer_file_copy(const FooterFile *f);
void        footer_file_free(FooterFile *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FooterFile, footer_file_free)

typedef struct Footer {
    FooterKind kind;
    GPtrArray *files; /* FooterFile */
} Footer;
Footer *footer_new(FooterKind kind);
void    footer_free(Footer *f);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Footer, footer_free)

GBytes *footer_encode(const Footer *f);
Footer *footer_decode(GBytes *bytes, GError **error); /* DAMAGED; FATAL: of a later format */

/* The same of one file alone. */
GBytes     *footer_file_encode(const FooterFile *f);
FooterFile *footer_file_decode(GBytes *bytes, GError **error);

G_END_DECLS
