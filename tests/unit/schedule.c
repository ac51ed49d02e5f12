/* schedule.c - the parent's part of a backup, among roles that only play theirs
 *
 * The program is its own watcher, copier and keeper, as filedupd is. They write down what they hear, and
 * answer as the files in the test's folder say: `now` holds the file's content, STORE/has what a store
 * has of it. A content is one letter, and its hash is that letter.
 */

#include "config.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/role.h"
#include "daemon/manager.h"
#include "daemon/round.h"
#include "daemon/target.h"
#include "tests/unit/unit.h"

#define FOLDER_VARIABLE "UNIT_ROLES"
#define LARGE           (1024 * 1024)

/* ---- the roles ---- */

static char *
in_folder(const char *name)
{
    return g_build_filename(g_getenv(FOLDER_VARIABLE), name, NULL);
}

static void write_down(const char *format, ...) G_GNUC_PRINTF(1, 2);

static void
write_down(const char *format, ...)
{
    g_autofree char *path = in_folder("heard");
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *line = g_strconcat(text, "\n", NULL);
    g_auto(Fd) fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    g_assert(write(fd, line, strlen(line)) == (gssize) strlen(line));
}

/* Its first letter, or 0. */
static char
letter_of(const char *folder, const char *name)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) ? text[0] : 0;
}

static GVariant *
hash_of(char letter)
{
    guint8 hash[HASH_BYTES];

    memset(hash, letter, sizeof hash);
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, hash, letter ? sizeof hash : 0, 1);
}

static char
letter_in(GVariant *hash)
{
    gsize n;
    const char *bytes = g_variant_get_fixed_array(hash, &n, 1);

    return n ? bytes[0] : '-';
}

static guint64
size_of_content(void)
{
    return g_getenv("UNIT_SIZE") ? g_ascii_strtoull(g_getenv("UNIT_SIZE"), NULL, 10) : LARGE;
}

static GVariant *
stat_of(char letter)
{
    FileStat stat = {.dev = 1,
                     .ino = 7,
                     .size_bytes = size_of_content(),
                     .mtime_ns = letter,
                     .ctime_ns = letter};

    return filestat_to_variant(&stat);
}

static GVariant *
nothing(void)
{
    return g_variant_new_fixed_array(G_VARIANT_TYPE_BYTE, NULL, 0, 1);
}

static void
say(Channel *c, MessageType type, GVariant *body, guint n_fds)
{
    g_auto(Fd) fd = fd_from_bytes("unit", "x", 1, NULL);
    int fds[3] = {fd, fd, fd};

    g_assert(channel_send(c, type, body, fds, n_fds, NULL));
}

static void
play_watcher(Channel *c, const Message *m)
{
    guint64 number;

    if (m->type != MESSAGE_DAEMON_WATCH && m->type != MESSAGE_DAEMON_DRAIN)
        return;
    g_variant_get_child(m->body, 0, "t", &number);
    if (m->type == MESSAGE_DAEMON_WATCH)
        say(c, MESSAGE_WATCHER_STATE,
            g_variant_new("(tuit)", number, (guint32) WATCH_ACTIVE, 0, (guint64) 0), 0);
    else
        say(c, MESSAGE_WATCHER_DRAINED, g_variant_new("(t)", number), 0);
}

