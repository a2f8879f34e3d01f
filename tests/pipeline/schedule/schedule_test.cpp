#include "pipeline/schedule/schedule.hpp"

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

struct Rejected {
    const char* text;
    const char* where;   ///< line
    const char* problem; ///< must be in the message: the token
};

} // namespace

BOOST_AUTO_TEST_SUITE(schedule)

BOOST_AUTO_TEST_CASE(one_f_one_b_as_in_the_header)
{
    BOOST_TEST(text_of(make_1f1b(2, 4)) == "ranks 2 chunks 2 microbatches 4\n"
                                           "0: 0F0 0F1 0B0 0F2 0B1 0F3 0B2 0B3 O\n"
                                           "1: 1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3 O\n");
}

BOOST_AUTO_TEST_CASE(one_f_one_b_with_extra_warmup)
{
    BOOST_TEST(text_of(make_1f1b(2, 4, 1)) == "ranks 2 chunks 2 microbatches 4\n"
                                              "0: 0F0 0F1 0F2 0B0 0F3 0B1 0B2 0B3 O\n"
                                              "1: 1F0 1B0 1F1 1B1 1F2 1B2 1F3 1B3 O\n");
}

BOOST_AUTO_TEST_CASE(gpipe)
{
    BOOST_TEST(text_of(make_gpipe(2, 3)) == "ranks 2 chunks 2 microbatches 3\n"
                                            "0: 0F0 0F1 0F2 0B0 0B1 0B2 O\n"
                                            "1: 1F0 1F1 1F2 1B0 1B1 1B2 O\n");
}

BOOST_AUTO_TEST_CASE(one_rank_and_one_microbatch)
{
    BOOST_TEST(text_of(make_1f1b(1, 2)) == "ranks 1 chunks 1 microbatches 2\n"
                                           "0: 0F0 0B0 0F1 0B1 O\n");
    BOOST_TEST(text_of(make_1f1b(3, 1, 5)) == "ranks 3 chunks 3 microbatches 1\n"
                                              "0: 0F0 0B0 O\n1: 1F0 1B0 O\n2: 2F0 2B0 O\n");
    BOOST_CHECK(with_communication(make_1f1b(1, 2)) == make_1f1b(1, 2));
}

BOOST_AUTO_TEST_CASE(communication_stands_where_it_should)
{
    BOOST_TEST(text_of(with_communication(make_1f1b(2, 2))) ==
               "ranks 2 chunks 2 microbatches 2\n"
               "0: 0F0 0SA0 0RG0 0F1 0SA1 0RG1 0B0 0B1 O\n"
               "1: 1RA0 1F0 1RA1 1B0 1SG0 1F1 1B1 1SG1 O\n");
    BOOST_TEST(text_of(with_communication(make_1f1b(2, 2), 0)) ==
               "ranks 2 chunks 2 microbatches 2\n"
               "0: 0F0 0SA0 0F1 0SA1 0RG0 0B0 0RG1 0B1 O\n"
               "1: 1RA0 1F0 1B0 1SG0 1RA1 1F1 1B1 1SG1 O\n");
    BOOST_TEST(text_of(with_communication(make_gpipe(2, 2), 9)) ==
               "ranks 2 chunks 2 microbatches 2\n"
               "0: 0RG0 0RG1 0F0 0SA0 0F1 0SA1 0B0 0B1 O\n"
               "1: 1RA0 1RA1 1F0 1F1 1B0 1SG0 1B1 1SG1 O\n");
}

BOOST_AUTO_TEST_CASE(nothing_travels_between_chunks_of_one_rank)
{
    // A V: rank 0 has the first and the last chunk, rank 1 the two between.
    const Schedule v = parse_schedule("ranks 2 chunks 4 microbatches 1\n"
                                      "0: 0F0 3F0 3I0 3W0 0I0 0W0 O\n"
                                      "1: 1F0 2F0 2I0 2W0 1I0 1W0 O\n",
                                      "v");
    BOOST_TEST(text_of(with_communication(v)) ==
               "ranks 2 chunks 4 microbatches 1\n"
               "0: 3RA0 0F0 0SA0 3F0 3I0 3SG0 0RG0 3W0 0I0 0W0 O\n"
               "1: 1RA0 1F0 2RG0 2F0 2SA0 2I0 2W0 1I0 1SG0 1W0 O\n");
    BOOST_CHECK_THROW(with_communication(with_communication(v)), InvariantError);
}

