#include "src/plan/micro_batch_advice.hpp"

#include "src/plan/candidate.hpp"
#include "tests/src/plan/plan_fixture.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

const std::vector<std::string> on_a_gpu{"run.device=cuda"};

std::string advice_for(const RunConfig& config, std::size_t bytes = unlimited_bytes, int stages = 1)
{
    return sluice::micro_batch_advice(config, stages, bytes);
}

bool has(const std::string& text, const std::string& part)
{
    return text.find(part) != std::string::npos;
}

RunConfig with_batch(std::int64_t global, std::int64_t micro, std::int64_t seq_len)
{
    RunConfig config = test::small_run(on_a_gpu);
    config.model.max_seq_len = seq_len;
    config.batch.global_batch_size = global;
    config.batch.micro_batch_size = micro;
    config.batch.seq_len = seq_len;
    return config;
}

} // namespace

BOOST_AUTO_TEST_SUITE(micro_batch_advice)

BOOST_AUTO_TEST_CASE(the_largest_divisor_that_fits)
{
    const RunConfig config = test::small_run(on_a_gpu); // 12 sequences, 2 at once
    BOOST_TEST(has(advice_for(config), "micro-batches of 2 x 8 tokens are small for a GPU: "
                                       "batch.micro_batch_size = 12 fits"));
    RunConfig six = config;
    six.batch.micro_batch_size = 6;
    const std::size_t enough_for_six = peak_of(plan_run(six, 1)).bytes;
    BOOST_TEST(has(advice_for(config, enough_for_six), "batch.micro_batch_size = 6 fits"));
    BOOST_TEST(has(advice_for(config, enough_for_six - 1), "batch.micro_batch_size = 4 fits"));
}

BOOST_AUTO_TEST_CASE(nothing_where_it_would_not_help)
{
    BOOST_TEST(advice_for(test::small_run()) == "");
    BOOST_TEST(advice_for(test::small_run(on_a_gpu), unlimited_bytes, 2) == "");
    BOOST_TEST(advice_for(test::small_run(on_a_gpu, 12)) == "");
    BOOST_TEST(advice_for(test::small_run(on_a_gpu), 1000) == "");
    BOOST_TEST(advice_for(with_batch(64, 16, 1024)) == "");
    // 7 divides by nothing.
    BOOST_TEST(advice_for(with_batch(7, 1, 16'000)) == "");
    BOOST_TEST(advice_for(with_batch(3, 1, 16'000)) != "");
}

BOOST_AUTO_TEST_CASE(no_more_at_once_than_helps)
{
    BOOST_TEST(has(advice_for(with_batch(512, 4, 1024)), "batch.micro_batch_size = 64 fits"));
}

BOOST_AUTO_TEST_CASE(of_each_replica)
{
    const RunConfig config = test::small_run({"run.device=cuda", "pipeline.replicas=2"});
    BOOST_TEST(has(advice_for(config), "batch.micro_batch_size = 6 fits"));
}

BOOST_AUTO_TEST_SUITE_END()
