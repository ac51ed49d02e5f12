/* Views: what transactions mean, and what giving up points does. */

#include "config.h"

#include <string.h>

#include "store/view.h"
#include "tests/unit/unit.h"

static Transaction *
transaction(guint64 seq, AppendKind kind, PointCause cause, Quality quality)
{
    Transaction *t = g_new0(Transaction, 1);

    t->capture = (Capture){.file = 7,
                           .path = g_strdup("/f"),
                           .kind = kind,
                           .cause = cause,
                           .quality = quality,
                           .size_bytes = 100};
    t->extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    t->first_seq = seq - 1;
    t->seq = seq;
    t->time_usec = (gint64) seq * 1000;
    return t;
}

static GPtrArray *
transactions_new(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify) transaction_free);
}

static void
add(GPtrArray *list, AppendKind kind, PointCause cause, Quality quality)
{
    g_ptr_array_add(list, transaction(10 * (list->len + 1), kind, cause, quality));
}

/* Ids of the points, then of the current content, as text. */
static char *
shape(const FileView *v)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < v->points->len; i++)
        g_string_append_printf(text, "%" G_GUINT64_FORMAT " ",
                               ((const Point *) v->points->pdata[i])->id);
    if (v->current)
        g_string_append_printf(text, "[%" G_GUINT64_FORMAT "]", v->current->id);
    return g_string_free(text, FALSE);
}

static void
stable_contents_stay_and_fuzzy_ones_are_merged_away(void)
{
    g_autoptr(GPtrArray) list = transactions_new();
    g_autoptr(FileView) v = view_new("/f");

    add(list, APPEND_CONTENT, CAUSE_FIRST, QUALITY_STABLE);
    add(list, APPEND_RANGES, CAUSE_CLOSE, QUALITY_FUZZY);
    add(list, APPEND_RANGES, CAUSE_CLOSE, QUALITY_STABLE);
    add(list, APPEND_CONTENT, CAUSE_BEFORE_RESTORE, QUALITY_FUZZY);
    add(list, APPEND_RANGES, CAUSE_CLOSE, QUALITY_FUZZY);
    add(list, APPEND_DELETE, CAUSE_CLOSE, QUALITY_STABLE);
    add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_STABLE);
    view_fold(v, list);
    g_autofree char *text = shape(v);
    CU_ASSERT_STRING_EQUAL(text, "10 30 40 50 [70]");
    CU_ASSERT_EQUAL(view_point(v, 50)->cause, CAUSE_DELETED);
    CU_ASSERT_EQUAL(view_point(v, 50)->deleted_usec, 60000);
    CU_ASSERT_EQUAL(v->journalled->len, 5);
    view_fold(v, list); /* once more changes nothing */
    g_autofree char *again = shape(v);
    CU_ASSERT_STRING_EQUAL(again, text);
}

static void
the_stable_content_before_a_fuzzy_one_is_kept_until_the_next(void)
{
    g_autoptr(GPtrArray) list = transactions_new();
    g_autoptr(FileView) v = view_new("/f");

    add(list, APPEND_CONTENT, CAUSE_FIRST, QUALITY_STABLE);
    add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_STABLE);
    add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_FUZZY);
    add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_FUZZY);
    view_fold(v, list);
    CU_ASSERT_EQUAL(view_point(v, 10)->kept, 0);
    CU_ASSERT_EQUAL(view_point(v, 20)->kept, KEPT_STABLE);
    CU_ASSERT_EQUAL(view_stable_point(v), 20);
    add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_STABLE);
    view_fold(v, list);
    CU_ASSERT_EQUAL(view_point(v, 20)->kept, 0);
    CU_ASSERT_EQUAL(view_stable_point(v), 0);
}

