#include "layers/kernels/adamw.hpp"

#include "tests/layers/kernels/adamw_tensors.hpp"
#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <array>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::AdamW;

namespace {

using Tensors = AdamWTensors<Operand>;

constexpr std::int64_t sizes[] = {1, 7, 8, 9, 255, 2047, 2048, 2049, 4100};

} // namespace

BOOST_AUTO_TEST_SUITE(adamw)

BOOST_AUTO_TEST_CASE(fp32_states_over_updates)
{
    // A few roundings of weights up to 4 and moments up to 10 in each of five updates; the step's
    // own error is relative to lr.
    for (const std::int64_t n : sizes)
        check_conformance([n](Case& c) {
            const auto seed = static_cast<std::uint64_t>(n);
            Tensors t{.weight = c.random({n}, DType::f32, seed),
                      .gradient = c.random({n}, c.compute(), seed + 1),
                      .first_moment = c.filled({n}, DType::f32, 0.0),
                      .second_moment = c.filled({n}, DType::f32, 0.0)};
            for (int number = 1; number <= 5; ++number)
                c.launch(t.update(number));
            const std::string what = std::to_string(n);
            c.check(t.weight, 12 * epsilon, what + " weight");
            c.check(t.first_moment, 8 * epsilon, what + " first_moment");
            c.check(t.second_moment, 20 * epsilon, what + " second_moment");
        });
}

BOOST_AUTO_TEST_CASE(bf16_copy_is_the_master_weight_rounded)
{
    for (const std::int64_t n : sizes)
        check_conformance([n](Case& c) {
            Tensors t{.weight = c.random({n}, DType::f32, 1),
                      .gradient = c.random({n}, c.compute(), 2),
                      .first_moment = c.filled({n}, DType::f32, 0.0),
                      .second_moment = c.filled({n}, DType::f32, 0.0)};
            Operand copy = c.poisoned({n}, DType::bf16);
            c.launch_tested([&](auto side) {
                AdamW op = t.update(1)(side);
                op.compute_copy = side(copy);
                return op;
            });
            t.weight.tested->download();
            for (std::size_t i = 0; i < copy.values.size(); ++i)
                copy.values[i] = static_cast<double>(
                    float_of(bfloat16_of(static_cast<float>(t.weight.tested->get(i)))));
            c.check_exactly(copy, std::to_string(n) + " copy");
        });
}

BOOST_AUTO_TEST_CASE(bf16_states_of_one_update)
{
    // From the same states, every output is rounded once; nothing carries over to a second update.
    for (const std::int64_t n : sizes)
        check_conformance([n](Case& c) {
            Tensors t{.weight = c.random({n}, DType::bf16, 1),
                      .gradient = c.random({n}, c.compute(), 2),
                      .first_moment = c.random({n}, DType::bf16, 3),
                      .second_moment = c.filled({n}, DType::bf16, 0.25)};
            c.launch(t.update(1));
            c.check(t.weight, 12 * epsilon, "weight");
            c.check(t.first_moment, 8 * epsilon, "first_moment");
            c.check(t.second_moment, 20 * epsilon, "second_moment");
        });
}

BOOST_AUTO_TEST_CASE(factors_in_memory_are_the_same_numbers_to_the_bit)
{
    if (backend_under_test() == BackendUnderTest::cpu)
        return; // for GPUs
    check_conformance([](Case& c) {
        std::vector<Tensors> both;
        for (int i = 0; i < 2; ++i)
            both.push_back({.weight = c.random({99}, DType::f32, 1),
                            .gradient = c.random({99}, c.compute(), 2),
                            .first_moment = c.random({99}, DType::f32, 3),
                            .second_moment = c.filled({99}, DType::f32, 0.25)});
        Operand factors = c.filled({kernels::num_adamw_factors}, DType::f32, 0.0);
        c.launch_tested(both[0].update(3));
        c.launch_tested([&](auto side) {
            AdamW op = both[1].update(3)(side);
            const auto numbers =
                std::bit_cast<std::array<float, kernels::num_adamw_factors>>(factors_of(op));
            for (std::size_t i = 0; i < numbers.size(); ++i)
                factors.tested->set(i, static_cast<double>(numbers[i]));
            factors.tested->upload();
            op.factors = side(factors);
            op.lr = op.gradient_scale = op.beta1 = op.beta2 = op.eps = op.weight_decay = NAN;
            op.bias_correction1 = op.bias_correction2 = NAN;
            return op;
        });
        for (Operand Tensors::*out :
             {&Tensors::weight, &Tensors::first_moment, &Tensors::second_moment})
            BOOST_TEST((c.bits_of(both[0].*out) == c.bits_of(both[1].*out)), c.name("factors"));
    });
}

BOOST_AUTO_TEST_CASE(weights_without_gradient_only_decay)
{
    check_conformance([](Case& c) { // 0 / (0 + eps) is 0, not NaN
        Tensors t{.weight = c.random({20}, DType::f32, 5),
                  .gradient = c.filled({20}, c.compute(), 0.0),
                  .first_moment = c.filled({20}, DType::f32, 0.0),
                  .second_moment = c.filled({20}, DType::f32, 0.0)};
        c.launch(t.update(1));
        c.check(t.weight, 4 * epsilon, "weight");
    });
}

BOOST_AUTO_TEST_SUITE_END()
