#include "pipeline/timeline/timeline_svg.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>

using namespace sluice;

namespace {

std::string picture(const Schedule& schedule, const TimelineSvgOptions& options = {})
{
    const std::vector<ChunkCosts> costs(static_cast<std::size_t>(schedule.num_chunks),
                                        {1.0, 1.0, 1.0, 0.0});
    return timeline_svg(schedule, simulate(schedule, costs), options);
}

/// Bars of one colour.
std::ptrdiff_t bars_of(const std::string& svg, const std::string& colour)
{
    const std::size_t begin = svg.find("<path fill=\"" + colour + "\"");
    if (begin == std::string::npos)
        return 0;
    return std::count(svg.begin() + static_cast<std::ptrdiff_t>(begin),
                      svg.begin() + static_cast<std::ptrdiff_t>(svg.find("/>", begin)), 'M');
}

const std::string forward = "#0072b2", backward = "#e69f00", input = "#d55e00", weight = "#009e73",
                  ground = "#ececec";

} // namespace

BOOST_AUTO_TEST_SUITE(timeline_svg)

BOOST_AUTO_TEST_CASE(one_bar_per_action)
{
    const std::string svg = picture(make_1f1b(4, 8), {.title = "a < b & \"c\"", .width = 1200});
    BOOST_TEST(bars_of(svg, forward) == 32);
    BOOST_TEST(bars_of(svg, backward) == 32);
    BOOST_TEST(bars_of(svg, weight) == 0);
    BOOST_TEST(bars_of(svg, ground) == 4);
    BOOST_TEST(svg.find("a &lt; b &amp; &quot;c&quot;") != std::string::npos);
    BOOST_TEST(svg.find(">forward<") != std::string::npos);
    BOOST_TEST(svg.find(">weight gradient<") == std::string::npos); // there is none
    BOOST_TEST(svg.find(">7</text>") != std::string::npos);         // the last micro-batch
    BOOST_TEST(svg.find("33.0 s in all, ranks busy 72.7% of it") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_bar_lies_where_its_action_runs)
{
    // 3 s over 1200 - 59 - 24 pixels: forward 0, then backward from a third to the end.
    const std::string svg = picture(make_gpipe(1, 1));
    BOOST_TEST(svg.find("fill=\"#0072b2\" d=\"M59 34h371.7v26h-371.7z\"") != std::string::npos);
    BOOST_TEST(svg.find("fill=\"#e69f00\" d=\"M431.3 34h744.1v26h-744.1z\"") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(chunks_of_a_rank_have_shades)
{
    const Schedule v = parse_schedule("ranks 1 chunks 2 microbatches 1\n"
                                      "0: 0F0 1F0 1I0 1W0 0I0 0W0 O\n",
                                      "v");
    const std::string svg = picture(v);
    for (const std::string& colour : {forward, input, weight})
        BOOST_TEST(bars_of(svg, colour) == 1);
    BOOST_TEST(bars_of(svg, "#80b9d9") == 1); // halfway from forward's blue to white
    BOOST_TEST(svg.find("paler: a rank's later chunks") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(too_many_actions_become_shares_of_time)
{
    const std::string svg = picture(make_1f1b(64, 1024));
    BOOST_TEST(svg.size() < 1'000'000u);
    BOOST_TEST(svg.find("heights are shares of time") != std::string::npos);
    BOOST_TEST(svg.find(">0-15<") == std::string::npos);

    const std::string many = picture(make_1f1b(1024, 4096));
    BOOST_TEST(many.size() < 1'000'000u);
    BOOST_TEST(bars_of(many, ground) == 64);
    BOOST_TEST(many.find(">0-15<") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