static void
a_time_leads_to_the_content_that_was_the_newest_then(void)
{
    g_autoptr(GPtrArray) list = transactions_new();
    g_autoptr(FileView) v = view_new("/f");

    for (guint i = 0; i < 3; i++)
        add(list, APPEND_CONTENT, CAUSE_CLOSE, QUALITY_STABLE);
    add(list, APPEND_CONTENT, CAUSE_BEFORE_RESTORE, QUALITY_STABLE);
    view_fold(v, list);
    CU_ASSERT_PTR_NULL(view_point_at(v, 9999));
    CU_ASSERT_EQUAL(view_point_at(v, 10000)->id, 10);
    CU_ASSERT_EQUAL(view_point_at(v, 29999)->id, 20);
    CU_ASSERT_EQUAL(view_point_at(v, 30000)->id, 30);
    CU_ASSERT_EQUAL(view_point_at(v, 90000)->id, 30); /* what is beside the chain never was it */
    CU_ASSERT_EQUAL(view_newer(v, view_point(v, 10))->id, 20);
    CU_ASSERT_EQUAL(view_newer(v, view_point(v, 20))->id, 30);
    CU_ASSERT_PTR_NULL(view_newer(v, v->current));
    CU_ASSERT_EQUAL(view_older(v, v->current)->id, 20);
    CU_ASSERT_PTR_NULL(view_older(v, view_point(v, 10)));
}

/* A point as the catalog has it; whole 0: in undo, with a piece of its own. */
static void
add_point(FileView *v, guint64 id, guint64 whole)
{
    Point *p = g_new0(Point, 1);
    Piece piece = {.offset = id, .length = 1, .kind = PIECE_ZERO};

    p->id = id;
    p->size_bytes = 100;
    p->cause = CAUSE_CLOSE;
    p->place = whole ? POINT_IN_HISTORY : POINT_IN_UNDO;
    p->whole = whole;
    p->undo = whole ? NULL : undo_new(100);
    if (p->undo)
        undo_add(p->undo, &piece);
    g_ptr_array_add(v->points, p);
}

static void
what_started_from_a_point_starts_from_what_that_started_from(void)
{
    g_autoptr(FileView) v = view_new("/f");

    add_point(v, 10, 0);
    add_point(v, 20, 0);
    add_point(v, 30, 30);
    add_point(v, 40, 0);
    view_drop(v, view_point(v, 30));
    const Point *p = view_point(v, 20);
    CU_ASSERT_EQUAL(p->place, POINT_IN_HISTORY);
    CU_ASSERT_EQUAL(p->whole, 30);
    CU_ASSERT_EQUAL(p->undo->pieces->len, 1);
    CU_ASSERT_TRUE(p->fresh);
    g_autoptr(GArray) used = view_unused_wholes(v);
    CU_ASSERT_EQUAL(used->len, 0);
    view_drop(v, view_point(v, 20));
    p = view_point(v, 10);
    CU_ASSERT_EQUAL(p->whole, 30);
    CU_ASSERT_EQUAL(p->undo->pieces->len, 2); /* both pieces */
    view_drop(v, view_point(v, 10));
    g_autoptr(GArray) unused = view_unused_wholes(v);
    CU_ASSERT_EQUAL_FATAL(unused->len, 1);
    CU_ASSERT_EQUAL(g_array_index(unused, guint64, 0), 30);
    g_autofree char *text = shape(v);
    CU_ASSERT_STRING_EQUAL(text, "40 ");
    CU_ASSERT_FALSE(view_point(v, 40)->fresh);
}

static void
a_point_beside_the_chain_goes_alone(void)
{
    g_autoptr(FileView) v = view_new("/f");

    add_point(v, 10, 0);
    add_point(v, 20, 20);
    ((Point *) v->points->pdata[1])->cause = CAUSE_BEFORE_RESTORE;
    add_point(v, 30, 0);
    CU_ASSERT_EQUAL(view_newer(v, view_point(v, 10))->id, 30);
    view_drop(v, view_point(v, 20));
    CU_ASSERT_FALSE(view_point(v, 10)->fresh);
    CU_ASSERT_EQUAL(view_point(v, 10)->place, POINT_IN_UNDO);
}

static const UnitTest tests[] = {
    UNIT_TEST(stable_contents_stay_and_fuzzy_ones_are_merged_away),
    UNIT_TEST(the_stable_content_before_a_fuzzy_one_is_kept_until_the_next),
    UNIT_TEST(a_time_leads_to_the_content_that_was_the_newest_then),
    UNIT_TEST(what_started_from_a_point_starts_from_what_that_started_from),
    UNIT_TEST(a_point_beside_the_chain_goes_alone),
};
UNIT_MAIN("view", tests)
