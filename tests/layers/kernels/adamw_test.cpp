#include "layers/kernels/adamw.hpp"

#include "tests/layers/kernels/adamw_tensors.hpp"
#include "tests/layers/kernels/kernel_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::AdamW;

namespace {

struct Tensors : AdamWTensors<Twin> {
    Tensors(std::int64_t n, std::uint64_t seed)
        : AdamWTensors<Twin>{.weight = Twin::random({n}, seed),
                             .gradient = Twin::random({n}, seed + 1),
                             .first_moment = Twin({n}),
                             .second_moment = Twin({n})}
    {
    }
};

} // namespace

BOOST_AUTO_TEST_SUITE(adamw)

BOOST_AUTO_TEST_CASE(reference_adamw_by_hand)
{
    // First update: m / correction = g = 4 * 0.5, sqrt(v / correction) = 2, so the step is lr.
    std::vector<double> w = {10}, g = {4}, m = {0}, v = {0};
    kernels::launch(reference, AdamW{.weight = view_of(w.data(), {1}),
                                     .gradient = view_of(g.data(), {1}),
                                     .first_moment = view_of(m.data(), {1}),
                                     .second_moment = view_of(v.data(), {1}),
                                     .gradient_scale = 0.5,
                                     .lr = 0.1,
                                     .beta1 = 0.5,
                                     .beta2 = 0.75,
                                     .eps = 0.5,
                                     .weight_decay = 0.2,
                                     .bias_correction1 = 0.5,
                                     .bias_correction2 = 0.25});
    BOOST_TEST(m[0] == 1.0);
    BOOST_TEST(v[0] == 1.0);
    // 10 - 0.1 * 0.2 * 10 - 0.1 * 2 / (2 + 0.5)
    BOOST_TEST(std::abs(w[0] - 9.72) < 1e-14);
}

BOOST_AUTO_TEST_CASE(cpu_adamw_agrees_with_reference_over_updates)
{
    // A few roundings of weights up to 4 and moments up to 10 in each of five updates; the step's
    // own error is relative to lr.
    for (const std::int64_t n : {1, 7, 8, 9, 63, 64, 65, 16383, 16384, 16385, 40001}) {
        Tensors tensors(n, static_cast<std::uint64_t>(n));
        for (int number = 1; number <= 5; ++number)
            launch_both(tensors.update(number));
        check_close(tensors.weight, 12 * epsilon, "weight");
        check_close(tensors.first_moment, 8 * epsilon, "first_moment");
        check_close(tensors.second_moment, 20 * epsilon, "second_moment");
    }
}

BOOST_AUTO_TEST_CASE(cpu_adamw_leaves_weights_without_gradient_to_decay)
{
    Tensors tensors(20, 5);
    std::ranges::fill(tensors.gradient.values, 0.0);
    std::fill_n(static_cast<float*>(tensors.gradient.in_float32().data), 20, 0.0F);
    launch_both(tensors.update(1)); // 0 / (0 + eps) is 0, not NaN
    check_close(tensors.weight, 4 * epsilon, "weight");
}

BOOST_AUTO_TEST_CASE(cpu_adamw_gives_same_bits_on_any_threads)
{
    check_same_bits_on_any_threads([] {
        Tensors tensors(50001, 6);
        for (int number = 1; number <= 2; ++number)
            kernels::launch(cpu,
                            tensors.update(number)([](Twin& twin) { return twin.in_float32(); }));
        return std::vector<float>(tensors.weight.floats().begin(), tensors.weight.floats().end());
    });
}

BOOST_AUTO_TEST_SUITE_END()
