#include "layers/kernels/matmul.hpp"

#include "core/arena.hpp"
#include "layers/kernels/elementwise.hpp"
#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>

using namespace sluice;
using namespace sluice::testing;
using kernels::Matmul;
using kernels::Transpose;

namespace {

enum class AddendKind { none, out, other };

struct Case {
    std::int64_t m, n, k;
    Transpose transpose_a = Transpose::no, transpose_b = Transpose::no;
    AddendKind addend = AddendKind::none;
    double alpha = 1.0, beta = 1.0;

    Shape a_shape() const { return transpose_a == Transpose::yes ? Shape{k, m} : Shape{m, k}; }
    Shape b_shape() const { return transpose_b == Transpose::yes ? Shape{n, k} : Shape{k, n}; }
};

struct Tensors {
    Tensors(const Case& c, std::uint64_t seed)
        : a(Twin::random(c.a_shape(), seed)), b(Twin::random(c.b_shape(), seed + 1)),
          out(c.addend == AddendKind::out ? Twin::random({c.m, c.n}, seed + 2)
                                          : Twin::poisoned({c.m, c.n})),
          other(Twin::random({c.m, c.n}, seed + 3))
    {
    }

    auto product(const Case& c)
    {
        return [this, c](auto side) {
            Matmul op{.a = side(a), .b = side(b), .out = side(out)};
            if (c.addend != AddendKind::none)
                op.addend = side(c.addend == AddendKind::out ? out : other);
            op.transpose_a = c.transpose_a;
            op.transpose_b = c.transpose_b;
            op.alpha = c.alpha;
            op.beta = c.beta;
            return op;
        };
    }

    Twin a, b, out, other;
};

/// K products of standard normal numbers, added in float32: partial sums grow as sqrt(k) and every
/// addition is off by at most half an epsilon of one, a random walk of about K epsilon / 3 at one
/// standard deviation; alpha, beta and the addend stay near 1.
void check_agreement(const Case& c, std::uint64_t seed)
{
    Tensors tensors(c, seed);
    launch_both(tensors.product(c));
    check_close(tensors.out, (2.0 * static_cast<double>(c.k) + 8.0) * epsilon,
                std::to_string(c.m) + "x" + std::to_string(c.n) + "x" + std::to_string(c.k));
}

} // namespace

BOOST_AUTO_TEST_SUITE(matmul)

BOOST_AUTO_TEST_CASE(reference_matmul_by_hand)
{
    // [1 2; 3 4] [5; 6] and its transposes, with alpha 2 and half of an addend.
    std::vector<double> a = {1, 2, 3, 4}, b = {5, 6}, addend = {10, 20}, out = {0, 0};
    Matmul op{.a = view_of(a.data(), {2, 2}),
              .b = view_of(b.data(), {2, 1}),
              .out = view_of(out.data(), {2, 1})};
    kernels::launch(reference, op);
    BOOST_TEST(out == (std::vector<double>{17, 39}));
    op.transpose_a = Transpose::yes;
    op.alpha = 2.0;
    op.addend = view_of(addend.data(), {2, 1});
    op.beta = 0.5;
    kernels::launch(reference, op);
    BOOST_TEST(out == (std::vector<double>{51, 78}));
    op.b = view_of(b.data(), {1, 2});
    op.transpose_b = Transpose::yes;
    op.addend = op.out;
    kernels::launch(reference, op);
    BOOST_TEST(out == (std::vector<double>{71.5, 107}));
}

