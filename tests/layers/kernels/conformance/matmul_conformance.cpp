#include "layers/kernels/matmul.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <vector>

using namespace sluice;
using namespace sluice::testing;
using kernels::Matmul;
using kernels::Transpose;

namespace {

enum class With { nothing, itself, another };
enum class Alpha { given, in_memory };

/// What is transposed, and what is added.
struct Form {
    Transpose a, b;
    With with;
};

std::vector<Form> all_forms()
{
    std::vector<Form> forms;
    for (const Transpose a : {Transpose::no, Transpose::yes})
        for (const Transpose b : {Transpose::no, Transpose::yes})
            for (const With with : {With::nothing, With::itself, With::another})
                forms.push_back({a, b, with});
    return forms;
}

/// K products of standard normal numbers, added in float32: partial sums grow as sqrt(k) and every
/// addition is off by at most half an epsilon of one, a random walk of about K epsilon / 3 at one
/// standard deviation; alpha, beta and the addend stay near 1.
void check_shape(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed,
                 Alpha alpha = Alpha::given, const std::vector<Form>& forms = all_forms())
{
    // cuBLASLt may choose another algorithm for another alignment; ours is always the arena's.
    const bool library = backend_under_test() == BackendUnderTest::gpu;
    const auto body = [=](Case& c) {
        for (const auto& [ta, tb, with] : forms) {
            const bool at = ta == Transpose::yes, bt = tb == Transpose::yes;
            Operand a = c.random(at ? Shape{k, m} : Shape{m, k}, c.compute(), seed);
            Operand b = c.random(bt ? Shape{n, k} : Shape{k, n}, c.compute(), seed + 1);
            Operand addend = c.random({m, n}, c.gradient(seed), seed + 2);
            Operand out = with == With::itself ? c.random({m, n}, c.gradient(seed), seed + 3)
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

/// TF32 keeps ten bits of mantissa: of a factor m 2^e, 1 <= m < 2, up to 2^-10 / m of it is cut
/// off, or half as much to either side where it is rounded. With m as random numbers have it, two
/// factors that are cut off shrink a product by 0.72 2^-10 on average, which goes with the sum, and
/// it deviates from that by 0.32 2^-10 in the root mean square (rounded: by 0.30 2^-10 from
/// nothing). Deviations of K products go their own ways, so six of them are allowed; bf16, with
/// seven bits, comes to four times as much. All of it times alpha; sums are as above.
void check_tf32(std::int64_t m, std::int64_t n, std::int64_t k, std::uint64_t seed)
{
    check_conformance(
        [=](Case& c) {
            if (c.compute() != DType::f32)
                return;
            c.allow_tf32();
            Operand a = c.random({m, k}, DType::f32, seed);
            Operand b = c.random({n, k}, DType::f32, seed + 1);
            Operand out = c.poisoned({m, n}, DType::f32);
            c.launch([&](auto side) {
                return Matmul{.a = side(a),
                              .b = side(b),
                              .out = side(out),
                              .transpose_b = Transpose::yes,
                              .alpha = 0.75};
            });
            const auto bound = [&](std::size_t element) {
                const auto columns = static_cast<std::size_t>(n),
                           depth = static_cast<std::size_t>(k);
                double sum = 0.0, squares = 0.0;
                for (std::size_t p = 0; p < depth; ++p) {
                    const double product = a.values[element / columns * depth + p] *
                                           b.values[element % columns * depth + p];
                    sum += product;
                    squares += product * product;
                }
                const double operands = 0x1p-10 * (std::abs(sum) + 2.0 * std::sqrt(squares));
                return 0.75 * operands + (2.0 * static_cast<double>(k) + 8.0) * epsilon;
            };
            c.check(out, bound,
                    "tf32 " + std::to_string(m) + "x" + std::to_string(n) + "x" +
                        std::to_string(k));
        },
        Placement::aligned);
}

} // namespace

BOOST_AUTO_TEST_SUITE(matmul)

BOOST_AUTO_TEST_CASE(every_edge)
{
    if (backend_under_test() == BackendUnderTest::emulated)
        return; // a library's on GPUs
    // Tensor cores want multiples of 8; tiles are 64 to 256 wide.
    using Extents = std::vector<std::int64_t>;
    std::uint64_t seed = 1;
    for (const std::int64_t m : cases(Extents{1, 8, 64, 130}, Extents{130}))
        for (const std::int64_t n : cases(Extents{1, 8, 72, 129}, Extents{72, 129}))
            for (const std::int64_t k : cases(Extents{1, 8, 65, 264}, Extents{65}))
                check_shape(m, n, k, seed++);
}

BOOST_AUTO_TEST_CASE(in_tf32)
{
    if (backend_under_test() != BackendUnderTest::gpu || watched_by_checkers())
        return; // of GPUs
    std::uint64_t seed = 1;
    for (const std::int64_t m : {8, 130})
        for (const std::int64_t n : {8, 129})
            for (const std::int64_t k : {1, 8, 65, 264, 1024})
                check_tf32(m, n, k, seed++);
}

BOOST_AUTO_TEST_CASE(alpha_in_memory)
{
    if (backend_under_test() == BackendUnderTest::emulated || watched_by_checkers())
        return;
    std::uint64_t seed = 1;
    for (const std::int64_t m : {1, 64, 130})
        for (const std::int64_t n : {8, 72})
            check_shape(m, n, 65, seed++, Alpha::in_memory);
}

// The library has other kernels for shapes as training has them. It then finds beta = 0 in memory,
// too, when it may already have begun to read what is to be overwritten: all NaNs here.
BOOST_AUTO_TEST_CASE(alpha_in_memory_of_large_products)
{
    if (!on_a_real_gpu() || watched_by_checkers())
        return; // a library's, and slow without it
    const std::vector<Form> overwriting{{Transpose::no, Transpose::yes, With::nothing},
                                        {Transpose::no, Transpose::no, With::nothing},
                                        {Transpose::yes, Transpose::no, With::nothing}};
    for (const std::uint64_t seed : {1, 2}) // outputs of both types
        check_shape(512, 768, 512, seed, Alpha::in_memory, overwriting);
    check_shape(1024, 2048, 512, 1, Alpha::in_memory, overwriting); // as a layer in training
}

BOOST_AUTO_TEST_SUITE_END()
