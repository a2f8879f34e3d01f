#include "layers/kernels/cpu/attention_strips.hpp"

#include "core/random.hpp"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <vector>

namespace sluice::kernels {
namespace {

BOOST_AUTO_TEST_SUITE(attention_strips)

std::vector<float> random_floats(const char* name, std::int64_t count)
{
    const RandomStream random(1, name);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(random.normal(i));
    return values;
}

/// One strip, `num_panels` at once by multiply_strip() and one by one, to the same bits.
template <Start start>
void check(std::int64_t num_panels, std::int64_t depth)
{
    const std::int64_t width = num_panels * panel_width, stride = width + 3;
    const std::vector<float> a = random_floats("a", strip_height * depth);
    const std::vector<float> b = random_floats("b", depth * width);
    std::vector<float> together = random_floats("c", strip_height * stride), apart = together;
    for (const bool by_rows : {true, false}) { // how factors lie
        const StripFactors left =
            by_rows ? StripFactors{a.data(), depth, 1} : StripFactors{a.data(), 1, strip_height};
        const PanelFactors right = by_rows
                                       ? PanelFactors{b.data(), width, panel_width}
                                       : PanelFactors{b.data(), panel_width, panel_width * depth};
        multiply_strip<start>(left, right, num_panels, depth, together.data(), stride);
        for (std::int64_t panel = 0; panel < num_panels; ++panel)
            multiply_one_panel<start>(left, right.from(panel), depth,
                                      apart.data() + panel * panel_width, stride);
        BOOST_TEST(std::memcmp(together.data(), apart.data(), 4 * apart.size()) == 0,
                   num_panels << " panels, depth " << depth);
    }
    if (start == Start::zero && depth > 0) { // and not of nothing
        double expected = 0.0;
        for (std::int64_t k = 0; k < depth; ++k)
            expected += static_cast<double>(a[static_cast<std::size_t>(k * strip_height + 1)]) *
                        b[static_cast<std::size_t>((num_panels - 1) * panel_width * depth +
                                                   k * panel_width + 5)];
        BOOST_TEST(
            together[static_cast<std::size_t>(stride + (num_panels - 1) * panel_width + 5)] ==
                expected,
            boost::test_tools::tolerance(1e-3));
    }
}

BOOST_AUTO_TEST_CASE(two_panels_at_once_have_the_bits_of_each_alone)
{
    BOOST_TEST_MESSAGE(panels_at_once() << " at once");
    for (const std::int64_t num_panels : {1, 2, 3, 6})
        for (const std::int64_t depth : {0, 1, 2, 63, 64, 97}) {
            check<Start::zero>(num_panels, depth);
            check<Start::sum>(num_panels, depth);
        }
}

BOOST_AUTO_TEST_SUITE_END()

} // namespace
} // namespace sluice::kernels
