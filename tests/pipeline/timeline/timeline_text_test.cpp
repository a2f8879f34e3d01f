#include "pipeline/timeline/timeline_text.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <sstream>

using namespace sluice;

namespace {

std::vector<std::string> lines_of(const Schedule& schedule, const ChunkCosts& costs,
                                  const TimelineTextOptions& options = {})
{
    const std::vector<ChunkCosts> alike(static_cast<std::size_t>(schedule.num_chunks), costs);
    std::istringstream text(timeline_text(schedule, simulate(schedule, alike), options));
    std::vector<std::string> lines;
    for (std::string line; std::getline(text, line);)
        lines.push_back(line);
    return lines;
}

} // namespace

BOOST_AUTO_TEST_SUITE(timeline_text)

BOOST_AUTO_TEST_CASE(small_ones_carry_their_micro_batches)
{
    // 9 seconds, of which 30 columns make 3 each.
    const auto lines = lines_of(make_1f1b(2, 2), {1.0, 1.0, 1.0, 0.0}, {.columns = 38});
    BOOST_REQUIRE(lines.size() == 3u);
    BOOST_TEST(lines[0] == "rank 0 |F0-F1-......B0----...B1----");
    BOOST_TEST(lines[1] == "rank 1 |...F0-B0----F1-B1----......");
    BOOST_TEST(lines[2] == "        9.00 s in all; one column is 333 ms");
}

BOOST_AUTO_TEST_CASE(chunks_of_a_rank_differ_in_case)
{
    const Schedule v = parse_schedule("ranks 1 chunks 2 microbatches 1\n"
                                      "0: 0F0 1F0 1I0 1W0 0I0 0W0 O\n",
                                      "v");
    BOOST_TEST(lines_of(v, {1.0, 1.0, 1.0, 0.0}, {.columns = 20})[0] == "rank 0 |F0f0i0w0I0W0");
}

// Twice as much time backward as forward is twice as many letters, even where an action is far
// shorter than a column.
BOOST_AUTO_TEST_CASE(large_ones_show_shares_of_time)
{
    const auto lines = lines_of(make_1f1b(2, 1000), {1.0, 1.0, 1.0, 0.0});
    for (const std::string& line : {lines[0], lines[1]}) {
        BOOST_TEST(line.size() <= 80u);
        const auto forwards = std::count(line.begin(), line.end(), 'F');
        const auto backwards = std::count(line.begin(), line.end(), 'B');
        BOOST_TEST(std::abs(backwards - 2 * forwards) <= 2);
        BOOST_TEST(forwards + backwards >= 71);
    }
}

BOOST_AUTO_TEST_CASE(every_size_fits_the_terminal)
{
    for (const std::int32_t ranks : {1, 2, 7, 33, 100})
        for (const std::int32_t microbatches : {1, 3, 50})
            for (const ChunkCosts& costs :
                 {ChunkCosts{1.0, 1.0, 1.0, 0.3}, ChunkCosts{1e-4, 2.7e-4, 1.1e-4, 0.0}}) {
                const auto lines = lines_of(make_1f1b(ranks, microbatches), costs);
                for (const std::string& line : lines)
                    BOOST_TEST(line.size() <= 80u);
                BOOST_TEST(lines.size() == (ranks > 32 ? 34u : static_cast<unsigned>(ranks) + 1u));
            }
    const auto lines = lines_of(make_1f1b(100, 1), {1.0, 1.0, 1.0, 0.0});
    BOOST_TEST(lines[0].starts_with("rank  0 |"));
    BOOST_TEST(lines[31].starts_with("rank 99 |"));
    BOOST_TEST(lines[33] == "         32 of 100 ranks");
}

BOOST_AUTO_TEST_SUITE_END()
