#include "layers/kernels/rms_norm.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>

using namespace sluice;
using namespace sluice::testing;
using kernels::RmsNormBackward;
using kernels::RmsNormForward;

namespace {

enum class Scale { given, in_memory };

struct Tensors {
    Tensors(Case& c, std::int64_t rows, std::int64_t channels, std::uint64_t seed,
            Scale where = Scale::given)
        : x(c.random({rows, channels}, c.compute(), seed, 2.0)),
          weight(c.random({channels}, c.compute(), seed + 1)),
          addend(c.random({rows, channels}, c.compute(), seed + 2)),
          y(c.poisoned({rows, channels}, c.compute())), rstd(c.poisoned({rows}, DType::f32)),
          dy(c.random({rows, channels}, c.compute(), seed + 3)),
          dx(c.poisoned({rows, channels}, c.compute())),
          weight_gradient(c.random({channels}, c.gradient(seed), seed + 4)),
          factor(c.filled({1}, DType::f32, 0.75)), scale(where)
    {
    }

    /// `onto`: where y goes; nothing for a tensor of its own.
    auto forward(bool with_addend, Operand* onto = nullptr)
    {
        return [this, with_addend, onto](auto side) {
            RmsNormForward op{};
            op.x = side(x);
            op.weight = side(weight);
            if (with_addend)
                op.addend = side(addend);
            op.y = side(onto ? *onto : y);
            op.rstd = side(rstd);
            op.scale = scale_for(side);
            op.eps = 1e-5;
            return op;
        };
    }
    auto backward(Operand* add, Operand* onto = nullptr)
    {
        return [this, add, onto](auto side) {
            RmsNormBackward op{};
            op.dy = side(dy);
            op.x = side(x);
            op.weight = side(weight);
            op.rstd = side(rstd);
            if (add)
                op.addend = side(*add);
            op.dx = side(onto ? *onto : dx);
            op.weight_gradient = side(weight_gradient);
            op.scale = scale_for(side);
            op.beta = -1.5;
            return op;
        };
    }

    template <class Side>
    kernels::Factor scale_for(Side side)
    {
        if (scale == Scale::given)
            return 0.75;
        return {std::numeric_limits<double>::quiet_NaN(), side(factor)};
    }

    Operand x, weight, addend, y, rstd, dy, dx, weight_gradient, factor;
    Scale scale;
};

/// Per element a handful of roundings of values up to about 20; the sums over C and N channels and
/// rows add random walks of sqrt(C) / C (it is a mean) and sqrt(N) of them. One channel leaves
/// 1 / |x|, which may be large: up to 1 / sqrt(eps).
void check_shape(std::int64_t rows, std::int64_t channels, std::uint64_t seed,
                 Scale scale = Scale::given)
{
    check_conformance([=](Case& c) {
        const std::string what = std::to_string(rows) + " rows of " + std::to_string(channels);
        const bool with_addend = seed % 2 == 0;
        if (rows * channels > 8000 && one_type_will_do(c))
            return;
        Tensors t(c, rows, channels, seed, scale);
        c.launch(t.forward(with_addend));
        c.check(t.y, 64 * epsilon, what + " y");
        c.check(t.rstd, (channels == 1 ? 1000 : 16) * epsilon, what + " rstd");
        c.launch(t.backward(with_addend ? &t.addend : nullptr));
        c.check(t.dx, (channels == 1 ? 2000 : 64) * epsilon, what + " dx");
        c.check(t.weight_gradient, (32 + 16 * std::sqrt(static_cast<double>(rows))) * epsilon,
                what + " weight_gradient");
    });
}

} // namespace

BOOST_AUTO_TEST_SUITE(rms_norm)

BOOST_AUTO_TEST_CASE(every_edge)
{
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {1, 7, 8, 9, 64, 65, 129, 512})
        for (const std::int64_t rows : {1, 7, 8, 9, 33})
            check_shape(rows, channels, seed++);
    for (const std::int64_t channels : {255, 256, 257, 2047, 2048, 2049}) // a warp's and a block's
        check_shape(9, channels, seed++);                                 // pass over a row
    for (const std::int64_t channels :
         {511, 513, 768, 769, 1025, 1536, 1537, 4096, 4097, 6144, 6145})
        check_shape(19, channels, seed++); // more warps per row, until it does not fit in registers
    // The last row whose sums fit in a block's shared memory on every GPU, and the next, in two
    // parts.
    check_shape(2, 25319, seed++);
    check_shape(17, 25320, seed++);
}

BOOST_AUTO_TEST_CASE(scale_in_memory)
{
    std::uint64_t seed = 1;
    for (const std::int64_t channels : {7, 64, 257})
        for (const std::int64_t rows : {1, 9})
            check_shape(rows, channels, seed++, Scale::in_memory);
    check_conformance([](Case& c) { // and it is the same number to the bit
        Tensors given(c, 19, 40, 5), in_memory(c, 19, 40, 5, Scale::in_memory);
        for (Tensors* t : {&given, &in_memory}) {
            c.launch_tested(t->forward(true));
            c.launch_tested(t->backward(&t->addend));
        }
        for (Operand Tensors::*out : {&Tensors::y, &Tensors::dx, &Tensors::weight_gradient})
            BOOST_TEST((c.bits_of(given.*out) == c.bits_of(in_memory.*out)), c.name("scale"));
    });
}

BOOST_AUTO_TEST_CASE(more_rows_than_parts)
{
    // Of 1024 parts each takes more than eight rows; and of 33 parts and more some are added by the
    // same thread, of 257 and more in a second round.
    check_shape(1024 * 8 + 17, 3, 5);
    check_shape(33 * 8 + 1, 9, 6);
    check_shape(257 * 8 + 1, 5, 7);
}

BOOST_AUTO_TEST_CASE(in_place)
{
    check_conformance([](Case& c) {
        Tensors apart(c, 19, 40, 5), forward(c, 19, 40, 5);
        c.launch(apart.forward(true));
        c.launch_tested(forward.forward(true, &forward.addend));
        BOOST_TEST((c.bits_of(apart.y) == c.bits_of(forward.addend)), c.name("y on addend"));

        c.launch(apart.backward(&apart.addend));
        const auto expected = c.bits_of(apart.dx), gradient = c.bits_of(apart.weight_gradient);
        for (Operand Tensors::*onto : {&Tensors::dy, &Tensors::x, &Tensors::addend}) {
            Tensors t(c, 19, 40, 5);
            c.launch_tested(t.forward(true));
            c.launch_tested(t.backward(&t.addend, &(t.*onto)));
            BOOST_TEST((c.bits_of(t.*onto) == expected), c.name("dx in place"));
            BOOST_TEST((c.bits_of(t.weight_gradient) == gradient), c.name("gradient in place"));
        }
        Tensors first(c, 19, 40, 5), second(c, 19, 40, 5); // dy is the addend, and dx on both
        c.launch_tested(first.forward(true));
        c.launch_tested(second.forward(true));
        c.launch_tested(first.backward(&first.dy));
        c.launch_tested(second.backward(&second.dy, &second.dy));
        BOOST_TEST((c.bits_of(first.dx) == c.bits_of(second.dy)), c.name("dx on dy and addend"));
    });
}

BOOST_AUTO_TEST_SUITE_END()