static void
play_copier(Channel *c, const Message *m)
{
    char now = letter_of(g_getenv(FOLDER_VARIABLE), "now");
    guint64 job;

    g_variant_get_child(m->body, 0, "t", &job);
    if (m->type == MESSAGE_DAEMON_INSPECT) {
        say(c, MESSAGE_COPIER_INSPECTED,
            g_variant_new("(t@" MESSAGE_ERROR_TYPE "@ay@ayu@" FILESTAT_TYPE "ts)", job,
                          message_error_new(NULL, 0), path_to_variant("/"), path_to_variant("f"),
                          (guint32) INSPECT_REGULAR, stat_of(now), (guint64) 1, ""),
            0);
        return;
    }
    g_assert(m->type == MESSAGE_DAEMON_CAPTURE);
    g_autoptr(GVariant) hash = g_variant_get_child_value(m->body, 5);
    CaptureOutcome outcome = letter_in(hash) == now ? CAPTURE_UNCHANGED
                             : m->n_fds > 0         ? CAPTURE_RANGES
                                                    : CAPTURE_CONTENT;
    write_down("capture %c, recorded %c%s", now, letter_in(hash), m->n_fds ? ", with sums" : "");
    say(c, MESSAGE_COPIER_CAPTURED,
        g_variant_new("(tu@" MESSAGE_ERROR_TYPE "@" FILESTAT_TYPE "u@ay@ays)", job,
                      (guint32) outcome, message_error_new(NULL, 0), stat_of(now),
                      (guint32) QUALITY_STABLE, hash_of(now), nothing(), ""),
        outcome == CAPTURE_RANGES    ? 3
        : outcome == CAPTURE_CONTENT ? 2
                                     : 0);
}

static void
take_append(Channel *c, const char *store, const char *name, guint64 job, const Message *m)
{
    static guint64 sequence = 10;
    g_autoptr(GVariant) hash = g_variant_get_child_value(m->body, 5);
    g_autoptr(GVariant) base = g_variant_get_child_value(m->body, 10);
    g_autofree char *has = g_build_filename(store, "has", NULL);
    g_autofree char *damaged = g_build_filename(store, "damaged", NULL);
    g_autoptr(GError) error = NULL;
    char now[2] = {letter_in(hash), 0};
    guint32 kind;

    g_variant_get_child(m->body, 3, "u", &kind);
    write_down("%s: append %s %c, base %c", name,
               kind == APPEND_RANGES       ? "ranges"
               : kind == APPEND_CONTENT    ? "content"
               : kind == APPEND_ATTRIBUTES ? "attributes"
                                           : "?",
               now[0], letter_in(base));
    if (kind == APPEND_RANGES && letter_of(store, "damaged")) {
        (void) g_unlink(damaged);
        throw_error(&error, FILEDUP_ERROR_DAMAGED, "it has something else");
    } else {
        g_assert(g_file_set_contents(has, now, 1, NULL));
    }
    say(c, MESSAGE_KEEPER_DURABLE,
        g_variant_new("(t@" MESSAGE_ERROR_TYPE "txxu)", job, message_error_new(error, 0),
                      ++sequence, g_get_monotonic_time(), g_get_real_time(),
                      (guint32) (letter_of(store, "suspicious") == now[0] ? SUSPICION_EMPTIED : 0)),
        0);
}

static void
play_keeper(Channel *c, const char *store, const Message *m)
{
    g_autofree char *name = g_path_get_basename(store);
    char has = letter_of(store, "has");
    gboolean suspicious = has && letter_of(store, "suspicious") == has;
    const char *keep;
    guint32 last;
    guint64 job = 0;

    if (g_variant_n_children(m->body) > 0 && m->type != MESSAGE_DAEMON_POLICY)
        g_variant_get_child(m->body, 0, "t", &job);
    switch (m->type) {
    case MESSAGE_DAEMON_LOOKUP:
        write_down("%s: lookup", name);
        say(c, MESSAGE_KEEPER_FOUND,
            g_variant_new("(tu@" FILESTAT_TYPE "@ay@ayux@aytuxt)", job,
                          (guint32) (has ? STORED_CURRENT : STORED_NOTHING), stat_of(has),
                          hash_of(has), nothing(), (guint32) (has ? QUALITY_STABLE : QUALITY_NONE),
                          (gint64) 1000000, path_to_variant("m"), (guint64) 5,
                          (guint32) (suspicious ? SUSPICION_EMPTIED : 0),
                          (gint64) (suspicious ? 77 : 0), (guint64) (suspicious ? 3 : 0)),
            0);
        break;
    case MESSAGE_DAEMON_POLICY:
        g_variant_get(m->body, "(@ay&su)", NULL, &keep, &last);
        write_down("%s: policy %s last %u", name, keep, last);
        break;
    case MESSAGE_DAEMON_LIMIT:
        write_down("%s: limit %" G_GUINT64_FORMAT, name, job);
        break;
    case MESSAGE_DAEMON_SUMS:
        write_down("%s: sums", name);
        say(c, MESSAGE_KEEPER_SUMS,
            g_variant_new("(t@" MESSAGE_ERROR_TYPE "@ayt)", job, message_error_new(NULL, 0),
                          hash_of(has), size_of_content()),
            1);
        break;
    case MESSAGE_DAEMON_APPEND:
        take_append(c, store, name, job, m);
        break;
    case MESSAGE_DAEMON_VERIFY:
        write_down("%s: verify", name);
        if (letter_of(store, "slow"))
            say(c, MESSAGE_KEEPER_PROGRESS, g_variant_new("(tt)", job, (guint64) 1), 0);
        else
            say(c, MESSAGE_KEEPER_VERIFIED,
                g_variant_new("(t@" MESSAGE_ERROR_TYPE "t@a(tt)u@at)", job,
                              message_error_new(NULL, 0), (guint64) 42,
                              g_variant_new_array(G_VARIANT_TYPE("(tt)"), NULL, 0), 0,
                              g_variant_new_array(G_VARIANT_TYPE_UINT64, NULL, 0)),
                0);
        break;
    default:
        write_down("%s: %s", name, message_name(m->type));
    }
}

