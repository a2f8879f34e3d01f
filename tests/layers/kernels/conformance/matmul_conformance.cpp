#include "layers/kernels/matmul.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <limits>

using namespace sluice;
using namespace sluice::testing;
using kernels::Matmul;
using kernels::Transpose;

namespace {

enum class With { nothing, itself, another };
enum class Alpha { given, in_memory };

/// K products of standard normal numbers, added in float32: partial sums grow as sqrt(k) and every
/// addition is off by at most half an epsilon of one, a random walk of about K epsilon / 3 at one
/// standard deviation; alpha, beta and the addend stay near 1.
void check_shape(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed,
                 Alpha alpha = Alpha::given)
{
    // cuBLASLt may choose another algorithm for another alignment; ours is always the arena's.
    const bool library = backend_under_test() == BackendUnderTest::gpu;
    const auto body = [=](Case& c) {
        for (const Transpose ta : {Transpose::no, Transpose::yes})
            for (const Transpose tb : {Transpose::no, Transpose::yes})
                for (const With with : {With::nothing, With::itself, With::another}) {
                    const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
                    Operand a = c.random(at ? Shape{k, m} : Shape{m, k}, c.compute(), seed);
                    Operand b = c.random(bt ? Shape{n, k} : Shape{k, n}, c.compute(), seed + 1);
                    Operand addend = c.random({m, n}, c.gradient(seed), seed + 2);
                    Operand out = with == With::itself
                                      ? c.random({m, n}, c.gradient(seed), seed + 3)
                                      : c.poisoned({m, n}, c.gradient(seed));
                    Operand factor = c.filled({1}, DType::f32, 0.75);
                    c.launch([&](auto side) {
                        Matmul op{};
                        op.a = side(a);
                        op.b = side(b);
                        op.out = side(out);
                        if (with != With::nothing)
                            op.addend = side(with == With::itself ? out : addend);
                        op.transpose_a = ta;
                        op.transpose_b = tb;
                        op.alpha = 0.75;
                        if (alpha == Alpha::in_memory)
                            op.alpha = {std::numeric_limits<double>::quiet_NaN(), side(factor)};
                        op.beta = -0.5;
                        return op;
                    });
                    c.check(out, (2.0 * static_cast<double>(k) + 8.0) * epsilon,
                            std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k));
                }
    };
    check_conformance(body, library ? Placement::aligned : Placement::misaligned);
}

} // namespace

BOOST_AUTO_TEST_SUITE(matmul)

BOOST_AUTO_TEST_CASE(every_edge)
{
    if (backend_under_test() == BackendUnderTest::emulated)
        return; // a library's on GPUs
    // Tensor cores want multiples of 8; tiles are 64 to 256 wide.
    std::uint64_t seed = 1;
    for (const std::int64_t m : {1, 8, 64, 130})
        for (const std::int64_t n : {1, 8, 72, 129})
            for (const std::int64_t k : {1, 8, 65, 264})
                check_shape(m, n, k, seed++);
}

BOOST_AUTO_TEST_CASE(alpha_in_memory)
{
    if (backend_under_test() == BackendUnderTest::emulated)
        return;
    std::uint64_t seed = 1;
    for (const std::int64_t m : {1, 64, 130})
        for (const std::int64_t n : {8, 72})
            check_shape(m, n, 65, seed++, Alpha::in_memory);
}

BOOST_AUTO_TEST_SUITE_END()