BOOST_AUTO_TEST_CASE(cpu_matmul_agrees_with_reference_at_every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t m : {1, 7, 8, 9, 65})
        for (const std::int64_t n : {1, 15, 16, 17, 63, 64})
            for (const std::int64_t k : {1, 8, 65})
                check_agreement({m, n, k}, seed++);
    // Around the sizes at which the grid of tiles changes.
    for (const std::int64_t m : {127, 128, 129, 255, 256, 257, 400})
        for (const std::int64_t n : {127, 129, 256, 513})
            check_agreement({m, n, 33}, seed++);
    check_agreement({2100, 40, 20}, seed++);
    check_agreement({40, 2100, 20}, seed++);
    // Around the steps of K, of a transposed a too.
    for (const std::int64_t k : {255, 256, 257, 513, 4095, 4096, 4097, 8193}) {
        check_agreement({30, 20, k}, seed++);
        check_agreement({140, 20, k, Transpose::yes, Transpose::no, AddendKind::out}, seed++);
        check_agreement({9, 17, k, Transpose::yes, Transpose::yes, AddendKind::other, 1.0, 0.5},
                        seed++);
    }
}

BOOST_AUTO_TEST_CASE(cpu_matmul_knows_every_transpose_addend_and_factor)
{
    std::uint64_t seed = 1000;
    for (const Transpose transpose_a : {Transpose::no, Transpose::yes})
        for (const Transpose transpose_b : {Transpose::no, Transpose::yes})
            for (const AddendKind addend : {AddendKind::none, AddendKind::out, AddendKind::other})
                for (const double beta : {1.0, -1.25})
                    for (const std::int64_t m : {9, 300}) {
                        const std::int64_t n = m == 9 ? 300 : 270;
                        check_agreement({m, n, 65, transpose_a, transpose_b, addend, 0.75, beta},
                                        seed++);
                    }
}

BOOST_AUTO_TEST_CASE(cpu_matmul_gives_same_bits_on_any_threads)
{
    // 64x64x4096 is where oneDNN, left to thread by itself, splits the inner sum.
    for (const Case c : {Case{64, 64, 4096}, Case{1, 512, 3000}, Case{513, 257, 129},
                         Case{300, 200, 1024, Transpose::yes, Transpose::no, AddendKind::out},
                         Case{100, 1000, 200, Transpose::no, Transpose::yes, AddendKind::other}})
        check_same_bits_on_any_threads([c] {
            Tensors tensors(c, 77);
            kernels::launch(cpu, tensors.product(c)([](Twin& twin) { return twin.in_float32(); }));
            return std::vector<float>(tensors.out.floats().begin(), tensors.out.floats().end());
        });
}

BOOST_AUTO_TEST_CASE(cpu_matmul_gives_same_bits_at_any_alignment)
{
    for (const Case c : {Case{130, 270, 300}, Case{65, 100, 513, Transpose::no, Transpose::yes},
                         Case{200, 96, 300, Transpose::yes, Transpose::no}}) {
        Tensors tensors(c, 78); // off any boundary
        Arena arena(std::size_t{4} << 20, Device{});
        const auto aligned = [&arena](Twin& twin) {
            const TensorView from = twin.in_float32();
            const TensorView to = arena.allocate(DType::f32, from.shape);
            kernels::launch(cpu, kernels::Copy{.from = from, .to = to});
            return to;
        };
        kernels::launch(cpu, tensors.product(c)([](Twin& twin) { return twin.in_float32(); }));
        const Matmul op = tensors.product(c)(aligned);
        kernels::launch(cpu, op);
        BOOST_TEST(std::ranges::equal(op.out.elements<float>(), tensors.out.floats()));
    }
}

BOOST_AUTO_TEST_CASE(cpu_matmul_leaves_the_number_of_threads_alone)
{
    const int threads_before = num_threads();
    for (const int threads : {1, 2, 3}) {
        set_num_threads(threads);
        Tensors tensors({40, 300, 50}, 3);
        launch_both(tensors.product({40, 300, 50}));
        BOOST_TEST(num_threads() == threads);
    }
    set_num_threads(threads_before);
}

BOOST_AUTO_TEST_CASE(matmul_refuses_extents_that_do_not_fit)
{
    Twin a({2, 3}), b({4, 5}), out({2, 5});
    BOOST_CHECK_THROW(
        kernels::launch(cpu,
                        Matmul{.a = a.in_float32(), .b = b.in_float32(), .out = out.in_float32()}),
        InvariantError);
}

BOOST_AUTO_TEST_SUITE_END()