static int
play(const RoleArgs *args, Channel *channel)
{
    g_autoptr(Channel) c = channel;

    if (args->kind == ROLE_KEEPER)
        say(c, MESSAGE_KEEPER_OPENED,
            g_variant_new("(@" MESSAGE_ERROR_TYPE "stbs)", message_error_new(NULL, 0),
                          args->store_path, (guint64) 1, FALSE, ""),
            0);
    else
        say(c, MESSAGE_ROLE_READY, g_variant_new("()"), 0);
    for (;;) {
        g_autoptr(Message) m = channel_wait(c, -1, NULL);
        if (!m || m->type == MESSAGE_DAEMON_STOP)
            return 0;
        if (args->kind == ROLE_WATCHER)
            play_watcher(c, m);
        else if (args->kind == ROLE_COPIER)
            play_copier(c, m);
        else
            play_keeper(c, args->store_path, m);
    }
}

/* ---- the parent ---- */

static Settings *settings;
static Manager *manager;
static guint n_suspicious;

static void
on_durable(G_GNUC_UNUSED Entry *e, G_GNUC_UNUSED Store *store, G_GNUC_UNUSED guint64 sequence,
           G_GNUC_UNUSED gint64 stamp_usec, G_GNUC_UNUSED gpointer data)
{
}

static void
on_settled(G_GNUC_UNUSED gpointer data)
{
}

static GLogWriterOutput
on_log(GLogLevelFlags level, const GLogField *fields, gsize n, G_GNUC_UNUSED gpointer data)
{
    g_autofree char *text = g_log_writer_format_fields(level, fields, n, FALSE);

    n_suspicious += strstr(text, "a suspicious change") != NULL;
    return G_LOG_WRITER_HANDLED;
}

static void
set(const char *name, char letter)
{
    g_autofree char *path = unit_path(name);
    g_autofree char *folder = g_path_get_dirname(path);

    (void) g_mkdir_with_parents(folder, 0700);
    unit_write(path, &letter, 1);
}

static Entry *
entry(void)
{
    return manager_find(manager, "/unit/f");
}

/* With the row and its stores ("a", or "a" and "b"), until its backup is current. */
static void
start(gboolean two_stores)
{
    static const ManagerEvents events = {on_durable, on_settled};
    g_autofree char *path = unit_path("filedupd.conf"), *state = unit_path("state");
    g_autofree char *a = unit_path("a"), *b = unit_path("b");
    g_autoptr(GError) error = NULL;
    g_autofree char *text = g_strdup_printf(
        "stores = ({ name = \"a\"; path = \"%s\"; max-size = \"1M\"; },"
        " { name = \"b\"; path = \"%s\"; });\n"
        "entries = ({ path = \"/unit/f\"; backup = \"on-close\"; recover = \"manual\";"
        " to = [ \"a\"%s ]; keep = \"3h\"; keep-last = 2; });",
        a, b, two_stores ? ", \"b\"" : "");

    g_setenv(FOLDER_VARIABLE, unit_folder(), TRUE);
    unit_write(path, text, -1);
    (void) g_mkdir_with_parents(state, 0700);
    (void) g_mkdir_with_parents(a, 0700);
    (void) g_mkdir_with_parents(b, 0700);
    n_suspicious = 0;
    settings = settings_load(FALSE, path, &error);
    UNIT_NO_ERROR(error);
    manager = manager_new(settings, FALSE, &events, NULL, &error);
    UNIT_NO_ERROR(error);
}

