#include "layers/kernels/sum_of_squares.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

using namespace sluice;
using namespace sluice::testing;
using kernels::SumOfSquares;

BOOST_AUTO_TEST_SUITE(sum_of_squares)

BOOST_AUTO_TEST_CASE(every_edge)
{
    // Squares of floats are exact in float64; only the order of additions differs.
    for (const std::int64_t n : {1, 7, 8, 9, 2047, 2048, 2049, 6000, 8191, 8192, 8193, 70001})
        check_conformance([n](Case& c) {
            Operand x = c.random({n}, c.compute(), static_cast<std::uint64_t>(n), 3.0);
            Operand result = c.poisoned({1}, DType::f64);
            c.launch(
                [&](auto side) { return SumOfSquares{.x = {side(x)}, .results = side(result)}; });
            c.check(result, 1e-13 * result.values[0], std::to_string(n));
        });
}

BOOST_AUTO_TEST_CASE(more_elements_than_parts)
{
    // 1024 parts of more than one pass (8192 elements) each.
    check_conformance([](Case& c) {
        if (one_type_will_do(c))
            return;
        constexpr std::int64_t n = 1024 * 8192 + 12345;
        Operand x = c.random({n}, c.compute(), 1, 3.0);
        Operand result = c.poisoned({1}, DType::f64);
        c.launch([&](auto side) { return SumOfSquares{.x = {side(x)}, .results = side(result)}; });
        c.check(result, 1e-12 * result.values[0], "large");
    });
}

BOOST_AUTO_TEST_CASE(many_at_once)
{
    // Sizes on both sides of a chunk, a pass (8192) and a block's run, one that is not aligned.
    const std::vector<std::int64_t> sizes{1,    9,     8192, 8193, 70001, 7,  2048, 16384,
                                          8191, 65536, 3,    8,    40000, 33, 8200, 12};
    for (const std::size_t count : {std::size_t{2}, std::size_t{9}, sizes.size()})
        check_conformance([&](Case& c) {
            std::vector<Operand> x;
            for (std::size_t i = 0; i < count; ++i)
                x.push_back(c.random({sizes[i]}, c.compute(), i, 3.0));
            Operand results = c.poisoned({static_cast<std::int64_t>(count)}, DType::f64);
            c.launch([&](auto side) {
                SumOfSquares op{.x = {}, .results = side(results)};
                for (std::size_t i = 0; i < count; ++i)
                    op.x[i] = side(x[i]);
                return op;
            });
            const double largest = *std::ranges::max_element(results.values);
            c.check(results, 1e-13 * largest, std::to_string(count) + " tensors");
        });
}

BOOST_AUTO_TEST_SUITE_END()