BOOST_AUTO_TEST_CASE(text_and_back)
{
    for (std::int32_t ranks : {1, 2, 5})
        for (std::int32_t microbatches : {1, 2, 13})
            for (const Schedule& schedule :
                 {make_gpipe(ranks, microbatches), make_1f1b(ranks, microbatches, 2)}) {
                BOOST_CHECK(parse_schedule(text_of(schedule), "s") == schedule);
                const Schedule lowered = with_communication(schedule);
                BOOST_CHECK(parse_schedule(text_of(lowered), "s") == lowered);
            }
}

BOOST_AUTO_TEST_CASE(comments_blanks_and_line_ends)
{
    const Schedule schedule = parse_schedule("# made by hand\n\n"
                                             " ranks 2\tchunks 2 microbatches 1 # sizes\r\n"
                                             "1: 1F0 1B0 O\r\n"
                                             "   # nothing\n"
                                             "0:  0F0   0B0 O",
                                             "s");
    BOOST_CHECK(schedule == make_gpipe(2, 1));
}

BOOST_AUTO_TEST_CASE(mistakes_name_line_and_token)
{
    const Rejected table[] = {
        {"", "s:0", "no schedule"},
        {"# only\n", "s:1", "no schedule"},
        {"0: 0F0", "s:1", "'0:'"},
        {"ranks 2 chunks 2\n", "s:1", "'microbatches'"},
        {"ranks two chunks 2 microbatches 1\n", "s:1", "'two'"},
        {"ranks 0 chunks 1 microbatches 1\n", "s:1", "'0' behind 'ranks'"},
        {"ranks 9999999 chunks 1 microbatches 1\n", "s:1", "'9999999'"},
        {"ranks 1000000 chunks 1 microbatches 1\n0: 0F0\n", "s:1",
         "1000000 ranks and only 7 bytes"},
        {"ranks 1 chunks 1000000 microbatches 1\n0: 0F0\n", "s:1", "1000000 chunks and only 7"},
        {"ranks 1 chunks 1 microbatches 99999999999\n", "s:1", "'99999999999'"},
        {"ranks 1 chunks 1 microbatches 1 0:\n", "s:1", "'0:'"},
        {"ranks 1 chunks 1 microbatches 1\n\nO 0F0\n", "s:3", "'O'"},
        {"ranks 1 chunks 1 microbatches 1\n1: 0F0\n", "s:2", "rank 1 of 1"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F0\n0: 0B0\n", "s:3", "second line"},
        {"ranks 2 chunks 1 microbatches 1\n0: 0F0\n", "s:2", "rank 1 has no line"},
        {"ranks 1 chunks 2 microbatches 1\n0: 0F0\n", "s:2", "chunk 1 has no action"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F0 0X0\n", "s:2", "'0X0' on rank 0"},
        {"ranks 1 chunks 1 microbatches 1\n0: F0\n", "s:2", "'F0'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F\n", "s:2", "'0F'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F0x\n", "s:2", "'0F0x'"},
        {"ranks 1 chunks 1 microbatches 1\n0: -1F0\n", "s:2", "'-1F0'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 1F0\n", "s:2", "'1F0'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F1\n", "s:2", "'0F1'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0F99999999999\n", "s:2", "'0F99999999999'"},
        {"ranks 1 chunks 1 microbatches 1\n0: 0o0\n", "s:2", "'0o0'"},
        {"ranks 2 chunks 1 microbatches 1\n0: 0F0\n1: 0B0\n", "s:3", "'0B0' on rank 1"},
    };
    for (const Rejected& row : table)
        BOOST_CHECK_EXCEPTION(parse_schedule(row.text, "s"), UserError,
                              [&](const UserError& error) {
                                  BOOST_TEST_MESSAGE(error.what());
                                  BOOST_TEST(error.where() == row.where);
                                  BOOST_TEST(error.problem().find(row.problem) != std::string::npos,
                                             error.problem() << " lacks " << row.problem);
                                  return error.code() == ExitCode::usage && !error.remedy().empty();
                              });
}

BOOST_AUTO_TEST_SUITE_END()