static void
end(void)
{
    manager_stop(manager);
    while (!manager_is_stopped(manager))
        g_main_context_iteration(NULL, TRUE);
    g_clear_pointer(&manager, manager_free);
    g_clear_pointer(&settings, settings_free);
}

static gboolean
on_late(gpointer data)
{
    *(gboolean *) data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Everything the stores' next answers could tell is known. */
static void
until_current(void)
{
    const char *why;
    gboolean late = FALSE;
    guint timer = g_timeout_add_seconds(60, on_late, &late);

    while (!late && !(schedule_is_current(entry(), entry()->generation, &why) &&
                      !entry()->transfer && ((Target *) entry()->targets->pdata[0])->known))
        g_main_context_iteration(NULL, TRUE);
    CU_ASSERT_FALSE_FATAL(late);
    g_source_remove(timer);
}

/* The file has another content. */
static void
change(char letter)
{
    set("now", letter);
    entry()->not_before_usec = 0;
    schedule_touch(manager_schedule(manager), entry());
    until_current();
}

static char *
heard(void)
{
    g_autofree char *path = unit_path("heard");
    char *text = NULL;

    (void) g_file_get_contents(path, &text, NULL, NULL);
    (void) g_unlink(path);
    return text ? text : g_strdup("");
}

static gboolean
is_of_no_change(const char *line)
{
    const char *capture = g_str_has_prefix(line, "capture ") ? line + strlen("capture ") : NULL;

    return capture && capture[0] == capture[strlen("A, recorded ")];
}

/* Captures that found a change, and appends. */
static char *
changes(void)
{
    g_autofree char *all = heard();
    g_auto(GStrv) lines = g_strsplit(all, "\n", -1);
    GString *text = g_string_new(NULL);

    for (char **line = lines; *line; line++)
        if (strstr(*line, "append") || (strstr(*line, "capture") && !is_of_no_change(*line)))
            g_string_append_printf(text, "%s\n", *line);
    return g_string_free(text, FALSE);
}

static void
expect_changes(const char *expected)
{
    g_autofree char *text = changes();

    if (!g_str_equal(text, expected))
        g_printerr("    heard:\n%s", text);
    CU_ASSERT_STRING_EQUAL(text, expected);
}

/* ---- tests ---- */

static void
of_a_large_file_that_a_store_has_only_what_changed_is_sent(void)
{
    set("a/has", 'A');
    set("now", 'A');
    start(FALSE);
    until_current();
    expect_changes("");
    change('B');
    expect_changes("capture B, recorded A, with sums\na: append ranges B, base A\n");
    change('C');
    expect_changes("capture C, recorded B, with sums\na: append ranges C, base B\n");
    end();
}

static void
a_small_file_and_a_first_backup_are_sent_whole(void)
{
    set("now", 'A');
    start(FALSE);
    until_current();
    expect_changes("capture A, recorded -\na: append content A, base -\n");
    end();

    g_setenv("UNIT_SIZE", "262144", TRUE);
    set("a/has", 'A');
    set("now", 'B');
    start(FALSE);
    until_current();
    expect_changes("capture B, recorded A\na: append content B, base -\n");
    end();
    g_unsetenv("UNIT_SIZE");
}

static void
a_store_that_has_not_what_was_to_be_changed_gets_the_whole(void)
{
    set("a/has", 'A');
    set("a/damaged", '!');
    set("now", 'B');
    start(FALSE);
    until_current();
    expect_changes("capture B, recorded A, with sums\na: append ranges B, base A\n"
                   "capture B, recorded A\na: append content B, base -\n");
    change('C');
    expect_changes("capture C, recorded B, with sums\na: append ranges C, base B\n");
    end();
}

static void
stores_with_different_contents_each_get_what_they_lack(void)
{
    set("a/has", 'A');
    set("b/has", 'B');
    set("now", 'C');
    start(TRUE);
    until_current();
    g_autofree char *text = changes();
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "a: append ranges C, base A\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "b: append ranges C, base B\n"));
    CU_ASSERT_PTR_NULL(strstr(text, "content"));
    change('D'); /* now they are alike: the file is read once */
    g_autofree char *again = changes();
    CU_ASSERT_PTR_NOT_NULL(strstr(again, "a: append ranges D, base C\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(again, "b: append ranges D, base C\n"));
    const char *first = strstr(again, "capture");
    CU_ASSERT_PTR_NOT_NULL_FATAL(first);
    CU_ASSERT_PTR_NULL(strstr(first + 1, "capture"));
    end();
}

static void
a_store_hears_its_limit_and_the_policy_and_what_becomes_of_them(void)
{
    set("a/has", 'A');
    set("now", 'A');
    start(FALSE);
    until_current();
    g_autofree char *text = heard();
    CU_ASSERT_TRUE(g_str_has_prefix(text, "a: limit 1048576\n") ||
                   strstr(text, "\na: limit 1048576\n") != NULL);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "a: lookup\na: policy 3h last 2\n"));
    entry()->row->keep_last = 9;
    targets_tell_policy(entry());
    store_set_limit(stores_find(manager_stores(manager), "a"), 5);
    change('B');
    g_autofree char *again = heard();
    CU_ASSERT_PTR_NOT_NULL(strstr(again, "a: policy 3h last 9\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(again, "a: limit 5\n"));
    end();
}

static void
a_suspicion_is_told_once_and_learnt_in_full(void)
{
    set("a/has", 'A');
    set("a/suspicious", 'B');
    set("now", 'A');
    start(FALSE);
    until_current();
    CU_ASSERT_EQUAL(n_suspicious, 0);
    change('B');
    const Target *t = entry()->targets->pdata[0];
    CU_ASSERT_EQUAL(n_suspicious, 1);
    CU_ASSERT_EQUAL(t->suspicion, SUSPICION_EMPTIED);
    CU_ASSERT_EQUAL(t->suspicious_usec, 77);
    CU_ASSERT_EQUAL(t->good_point, 3);
    ((Target *) entry()->targets->pdata[0])->known = FALSE; /* it is asked again */
    entry()->not_before_usec = 0;
    schedule_touch(manager_schedule(manager), entry());
    until_current();
    CU_ASSERT_EQUAL(n_suspicious, 1);
    end();

    start(FALSE); /* after a restart it is there */
    until_current();
    CU_ASSERT_EQUAL(((const Target *) entry()->targets->pdata[0])->suspicion, SUSPICION_EMPTIED);
    end();
}

static void
a_backup_is_behind_from_the_reason_to_look_until_it_is_durable(void)
{
    set("a/has", 'A');
    set("now", 'A');
    start(FALSE);
    CU_ASSERT_NOT_EQUAL(targets_behind_usec(entry()), 0);
    until_current();
    CU_ASSERT_EQUAL(targets_behind_usec(entry()), 0);
    gint64 before = g_get_real_time();
    set("now", 'B');
    entry()->not_before_usec = G_MAXINT64; /* nobody looks yet */
    schedule_touch(manager_schedule(manager), entry());
    gint64 since = targets_behind_usec(entry());
    CU_ASSERT_TRUE(since >= before && since <= g_get_real_time());
    schedule_touch(manager_schedule(manager), entry());
    CU_ASSERT_EQUAL(targets_behind_usec(entry()), since);
    change('B');
    CU_ASSERT_EQUAL(targets_behind_usec(entry()), 0);
    end();
}

static void
what_is_current_has_its_next_look_armed(void)
{
    set("a/has", 'A');
    set("now", 'A');
    start(FALSE);
    until_current();
    CU_ASSERT_NOT_EQUAL(entry()->timer, 0);
    change('B');
    CU_ASSERT_NOT_EQUAL(entry()->timer, 0);
    end();
}

/* ---- rounds ---- */

static GString *answers;

static GVariant *
ask(guint64 job, const RoundPart *part, G_GNUC_UNUSED gpointer data)
{
    return g_variant_new("(t@ayb)", job, path_to_variant(part->path), FALSE);
}

static gboolean
answered(const RoundPart *part, Message *m, const GError *error, G_GNUC_UNUSED gpointer data)
{
    guint64 bytes = 0;

    if (m)
        g_variant_get_child(m->body, 2, "t", &bytes);
    g_string_append_printf(answers, "%s: %" G_GUINT64_FORMAT "%s\n", part->store, bytes,
                           error ? " and an error" : "");
    return TRUE;
}

static void
done(gpointer data)
{
    *(gboolean *) data = TRUE;
}

static const RoundFuncs verify = {MESSAGE_DAEMON_VERIFY, ask, answered, done};

static void
a_round_asks_each_store_in_turn_and_notes_the_one_that_is_not_there(void)
{
    gboolean over = FALSE;

    set("a/has", 'A');
    set("b/has", 'A');
    set("now", 'A');
    start(TRUE);
    until_current();
    answers = g_string_new(NULL);
    Round *r = round_new(manager, &verify, &over);
    round_add(r, "/unit/f", "nowhere");
    round_add_entry(r, entry(), "", FALSE);
    round_add_entry(r, entry(), "b", FALSE);
    round_add(r, "/unit/f", "nowhere");
    round_go_on(r);
    while (!over)
        g_main_context_iteration(NULL, TRUE);
    CU_ASSERT_STRING_EQUAL(
        answers->str, "nowhere: 0 and an error\na: 42\nb: 42\nb: 42\nnowhere: 0 and an error\n");
    g_string_free(answers, TRUE);
    end();
}

static void
a_store_hears_that_nobody_waits_any_more(void)
{
    gboolean over = FALSE;

    set("a/has", 'A');
    set("a/slow", '!');
    set("now", 'A');
    start(FALSE);
    until_current();
    answers = g_string_new(NULL);
    Round *r = round_new(manager, &verify, &over);
    round_add_entry(r, entry(), "", FALSE);
    round_go_on(r);
    round_cancel(r);
    change('B'); /* what the keeper hears after it */
    g_autofree char *text = heard();
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "a: verify\na: DAEMON_CANCEL\n"));
    CU_ASSERT_FALSE(over);
    CU_ASSERT_EQUAL(answers->len, 0);
    g_string_free(answers, TRUE);
    end();
}

static const UnitTest tests[] = {
    UNIT_TEST(of_a_large_file_that_a_store_has_only_what_changed_is_sent),
    UNIT_TEST(a_small_file_and_a_first_backup_are_sent_whole),
    UNIT_TEST(a_store_that_has_not_what_was_to_be_changed_gets_the_whole),
    UNIT_TEST(stores_with_different_contents_each_get_what_they_lack),
    UNIT_TEST(a_store_hears_its_limit_and_the_policy_and_what_becomes_of_them),
    UNIT_TEST(a_suspicion_is_told_once_and_learnt_in_full),
    UNIT_TEST(a_backup_is_behind_from_the_reason_to_look_until_it_is_durable),
    UNIT_TEST(what_is_current_has_its_next_look_armed),
    UNIT_TEST(a_round_asks_each_store_in_turn_and_notes_the_one_that_is_not_there),
    UNIT_TEST(a_store_hears_that_nobody_waits_any_more),
};

int
main(int argc, char **argv)
{
    RoleArgs args;

    if (role_parse(argc, argv, &args))
        return play(&args, role_begin(&args));
    g_log_set_writer_func(on_log, NULL, NULL);
    return unit_main("schedule", tests, G_N_ELEMENTS(tests));
}
