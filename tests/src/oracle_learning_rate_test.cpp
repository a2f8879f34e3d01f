// Learning-rate curves against the Python oracle.
#include "src/train/lr_schedule.hpp"
#include "tests/oracle/oracle_fixture.hpp"
#include "tests/oracle/worst_errors.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

namespace sluice::testing {
namespace {

LearningRateKind kind_named(const std::string& name)
{
    if (name == "wsd")
        return LearningRateKind::wsd;
    if (name == "cosine")
        return LearningRateKind::cosine;
    if (name == "linear")
        return LearningRateKind::linear;
    BOOST_REQUIRE_EQUAL(name, "constant");
    return LearningRateKind::constant;
}

BOOST_AUTO_TEST_SUITE(oracle_learning_rate)

BOOST_AUTO_TEST_CASE(every_curve_is_the_oracles)
{
    const OracleFixture fixture("schedules.h5");
    WorstErrors errors("Learning rates");
    const std::vector<std::string> curves = fixture.children("learning_rate");
    BOOST_CHECK_GE(curves.size(), 8u);
    for (const std::string& curve : curves) {
        const std::string group = "learning_rate/" + curve + "/";
        LearningRateConfig config;
        config.kind = kind_named(fixture.text(group + "kind"));
        config.warmup_steps = std::llround(fixture.number(group + "warmup"));
        config.decay_fraction = fixture.number(group + "decay_fraction");
        config.min_lr_ratio = fixture.number(group + "min_lr_ratio");
        const std::int64_t updates = std::llround(fixture.number(group + "updates"));
        std::vector<double> found;
        for (std::int64_t k = 0; k < updates; ++k)
            found.push_back(learning_rate(config, fixture.number(group + "peak"), updates, k));
        errors.check(curve, "schedules.h5", found, fixture.numbers(group + "values"), 1e-14);
    }
    errors.report();
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice::testing
