#include "src/plan/plan_report.hpp"

#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <sstream>

using namespace sluice;

namespace {

struct Planned {
    RunConfig config;
    CostModel costs;
    RunPlan plan;
    std::vector<Candidate> candidates;

    Planned(const std::vector<std::string>& overrides, int num_ranks)
        : config(test::small_run(overrides)),
          costs(costs_from_flops(config.model,
                                 {config.batch.micro_batch_size, config.batch.seq_len})),
          plan(plan_run(config, num_ranks)),
          candidates(price_all(config, num_ranks, costs, unlimited_bytes))
    {
    }
    PricedPlan priced() const { return {config, plan, costs, candidates.front()}; }
};

void check_width(const std::string& text)
{
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        BOOST_TEST(line.size() <= 80u, line);
}

} // namespace

BOOST_AUTO_TEST_SUITE(plan_report)

BOOST_AUTO_TEST_CASE(tables_fit_a_terminal)
{
    for (const int num_ranks : {1, 2, 6}) {
        const Planned planned({}, num_ranks);
        for (const std::string& text :
             {heading_text(planned.priced()), ranks_text(planned.priced()),
              time_text(planned.priced()), comparison_text(planned.candidates, unlimited_bytes),
              comparison_text(planned.candidates, 100)})
            check_width(text);
    }
    const Planned chunked({"pipeline.schedule=interleaved-1f1b", "pipeline.chunks_per_rank=3"}, 2);
    check_width(ranks_text(chunked.priced()));
}

BOOST_AUTO_TEST_CASE(names_of_layouts)
{
    PipelineConfig layout;
    BOOST_TEST(layout_name(layout) == "1f1b");
    layout.extra_warmup = 2;
    BOOST_TEST(layout_name(layout) == "1f1b +2");
    layout.schedule = PipelineScheduleKind::interleaved_zb;
    layout.chunks_per_rank = 4;
    BOOST_TEST(layout_name(layout) == "interleaved-zb x4 +2");
    layout.recompute = Recompute::lean;
    BOOST_TEST(layout_name(layout) == "interleaved-zb x4 +2 lean");
    layout = {};
    layout.schedule = PipelineScheduleKind::zb_v;
    layout.chunks_per_rank = 2; // as always
    BOOST_TEST(layout_name(layout) == "zb-v");
}

BOOST_AUTO_TEST_CASE(json_says_what_the_tables_say)
{
    const Planned planned({}, 3);
    const auto json =
        nlohmann::json::parse(plan_json(planned.priced(), planned.candidates, 1'000'000'000));
    BOOST_TEST(json["schedule"] == "1f1b");
    BOOST_TEST(json["fits"] == true);
    BOOST_TEST(json["bytes_per_rank"] == 1'000'000'000);
    BOOST_TEST(json["ranks"].size() == 3u);
    BOOST_TEST(json["chunks"].size() == 3u);
    BOOST_TEST(json["candidates"].size() == planned.candidates.size());
    const auto& bytes = json["ranks"][0]["bytes"];
    BOOST_TEST(bytes["weights"].get<std::size_t>() + bytes["gradients"].get<std::size_t>() +
                   bytes["moments"].get<std::size_t>() + bytes["activations"].get<std::size_t>() +
                   bytes["transfers"].get<std::size_t>() + bytes["scratch"].get<std::size_t>() +
                   bytes["program"].get<std::size_t>() + bytes["exchange"].get<std::size_t>() ==
               bytes["total"].get<std::size_t>());
    std::int64_t layers = 0;
    for (const auto& chunk : json["chunks"])
        layers += chunk["num_layers"].get<std::int64_t>();
    BOOST_TEST(layers == 6);
    BOOST_TEST(json["recommended"].contains("overrides"));
}

BOOST_AUTO_TEST_CASE(recommendations_in_words)
{
    const Planned planned({}, 3);
    BOOST_TEST(recommendation_text(planned.candidates, planned.config, 1) ==
               "recommended: nothing, since no schedule fits\n");
    BOOST_TEST(recommendation_text({planned.candidates.front()}, planned.config, unlimited_bytes)
                   .starts_with("recommended: the run file's schedule as it is: "));
    BOOST_TEST(recommendation_text(planned.candidates, planned.config, unlimited_bytes)
                   .find("\n  --set pipeline.schedule=") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
