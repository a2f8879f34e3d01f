#include "tests/layers/kernels/kernel_fixture.hpp"

#include "core/random.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <limits>

namespace sluice::testing {

namespace {

constexpr float guard_value = -1.25e30F;

} // namespace

Twin::Twin(const Shape& shape)
    : values(static_cast<std::size_t>(shape.num_elements()), 0.0), shape_(shape),
      floats_(values.size() + 2 * guard, guard_value)
{
    std::fill_n(floats_.begin() + guard, values.size(), 0.0F);
}

Twin Twin::random(const Shape& shape, std::uint64_t seed, double scale)
{
    const RandomStream stream(seed, "test.kernels");
    Twin twin(shape);
    for (std::size_t i = 0; i < twin.values.size(); ++i) {
        const auto value = static_cast<float>(scale * stream.normal(i));
        twin.floats_[guard + i] = value;
        twin.values[i] = value;
    }
    return twin;
}

Twin Twin::poisoned(const Shape& shape)
{
    Twin twin(shape);
    std::ranges::fill(twin.values, std::numeric_limits<double>::quiet_NaN());
    std::fill_n(twin.floats_.begin() + guard, twin.values.size(),
                std::numeric_limits<float>::quiet_NaN());
    return twin;
}

bool Twin::guards_intact() const
{
    const auto is_guard = [](float value) { return value == guard_value; };
    return std::all_of(floats_.begin(), floats_.begin() + guard, is_guard) &&
           std::all_of(floats_.end() - guard, floats_.end(), is_guard);
}

void check_close(const Twin& twin, double tolerance, const std::string& what)
{
    BOOST_TEST(twin.guards_intact(), what << ": wrote outside its tensor");
    const std::span<const float> floats = twin.floats();
    for (std::size_t i = 0; i < floats.size(); ++i) {
        const double error = std::abs(twin.values[i] - static_cast<double>(floats[i]));
        if (!(error <= tolerance)) { // also when NaN
            BOOST_ERROR(what << ": element " << i << " is " << floats[i] << ", expected "
                             << twin.values[i] << " within " << tolerance);
            return;
        }
    }
}

void check_same_bits_on_any_threads(const std::function<std::vector<float>()>& run)
{
    const int threads_before = num_threads();
    set_num_threads(1);
    const std::vector<float> expected = run();
    for (const int threads : {2, 3}) {
        set_num_threads(threads);
        const std::vector<float> result = run();
        BOOST_REQUIRE_EQUAL(result.size(), expected.size());
        BOOST_TEST(std::memcmp(result.data(), expected.data(), result.size() * sizeof(float)) == 0,
                   threads << " threads give other bits than one");
    }
    set_num_threads(threads_before);
}

void check_gradient(std::vector<double>& x, const std::vector<double>& gradient,
                    const std::function<double()>& loss, std::size_t stride)
{
    constexpr double step = 1e-5;
    for (std::size_t i = 0; i < x.size(); i += stride) {
        const double before = x[i];
        x[i] = before + step;
        const double above = loss();
        x[i] = before - step;
        const double below = loss();
        x[i] = before;
        const double expected = (above - below) / (2.0 * step);
        BOOST_TEST(std::abs(gradient[i] - expected) <= 2e-8 * (1.0 + std::abs(expected)),
                   "element " << i << ": " << gradient[i] << ", by differences " << expected);
    }
}

double dot(const std::vector<double>& x, const std::vector<double>& weights)
{
    double sum = 0.0;
    for (std::size_t i = 0; i < x.size(); ++i)
        sum += x[i] * weights[i];
    return sum;
}

} // namespace sluice::testing
