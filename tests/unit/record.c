/* Record headers: what is valid. */

#include "config.h"

#include <string.h>

#include "store/record.h"
#include "tests/unit/unit.h"

static const Record sample = {
    .type = RECORD_DATA,
    .flags = 0,
    .seq = G_GUINT64_CONSTANT(0x1122334455667788),
    .incarnation = 7,
    .epoch = 3,
    .file = 42,
    .time_usec = G_GINT64_CONSTANT(1700000000123456),
    .offset = 65536,
    .length = 1000,
    .payload_bytes = 1000,
    .pad_bytes = 0,
    .payload_sum = 99,
    .chain = G_GUINT64_CONSTANT(0xdeadbeefcafef00d),
    .durable_through = 12,
};

static void
a_header_comes_back_as_it_was_written(void)
{
    guint8 header[RECORD_HEADER_BYTES];
    Record back;
    guint64 sum;

    guint64 written = record_encode(&sample, 5, header);
    CU_ASSERT_TRUE_FATAL(record_decode(header, 5, &back, &sum));
    CU_ASSERT_EQUAL(sum, written);
    CU_ASSERT_EQUAL(back.type, sample.type);
    CU_ASSERT_EQUAL(back.seq, sample.seq);
    CU_ASSERT_EQUAL(back.incarnation, sample.incarnation);
    CU_ASSERT_EQUAL(back.epoch, sample.epoch);
    CU_ASSERT_EQUAL(back.file, sample.file);
    CU_ASSERT_EQUAL(back.time_usec, sample.time_usec);
    CU_ASSERT_EQUAL(back.offset, sample.offset);
    CU_ASSERT_EQUAL(back.length, sample.length);
    CU_ASSERT_EQUAL(back.payload_bytes, sample.payload_bytes);
    CU_ASSERT_EQUAL(back.payload_sum, sample.payload_sum);
    CU_ASSERT_EQUAL(back.chain, sample.chain);
    CU_ASSERT_EQUAL(back.durable_through, sample.durable_through);
}

static void
a_header_is_laid_out_as_documented(void)
{
    guint8 header[RECORD_HEADER_BYTES];

    (void) record_encode(&sample, 5, header);
    CU_ASSERT_EQUAL(memcmp(header, "FDJR", 4), 0);
    CU_ASSERT_EQUAL(header[4], RECORD_DATA);
    CU_ASSERT_EQUAL(header[8], 0x88); /* little-endian */
    CU_ASSERT_EQUAL(header[15], 0x11);
    CU_ASSERT_EQUAL(header[72], 0x0d);
}

static void
a_header_with_any_bit_changed_is_invalid(void)
{
    guint8 header[RECORD_HEADER_BYTES];
    Record back;
    guint64 sum;

    (void) record_encode(&sample, 5, header);
    for (guint bit = 0; bit < RECORD_HEADER_BYTES * 8; bit++) {
        header[bit / 8] ^= (guint8) (1 << bit % 8);
        CU_ASSERT_FALSE(record_decode(header, 5, &back, &sum));
        header[bit / 8] ^= (guint8) (1 << bit % 8);
    }
    CU_ASSERT_TRUE(record_decode(header, 5, &back, &sum));
}

static void
a_header_written_under_another_salt_is_invalid(void)
{
    guint8 header[RECORD_HEADER_BYTES];
    Record back;
    guint64 sum;

    (void) record_encode(&sample, 5, header);
    CU_ASSERT_FALSE(record_decode(header, 6, &back, &sum));
}

static const UnitTest tests[] = {
    UNIT_TEST(a_header_comes_back_as_it_was_written),
    UNIT_TEST(a_header_is_laid_out_as_documented),
    UNIT_TEST(a_header_with_any_bit_changed_is_invalid),
    UNIT_TEST(a_header_written_under_another_salt_is_invalid),
};
UNIT_MAIN("record", tests)
