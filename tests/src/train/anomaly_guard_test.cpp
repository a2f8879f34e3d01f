#include "src/train/anomaly_guard.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace sluice;

namespace {

const Anomaly bad_gradient{AnomalyKind::not_finite, "a gradient is not finite", std::nan("")};

AnomalyConfig config_with(AnomalyResponse on_nonfinite)
{
    AnomalyConfig config;
    config.on_nonfinite = on_nonfinite;
    config.rewind_updates = 10;
    return config;
}

AnomalyConfig spikes_above(double sigma, AnomalyResponse response)
{
    AnomalyConfig config;
    config.loss_spike_sigma = sigma;
    config.spike_window = 4;
    config.on_spike = response;
    return config;
}

} // namespace

BOOST_AUTO_TEST_SUITE(anomaly_guard)

BOOST_AUTO_TEST_CASE(stop_skips_nothing_and_names_the_samples)
{
    AnomalyGuard guard(config_with(AnomalyResponse::stop), 8);
    const AnomalyVerdict verdict = guard.answer(bad_gradient, 5);
    BOOST_TEST((verdict.response == AnomalyResponse::stop));
    BOOST_TEST(verdict.text == "a gradient is not finite; its batch is samples 32 to 39");
    BOOST_TEST(guard.skipped().empty());
}

BOOST_AUTO_TEST_CASE(skip_takes_the_next_batch_and_goes_back_nowhere)
{
    AnomalyGuard guard(config_with(AnomalyResponse::skip), 8);
    const AnomalyVerdict verdict = guard.answer(bad_gradient, 5);
    BOOST_TEST(verdict.target == 4);
    BOOST_TEST((verdict.batches == BatchRange{5, 5}));
    BOOST_TEST(guard.batch_of(4) == 4);
    BOOST_TEST(guard.batch_of(5) == 6);
    // The next one is bad, too.
    BOOST_TEST((guard.answer(bad_gradient, 5).batches == BatchRange{6, 6}));
    BOOST_TEST(guard.batch_of(5) == 7);
}

BOOST_AUTO_TEST_CASE(rewind_leaves_out_the_batches_of_its_updates)
{
    AnomalyGuard guard(config_with(AnomalyResponse::rewind), 8);
    const AnomalyVerdict verdict = guard.answer(bad_gradient, 115);
    BOOST_TEST(verdict.target == 105);
    BOOST_TEST((verdict.batches == BatchRange{106, 115}));
    BOOST_TEST(verdict.num_rewinds == 1);
    BOOST_TEST(guard.batch_of(105) == 105);
    BOOST_TEST(guard.batch_of(106) == 116);
    // Not beyond the beginning.
    AnomalyGuard young(config_with(AnomalyResponse::rewind), 8);
    BOOST_TEST(young.answer(bad_gradient, 3).target == 0);
    BOOST_TEST(young.skipped().text() == "1-3");
}

BOOST_AUTO_TEST_CASE(after_so_many_it_stops_and_says_why)
{
    AnomalyConfig config = config_with(AnomalyResponse::skip);
    config.max_rewinds = 2;
    AnomalyGuard guard(config, 8);
    guard.answer(bad_gradient, 5);
    guard.answer(bad_gradient, 5);
    const AnomalyVerdict verdict = guard.answer(bad_gradient, 5);
    BOOST_TEST((verdict.response == AnomalyResponse::stop));
    BOOST_TEST(verdict.text.find("2 times") != std::string::npos);
    BOOST_TEST(guard.skipped().text() == "5-6");
}

BOOST_AUTO_TEST_CASE(a_spike_is_judged_by_the_losses_that_were_accepted)
{
    AnomalyGuard guard(spikes_above(5.0, AnomalyResponse::skip), 8);
    for (const double loss : {1.0, 3.0, 1.0, 3.0}) { // mean 2, deviation 1
        BOOST_TEST(!guard.spike_in(100.0));
        guard.accept(loss);
    }
    BOOST_TEST(!guard.spike_in(6.5));
    BOOST_TEST(!guard.spike_in(-100.0));
    const auto spike = guard.spike_in(7.5);
    BOOST_TEST_REQUIRE(spike.has_value());
    BOOST_TEST((guard.answer(*spike, 5).response == AnomalyResponse::skip));
    BOOST_TEST(guard.spike_in(7.5).has_value()); // refused ones do not count
}

BOOST_AUTO_TEST_CASE(without_a_threshold_nothing_is_a_spike)
{
    AnomalyGuard guard(spikes_above(0.0, AnomalyResponse::warn), 8);
    for (int i = 0; i < 10; ++i)
        guard.accept(1.0);
    BOOST_TEST(!guard.spike_in(1e9));
}

BOOST_AUTO_TEST_CASE(a_resumed_run_decides_alike)
{
    AnomalyGuard guard(spikes_above(5.0, AnomalyResponse::rewind), 8), resumed = guard;
    for (const double loss : {9.0, 1.0, 3.0, 1.0, 3.0})
        guard.accept(loss);
    guard.answer(bad_gradient, 1); // stops
    guard.answer(*guard.spike_in(9.0), 7);
    CheckpointProgress progress;
    guard.save_into(progress);
    resumed.restore(progress);
    BOOST_TEST((resumed.skipped() == guard.skipped()));
    BOOST_TEST(resumed.answer(*resumed.spike_in(9.0), 8).num_rewinds == 2);
    BOOST_TEST(resumed.spike_in(7.5).has_value() == guard.spike_in(7.5).has_value());
}

BOOST_AUTO_TEST_CASE(going_back_takes_the_losses_of_then_and_keeps_what_is_skipped)
{
    AnomalyGuard guard(spikes_above(5.0, AnomalyResponse::rewind), 8);
    for (const double loss : {1.0, 3.0, 1.0, 3.0})
        guard.accept(loss);
    CheckpointProgress then;
    guard.save_into(then);
    for (const double loss : {50.0, 70.0, 50.0, 70.0})
        guard.accept(loss);
    guard.answer(*guard.spike_in(1e6), 9);
    BOOST_TEST(!guard.spike_in(10.0));
    guard.go_back_to(then);
    BOOST_TEST(guard.spike_in(10.0).has_value());
    BOOST_TEST(guard.skipped().text() == "1-9");
}

BOOST_AUTO_TEST_SUITE_END()
